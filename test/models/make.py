"""Writes the fixtures of this folder: small models as torch saves them, with torch's own answers beside them.

    python test/models/make.py            # all
    python test/models/make.py softmax    # those with this in their name

Made with torch 2.13.0 on Python 3.11 (CPU; one thread). Each case draws its numbers from a seed of its own, so a
new case changes no other file. What the models are stands in `cases`; this file computes and writes.

For each NAME of `index.json` there are two files:

NAME.pt      `torch.save(model)`, unchanged: in training mode unless the case says else.
NAME.json    in float64, from a copy of the model after `.double().eval()` (which widens weights exactly):
  model         the file beside it
  layers        full class names of the modules without children, in the order of the tree; a module that
                stands in two places is named twice
  kinks         true where x, on purpose, lies on kinks: the derivatives are then those that torch gives
  note          (some) what the case is about
  input_shape, x, output_shape, y      y = f(x); all arrays flat, in row-major order
  jacobian      m x n
  mu, hessian   the Hessian of mu'f, n x n
  v, jvp        J v          u, vjp        J'u          hvp        (Hessian of mu'f) v
  y_f32         f(x) computed wholly in float32, from x and weights rounded to float32
Numbers read back exactly; those that are not finite are the strings "NaN", "Infinity", "-Infinity".

The files that a reader must refuse, or treat as custom layers, are written to `refused/` by the same run (its
`index.json` is like the one that `make_hostile.py` describes). A run from a clean checkout gives the same bytes.
"""

import copy
import json
import pathlib
import shutil
import sys
import warnings
import zlib

import torch

import cases
import values

HERE = pathlib.Path(__file__).parent


def leaves(module):
    """Class names of the modules without children, shared ones each time."""
    if isinstance(module, torch.nn.Sequential):
        return [name for child in module for name in leaves(child)]
    return [f"{type(module).__module__}.{type(module).__qualname__}"]


def flat(tensor):
    """The tensor's numbers as a flat list that JSON can hold."""
    spelled = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    return [spelled.get(str(v), v) for v in tensor.detach().flatten().tolist()]


def expectations(model, x, zero_hessian):
    """All that NAME.json holds besides the case's own words."""
    exact = copy.deepcopy(model).double().eval()

    def f(z):
        return exact(z.clone())  # a copy, since a first layer that works in place would write to the input

    def gradient(value, z, **kwargs):
        if not value.requires_grad:
            return torch.zeros_like(z)
        (g,) = torch.autograd.grad(value, z, allow_unused=True, **kwargs)
        return torch.zeros_like(z) if g is None else g

    z = x.clone().requires_grad_(True)
    y = f(z)
    mu, v, u = (torch.randn(shape, dtype=torch.float64) for shape in (y.shape, x.shape, y.shape))
    rows = [gradient(value, z, retain_graph=True) for value in y.flatten()]
    vjp = gradient((y * u).sum(), z, retain_graph=True)
    if zero_hessian:
        g = torch.zeros_like(z)
    else:
        g = gradient((y * mu).sum(), z, create_graph=True)
    hessian = [gradient(value, z, retain_graph=True) for value in g.flatten()]
    hvp = gradient((g * v).sum(), z)
    _, jvp = torch.func.jvp(f, (x,), (v,))

    # The three ways to the same numbers agree, so that a fault of torch's does not become our truth.
    def stack(parts):
        return torch.stack(parts).reshape(len(parts), x.numel())

    j, h = stack(rows), stack(hessian)
    for one, other in (
        (jvp.flatten(), j @ v.flatten()),
        (vjp.flatten(), j.T @ u.flatten()),
        (hvp.flatten(), h @ v.flatten()),
        (h, h.T),
    ):
        if torch.isfinite(one).all():
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)

    single = copy.deepcopy(model).float().eval()
    with torch.no_grad():
        y_f32 = single(x.float())
    return {
        "input_shape": list(x.shape),
        "x": flat(x),
        "output_shape": list(y.shape),
        "y": flat(y),
        "jacobian": flat(j),
        "mu": flat(mu),
        "hessian": flat(h),
        "v": flat(v),
        "jvp": flat(jvp),
        "u": flat(u),
        "vjp": flat(vjp),
        "hvp": flat(hvp),
        "y_f32": flat(y_f32),
    }


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, separators=(",", ":"), allow_nan=False) + "\n")


def write_fixture(case):
    torch.manual_seed(zlib.crc32(case.name.encode()))
    model = case.model()
    if case.x is None:
        x = torch.randn(case.shape, dtype=torch.float64)
    else:
        x = torch.tensor(case.x, dtype=torch.float64).reshape(case.shape)
    expected = {"model": pathlib.Path(case.name).name + ".pt", "layers": leaves(model), "kinks": case.kinks}
    if case.note:
        expected["note"] = case.note
    expected.update(expectations(model, x, case.zero_hessian))
    saved = model
    if case.alter is not None:
        saved = copy.deepcopy(model)
        case.alter(saved)
    write_json(HERE / f"{case.name}.json", expected)
    case.save(saved, HERE / f"{case.name}.pt")


def write_inputs():
    """Models of integers or of two inputs: `shapes` of all inputs, `integers`, and what the others have of the numbers
    that are floating point, flattened and one behind another."""
    folder = HERE / "inputs"
    shutil.rmtree(folder, ignore_errors=True)
    names = []
    for name, make, makers in cases.inputs():
        torch.manual_seed(zlib.crc32(name.encode()))
        model, tensors = make(), [maker() for maker in makers]
        floats = [tensor for tensor in tensors if tensor.is_floating_point()]
        exact = copy.deepcopy(model).double().eval()
        x = torch.cat([tensor.flatten() for tensor in floats]) if floats else torch.zeros(0, dtype=torch.float64)

        def f(z):
            rest, given = z, []
            for tensor in tensors:
                if tensor.is_floating_point():
                    given.append(rest[: tensor.numel()].reshape(tensor.shape))
                    rest = rest[tensor.numel() :]
                else:
                    given.append(tensor)
            return exact(*given).flatten()

        y = f(x).detach()
        mu = torch.randn(y.shape, dtype=torch.float64)
        expected = {
            "shapes": [list(tensor.shape) for tensor in tensors],
            "integers": [v for tensor in tensors if not tensor.is_floating_point() for v in tensor.flatten().tolist()],
            "x": flat(x),
            "y": flat(y),
            "jacobian": flat(torch.autograd.functional.jacobian(f, x)) if floats else [],
            "mu": flat(mu),
            "hessian": flat(torch.autograd.functional.hessian(lambda z: f(z) @ mu, x)) if floats else [],
        }
        write_json(folder / f"{name}.json", expected)
        torch.save(model, folder / f"{name}.pt")
        names.append(name)
    (folder / "index.json").write_text(json.dumps(names, indent=1) + "\n")


def write_refused():
    folder = HERE / "refused"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    index = []
    for name, what, outcome, words, write in cases.refused():
        torch.manual_seed(zlib.crc32(name.encode()))
        write(folder / f"{name}.pt")
        index.append({"file": f"{name}.pt", "what": what, "outcome": outcome, "words": words})
    (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n")


def main(part=""):
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for known in ("Implicit dimension choice for", "Using padding=.same. with even kernel", ".*weight_norm. is deprecated"):
        warnings.filterwarnings("ignore", known)
    every = cases.layers() + cases.nets() + cases.files()
    names = [case.name for case in every]
    assert len(set(names)) == len(names)
    if not part:
        for folder in ("layers", "nets", "files"):
            shutil.rmtree(HERE / folder, ignore_errors=True)
    for case in every:
        if part in case.name:
            try:
                write_fixture(case)
            except Exception:
                print(f"in case {case.name}:", file=sys.stderr)
                raise
    (HERE / "index.json").write_text(json.dumps(names, indent=1) + "\n")
    write_inputs()
    write_refused()
    values.write_all()
    print(f"{len(names)} fixtures")


if __name__ == "__main__":
    main(*sys.argv[1:])
