"""Writes `exported/`: models as `torch.export.save` writes them, with torch's own answers beside them.

    python test/models/exported.py            # all
    python test/models/exported.py encoder    # those with this in their name

Made with torch 2.13.0 on Python 3.11 (CPU; one thread). Each case of `cases/exported.py` is exported in float32 and
written twice, as it is exported (NAME.pt2) and after `run_decompositions()` (NAME_core.pt2). NAME.json holds in
float64, from the model itself after `.double().eval()`, what the files of `inputs/` hold: `shapes` and `integers` of all
inputs, and of those in floating point, flattened and one behind another, `x`, `y`, `jacobian`, `mu` and `hessian`;
besides, `core_tolerance` where torch's decomposition is not exactly what it decomposes.

The stack traces in the programs hold the paths of this checkout; all else is the same in each run.
"""

import copy
import io
import json
import logging
import pathlib
import shutil
import sys
import warnings
import zipfile
import zlib

import torch
from torch._export.serde.serialize import serialize
from torch.autograd.functional import hessian, jacobian
from torch.utils import _pytree as pytree

import cases.exported
from make import flat, write_json

FOLDER = pathlib.Path(__file__).parent / "exported"


def tensors_of(tree):
    return [leaf for leaf in pytree.tree_flatten(tree)[0] if isinstance(leaf, torch.Tensor)]


def expectations(model, args, kwargs, zero_hessian):
    # A call may leave something behind in a module; each of these is the first one.
    exact = copy.deepcopy(model).double().eval()
    leaves, spec = pytree.tree_flatten((args, kwargs))
    floats = [leaf for leaf in leaves if leaf.is_floating_point()]
    x = torch.cat([leaf.flatten() for leaf in floats])

    def f(z):
        rest, given = z, []
        for leaf in leaves:
            if leaf.is_floating_point():
                given.append(rest[: leaf.numel()].reshape(leaf.shape).clone())
                rest = rest[leaf.numel() :]
            else:
                given.append(leaf)
        args, kwargs = pytree.tree_unflatten(given, spec)
        return torch.cat([y.flatten() for y in tensors_of(copy.deepcopy(exact)(*args, **kwargs))])

    # Its other ways have no second derivative.
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        y = f(x).detach()
        mu = torch.randn(y.shape, dtype=torch.float64)
        return {
            "shapes": [list(leaf.shape) for leaf in leaves],
            "integers": [int(v) for leaf in leaves if not leaf.is_floating_point() for v in leaf.flatten().tolist()],
            "x": flat(x),
            "y": flat(y),
            "jacobian": flat(jacobian(f, x)),
            "mu": flat(mu),
            "hessian": flat(torch.zeros(x.numel() ** 2) if zero_hessian else hessian(lambda z: f(z) @ mu, x)),
        }


def write(name, make, positional, keywords, dynamic):
    torch.manual_seed(zlib.crc32(name.encode()))
    model = make().eval()
    args, kwargs = tuple(maker() for maker in positional), {key: maker() for key, maker in keywords.items()}
    # torch differentiates Hardsigmoid once only, with a sixth that is rounded to float32.
    expected = expectations(model, args, kwargs, zero_hessian=name == "hard")
    if name == "looped":
        expected["endless"] = True
    # So it does CELU's alpha.
    expected["core_tolerance"] = 1e-7 if name in ("hard", "activations") else 1e-11
    narrow = lambda leaf: leaf.float() if leaf.is_floating_point() else leaf
    args, kwargs = pytree.tree_map(narrow, (args, kwargs))
    program = torch.export.export(model.float(), args, kwargs, dynamic_shapes=dynamic)
    torch.export.save(program, FOLDER / f"{name}.pt2")
    # Core ATen has no operation that stops gradients.
    if name == "detached":
        expected["core_refused"] = True
    else:
        torch.export.save(program.run_decompositions(), FOLDER / f"{name}_core.pt2")
    write_json(FOLDER / f"{name}.json", expected)


def write_layouts():
    """The same program in the layouts of older versions: the flat one of torch 2.7 and earlier, and the one of 2.8, in
    which the folders are there, but torch.save wrote all tensors of a kind. What is in them is what torch's own
    serializer gives."""
    model = cases.exported.Tied().eval()
    program = torch.export.export(model, (torch.zeros(2, 3),))
    artifact = serialize(program)
    parts = {"program": artifact.exported_program, "state_dict": artifact.state_dict, "constants": artifact.constants}
    flat_names = {"program": "serialized_exported_program.json", "state_dict": "serialized_state_dict.pt", "constants": "serialized_constants.pt"}
    oldest = flat_names | {"state_dict": "serialized_state_dict.json", "constants": "serialized_constants.json"}
    between = {"program": "models/model.json", "state_dict": "data/weights/model.pt", "constants": "data/constants/model.pt"}
    layouts = {
        "flat": (flat_names, {"version": b"8.8", "serialized_example_inputs.pt": artifact.example_inputs, "extra_files/note": b"hello"}, ""),
        "flat_oldest": (oldest, {"version": b"8.2"}, ""),
        "between": (between, {"archive_format": b"pt2", "archive_version": b"0", "byteorder": b"little"}, "program/"),
    }  # fmt: skip
    for name, (names, others, folder) in layouts.items():
        with zipfile.ZipFile(FOLDER / "layouts" / f"{name}.pt2", "w", zipfile.ZIP_STORED) as new:
            for record, data in others.items():
                new.writestr(zipfile.ZipInfo(folder + record), data)
            for part, record in names.items():
                new.writestr(zipfile.ZipInfo(folder + record), parts[part])
    torch.export.save(program, FOLDER / "layouts" / "now.pt2")
    # Earlier versions wrote numbers that are not finite as Python does.
    clamped = torch.export.export(cases.exported.Written(lambda self, x: x.clamp(max=float("inf"))).eval(), (torch.zeros(2),))
    text = serialize(clamped).exported_program.replace(b'"Infinity"', b"Infinity")
    with zipfile.ZipFile(FOLDER / "layouts" / "infinity.pt2", "w", zipfile.ZIP_STORED) as new:
        new.writestr(zipfile.ZipInfo("version"), b"8.2")
        new.writestr(zipfile.ZipInfo("serialized_exported_program.json"), text)
        new.writestr(zipfile.ZipInfo("serialized_state_dict.pt"), b"")
        new.writestr(zipfile.ZipInfo("serialized_constants.pt"), b"")


def rewritten(path, **changes):
    """A small program with something wrong in it: see `change_program`."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Softplus())
    torch.export.save(torch.export.export(model.eval(), (torch.zeros(2, 3),)), path)
    change_program(path, **changes)


def change_program(path, change=lambda program: None, records=lambda name, data: data, json_text=None):
    """Writes a program anew: `change` is given its JSON, `records` each other record."""
    buffer = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as new:
        for info in old.infolist():
            data = old.read(info)
            name = info.filename.split("/", 1)[1]
            if name == "models/model.json":
                program = json.loads(data)
                change(program)
                data = (json_text or json.dumps)(program).encode()
            data = records(name, data)
            if data is not None:
                # A date of its own, so that the bytes are the same in each run.
                new.writestr(zipfile.ZipInfo(f"program/{name}"), data)


def write_refused():
    """Files that must be refused, and words of the message; `index.json` is a list of both."""
    folder = FOLDER / "refused"
    folder.mkdir(exist_ok=True)
    graph = lambda program: program["graph_module"]["graph"]
    signature = lambda program: program["graph_module"]["signature"]

    def config(change):
        def records(name, data):
            if name != "data/weights/model_weights_config.json":
                return data
            contents = json.loads(data)
            change(contents["config"])
            return json.dumps(contents).encode()

        return {"records": records}

    def without(name):
        return {"records": lambda other, data: None if other == name else data}

    def set_to(at, value):
        """Sets a part of the program, found by keys."""

        def change(program):
            for key in at[:-1]:
                program = program[key]
            program[at[-1]] = value

        return {"change": change}

    def node(*at):
        return ("graph_module", "graph", "nodes", *at)

    def cut(name, data):
        return data[:-4] if name == "data/weights/weight_0" else data

    def package(path):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as new:
            for name in ("archive_format", "data/aotinductor/model/code.so"):
                new.writestr(zipfile.ZipInfo(f"program/{name}"), b"pt2")

    def swap(program):
        nodes = graph(program)["nodes"]
        nodes[0], nodes[1] = nodes[1], nodes[0]

    def unknown(program):
        for at, name in enumerate(("aten.erfinv.default", "mine.secret.default")):
            graph(program)["nodes"][at]["target"] = f"torch.ops.{name}"

    cases = [
        ("schema", set_to(("schema_version", "major"), 9), "schema version is 9."),
        ("no_schema", {"change": lambda program: program.pop("schema_version")}, "missing field `schema_version`"),
        ("operations", {"change": unknown}, "2 operations that the engine does not have: aten.erfinv.default (layer `0` (torch.nn.modules.linear.Linear) at"),
        ("operations_both", {"change": unknown}, "mine.secret.default (layer `1` (torch.nn.modules.activation.Softplus)"),
        ("dtype", set_to(("graph_module", "graph", "tensor_values", "input", "dtype"), 77), "input `input`: the file gives the dtype the number 77"),
        ("complex_input", set_to(("graph_module", "graph", "tensor_values", "input", "dtype"), 10), "input `input`: it holds complex64"),
        ("cycle", {"change": swap}, "is `linear`, which torch.ops.aten.linear.default computes behind it: the program has a cycle"),
        ("dangling", set_to(node(1, "inputs", 0, "arg"), {"as_tensor": {"name": "nobody"}}), "argument `self` is `nobody`, which nothing defines"),
        ("dangling_output", set_to(("graph_module", "graph", "outputs"), [{"as_tensor": {"name": "nobody"}}]), "returns `nobody`, which nothing defines"),
        ("twice", set_to(node(1, "outputs", 0, "as_tensor", "name"), "linear"), "the value `linear` is defined twice"),
        ("signature", {"change": lambda program: signature(program)["input_specs"].pop()}, "the signature does not say what the input `input` is"),
        ("no_output", {"change": lambda program: signature(program)["output_specs"].clear()}, "returns no tensor"),
        ("parameter", set_to(("graph_module", "signature", "input_specs", 0, "parameter", "parameter_name"), "1.weight"), "parameter `1.weight`: the archive holds no tensor of this name"),
        ("weight_missing", without("data/weights/weight_0"), "record `data/weights/weight_0` is missing"),
        ("weight_short", {"records": cut}, "tensor `0.weight`: sizes [2, 3], strides [3, 1] and offset 0 reach element 5"),
        ("weight_sizes", config(lambda c: c["0.weight"]["tensor_meta"].update(sizes=[{"as_int": 3}, {"as_int": 2}], strides=[{"as_int": 2}, {"as_int": 1}])), "parameter `0.weight`: it is stored with shape [3, 2], but the program declares [2, 3]"),
        ("weight_huge", config(lambda c: c["0.weight"]["tensor_meta"].update(sizes=[{"as_int": 2**62}, {"as_int": 2**62}])), "overflow"),
        ("weight_negative", config(lambda c: c["0.weight"]["tensor_meta"].update(strides=[{"as_int": -3}, {"as_int": 1}])), "its size or stride is -3"),
        ("weight_dtype", config(lambda c: c["0.weight"]["tensor_meta"].update(dtype=6)), "it is stored as float16, but the program declares float32"),
        ("weight_sparse", config(lambda c: c["0.weight"]["tensor_meta"].update(layout=1)), "tensor `0.weight`: its layout is number 1"),
        ("no_config", without("data/weights/model_weights_config.json"), "record `data/weights/model_weights_config.json` is missing"),
        ("not_json", {"json_text": lambda program: json.dumps(program)[:-30]}, "record `models/model.json`: EOF while parsing"),
        ("argument_kind", set_to(node(1, "inputs", 0, "arg"), {"as_shape": [1]}), "unknown variant `as_shape`"),
        ("argument", set_to(node(1, "inputs", 0, "arg"), {"as_string": "x"}), "layer `1` (torch.nn.modules.activation.Softplus)"),
        ("argument_missing", {"change": lambda program: graph(program)["nodes"][0]["inputs"].__delitem__(slice(1, 3))}, "argument `weight` is missing"),
        ("argument_twice", {"change": lambda program: graph(program)["nodes"][0]["inputs"].append(graph(program)["nodes"][0]["inputs"][0])}, "argument `input` is given twice"),
        ("shapes", set_to(("graph_module", "graph", "tensor_values", "linear", "sizes"), [{"as_int": 2}, {"as_int": 5}]), "its result has shape [2, 2], but the program declares [2, 5]"),
        ("input_shape", set_to(("graph_module", "graph", "tensor_values", "input", "sizes"), [{"as_int": 2}, {"as_int": 5}]), "its last dimension must be 3"),
        ("deep", {"json_text": lambda program: '{"schema_version": {"major": 8, "minor": 1}, "graph_module": ' + "[" * 100000}, "EOF while parsing a list"),
    ]  # fmt: skip
    index = []
    for name, arguments, words in cases:
        rewritten(folder / f"{name}.pt2", **arguments)
        index.append({"file": f"{name}.pt2", "words": words})
    package(folder / "aotinductor.pt2")
    index.append({"file": "aotinductor.pt2", "words": "a package of AOTInductor"})
    (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n")


def main(part=""):
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if not part:
        shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(exist_ok=True)
    every = cases.exported.exported()
    for case in every:
        if part in case[0]:
            write(*case)
    if part in "refused":
        write_refused()
    if part in "layouts":
        (FOLDER / "layouts").mkdir(exist_ok=True)
        torch.manual_seed(0)
        write_layouts()
    (FOLDER / "index.json").write_text(json.dumps([case[0] for case in every], indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
