"""Classes that torch does not define; `make.py` saves models that hold them. No reader needs this file."""

import torch
from torch import nn


class Skip(nn.Module):
    """x + factor * inner(x)"""

    def __init__(self, inner, factor):
        super().__init__()
        self.inner = inner
        self.factor = factor
        self.names = ["a", "b"]
        self.settings = {"depth": 1, "wide": (True, None)}

    def forward(self, x):
        return x + self.factor * self.inner(x)


class Twice(nn.Sequential):
    """A Sequential that runs its children twice."""

    def forward(self, x):
        return super().forward(super().forward(x))


class Scale(nn.Module):
    """(x - mean) * scale"""

    def __init__(self, n):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(n))
        self.register_buffer("mean", torch.randn(n))
        self.register_buffer("count", torch.tensor(7), persistent=False)
        self.register_parameter("missing", None)

    def forward(self, x):
        return (x - self.mean) * self.scale


class Symmetric(nn.Module):
    """A parametrization: the symmetric part."""

    def forward(self, x):
        return x.triu() + x.triu(1).transpose(-1, -2)


def hook(module, inputs, output):
    """A hook that changes nothing."""


def pre_hook(module, inputs):
    """A hook that changes nothing."""
