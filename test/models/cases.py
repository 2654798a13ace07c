"""The models that `make.py` writes: each layer with several settings of each attribute, whole nets, and models that
a reader refuses or takes as custom layers."""

import collections
import dataclasses
from typing import Callable

import torch
import torch.nn.utils.prune
from torch import nn

import custom_model


@dataclasses.dataclass
class Case:
    name: str
    shape: tuple  # of the input
    model: Callable  # makes the model, called with the case's seed set
    x: list | None = None  # the input's numbers; by default drawn from a normal distribution
    kinks: bool = False
    note: str = ""
    alter: Callable | None = None  # changes the model that is saved, after the answers are computed


def layer(name, shape, model, **other):
    """A case of one layer in a Sequential."""
    return Case(f"layers/{name}", shape, lambda: nn.Sequential(model()), **other)


# ---- layers ----------------------------------------------------------------------------------------------------


def layers():
    return [
        *linear(),
        *conv2d(),
        *avg_pool2d(),
        *max_pool2d(),
        *layer_norm(),
        *flatten(),
        *dropout_and_identity(),
        *relus(),
        *smooth_activations(),
        *softmax(),
        *softplus(),
        *old_files(),
    ]


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


def conv2d():
    image = (1, 2, 4, 5)

    def conv(name, *args, shape=image, **kwargs):
        return layer(f"conv2d_{name}", shape, lambda: nn.Conv2d(*args, **kwargs))

    modes = []
    for mode in ("zeros", "reflect", "replicate", "circular"):
        modes += [
            conv(f"{mode}_1", 2, 2, 3, padding=1, padding_mode=mode),
            conv(f"{mode}_tuple", 2, 2, (3, 2), padding=(2, 1), padding_mode=mode),
            conv(f"{mode}_same", 2, 2, (3, 2), padding="same", padding_mode=mode),
            conv(f"{mode}_same_dilated", 1, 1, (2, 3), padding="same", dilation=(3, 2), padding_mode=mode, shape=(1, 1, 5, 6)),
            conv(f"{mode}_strided", 2, 2, 3, stride=2, padding=2, padding_mode=mode),
            conv(f"{mode}_unbatched", 2, 2, 3, padding=1, padding_mode=mode, shape=image[1:]),
            conv(f"{mode}_valid", 2, 2, 3, padding="valid", padding_mode=mode),
            conv(f"{mode}_groups", 2, 4, 3, padding=1, groups=2, bias=False, padding_mode=mode),
            conv(f"{mode}_none", 2, 2, 3, padding=0, padding_mode=mode),
        ]
    return [
        conv("plain", 2, 3, 3),
        conv("no_bias", 2, 3, 3, bias=False),
        conv("1x1", 2, 3, 1),
        conv("kernel_tuple", 2, 2, (2, 3)),
        conv("kernel_is_image", 2, 3, (4, 5)),
        conv("stride_2", 2, 2, 2, stride=2),
        conv("stride_tuple", 2, 2, 2, stride=(2, 3)),
        conv("stride_beyond_kernel", 2, 2, 1, stride=(3, 2)),
        conv("padding_beyond_kernel", 1, 1, 2, padding=3, shape=(1, 1, 3, 3)),
        conv("padding_asymmetric", 2, 2, 3, padding=(0, 2)),
        conv("dilation_2", 2, 2, 2, dilation=2),
        conv("dilation_tuple", 2, 2, 2, dilation=(3, 2)),
        conv("dilation_stride_padding", 2, 2, 3, dilation=2, stride=2, padding=2),
        conv("same_odd", 2, 2, 3, padding="same"),
        conv("same_even", 2, 2, 4, padding="same"),
        conv("same_even_dilated", 1, 1, 2, padding="same", dilation=3, shape=(1, 1, 5, 6)),
        conv("same_1x1", 2, 2, 1, padding="same"),
        conv("groups", 4, 6, 3, padding=1, groups=2, shape=(1, 4, 3, 4)),
        conv("depthwise", 3, 3, 3, padding=1, groups=3, shape=(1, 3, 3, 4)),
        conv("depthwise_multiplier", 2, 6, 2, groups=2, bias=False),
        conv("batch_2", 1, 2, 2, shape=(2, 1, 3, 4)),
        conv("unbatched", 2, 3, 3, shape=image[1:]),
        conv("unbatched_strided_groups", 2, 4, 2, stride=2, groups=2, shape=image[1:]),
        conv("float16_weights", 2, 2, 3, dtype=torch.float16),
        *modes,
    ]


def avg_pool2d():
    image = (1, 2, 5, 6)

    def pool(name, *args, shape=image, **kwargs):
        return layer(f"avgpool2d_{name}", shape, lambda: nn.AvgPool2d(*args, **kwargs))

    return [
        pool("plain", 2),
        pool("kernel_tuple", (2, 3)),
        pool("stride_1", 3, stride=1),
        pool("stride_tuple", 2, stride=(1, 2)),
        pool("stride_beyond_kernel", 2, stride=3),
        pool("padding", 3, padding=1),
        pool("padding_tuple", (2, 4), padding=(1, 2)),
        pool("padding_not_counted", 3, padding=1, count_include_pad=False),
        pool("padding_tuple_not_counted", (2, 4), stride=1, padding=(1, 2), count_include_pad=False),
        pool("ceil", 2, ceil_mode=True),
        pool("ceil_window_beyond_input", 3, stride=2, ceil_mode=True, shape=(1, 1, 2, 2)),
        pool("ceil_stride_3", 2, stride=3, ceil_mode=True),
        pool("ceil_padding", 3, stride=2, padding=1, ceil_mode=True),
        pool("ceil_padding_tuple", (3, 2), stride=(3, 2), padding=(1, 1), ceil_mode=True),
        pool("ceil_padding_not_counted", 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
        pool("ceil_last_window_in_padding", 2, stride=2, padding=1, ceil_mode=True, shape=(1, 1, 3, 4)),
        pool("divisor", 2, divisor_override=3),
        pool("divisor_negative", 2, divisor_override=-2),
        pool("divisor_padding_ceil", 3, padding=1, ceil_mode=True, divisor_override=5),
        pool("divisor_not_counted", 3, padding=1, count_include_pad=False, divisor_override=7),
        pool("unbatched", 2, shape=image[1:]),
        pool("unbatched_ceil_padding", 3, padding=1, ceil_mode=True, shape=image[1:]),
        pool("batch_2", 2, shape=(2, 1, 4, 4)),
        pool("is_global", (5, 6)),
    ]


def max_pool2d():
    image = (1, 2, 5, 6)

    def pool(name, *args, shape=image, x=None, kinks=False, note="", **kwargs):
        model = lambda: nn.MaxPool2d(*args, **kwargs)
        return layer(f"maxpool2d_{name}", shape, model, x=x, kinks=kinks, note=note)

    negative = [-1.0 - 0.37 * ((7 * i) % 20) for i in range(20)]
    ties = [1.0, 1.0, 0.0, 2.0, 1.0, 1.0, 2.0, 2.0, -1.0, -1.0, 3.0, 3.0, -1.0, -1.0, 3.0, 0.0]
    return [
        pool("plain", 2),
        pool("kernel_tuple", (2, 3)),
        pool("stride_1", 3, stride=1),
        pool("stride_tuple", 2, stride=(1, 2)),
        pool("stride_beyond_kernel", 2, stride=3),
        pool("padding", 3, padding=1),
        pool("padding_tuple", (2, 4), padding=(1, 2)),
        pool("padding_all_negative", 3, stride=2, padding=1, shape=(1, 1, 4, 5), x=negative,
             note="all inputs are negative: padding counts as minus infinity, not as zero"),
        pool("dilation", 2, stride=1, dilation=2),
        pool("dilation_tuple", (2, 3), stride=1, dilation=(3, 2)),
        pool("dilation_padding", 3, padding=1, dilation=2),
        pool("ceil", 2, ceil_mode=True),
        pool("ceil_window_beyond_input", 3, stride=2, ceil_mode=True, shape=(1, 1, 2, 2)),
        pool("ceil_stride_3", 2, stride=3, ceil_mode=True),
        pool("ceil_padding", 3, stride=2, padding=1, ceil_mode=True),
        pool("ceil_dilation", 2, stride=2, dilation=2, ceil_mode=True),
        pool("ceil_last_window_in_padding", 2, stride=2, padding=1, ceil_mode=True, shape=(1, 1, 3, 4)),
        pool("unbatched", 2, shape=image[1:]),
        pool("unbatched_ceil_padding", 3, padding=1, ceil_mode=True, shape=image[1:]),
        pool("batch_2", 2, shape=(2, 1, 4, 4)),
        pool("ties", 2, shape=(1, 1, 4, 4), x=ties, kinks=True, note="ties: the first index has the derivative"),
        pool("ties_overlapping", 2, stride=1, shape=(1, 1, 4, 4), x=ties, kinks=True,
             note="ties: the first index has the derivative"),
        pool("ties_padding_ceil", 3, stride=2, padding=1, ceil_mode=True, shape=(1, 1, 4, 4), x=[0.0] * 16, kinks=True,
             note="ties: the first index that is not padding has the derivative"),
    ]


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


def flatten():
    def flat(name, shape, *args):
        return layer(f"flatten_{name}", shape, lambda: nn.Flatten(*args))

    return [
        flat("plain", (2, 2, 3)),
        flat("rank4", (1, 2, 2, 3)),
        flat("rank2", (2, 3)),
        flat("start_0", (2, 2, 3), 0),
        flat("start_0_rank1", (4,), 0),
        flat("start_2", (1, 2, 2, 3), 2),
        flat("end_2", (1, 2, 2, 3), 1, 2),
        flat("0_to_1", (2, 2, 3), 0, 1),
        flat("end_minus_2", (1, 2, 2, 3), 1, -2),
        flat("start_minus_2", (1, 2, 2, 3), -2, -1),
        flat("nothing", (1, 2, 3), 1, 1),
        flat("start_0_end_0", (2, 3), 0, 0),
        Case("layers/flatten_unbatched", (2, 2, 3), lambda: nn.Sequential(nn.Flatten(0), nn.Linear(12, 2))),
        Case("layers/flatten_after_conv", (1, 1, 3, 4), lambda: nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Tanh())),
        Case("layers/flatten_scalar", (), lambda: nn.Sequential(nn.Flatten(0)), note="a tensor of rank 0 becomes [1]"),
    ]


def dropout_and_identity():
    def evaluating(model):
        return model.eval()

    return [
        layer("dropout_training", (2, 3), lambda: nn.Dropout(0.5), note="saved in training mode, which is ignored"),
        layer("dropout_saved_in_eval", (2, 3), lambda: nn.Dropout(0.5), alter=evaluating),
        layer("dropout_p_1", (4,), lambda: nn.Dropout(1.0)),
        layer("dropout_p_0_inplace", (4,), lambda: nn.Dropout(0.0, inplace=True)),
        Case("layers/dropout_between", (2, 3), lambda: nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.3), nn.Tanh(), nn.Dropout(inplace=True))),
        layer("identity", (2, 3), lambda: nn.Identity()),
        layer("identity_arguments", (4,), lambda: nn.Identity(54, unused=True)),
        layer("identity_rank4", (1, 2, 2, 2), lambda: nn.Identity()),
    ]


POINTS = [-3.0, -0.5, -1e-300, -0.0, 0.0, 1e-300, 0.5, 3.0]


def relus():
    return [
        layer("relu", (2, 5), lambda: nn.ReLU()),
        layer("relu_inplace", (2, 5), lambda: nn.ReLU(inplace=True)),
        layer("relu_kink", (8,), lambda: nn.ReLU(), x=POINTS, kinks=True),
        layer("relu_rank4", (1, 2, 2, 3), lambda: nn.ReLU()),
        layer("relu_scalar", (), lambda: nn.ReLU()),
        Case("layers/relu_inplace_after_linear", (2, 3), lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True))),
        layer("leakyrelu", (2, 5), lambda: nn.LeakyReLU()),
        layer("leakyrelu_02", (2, 5), lambda: nn.LeakyReLU(0.2)),
        layer("leakyrelu_negative", (2, 5), lambda: nn.LeakyReLU(-0.5)),
        layer("leakyrelu_zero", (2, 5), lambda: nn.LeakyReLU(0)),
        layer("leakyrelu_one", (2, 5), lambda: nn.LeakyReLU(1.0)),
        layer("leakyrelu_above_one", (2, 5), lambda: nn.LeakyReLU(2.5)),
        layer("leakyrelu_inplace", (2, 5), lambda: nn.LeakyReLU(0.3, inplace=True)),
        layer("leakyrelu_kink", (8,), lambda: nn.LeakyReLU(0.25), x=POINTS, kinks=True),
        layer("leakyrelu_negative_kink", (8,), lambda: nn.LeakyReLU(-0.25), x=POINTS, kinks=True),
    ]


def smooth_activations():
    far = [-800.0, -40.0, -9.0, -1.0, 0.0, 1e-8, 2.0, 9.0, 40.0, 800.0]
    found = []
    for name, model in (
        ("gelu", lambda: nn.GELU()),
        ("gelu_tanh", lambda: nn.GELU(approximate="tanh")),
        ("sigmoid", lambda: nn.Sigmoid()),
        ("tanh", lambda: nn.Tanh()),
    ):
        found += [
            layer(name, (2, 5), model),
            layer(f"{name}_far", (10,), model, x=far, note="far out, where naive formulas overflow"),
            layer(f"{name}_rank4", (1, 2, 2, 3), model),
        ]
    return found


def softmax():
    shapes = {1: (4,), 2: (2, 4), 3: (2, 2, 3), 4: (1, 2, 2, 3)}
    found = []
    for rank, shape in shapes.items():
        for dim in (None, 0, 1, 2, -1, -2):
            if dim is None or -rank <= dim < rank:
                name = {None: "none", -1: "minus_1", -2: "minus_2"}.get(dim, dim)
                note = "no dim: torch takes 0 for ranks 0, 1 and 3, else 1" if dim is None else ""
                found.append(layer(f"softmax_rank{rank}_dim_{name}", shape, lambda dim=dim: nn.Softmax(dim=dim), note=note))
    large = [1000.0, 999.0, -1000.0, 0.0, 800.0, 800.0, 800.0, -800.0]
    return found + [
        layer("softmax_large", (2, 4), lambda: nn.Softmax(dim=1), x=large, note="naive exponentials overflow"),
        layer("softmax_size_one", (3, 1), lambda: nn.Softmax(dim=1)),
    ]


def softplus():
    far = [-800.0, -30.0, -1.0, 0.0, 1.0, 15.0, 19.0, 21.0, 40.0, 800.0]
    return [
        layer("softplus", (2, 5), lambda: nn.Softplus()),
        layer("softplus_beta", (2, 5), lambda: nn.Softplus(beta=2.5)),
        layer("softplus_beta_small", (2, 5), lambda: nn.Softplus(beta=0.1)),
        layer("softplus_threshold", (10,), lambda: nn.Softplus(threshold=0.5), x=[0.1 * i for i in range(1, 11)],
              kinks=True,
              note="beyond the threshold f(x) = x exactly; at it, f and J are the smooth branch's, but torch's H is 0"),
        layer("softplus_threshold_with_beta", (9,), lambda: nn.Softplus(beta=4, threshold=2),
              x=[-1.0, -0.5, 0.0, 0.25, 0.49, 0.5, 0.51, 1.0, 7.0], kinks=True,
              note="the threshold is one of beta*x: here x = 0.5, where f and J are the smooth branch's and H is 0"),
        layer("softplus_threshold_negative", (5,), lambda: nn.Softplus(threshold=-1.0), x=[-3.0, -1.5, -0.9, 0.0, 2.0]),
        layer("softplus_beta_negative", (5,), lambda: nn.Softplus(beta=-1.5), x=[-3.0, -1.5, -0.9, 0.0, 2.0]),
        layer("softplus_far", (10,), lambda: nn.Softplus(), x=far),
        layer("softplus_rank3", (2, 2, 3), lambda: nn.Softplus(beta=3, threshold=1)),
    ]


def old_files():
    """Files as older torch wrote them: attributes that came later are missing and take the class's old default."""

    def without(*names):
        def alter(model):
            for module in model.modules():
                for name in names:
                    module.__dict__.pop(name, None)
        return alter

    def old(name, shape, model, *names):
        return layer(f"old_{name}", shape, model, alter=without(*names), note="saved without " + ", ".join(names))

    return [
        old("module", (2, 3), lambda: nn.Linear(3, 2),
            "_non_persistent_buffers_set", "_backward_pre_hooks", "_is_full_backward_hook", "_forward_hooks_with_kwargs",
            "_forward_hooks_always_called", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_state_dict_hooks",
            "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
        old("conv2d", (1, 2, 4, 4), lambda: nn.Conv2d(2, 2, 3, padding=1), "padding_mode", "_reversed_padding_repeated_twice"),
        old("conv2d_reflect", (1, 2, 4, 4), lambda: nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
            "_reversed_padding_repeated_twice"),
        old("gelu", (2, 3), lambda: nn.GELU(), "approximate"),
        old("softmax", (2, 3), lambda: nn.Softmax(), "dim"),
        old("avgpool2d", (1, 1, 4, 5), lambda: nn.AvgPool2d(2), "padding", "ceil_mode", "count_include_pad", "divisor_override"),
        old("avgpool2d_divisor", (1, 1, 4, 5), lambda: nn.AvgPool2d(2, padding=1), "divisor_override"),
        old("relu", (2, 3), lambda: nn.ReLU(), "inplace"),
        old("dropout", (2, 3), lambda: nn.Dropout(), "inplace"),
    ]


# ---- whole nets ------------------------------------------------------------------------------------------------


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


# ---- refused, or custom ----------------------------------------------------------------------------------------


def refused():
    """(file, what it is, outcome, words of the message, writer). Outcomes: "error", and "custom" for files that load
    and whose named class becomes a custom layer."""

    def save(model):
        return lambda path: torch.save(model(), path)

    def hooked(method, hook):
        def model():
            made = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
            getattr(made[0], method)(hook)
            return made
        return save(model)

    def weight_norm(path):
        made = nn.Sequential(nn.Linear(2, 2), nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
        write_parametrized(made, path)

    def own_parametrization(path):
        made = nn.Sequential(nn.Linear(2, 2))
        nn.utils.parametrize.register_parametrization(made[0], "weight", custom_model.Symmetric())
        write_parametrized(made, path)

    def write_parametrized(made, path):
        # torch refuses to pickle such a module; those that do it anyway make its class findable, as here.
        classes = {type(m) for m in made.modules() if type(m).__name__.startswith("Parametrized")}
        for cls in classes:
            del cls.__getstate__
            setattr(nn.utils.parametrize, cls.__name__, cls)
        for module in made.modules():
            module._load_state_dict_pre_hooks.clear()  # weight_norm's is a local function
        torch.save(made, path)
        for cls in classes:
            delattr(nn.utils.parametrize, cls.__name__)

    def pruned():
        made = nn.Sequential(nn.Linear(2, 2))
        nn.utils.prune.l1_unstructured(made[0], "weight", amount=1)
        return made

    def sparse():
        made = nn.Sequential(nn.Linear(2, 2))
        made[0].weight = nn.Parameter(made[0].weight.detach().to_sparse())
        return made

    def script(path):
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.randn(1, 2)), path)

    pool = lambda: nn.Sequential(nn.Conv2d(1, 1, 2), nn.MaxPool2d(2, return_indices=True))
    old_norm = lambda: nn.Sequential(nn.utils.weight_norm(nn.Linear(2, 2)))
    skip = lambda: nn.Sequential(nn.Linear(3, 3), custom_model.Skip(nn.Linear(3, 3), 0.5), nn.ReLU())
    return [
        ("forward_hook", "a Linear with a forward hook", "error", ["forward hook", "0"],
         hooked("register_forward_hook", custom_model.hook)),
        ("forward_pre_hook", "a Linear with a forward pre-hook", "error", ["forward pre-hook", "0"],
         hooked("register_forward_pre_hook", custom_model.pre_hook)),
        ("backward_hook", "a Linear with a full backward hook", "error", ["backward hook", "0"],
         hooked("register_full_backward_hook", custom_model.hook)),
        ("weight_norm", "parametrizations.weight_norm on layer 1", "error", ["parametrization", "1"], weight_norm),
        ("parametrization", "an own parametrization of a weight", "error", ["parametrization", "0"], own_parametrization),
        ("old_weight_norm", "torch.nn.utils.weight_norm: a forward pre-hook", "error", ["forward pre-hook", "0"], save(old_norm)),
        ("pruned", "torch.nn.utils.prune: a forward pre-hook", "error", ["forward pre-hook", "0"], save(pruned)),
        ("return_indices", "MaxPool2d(return_indices=True)", "error", ["return_indices", "1"], save(pool)),
        ("gru", "a layer that torch defines and that is not supported", "error", ["torch.nn.modules.rnn.GRU", "1"],
         save(lambda: nn.Sequential(nn.Linear(2, 2), nn.GRU(2, 2)))),
        ("lazy_linear", "a LazyLinear that never saw an input", "error", ["LazyLinear", "0"],
         save(lambda: nn.Sequential(nn.LazyLinear(3)))),
        ("sparse_weight", "a Linear with a sparse weight", "error", ["sparse", "0.weight"], save(sparse)),
        ("complex_weight", "a Linear with complex weights", "error", ["complex", "0.weight"],
         save(lambda: nn.Sequential(nn.Linear(2, 2, dtype=torch.complex64)))),
        ("meta_weight", "a weight on the meta device: no data in the file", "error", ["meta", "0.weight"],
         save(lambda: nn.Sequential(nn.Linear(2, 2, device="meta")))),
        ("state_dict", "a state_dict, no module", "error", ["state_dict"], save(lambda: nn.Linear(2, 2).state_dict())),
        ("number", "a file with one number", "error", ["module"], save(lambda: 3)),
        ("tensor", "a file with one tensor", "error", ["module"], save(lambda: torch.ones(2))),
        ("torchscript", "a TorchScript archive", "error", ["TorchScript"], script),
        ("custom_skip", "custom_model.Skip with a child and attributes, between torch's layers", "custom",
         ["custom_model.Skip", "1"], save(skip)),
        ("custom_alone", "custom_model.Skip as the whole model", "custom", ["custom_model.Skip"],
         save(lambda: custom_model.Skip(nn.Linear(3, 3), 0.5))),
        ("custom_sequential", "a subclass of Sequential with a forward of its own", "custom", ["custom_model.Twice"],
         save(lambda: custom_model.Twice(nn.Linear(3, 3), nn.Tanh()))),
        ("custom_with_buffers", "a custom class with a buffer, a bare Parameter and no child", "custom",
         ["custom_model.Scale", "0"], save(lambda: nn.Sequential(custom_model.Scale(3)))),
    ]
