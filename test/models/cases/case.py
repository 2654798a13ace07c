"""What a case of a fixture is."""

import dataclasses
from typing import Callable

import torch
from torch import nn


@dataclasses.dataclass
class Case:
    name: str
    shape: tuple  # of the input
    model: Callable  # makes the model, called with the case's seed set
    x: list | None = None  # the input's numbers; by default drawn from a normal distribution
    kinks: bool = False
    zero_hessian: bool = False  # where torch has no second derivative, but the closed form has, which is zero
    note: str = ""
    alter: Callable | None = None  # changes the model that is saved, after the answers are computed
    save: Callable = torch.save  # writes the model to a path


def layer(name, shape, model, **other):
    """A case of one layer in a Sequential."""
    return Case(f"layers/{name}", shape, lambda: nn.Sequential(model()), **other)
