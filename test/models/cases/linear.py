"""Linear."""

import torch
from torch import nn

from .case import Case, layer


def linear():
    return [
        layer("linear", (4,), lambda: nn.Linear(4, 3)),
        layer("linear_no_bias", (4,), lambda: nn.Linear(4, 3, bias=False)),
        layer("linear_rank2", (2, 4), lambda: nn.Linear(4, 3)),
        layer("linear_rank2_one_row", (1, 4), lambda: nn.Linear(4, 3)),
        layer("linear_rank2_no_bias", (3, 4), lambda: nn.Linear(4, 2, bias=False)),
        layer("linear_rank3", (2, 3, 4), lambda: nn.Linear(4, 3)),
        layer("linear_rank3_no_bias", (2, 2, 4), lambda: nn.Linear(4, 3, bias=False)),
        layer("linear_1_to_1", (1, 1), lambda: nn.Linear(1, 1)),
        layer("linear_wide", (1, 20), lambda: nn.Linear(20, 33)),
        layer("linear_float64", (2, 4), lambda: nn.Linear(4, 3, dtype=torch.float64)),
        Case("layers/linear_alone", (2, 4), lambda: nn.Linear(4, 3), note="the file holds the Linear, no Sequential"),
    ]
