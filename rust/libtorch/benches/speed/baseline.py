"""What the speed table compares with in Python: makes its models, and times torch's own ways.

    python baseline.py make FOLDER
    python baseline.py serve FOLDER

`make` writes, with random weights, resnet18 and mobilenet_v2 as NAME.pt (traced), NAME_frozen.pt (frozen, convolutions
with BatchNorms folded) and NAME_last.pt (frozen, channels last), and programs of 100 MB: resnet50_64.pt2 and resnet50_224.pt2, for
images of these sizes, and mlp.pt2.
`serve` reads names of ways, a line each, and answers each with the seconds that it took, of one thread.
"""

import pathlib
import sys
import time
import warnings

import torch
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[4] / "test/models"))
import families  # noqa: E402

IMAGE = (1, 3, 224, 224)


class ChannelsLast(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)

    def forward(self, x):
        return self.model(x.contiguous(memory_format=torch.channels_last))


def made(make):
    torch.manual_seed(5)
    model, _ = make()
    families.randomise(model)
    return model.eval().requires_grad_(False)


def wide():
    return nn.Sequential(nn.Linear(2500, 5000), nn.ReLU(), nn.Linear(5000, 2500)), None


def make(folder):
    folder.mkdir(parents=True, exist_ok=True)
    image = torch.randn(IMAGE)
    for name in ("resnet18", "mobilenet_v2"):
        model = made(families.vision(name, 224))
        torch.jit.save(torch.jit.trace(model, image), folder / f"{name}.pt")
        torch.jit.save(torch.jit.freeze(torch.jit.trace(model, image)), folder / f"{name}_frozen.pt")
        last = torch.jit.trace(ChannelsLast(model).eval(), image)
        torch.jit.save(torch.jit.freeze(last), folder / f"{name}_last.pt")
    for name, model, x in (
        ("resnet50_64", families.vision("resnet50", 64), torch.randn(1, 3, 64, 64)),
        ("resnet50_224", families.vision("resnet50", 224), image),
        ("mlp", wide, torch.randn(2500)),
    ):
        torch.export.save(torch.export.export(made(model), (x,)), folder / f"{name}.pt2")


def ways(folder):
    """For each name a call, and how often it is repeated for one sample."""
    net = nn.Sequential(nn.Linear(784, 512), nn.Tanh(), nn.Linear(512, 512), nn.Tanh(), nn.Linear(512, 10))
    net = net.double().requires_grad_(False)
    x, mu = torch.rand(784, dtype=torch.float64), torch.rand(10, dtype=torch.float64)

    def weighted(x):
        return net(x) @ mu

    def loaded(name, *shape):
        x = torch.full(shape, 0.5)

        def call():
            with torch.no_grad():
                return torch.export.load(folder / f"{name}.pt2").module()(x)

        return call

    func = torch.func
    return {
        "f": (lambda: net(x), 20),
        "jacrev": (lambda: func.jacrev(net)(x), 3),
        "jacfwd": (lambda: func.jacfwd(net)(x), 1),
        "hessian": (lambda: func.hessian(weighted)(x), 1),
        "jacrev of jacrev": (lambda: func.jacrev(func.jacrev(weighted))(x), 1),
        "load resnet50_64": (loaded("resnet50_64", 1, 3, 64, 64), 1),
        "load resnet50_224": (loaded("resnet50_224", *IMAGE), 1),
        "load mlp": (loaded("mlp", 2500), 1),
    }


def serve(folder):
    known = ways(folder)
    for line in sys.stdin:
        call, count = known[line.strip()]
        start = time.perf_counter()
        for _ in range(count):
            call()
        print((time.perf_counter() - start) / count, flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    {"make": make, "serve": serve}[sys.argv[1]](pathlib.Path(sys.argv[2]))
