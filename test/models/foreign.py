"""Writes `foreign/`: programs of torch.export with operations that only libtorch has, and torch's own answers.

    python test/models/foreign.py            # all
    python test/models/foreign.py spectral   # those with this in their name

As `exported.py`, whose files these are like. `refused/` holds files that libtorch cannot run either, with words of the
message in `index.json`.
"""

import copy
import json
import pathlib
import sys
import warnings

import torch

import cases.foreign
import exported

FOLDER = pathlib.Path(__file__).parent / "foreign"


@torch.library.custom_op("mylib::foo", mutates_args=())
def foo(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@foo.register_fake
def _(x):
    return torch.empty_like(x)


class Custom(torch.nn.Module):
    def forward(self, x):
        return foo(torch.logcumsumexp(x, 0))


def write_refused():
    folder = FOLDER / "refused"
    folder.mkdir(exist_ok=True)
    index = []

    def refused(name, model, words, change=lambda nodes: None):
        path = folder / f"{name}.pt2"
        torch.export.save(torch.export.export(model, (torch.zeros(2, 3),)), path)
        exported.change_program(path, lambda program: change(program["graph_module"]["graph"]["nodes"]))
        index.append({"file": path.name, "words": words})

    written = lambda forward: cases.foreign.Written(forward).eval()
    products = lambda: written(lambda self, x: torch.logcumsumexp(x, 1))

    def target(name):
        return lambda nodes: nodes[0].update(target=f"torch.ops.{name}")

    def argument(at, **new):
        return lambda nodes: nodes[0]["inputs"][at].update(new)

    refused("custom", torch.nn.Sequential(Custom()), "operation that libtorch does not have: mylib.foo.default (layer `0` (__main__.Custom) at")
    refused("dropout", written(lambda self, x: torch.nn.functional.dropout(torch.logcumsumexp(x, 1), 0.5, True)), "dropout in training mode")
    refused("integers", written(lambda self, x: torch.bucketize(x, torch.tensor([0.0], dtype=x.dtype))), "output `output`: it holds Int64")
    refused("unknown", products(), "does not have: aten.logcumsumexp.nothing", target("aten.logcumsumexp.nothing"))
    refused("code", products(), "does not have: aten.logcumsumexp(x); import os", target("aten.logcumsumexp(x); import os"))
    refused("names", products(), "it has no parameter `dimension`", argument(1, name="dimension"))
    refused("kinds", products(), "logcumsumexp", argument(1, arg={"as_string": 'a"\\\n; import os'}))
    refused("nobody", products(), "argument `self` is `nobody`, which nothing defines", argument(0, arg={"as_tensor": {"name": "nobody"}}))
    refused("effects", products(), "it wraps no operation", target("higher_order.with_effects"))
    refused("place", products(), "Dimension out of range", argument(1, arg={"as_int": 7}))
    (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n")


def main(part=""):
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    FOLDER.mkdir(exist_ok=True)
    exported.FOLDER = FOLDER
    every = cases.foreign.foreign()
    for case in every:
        if part in case[0]:
            exported.write(*case)
    if part in "refused":
        write_refused()
    (FOLDER / "index.json").write_text(json.dumps([case[0] for case in every], indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
