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


def drawn(made):
    """The module with every parameter and statistic drawn, instead of ones and zeros."""
    for parameter in made.parameters():
        nn.init.normal_(parameter, mean=0.3)
    for name, buffer in made.named_buffers():
        if name == "running_mean":
            nn.init.normal_(buffer)
        elif name == "running_var":
            nn.init.uniform_(buffer, 0.3, 2.0)
    return made


def batch_norm():
    def norm(name, shape, cls, *args, alter=None, note="", **kwargs):
        return layer(name, shape, lambda: drawn(cls(*args, **kwargs)), alter=alter, note=note)

    one, two, three = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d
    return [
        norm("batchnorm1d", (2, 3), one, 3),
        norm("batchnorm1d_rank3", (2, 3, 2), one, 3),
        norm("batchnorm1d_eps", (2, 3), one, 3, eps=0.5),
        norm("batchnorm1d_no_affine", (2, 3), one, 3, affine=False),
        norm("batchnorm1d_momentum_none", (2, 3), one, 3, momentum=None),
        norm("batchnorm1d_no_statistics", (4, 3), one, 3, track_running_stats=False, note="the batch's own statistics"),
        norm("batchnorm1d_no_statistics_rank3", (2, 2, 3), one, 2, track_running_stats=False),
        norm("batchnorm1d_nothing", (3, 2), one, 2, affine=False, track_running_stats=False, eps=1e-2),
        norm("batchnorm2d", (2, 2, 2, 2), two, 2),
        norm("batchnorm2d_no_affine", (1, 2, 2, 3), two, 2, affine=False),
        norm("batchnorm2d_no_statistics", (2, 2, 1, 3), two, 2, track_running_stats=False),
        norm("batchnorm2d_saved_in_eval", (1, 2, 2, 2), two, 2, alter=lambda model: model.eval()),
        norm("batchnorm3d", (1, 2, 2, 1, 2), three, 2),
        norm("batchnorm3d_no_statistics", (2, 2, 1, 2, 1), three, 2, track_running_stats=False, eps=1e-3),
    ]


def instance_norm():
    def norm(name, shape, cls, *args, note="", **kwargs):
        return layer(name, shape, lambda: drawn(cls(*args, **kwargs)), note=note)

    one, two, three = nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d
    return [
        norm("instancenorm1d", (2, 2, 3), one, 2),
        norm("instancenorm1d_unbatched", (2, 4), one, 2),
        norm("instancenorm1d_affine", (2, 2, 3), one, 2, affine=True),
        norm("instancenorm1d_statistics", (2, 2, 3), one, 2, track_running_stats=True),
        norm("instancenorm1d_statistics_affine_unbatched", (2, 3), one, 2, affine=True, track_running_stats=True),
        norm("instancenorm2d", (1, 2, 2, 3), two, 2, eps=1e-2),
        norm("instancenorm2d_affine_unbatched", (2, 2, 3), two, 2, affine=True),
        norm("instancenorm2d_statistics_affine", (2, 2, 2, 2), two, 2, affine=True, track_running_stats=True),
        norm("instancenorm3d", (1, 2, 2, 1, 3), three, 2),
        norm("instancenorm3d_affine_unbatched", (2, 2, 1, 2), three, 2, affine=True),
    ]


def group_norm():
    def norm(name, shape, *args, **kwargs):
        return layer(f"groupnorm_{name}", shape, lambda: drawn(nn.GroupNorm(*args, **kwargs)))

    return [
        norm("plain", (2, 4, 3), 2, 4),
        norm("one_group", (2, 4), 1, 4),
        norm("group_per_channel", (1, 3, 2, 2), 3, 3),
        norm("rank2", (2, 6), 2, 6),
        norm("rank4", (1, 4, 2, 2), 2, 4, eps=0.1),
        norm("no_affine", (2, 4, 3), 2, 4, affine=False),
    ]


def rms_norm():
    def norm(name, shape, *args, x=None, **kwargs):
        return layer(f"rmsnorm_{name}", shape, lambda: drawn(nn.RMSNorm(*args, **kwargs)), x=x)

    return [
        norm("plain", (2, 5), 5),
        norm("unbatched", (5,), 5),
        norm("two_dims", (2, 2, 3), (2, 3)),
        norm("eps", (2, 4), 4, eps=0.3),
        norm("eps_zero", (2, 4), 4, eps=0.0),
        norm("no_affine", (2, 4), [4], elementwise_affine=False),
        norm("size_one", (3, 1), 1, eps=0.1),
        norm("small", (1, 4), 4, x=[1e-8, -2e-8, 3e-8, 0.5e-8]),
    ]


def local_response_norm():
    def norm(name, shape, *args, **kwargs):
        return layer(f"localresponsenorm_{name}", shape, lambda: nn.LocalResponseNorm(*args, **kwargs))

    return [
        norm("plain", (2, 4, 2), 2),
        norm("strong", (1, 4, 3), 3, alpha=2.0, beta=0.6, k=0.5),
        norm("rank4", (1, 5, 2, 2), 3, alpha=1.0),
        norm("rank5", (1, 3, 2, 1, 2), 2, alpha=3.0, beta=1.5, k=2.0),
        norm("size_one", (1, 3, 2), 1, alpha=0.5),
        norm("beyond_channels", (1, 2, 3), 7, alpha=1.0, beta=1.0),
        norm("beta_2", (1, 3, 2), 2, alpha=1.0, beta=2),
    ]
