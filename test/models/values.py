"""Writes `values/`: files whose root is no module, with all that a reader must find in them. `make.py` calls it.

`values/index.json` has for each file:
  file, what     its name, and what it is
  root           the value: {"kind": .., ..} as `described` makes it of Python's values, containers in their order
  shared         pairs of tensor names that lie in one storage

A tensor is {"kind": "tensor", "layout", "dtype", "shape", "values"}, its values flat and row-major, complex ones as pairs;
of those that no reader need use, "values" is missing.
"""

import collections
import functools
import json
import pathlib
import shutil
import warnings

import torch

from cases.files import big_endian, legacy

HERE = pathlib.Path(__file__).parent / "values"
UNUSABLE = ("bits", "float4", "q", "uint1", "int1")


def number(v):
    """A number that JSON can hold; text where a double cannot."""
    if isinstance(v, float) and v - v != 0:
        return str(v)
    return str(v) if isinstance(v, int) and abs(v) > 2**53 else v


def tensor(t):
    layout = "quantized" if t.is_quantized else "nested" if t.is_nested else str(t.layout).removeprefix("torch.")
    layout = "meta" if t.is_meta else layout
    dtype = str(t.dtype).removeprefix("torch.")
    found = {"kind": "tensor", "layout": layout, "dtype": dtype, "shape": None if t.is_nested else list(t.shape)}
    if layout == "strided" and not dtype.startswith(UNUSABLE):
        t = t.detach().resolve_conj().resolve_neg()
        t = t.to(torch.complex128 if t.is_complex() else torch.float64) if t.is_floating_point() or t.is_complex() else t
        flat = t.flatten().tolist()
        found["values"] = [[number(v.real), number(v.imag)] if isinstance(v, complex) else number(v) for v in flat]
    return found


def described(v):
    if isinstance(v, torch.Tensor):
        return tensor(v)
    if v is None:
        return {"kind": "None"}
    if isinstance(v, torch.nn.Module):
        return {"kind": "module", "class": f"{type(v).__module__}.{type(v).__qualname__}"}
    if isinstance(v, dict):
        return {"kind": "dict", "entries": [[described(k), described(w)] for k, w in v.items()]}
    if isinstance(v, (list, tuple, set, frozenset)):
        kind = "tuple" if isinstance(v, tuple) else "set" if isinstance(v, (set, frozenset)) else "list"
        return {"kind": kind, "elements": [described(w) for w in v]}
    if isinstance(v, bytes):
        return {"kind": "bytes", "value": list(v)}
    if isinstance(v, torch.dtype) or isinstance(v, type):
        return {"kind": "class", "value": str(v) if isinstance(v, torch.dtype) else f"{v.__module__}.{v.__qualname__}"}
    return {"kind": type(v).__name__, "value": number(v)}


REALS = "float64 float32 float16 bfloat16 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu".split()
INTS = "int64 int32 int16 int8 uint64 uint32 uint16 uint8 bool".split()


def dtypes():
    found = {}
    for name in REALS:
        found[name] = torch.tensor([[1.0, 2.0, 0.5], [4.0, 0.25, 8.0]]).to(getattr(torch, name))
    for name in INTS:
        dtype = getattr(torch, name)
        found[name] = torch.tensor([[0, 1, 2], [3, 100, 0]]).to(dtype)
    found["int64"][0, 0] = -(2**63)
    found["uint64"] = torch.tensor([2**64 - 1, 2**53 + 1], dtype=torch.uint64)
    for name in ("complex128", "complex64", "complex32"):
        found[name] = torch.tensor([[1 + 2j, -3.5j], [0.25, float("inf") + 1j]]).to(getattr(torch, name))
    found["special"] = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 5e-324, 1.7976931348623157e308], dtype=torch.float64)
    return found


def views():
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    pair = torch.tensor([1 + 2j, 3 - 4j])
    empty = torch.empty(0, 3)
    return {
        "base": base, "transposed": base.t(), "part": base[1:3, 2:5], "expanded": base[:1, :2].expand(3, 2), "steps": base[:, ::2],
        "reversed_dims": base.reshape(2, 2, 6).permute(2, 0, 1), "windows": base.flatten()[:8].unfold(0, 4, 2), "scalar": torch.tensor(3.5),
        "of_base": base[3, 5], "empty": empty, "empty_part": base[2:2], "parameter": torch.nn.Parameter(base[0]), "conj": pair.conj(),
        "neg": pair.clone().conj().imag,
    }  # fmt: skip


def unusable():
    dense = torch.tensor([[0.0, 1.0, 0.0, 0.0], [2.0, 0.0, 0.0, 3.0]])
    square = dense.reshape(2, 4).repeat(2, 1)
    bits = torch.arange(8, dtype=torch.uint8)
    channels = torch.quantize_per_channel(dense, torch.tensor([0.5, 0.25]), torch.tensor([0, 1]), 0, torch.qint8)
    found = {
        "coo": dense.to_sparse(), "csr": dense.to_sparse_csr(), "csc": dense.to_sparse_csc(), "bsr": square.to_sparse_bsr((2, 2)),
        "bsc": square.to_sparse_bsc((2, 2)), "coo_half": dense.half().to_sparse(),
        "quint8": torch.quantize_per_tensor(dense, 0.5, 3, torch.quint8), "qint32": torch.quantize_per_tensor(dense, 0.5, 0, torch.qint32),
        "channels": channels, "nested": torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(1, 3)]),
        "jagged": torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(1, 3)], layout=torch.jagged),
        "meta": torch.empty(2, 3, device="meta"),
    }  # fmt: skip
    for name in ("bits8", "bits1x8", "bits2x4", "bits4x2", "bits16", "float4_e2m1fn_x2"):
        found[name] = bits.view(getattr(torch, name))
    found["fine"] = dense
    return found


def keys():
    return {
        "text": 1, 7: 2, -(2**70): 3, 1.5: 4, None: 5, True: 6, (1, "a", (None, 2.5)): 7, b"\x00\xff": 8, frozenset([3]): 9,
        torch.float32: 10, "": 11, "ä\n€": 12, torch.nn.Linear: 13, float("inf"): 14,
    }  # fmt: skip


def nested():
    shared = torch.arange(3.0)
    return [
        {"weights": {"a": shared, "b": [shared, (shared[1:], None)]}, "steps": 3, "loss": 0.125, "note": "ok", "big": 2**100, "flags": {5}},
        (), [], {}, (torch.ones(1),), collections.OrderedDict([("z", 1), ("a", 2)]),
    ]  # fmt: skip


def with_module():
    torch.manual_seed(5)
    return {"epoch": 3, "model": torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Tanh()), "lr": [0.1, 0.01]}


def state_dict():
    torch.manual_seed(6)
    return torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)).state_dict()


def swapped(value, path):
    """The archive of a big-endian machine."""
    big_endian(value, path, [t for t in value.values()])


def write_all():
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir()
    warnings.filterwarnings("ignore", ".*(experimental|prototype|beta).*")
    index = []

    def add(name, what, value, save=torch.save):
        save(value, HERE / f"{name}.pt")
        index.append({"file": f"{name}.pt", "what": what, "root": described(value)})

    add("dtypes", "every dtype that holds numbers", dtypes())
    add("dtypes_legacy", "the same in the legacy stream", dtypes(), legacy)
    add("dtypes_big_endian", "the same from a big-endian machine", dtypes(), swapped)
    add("views", "views that share storages, empty and scalar tensors", views())
    add("views_legacy", "the same in the legacy stream", views(), legacy)
    add("unusable", "tensors of kinds that stay records", unusable())
    add("keys", "a dict with keys of every kind", keys())
    add("keys_protocol_0", "the same in protocol 0", keys(), functools.partial(torch.save, pickle_protocol=0))
    add("keys_protocol_4", "the same in protocol 4", keys(), functools.partial(torch.save, pickle_protocol=4))
    add("nested", "lists, tuples and dicts in each other", nested())
    add("nested_legacy", "the same in the legacy stream", nested(), legacy)
    add("with_module", "a dict that holds a module", with_module())
    add("state_dict", "a state dict", state_dict())
    add("tensor", "one tensor", torch.arange(6.0).reshape(2, 3))
    add("list", "a list of tensors", [torch.ones(2), torch.zeros(1, dtype=torch.int16)])
    add("number", "one number", 42)
    shared = [["base", name] for name in ("transposed", "part", "expanded", "steps", "reversed_dims", "windows", "of_base", "empty_part", "parameter")]
    for entry in index:
        entry["shared"] = shared if entry["file"].startswith("views") else []
    (HERE / "index.json").write_text("[\n" + ",\n".join(json.dumps(entry) for entry in index) + "\n]\n")
    print(len(index), "files of values")


if __name__ == "__main__":
    write_all()
