"""Writes `jump/`: models for the tests of the Julia package's JuMP extension, with torch's own answers beside them.

    python test/models/make_jump.py

Made with torch 2.13.0. NAME.pt is `torch.save(model)`; NAME.json holds, in float64, the inputs `x` of one or more points and
the outputs `y`, flat and row-major, with `input_shape`. torch_geometric is not needed: modules with its names and attributes
stand in for it, and compute message by message what its documentation says.
"""

import json
import pathlib
import sys
import types

import torch
from torch import nn

HERE = pathlib.Path(__file__).parent
OUT = HERE / "jump"


def module(name):
    made = types.ModuleType(name)
    sys.modules[name] = made
    return made


def define(name, cls):
    """Makes a class findable, and pickled, under this name."""
    where, _, short = name.rpartition(".")
    parts = where.split(".")
    for end in range(1, len(parts)):
        sys.modules.get(".".join(parts[:end])) or module(".".join(parts[:end]))
    cls.__module__, cls.__qualname__, cls.__name__ = where, short, short
    setattr(sys.modules.get(where) or module(where), short, cls)
    return cls


class Skip(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x) + x


class Shift(nn.Module):
    def __init__(self, amount):
        super().__init__()
        self.amount = amount
        self.sizes = (1, 2)
        self.note = "plain"
        self.register_buffer("offset", torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))

    def forward(self, x):
        return x + self.amount


class InputConvex(nn.Module):
    def __init__(self, dim_z, dim_x, dim_out):
        super().__init__()
        self.dim_z, self.dim_x, self.dim_out = dim_z, dim_x, dim_out
        self.W = nn.Parameter(torch.randn(dim_out, dim_z))
        self.D = nn.Parameter(torch.randn(dim_out, dim_x))
        self.b = nn.Parameter(torch.randn(dim_out))

    def forward(self, z, x):
        return z @ nn.functional.softplus(self.W).T + x @ self.D.T + self.b


class InputConvexChain(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        z = x
        for layer in self.layers:
            z = layer(z, x) if isinstance(layer, InputConvex) else layer(z)
        return z


class GeometricLinear(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.weight_initializer, self.bias_initializer = "glorot", None
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels))
        self.register_parameter("bias", None)

    def forward(self, x):
        return x @ self.weight.T


class SumAggregation(nn.Module):
    pass


class Inspector:
    def __init__(self):
        self._signatures = {"message": ["x_j", "edge_weight"]}


def propagate(x, edges, weights):
    out = torch.zeros_like(x)
    for (source, target), weight in zip(edges, weights):
        out[target] = out[target] + weight * x[source]
    return out


def normalised(edges, weights, n):
    degree = torch.zeros(n, dtype=torch.float64)
    for (_, target), weight in zip(edges, weights):
        degree[target] += weight
    inverse = [d ** -0.5 if d > 0 else 0.0 for d in degree.tolist()]
    return [inverse[s] * w * inverse[t] for (s, t), w in zip(edges, weights)]


class MessagePassing(nn.Module):
    def __init__(self):
        super().__init__()
        self.aggr, self.flow, self.node_dim = "add", "source_to_target", -2
        self.aggr_module = SumAggregation()
        self.inspector = Inspector()
        self._explain = None


class GCNConv(MessagePassing):
    def __init__(self, in_channels, out_channels, improved=False):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.improved, self.cached, self.add_self_loops, self.normalize = improved, False, True, True
        self._cached_edge_index = None
        self.lin = GeometricLinear(in_channels, out_channels)
        self.bias = nn.Parameter(torch.randn(out_channels))

    def forward(self, x, edges):
        n = x.shape[0]
        loops = [i for i in range(n) if (i, i) not in edges]
        all_edges = edges + [(i, i) for i in loops]
        weights = [1.0] * len(edges) + [2.0 if self.improved else 1.0] * len(loops)
        return propagate(self.lin(x), all_edges, normalised(all_edges, weights, n)) + self.bias


class TAGConv(MessagePassing):
    def __init__(self, in_channels, out_channels, K):
        super().__init__()
        self.in_channels, self.out_channels, self.K, self.normalize = in_channels, out_channels, K, True
        self.lins = nn.ModuleList([GeometricLinear(in_channels, out_channels) for _ in range(K + 1)])
        self.bias = nn.Parameter(torch.randn(out_channels))

    def forward(self, x, edges):
        weights = normalised(edges, [1.0] * len(edges), x.shape[0])
        out = self.lins[0](x)
        for lin in self.lins[1:]:
            x = propagate(x, edges, weights)
            out = out + lin(x)
        return out + self.bias


class GNN(nn.Module):
    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def forward(self, x, edges):
        return torch.sigmoid(self.conv(x, edges))


define("custom_model.Skip", Skip)
define("custom_model.Shift", Shift)
define("icnn.InputConvex", InputConvex)
define("icnn.InputConvexChain", InputConvexChain)
define("torch_geometric.nn.dense.linear.Linear", GeometricLinear)
define("torch_geometric.nn.aggr.basic.SumAggregation", SumAggregation)
define("torch_geometric.inspector.Inspector", Inspector)
define("torch_geometric.nn.conv.gcn_conv.GCNConv", GCNConv)
define("torch_geometric.nn.conv.tag_conv.TAGConv", TAGConv)
define("my_gnn.GNN", GNN)

# 0-based; the last edge has no way back, and node 1 a loop of its own.
EDGES = [(0, 1), (1, 0), (1, 2), (2, 1), (2, 3), (3, 2), (1, 1), (0, 3)]


def relu_net(*sizes):
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def tanh_net(*sizes):
    return nn.Sequential(*[nn.Tanh() if isinstance(layer, nn.ReLU) else layer for layer in relu_net(*sizes)])


def cases():
    """(name, model, shape of the input, further arguments of the forward)"""
    yield "skip", Skip(nn.Sequential(nn.Linear(3, 3), nn.ReLU())), [3], ()
    yield "skip_inside", nn.Sequential(nn.Linear(3, 3), Skip(nn.Sequential(nn.Linear(3, 3), nn.ReLU())), nn.Tanh()), [3], ()
    conv = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.ReLU())
    yield "skip_image", nn.Sequential(nn.Conv2d(1, 2, 2), Skip(conv), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 2)), [1, 1, 5, 6], ()
    yield "shift", nn.Sequential(Shift(0.5), nn.Linear(2, 2)), [2], ()
    yield "icnn", InputConvexChain(nn.Linear(3, 4), nn.ReLU(), InputConvex(4, 3, 2), nn.Softplus()), [3], ()
    yield "gcn", GNN(GCNConv(2, 3)), [4, 2], (EDGES,)
    yield "gcn_improved", GNN(GCNConv(2, 3, improved=True)), [4, 2], (EDGES,)
    yield "tag", GNN(TAGConv(2, 3, K=3)), [4, 2], (EDGES,)
    yield "conv_flatten_linear", nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(18, 3)), [1, 2, 3, 4], ()
    pools = [nn.Conv2d(1, 2, 3, padding="same", bias=False), nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)]
    yield "pools", nn.Sequential(*pools, nn.AvgPool2d(2, padding=1, count_include_pad=False)), [1, 1, 6, 5], ()
    yield "relu_10_50_50_1", relu_net(10, 50, 50, 1), [10], ()
    yield "tanh_10_50_50_1", tanh_net(10, 50, 50, 1), [10], ()
    yield "relu_3_8_8_2", relu_net(3, 8, 8, 2), [3], ()
    yield "page", nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)), [1], ()
    yield "relu_far", nn.Sequential(nn.Linear(2, 2), nn.Softplus(), nn.Softmax(dim=0)), [2], ()
    yield "bn", nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)), [1, 3], ()


def flat(tensor):
    return tensor.detach().flatten().tolist()


def main():
    OUT.mkdir(exist_ok=True)
    for name, model, shape, more in make():
        torch.save(model, OUT / f"{name}.pt")
        model = model.double().eval()
        points = [torch.randn(shape, dtype=torch.float64) for _ in range(3)]
        values = [model(x, *more) for x in points]
        written = {
            "model": f"{name}.pt", "input_shape": shape, "output_shape": list(values[0].shape),
            "x": [flat(x) for x in points], "y": [flat(y) for y in values],
        }
        (OUT / f"{name}.json").write_text(json.dumps(written))


def make():
    """The cases, each with random numbers of its own."""
    names = cases()
    number = 0
    while True:
        torch.manual_seed(1000 + number)
        try:
            yield next(names)
        except StopIteration:
            return
        number += 1


if __name__ == "__main__":
    main()
