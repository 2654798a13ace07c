"""Whole networks."""

import collections

import torch
from torch import nn

from .case import Case


def nets():
    def net(name, shape, *modules, **other):
        return Case(f"nets/{name}", shape, lambda: nn.Sequential(*(m() if callable(m) else m for m in modules)), **other)

    def mlp(*sizes, activation):
        steps = []
        for i, (n, m) in enumerate(zip(sizes, sizes[1:])):
            steps += [nn.Linear(n, m)] + ([activation()] if i < len(sizes) - 2 else [])
        return nn.Sequential(*steps)

    def named():
        return nn.Sequential(
            collections.OrderedDict(
                [("hidden", nn.Linear(3, 4)), ("act", nn.Tanh()), ("größe", nn.Linear(4, 4)), ("out", nn.Sigmoid())]
            )
        )

    def nested():
        inner = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Tanh(), nn.Sequential(nn.Linear(4, 3), nn.Sequential())))
        return nn.Sequential(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), inner, nn.Sequential(nn.Sequential(nn.Softplus())))

    def cnn():
        return nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 4), nn.Softmax(dim=1)
        )

    def cnn_smooth():
        return nn.Sequential(
            nn.Conv2d(1, 2, 3, padding="same", padding_mode="circular"), nn.Tanh(), nn.AvgPool2d(2, ceil_mode=True),
            nn.Conv2d(2, 4, 2, groups=2, bias=False), nn.GELU(), nn.Flatten(), nn.LayerNorm(16), nn.Dropout(), nn.Linear(16, 3),
        )

    def shared():
        same, act = nn.Linear(4, 4), nn.Tanh()
        return nn.Sequential(same, act, same, act, nn.Linear(4, 2))

    def tied():
        first, second = nn.Linear(3, 3), nn.Linear(3, 3)
        second.weight = first.weight
        second.bias = nn.Parameter(first.bias.detach())  # another Parameter on the same storage
        return nn.Sequential(first, nn.Sigmoid(), second)

    def transposed_tie():
        first, second = nn.Linear(3, 5), nn.Linear(5, 3)
        second.weight = nn.Parameter(first.weight.detach().t())
        return nn.Sequential(first, nn.Tanh(), second)

    def views():
        big = torch.randn(6, 8)
        first, second, third = nn.Linear(6, 3), nn.Linear(3, 2), nn.Linear(2, 2)
        first.weight = nn.Parameter(big.t()[2:5])  # strides (1, 8), offset 2
        first.bias = nn.Parameter(big[1:6:2, 3])  # stride 16
        second.weight = nn.Parameter(big[3:5, 1:7:2])  # strides (8, 2)
        second.bias = nn.Parameter(big[0, :1].expand(2))  # stride 0
        third.weight = nn.Parameter(big.flatten()[5:10].unfold(0, 2, 3))  # strides (3, 1)
        third.bias = nn.Parameter(big[5, 6:])
        return nn.Sequential(first, nn.Tanh(), second, nn.Softplus(), third)

    def view_conv():
        big = torch.randn(3, 4, 2, 5)
        conv = nn.Conv2d(2, 3, (2, 3))
        conv.weight = nn.Parameter(big[:, 1::2, :, 1:4])
        last = nn.Conv2d(3, 2, 2)
        last.weight = nn.Parameter(last.weight.detach().to(memory_format=torch.channels_last))
        return nn.Sequential(conv, nn.Sigmoid(), last)

    def frozen():
        model = mlp(3, 4, 2, activation=nn.Tanh)
        model.requires_grad_(False)
        return model

    def with_gradients():
        model = mlp(3, 4, 2, activation=nn.Tanh)
        model(torch.randn(2, 3)).sum().backward()
        return model

    def mixed_dtypes():
        return nn.Sequential(nn.Linear(3, 4).half(), nn.Tanh(), nn.Linear(4, 3).double(), nn.Sigmoid(), nn.Linear(3, 2).bfloat16())

    small = lambda: mlp(3, 5, 5, 2, activation=nn.Tanh)
    return [
        net("mlp_tanh", (10,), lambda: mlp(10, 50, 50, 1, activation=nn.Tanh)),
        net("mlp_tanh_batch", (3, 4), lambda: mlp(4, 8, 8, 3, activation=nn.Tanh)),
        net("mlp_relu", (2, 4), lambda: mlp(4, 16, 16, 3, activation=nn.ReLU)),
        net("mlp_leakyrelu", (4,), lambda: mlp(4, 8, 8, 3, activation=nn.LeakyReLU)),
        net("mlp_sigmoid", (4,), lambda: mlp(4, 8, 8, 3, activation=nn.Sigmoid)),
        net("mlp_softplus", (4,), lambda: mlp(4, 8, 8, 3, activation=nn.Softplus)),
        net("mlp_gelu", (4,), lambda: mlp(4, 8, 8, 3, activation=nn.GELU)),
        net("mlp_gelu_layernorm", (2, 5),
            lambda: nn.Linear(5, 8), lambda: nn.LayerNorm(8), nn.GELU, lambda: nn.Linear(8, 8), lambda: nn.LayerNorm(8),
            lambda: nn.GELU(approximate="tanh"), lambda: nn.Linear(8, 3), lambda: nn.Softmax(dim=-1)),
        net("mlp_softmax_inside", (2, 4), lambda: nn.Linear(4, 5), lambda: nn.Softmax(dim=1), lambda: nn.Linear(5, 3), nn.Sigmoid),
        net("linear_only", (3,), lambda: nn.Linear(3, 4), lambda: nn.Linear(4, 4), lambda: nn.Linear(4, 2)),
        Case("nets/named_children", (2, 3), named, note="children have names, one of them not ASCII"),
        Case("nets/nested", (2, 3), nested),
        Case("nets/empty", (2, 3), lambda: nn.Sequential(), note="an empty Sequential is the identity"),
        Case("nets/cnn", (1, 1, 4, 5), cnn),
        Case("nets/cnn_batch", (2, 1, 4, 5), cnn),
        Case("nets/cnn_smooth", (1, 1, 5, 6), cnn_smooth),
        Case("nets/shared_module", (2, 4), shared, note="one module stands in two places"),
        Case("nets/tied_weights", (2, 3), tied, note="one Parameter in two modules; two Parameters on one storage"),
        Case("nets/transposed_tie", (2, 3), transposed_tie, note="an auto-encoder: the second weight is a view of the first"),
        Case("nets/views", (2, 6), views, note="strides, offsets and a shared storage"),
        Case("nets/view_conv", (1, 2, 4, 5), view_conv),
        Case("nets/frozen", (3,), frozen, note="parameters that do not require gradients"),
        Case("nets/with_gradients", (3,), with_gradients, note="parameters had gradients when saved"),
        Case("nets/float16", (2, 3), lambda: small().half()),
        Case("nets/bfloat16", (2, 3), lambda: small().bfloat16()),
        Case("nets/float64", (2, 3), lambda: small().double()),
        Case("nets/mixed_dtypes", (2, 3), mixed_dtypes),
        Case("nets/saved_in_eval", (2, 3), lambda: mlp(3, 4, 2, activation=nn.Tanh).eval()),
    ]
