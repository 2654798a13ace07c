"""Normalisations."""

import torch
from torch import nn

from .case import layer


def layer_norm():
    def norm(name, shape, *args, x=None, **kwargs):
        def model():
            made = nn.LayerNorm(*args, **kwargs)
            for parameter in made.parameters():  # torch starts with ones and zeros
                nn.init.normal_(parameter, mean=0.3)
            return made

        return layer(f"layernorm_{name}", shape, model, x=x)

    return [
        norm("plain", (2, 5), 5),
        norm("unbatched", (5,), 5),
        norm("list", (2, 5), [5]),
        norm("two_dims", (2, 2, 3), (2, 3)),
        norm("three_dims", (1, 2, 2, 3), (2, 2, 3)),
        norm("whole_input", (2, 3), (2, 3)),
        norm("last_of_rank3", (2, 2, 3), 3),
        norm("eps_large", (2, 5), 5, eps=0.5),
        norm("eps_zero", (2, 5), 5, eps=0.0),
        norm("eps_matters", (1, 4), 4, eps=1e-3, x=[0.001, 0.002, -0.001, 0.0]),
        norm("no_affine", (2, 5), 5, elementwise_affine=False),
        norm("no_bias", (2, 5), 5, bias=False),
        norm("two_dims_no_bias", (2, 2, 3), (2, 3), bias=False),
        norm("two_dims_no_affine", (2, 2, 3), (2, 3), elementwise_affine=False, eps=1e-2),
        norm("size_one", (3, 1), 1),
        norm("offset", (1, 4), 4, x=[1000.0, 1001.0, 999.5, 1002.0]),
        norm("bfloat16", (2, 5), 5, dtype=torch.bfloat16),
    ]
