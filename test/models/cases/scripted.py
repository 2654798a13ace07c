"""Modules that are saved with torch.jit.save: what `scripted/` holds besides the traced and scripted cases of `exported`."""

from typing import Dict, List, NamedTuple, Optional, Tuple

import torch
from torch import nn
from torch.nn import functional as F

from .exported import drawn, trained


class Flags(nn.Module):
    """Attributes, a loop over modules, branches on flags, options and sizes, and an assertion."""

    use_scale: bool

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 3) for _ in range(3)])
        self.norm = trained(nn.BatchNorm1d(3))
        self.drop = nn.Dropout(0.5)
        self.use_scale = True
        self.widths = [1, 2]
        self.register_buffer("scale", torch.randn(3))

    def forward(self, x, y: Optional[torch.Tensor] = None, power: int = 2):
        for i, layer in enumerate(self.layers):
            x = F.relu(layer(x), inplace=True) if i < 2 else torch.tanh(layer(x))
        x = self.drop(self.norm(x))
        if self.use_scale:
            x = x * self.scale
        else:
            x = torch.special.airy_ai(x)
        if y is not None:
            x = x + y
        assert x.dim() == 2, "two dimensions"
        if x.shape[0] > self.widths[1] and not self.training:
            x = x[: self.widths[1]]
        return x**power


class Loops(nn.Module):
    """Loops of shape-known bounds, lists, dicts, texts, methods and a named tuple."""

    def step(self, x, times: int):
        i = 0
        while i < times and i * i < 100:
            x = x + 0.5 * float(i) * torch.tanh(x)
            i += 1
        return x

    def forward(self, x: torch.Tensor) -> Tuple[torch.Tensor, List[torch.Tensor], Dict[str, torch.Tensor]]:
        parts: List[torch.Tensor] = []
        for i in range(x.size(1)):
            if i == 1:
                continue
            parts.append(x[:, i])
        named: Dict[str, torch.Tensor] = {"first": parts[0], "last": parts[-1] * 2}
        kind = "sum"
        if kind in ["sum", "mean"] and "first" in named:
            y = torch.stack(parts, 1).sum(0)
        else:
            y = torch.stack(parts, 1).mean(0)
        return self.step(y, x.dim() + 1), parts[::-1], named


class Sizes(nn.Module):
    """Arithmetic on sizes, view and flatten."""

    def forward(self, x):
        b, c, h, w = x.shape
        half, rest = c // 2, c % 2
        y = x[:, : half * 2].view(b, 2, half, -1).transpose(1, 2).flatten(1)
        n = int(float(h * w) ** 0.5)
        z = x.reshape(b, -1)[:, : max(n, 2) + min(rest, 5) - 1]
        return y.sum(1, keepdim=True) / (h * w) + z, y.view(y.size(0) * y.size(1))[-3:]


class Pair(NamedTuple):
    left: torch.Tensor
    right: torch.Tensor


class Several(nn.Module):
    """Several inputs, of which one is a tuple, and outputs with names."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(5, 2)

    def forward(self, a, pair: Tuple[torch.Tensor, torch.Tensor], scale: float = 2.0):
        b, c = pair
        return Pair(torch.sigmoid(self.mix(torch.cat([a, b], 1))) * scale, F.elu(c, alpha=0.5))


class Calls(nn.Module):
    """Free functions that call each other, constants, fill in place through views."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 3)

    def forward(self, words, x):
        y = clipped(self.table(words).sum(0), 0.9) * x
        z = torch.zeros_like(y)
        z[..., 1:] = y[..., :-1]
        z.view(-1).add_(torch.tensor([1.0, 2.0, 3.0]))
        return z * torch.arange(3, dtype=x.dtype) + torch.ones([3], dtype=torch.float64).to(x.dtype)


def clipped(x, limit: float):
    return halved(x).clamp(-limit, limit)


def halved(x):
    return x / 2


class Old(nn.Module):
    """Operations that did something else in files of old versions."""

    def forward(self, x):
        whole = torch.div(torch.tensor([7, -7, 9]), torch.tensor([2, 2, -4]))
        filled = torch.full([3], 3)
        return x * whole + torch.div(filled, 2) + F.gelu(x) + torch.linspace(0.0, 1.0, 3) + torch.logspace(0.0, 2.0, 3)


class Rounded(nn.Module):
    """The number of turns is a number that is rounded."""

    def forward(self, x):
        for _ in range(int(x.sum())):
            x = x * 2
        return x


@torch.jit.script
class Gauge:
    """An object of the program's own."""

    def __init__(self, start: torch.Tensor, count: int):
        self.total = start
        self.count = count

    def add(self, x: torch.Tensor) -> int:
        self.total = self.total + x
        self.count += 1
        return self.count

    def mean(self) -> torch.Tensor:
        return self.total / self.count


class Sides(NamedTuple):
    left: torch.Tensor
    right: Tuple[torch.Tensor, torch.Tensor]


class Objects(nn.Module):
    """Takes a dict and a tuple with names, makes objects, gives a dict."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, given: Dict[str, torch.Tensor], sides: Sides) -> Dict[str, torch.Tensor]:
        gauge = Gauge(self.layer(given["x"]), 1)
        found: Dict[str, torch.Tensor] = {}
        for key, value in given.items():
            found["twice_" + key] = value * 2
            gauge.add(value.sum())
        gauge.total = torch.tanh(gauge.total)
        turns = gauge.add(given["scale"] * sides.left)
        found["mean"] = gauge.mean() * turns
        found["product"] = sides.right[0] * sides.right[1] * sum([len(found), 1])
        return found


class Chooser(nn.Module):
    """Returns from a branch on a value of the input."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x, limit: float):
        if x.sum() > limit:
            return torch.tanh(self.layer(x))
        return torch.sqrt(x * x + 1)


class Decides(nn.Module):
    """Branches and loops that values of the input decide; of the branches both are taken."""

    def __init__(self):
        super().__init__()
        self.chooser, self.step = Chooser(), nn.Linear(3, 3)

    def forward(self, x, y) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        total = float(x.sum())
        a, b = self.chooser(x, total - 1.0), self.chooser(x, total + 1.0)
        scale, count = 1.0, 0
        written = x.clone()
        for i in range(3):
            row = y[i]
            if row > 0 and bool(x[0, 0] < 9):
                scale = scale * 0.5
                written[:, i].mul_(row)
            elif row < -9:
                count += 1
            else:
                pair = (row, x)
                if bool((pair[1] > 1e9).any()):
                    scale = 0.0
                written = written + pair[0]
        z, turns = y, 0
        while z.square().sum() < 50.0:
            z = z + torch.sigmoid(self.step(z))
            if z[0] > z[1]:
                z = z * 1.25
            turns += 1
        return a * scale + count, b, written, z * turns


class Foreign(nn.Module):
    """Operations that the engine does not have, in two modules."""

    def __init__(self):
        super().__init__()
        self.inner = Airy()

    def forward(self, x):
        y = torch.special.airy_ai(x)
        return torch.linalg.eigvals(self.inner(y)).real


class Airy(nn.Module):
    def forward(self, x):
        return torch.special.airy_ai(x) + torch.digamma(x)


class Endless(nn.Module):
    def forward(self, x):
        i = 0
        while i >= 0:
            i += 1
            if i > 100:
                i = 0
        return x * i


class Negative(nn.Module):
    """A trace whose size arithmetic stays in the code."""

    def forward(self, x):
        n = x.shape[0] * x.shape[1]
        return x.reshape(n // 2, 2).transpose(0, 1).reshape(x.shape[1], -1) @ x * (x.size(1) - 0.5)


def own():
    """(name, model, makers of the inputs)."""
    mlp = lambda: nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Softplus(), nn.Linear(4, 2))
    return [
        ("mlp", mlp, [drawn(2, 3)]),
        ("flags", Flags, [drawn(3, 3)]),
        ("flags_optional", Flags, [drawn(2, 3), drawn(2, 3)]),
        ("loops", Loops, [drawn(2, 3)]),
        ("sizes", Sizes, [drawn(2, 5, 2, 3)]),
        ("several", Several, [drawn(2, 2), lambda: (drawn(2, 3)(), drawn(4)())]),
        ("calls", Calls, [lambda: torch.tensor([4, 1, 1]), drawn(3)]),
        ("objects", Objects, [lambda: {"x": drawn(2, 3)(), "scale": drawn(1)()}, lambda: Sides(drawn(3)(), (drawn(2)(), drawn(2)()))]),
        ("decides", Decides, [drawn(2, 3), drawn(3)]),
        ("negative", Negative, [drawn(4, 2)]),
    ]


def refused():
    """(name, model, input, what the message holds)."""
    return [
        ("rounded", Rounded, drawn(2), ["depends on the values of the input", "the model", "scripted.py line"]),
        ("foreign", Foreign, drawn(2, 2), ["special_airy_ai", "digamma", "linalg_eigvals", "layer `inner`", "scripted.py line"]),
        ("endless", Endless, drawn(2), ["steps"]),
    ]
