"""Makes a model of a family with random weights, and torch's numbers for it.

    python test/models/families.py FAMILY FOLDER
    python test/models/families.py --list

Writes NAME.pt2, NAME_scripted.pt and NAME_traced.pt into the folder, with weights of float32, and NAME.json: the shapes
of the inputs and the names of files of little-endian float64, row-major: x, v of the outputs' length, and, in float64
and in float32, y and v'J. What torch itself cannot write is named there with the reason.
"""

import json
import pathlib
import sys
import warnings

import torch
from torch import nn


def vision(name, size=64, **options):
    """A model of torchvision for images of this size."""

    def make():
        import torchvision

        return getattr(torchvision.models, name)(weights=None, **options), [(1, 3, size, size)]

    return make


def maxvit():
    from torchvision.models.maxvit import MaxVit

    model = MaxVit(
        input_size=(64, 64),
        stem_channels=16,
        partition_size=2,
        block_channels=[16, 32, 64],
        block_layers=[1, 2, 1],
        head_dim=8,
        stochastic_depth_prob=0.1,
        num_classes=10,
    )
    return model, [(1, 3, 64, 64)]


class Attention(nn.Module):
    """Self-attention, of which the first result is taken."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)

    def forward(self, query, key):
        return self.attention(query, key, key)[0]


class Recurrent(nn.Module):
    """A recurrent layer, of which the sequence is taken."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


def recurrent(kind):
    def make():
        return Recurrent(kind(12, 16, num_layers=2, batch_first=True, bidirectional=True)), [(2, 7, 12)]

    return make


def encoder():
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    return nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), [(2, 9, 32)]


FAMILIES = {
    "alexnet": vision("alexnet"),
    "vgg": vision("vgg11_bn", 32, num_classes=10),
    "resnet": vision("resnet18", num_classes=10),
    "resnext": vision("resnext50_32x4d"),
    "wide_resnet": vision("wide_resnet50_2", 32),
    "squeezenet": vision("squeezenet1_0"),
    "densenet": vision("densenet121"),
    "googlenet": vision("googlenet", init_weights=False, aux_logits=False),
    "inception_v3": vision("inception_v3", 80, init_weights=False, aux_logits=False),
    "mobilenet_v2": vision("mobilenet_v2"),
    "mobilenet_v3": vision("mobilenet_v3_small"),
    "mnasnet": vision("mnasnet0_5"),
    "shufflenet_v2": vision("shufflenet_v2_x0_5"),
    "efficientnet": vision("efficientnet_b0"),
    "regnet": vision("regnet_y_400mf"),
    "convnext": vision("convnext_tiny"),
    "vit": vision("vit_b_16", 32, image_size=32, num_classes=10),
    "swin": vision("swin_t"),
    "swin_v2": vision("swin_v2_t"),
    "maxvit": maxvit,
    "TransformerEncoder": encoder,
    "MultiheadAttention": lambda: (Attention(), [(2, 5, 32), (2, 7, 32)]),
    "LSTM": recurrent(nn.LSTM),
    "GRU": recurrent(nn.GRU),
    "RNN": recurrent(nn.RNN),
}


def randomise(model):
    """Statistics that are not those of a new layer, so that every number counts."""
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.1)
    for parameter in model.parameters():
        # A head of zeros would give zero whatever comes before it.
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)


def numbers(model, inputs, v):
    """f, and v'J."""
    inputs = [x.detach().requires_grad_() for x in inputs]
    y = model(*inputs)
    gradients = torch.autograd.grad((y * v.to(y.dtype)).sum(), inputs)
    return y.detach().reshape(-1), torch.cat([g.reshape(-1) for g in gradients])


def drawn(model, shapes):
    """A point, and v, at which rounding decides nothing: beside a kink, single precision may take either side."""
    for _ in range(20):
        inputs = [torch.randn(shape) for shape in shapes]
        v = torch.randn(model(*inputs).shape)
        _, here = numbers(model, inputs, v)
        _, beside = numbers(model, [x * (1 + 1e-6 * torch.randn_like(x)) for x in inputs], v)
        if (here - beside).abs().max() <= 1e-3 * here.abs().max():
            break
    return inputs, v


def main(name, folder):
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(5)
    model, shapes = FAMILIES[name]()
    randomise(model)
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    # Not through the fast path of attention, which has no derivative.
    torch.backends.mha.set_fastpath_enabled(False)
    inputs, v = drawn(model, shapes)
    arrays = {"x": torch.cat([x.reshape(-1) for x in inputs]), "v": v.reshape(-1)}
    arrays["y32"], arrays["vjp32"] = numbers(model, inputs, v)
    failed = {}

    def file(ending, write):
        try:
            write(folder / f"{name}{ending}")
        except Exception as error:
            failed[ending] = f"{type(error).__name__}: {str(error)[:300]}"

    file(".pt2", lambda path: torch.export.save(torch.export.export(model, tuple(inputs)), path))
    file("_scripted.pt", lambda path: torch.jit.save(torch.jit.script(model), path))
    file("_traced.pt", lambda path: torch.jit.save(torch.jit.trace(model, tuple(inputs)), path))
    model.double()
    arrays["y64"], arrays["vjp64"] = numbers(model, [x.double() for x in inputs], v.double())
    for key, array in arrays.items():
        (folder / f"{name}.{key}").write_bytes(array.double().numpy().astype("<f8").tobytes())
    ends = [end for end in (".pt2", "_scripted.pt", "_traced.pt") if end not in failed]
    answers = {"shapes": shapes, "files": [f"{name}{end}" for end in ends], "failed": failed}
    (folder / f"{name}.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if sys.argv[1] == "--list":
        print("\n".join(FAMILIES))
    else:
        main(sys.argv[1], pathlib.Path(sys.argv[2]))
