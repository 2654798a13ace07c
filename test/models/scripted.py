"""Writes `scripted/`: modules as `torch.jit.save` writes them, with torch's own answers beside them.

    python test/models/scripted.py            # all
    python test/models/scripted.py loops      # those with this in their name

Made with torch 2.13.0 on Python 3.11 (CPU; one thread). The cases of `cases/exported.py` are traced, and scripted and
frozen where torch can; theirs are the numbers of `exported/NAME.json`, since the same seed draws the same weights. The
cases of `cases/scripted.py` are scripted, frozen and traced, and have files of numbers here, of the same form. All are in
float32, as they are exported. `index.json` lists the files with those of their numbers. `refused/` holds what must be
refused, and its `index.json` the shape and the words of the message.

The archives hold the paths of source files, so that they differ from checkout to checkout.
"""

import copy
import io
import json
import pathlib
import shutil
import sys
import warnings
import zipfile
import zlib

import torch
from torch.utils import _pytree as pytree

import cases.exported
import cases.scripted
from exported import expectations
from make import write_json

FOLDER = pathlib.Path(__file__).parent / "scripted"


def narrow(tree):
    return pytree.tree_map(lambda leaf: leaf.float() if leaf.is_floating_point() else leaf, tree)


def made(name, make, positional):
    torch.manual_seed(zlib.crc32(name.encode()))
    model = make().eval()
    return model, tuple(maker() for maker in positional)


def write(name, model, args):
    """The file names of what torch can save of a model."""
    files = []

    def save(kind, module):
        torch.jit.save(module, FOLDER / f"{name}_{kind}.pt")
        files.append(f"{name}_{kind}.pt")

    try:
        save("traced", torch.jit.trace(model, args, check_trace=False, strict=False))
    except Exception as error:  # dicts of unlike values, results that are no tensors, a tuple with names
        print(f"{name} is not traced: {str(error)[:60]}")
    try:
        scripted = torch.jit.script(model)
    except Exception as error:  # lambdas, keyword-only arguments, wrapped forwards
        print(f"{name} is not scripted: {str(error)[:60]!r}")
        return files
    save("scripted", scripted)
    # In double precision, since freezing folds constants in the model's own.
    save("frozen", torch.jit.freeze(torch.jit.script(copy.deepcopy(model).double())))
    return files


def rewritten(path, change):
    """The records of an archive, each changed by its name."""
    archive = zipfile.ZipFile(path)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as target:
        for info in archive.infolist():
            data = change(info.filename, archive.read(info))
            if data is not None:
                target.writestr(zipfile.ZipInfo(info.filename), data)
    return out.getvalue()


def with_code(path, old, new):
    """The archive with other code."""
    return rewritten(path, lambda name, data: data.replace(old, new) if name.endswith(".py") else data)


def old_versions():
    """One archive as versions 3 to 10 write it: the number at both places, with and without lines that old code begins with."""
    files = []
    source = FOLDER / "mlp_scripted.pt"
    for version in range(3, 11):
        def change(name, data):
            if name.endswith("version"):
                return None
            if version == 3 and name.endswith(".debug_pkl"):
                return None
            if version == 3 and name.endswith(".py"):
                return b"op_version_set = 1\n" + data
            return data

        data = rewritten(source, change)
        place = "version" if version < 10 else ".data/version"
        with zipfile.ZipFile(out := io.BytesIO(data), "a", zipfile.ZIP_STORED) as target:
            target.writestr(zipfile.ZipInfo(f"mlp_scripted/{place}"), f"{version}\n")
        file = f"mlp_version_{version}.pt"
        (FOLDER / file).write_bytes(out.getvalue())
        files.append(file)
    return files


def upgraded():
    """Code whose operations mean something else in files of version 3, with the numbers of torch, which knows that."""
    torch.manual_seed(0)
    torch.jit.save(torch.jit.script(cases.scripted.Old().eval()), out := io.BytesIO())
    x = torch.randn(3, dtype=torch.float64)
    index = []
    for version in (3, 10):
        data = rewritten(out, lambda name, data: b"%d\n" % version if name.endswith("version") else data)
        (FOLDER / f"old_version_{version}.pt").write_bytes(data)
        model = torch.jit.load(io.BytesIO(data))
        write_json(FOLDER / f"old_version_{version}.json", expectations(model, (x,), {}, zero_hessian=False))
        index.append([f"old_version_{version}.pt", f"scripted/old_version_{version}.json"])
    return index


def write_refused():
    folder = FOLDER / "refused"
    folder.mkdir(exist_ok=True)
    index = []
    for name, make, maker, words in cases.scripted.refused():
        torch.jit.save(torch.jit.script(make().eval()), folder / f"{name}.pt")
        index.append({"file": f"{name}.pt", "shape": list(maker().shape), "words": words})

    def add(name, data, words, shape=(2, 3)):
        (folder / f"{name}.pt").write_bytes(data)
        index.append({"file": f"{name}.pt", "shape": list(shape), "words": words})

    source = FOLDER / "flags_scripted.pt"
    mlp = FOLDER / "mlp_scripted.pt"
    add("no_parse", with_code(source, b"return torch.linear(input, weight, bias)", b"return torch.linear(input, weight"), ["linear", "line 15"])
    add("operator", with_code(source, b"return torch.linear(input, weight, bias)", b"return input + weight"), ["`+` is no part of serialized code", "linear"])
    add("dangling", with_code(source, b"bias = self.bias", b"bias = other"), ["the name `other` is not defined", "linear"])
    add("attribute", with_code(source, b"self.bias", b"self.bais"), ["has no attribute `bais`", "layers.0"])
    add("function", with_code(source, b"__torch__.torch.nn.functional.relu(", b"__torch__.torch.nn.functional.rule("), ["no code of `__torch__.torch.nn.functional.rule`"])
    add("arguments", with_code(source, b"torch.linear(input, weight, bias)", b"torch.linear(input)"), ["aten.linear of (a tensor)", "layers.0"])
    add("shapes", with_code(source, b"torch.linear(input, weight, bias)", b"torch.linear(bias, input, weight)"), ["layers.0", "linear"])
    add("recursion", with_code(source, b"return torch.linear(input, weight, bias)", b"return (self).forward(input, )"), ["deeper than 256", "layers.0"])
    add("deep", with_code(source, b"return torch.linear(input, weight, bias)", b"return " + b"(" * 5000 + b"input" + b")" * 5000), ["nested deeper"])
    add("constant", with_code(source, b"weight = self.weight", b"weight = CONSTANTS.c7"), ["no constant c7"])
    add("no_class", rewritten(source, lambda name, data: None if "modules/linear" in name else data), ["no code of its class", "layers.0"])
    add("no_data", rewritten(source, lambda name, data: None if name.endswith("data.pkl") else data), ["no record `data.pkl`"])
    add("version_2", rewritten(source, lambda name, data: b"2\n" if name.endswith("version") else data), ["version 2", "torch.jit.save"])
    add("version_11", rewritten(source, lambda name, data: b"11\n" if name.endswith("version") else data), ["says 11"])
    add("raises", source.read_bytes(), ["the model refuses its inputs"], (2, 3, 3, 3))
    add("wrong_width", mlp.read_bytes(), ["layer `0`"], (2, 4))
    (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n")


def main(part=""):
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)
    warnings.simplefilter("ignore")
    if not part:
        shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(exist_ok=True)
    index = []
    for name, make, positional, keywords, dynamic in cases.exported.exported():
        if keywords or dynamic or part not in name:
            continue
        model, args = made(name, make, positional)
        index += [[file, f"exported/{name}.json"] for file in write(name, model.float(), narrow(args))]
    for name, make, positional in cases.scripted.own():
        if part not in name:
            continue
        model, args = made(name, make, positional)
        expected = expectations(model, args, {}, zero_hessian=False)
        if name == "decides":
            expected["endless"] = True
        write_json(FOLDER / f"{name}.json", expected)
        index += [[file, f"scripted/{name}.json"] for file in write(name, model.float(), narrow(args))]
    if not part:
        index += [[file, "scripted/mlp.json"] for file in old_versions()] + upgraded()
        (FOLDER / "index.json").write_text(json.dumps(index, indent=1) + "\n")
        write_refused()


if __name__ == "__main__":
    main(*sys.argv[1:])
