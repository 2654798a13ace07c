"""Functions of each element, and softmax."""

from torch import nn

from .case import Case, layer

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


def element_wise():
    """The other functions of one element: on ordinary numbers, far out, at their kinks, with their attributes."""
    far = [-800.0, -40.0, -9.0, -1.0, 0.0, 1e-8, 2.0, 9.0, 40.0, 800.0]
    near = [-400.0, -40.0, -9.0, -1.0, 0.0, 1e-8, 2.0, 9.0, 40.0, 300.0]  # torch's H of Mish is NaN from 400 on
    found = []
    for name, model in (
        ("celu", lambda: nn.CELU()),
        ("celu_2", lambda: nn.CELU(2.0)),
        ("celu_small", lambda: nn.CELU(0.3)),
        ("elu", lambda: nn.ELU()),
        ("elu_2", lambda: nn.ELU(2.0)),
        ("elu_negative", lambda: nn.ELU(-0.5)),
        ("hardsigmoid", lambda: nn.Hardsigmoid()),
        ("hardswish", lambda: nn.Hardswish()),
        ("hardtanh", lambda: nn.Hardtanh()),
        ("hardtanh_bounds", lambda: nn.Hardtanh(-0.25, 2.0)),
        ("logsigmoid", lambda: nn.LogSigmoid()),
        ("mish", lambda: nn.Mish()),
        ("relu6", lambda: nn.ReLU6()),
        ("rrelu", lambda: nn.RReLU()),
        ("rrelu_bounds", lambda: nn.RReLU(0.1, 0.7)),
        ("selu", lambda: nn.SELU()),
        ("silu", lambda: nn.SiLU()),
        ("softsign", lambda: nn.Softsign()),
        ("tanhshrink", lambda: nn.Tanhshrink()),
        ("hardshrink", lambda: nn.Hardshrink()),
        ("softshrink", lambda: nn.Softshrink()),
        ("threshold", lambda: nn.Threshold(0.3, -2.0)),
    ):
        # torch has no second derivative of Hardsigmoid: it is an error there, and 0 in the closed form.
        second = {"zero_hessian": True} if name == "hardsigmoid" else {}
        found += [
            layer(name, (2, 5), model, **second),
            layer(f"{name}_far", (10,), model, x=near if name == "mish" else far, note="far out, where naive formulas overflow", kinks=True, **second),
        ]
    at_kinks = [-6.0, -3.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 3.0, 6.0]
    for name, model in (
        ("celu", lambda: nn.CELU(2.0)),
        ("elu", lambda: nn.ELU(2.0)),
        ("hardsigmoid", lambda: nn.Hardsigmoid()),
        ("hardswish", lambda: nn.Hardswish()),
        ("hardtanh", lambda: nn.Hardtanh(-0.5, 3.0)),
        ("relu6", lambda: nn.ReLU6()),
        ("rrelu", lambda: nn.RReLU()),
        ("selu", lambda: nn.SELU()),
        ("softsign", lambda: nn.Softsign()),
        ("hardshrink", lambda: nn.Hardshrink(1.0)),
        ("hardshrink_0", lambda: nn.Hardshrink(0.0)),
        ("hardshrink_negative", lambda: nn.Hardshrink(-1.0)),
        ("softshrink", lambda: nn.Softshrink(1.0)),
        ("softshrink_0", lambda: nn.Softshrink(0.0)),
        ("threshold", lambda: nn.Threshold(0.5, 3)),
        ("threshold_negative", lambda: nn.Threshold(-1.0, 0.5)),
    ):
        second = {"zero_hessian": True} if name == "hardsigmoid" else {}
        found.append(layer(f"{name}_kinks", (2, 5), model, x=at_kinks, kinks=True, **second))
    return found + [
        layer("silu_inplace", (2, 3), lambda: nn.SiLU(inplace=True)),
        layer("elu_inplace", (2, 3), lambda: nn.ELU(0.5, inplace=True)),
        layer("hardtanh_rank4", (1, 2, 2, 3), lambda: nn.Hardtanh(inplace=True)),
        layer("mish_scalar", (), lambda: nn.Mish(inplace=True)),
        layer("threshold_int", (2, 3), lambda: nn.Threshold(0, 20, inplace=True), note="the value is an int"),
        Case("layers/activations_between", (2, 3), lambda: nn.Sequential(
            nn.Linear(3, 4), nn.SiLU(), nn.Linear(4, 4), nn.Mish(), nn.Linear(4, 4), nn.SELU(), nn.Linear(4, 4), nn.Softsign(),
            nn.Linear(4, 4), nn.Tanhshrink(), nn.Linear(4, 4), nn.LogSigmoid(), nn.Linear(4, 4), nn.Hardswish(), nn.Linear(4, 2))),
    ]


def shares():
    """LogSoftmax, Softmin, Softmax2d."""
    found = []
    for name, cls in (("logsoftmax", nn.LogSoftmax), ("softmin", nn.Softmin)):
        for rank, shape in {1: (4,), 2: (2, 4), 3: (2, 2, 3), 4: (1, 2, 2, 3)}.items():
            found.append(layer(f"{name}_rank{rank}_dim_none", shape, lambda cls=cls: cls()))
            for dim in {0, rank // 2, -1}:
                label = "minus_1" if dim == -1 else dim
                found.append(layer(f"{name}_rank{rank}_dim_{label}", shape, lambda cls=cls, dim=dim: cls(dim=dim)))
    large = [1000.0, 999.0, -1000.0, 0.0, 800.0, 800.0, 800.0, -800.0]
    return found + [
        layer("logsoftmax_large", (2, 4), lambda: nn.LogSoftmax(dim=1), x=large),
        layer("softmin_large", (2, 4), lambda: nn.Softmin(dim=1), x=large),
        layer("logsoftmax_size_one", (3, 1), lambda: nn.LogSoftmax(dim=1)),
        layer("logsoftmax_scalar", (), lambda: nn.LogSoftmax(dim=0)),
        layer("softmax2d", (1, 3, 2, 2), lambda: nn.Softmax2d()),
        layer("softmax2d_unbatched", (3, 2, 2), lambda: nn.Softmax2d()),
        Case("layers/logsoftmax_net", (2, 3), lambda: nn.Sequential(nn.Linear(3, 4), nn.LogSoftmax(-1), nn.Tanh())),
    ]


def gates():
    """GLU and PReLU."""
    def glu(name, shape, *args):
        return layer(f"glu_{name}", shape, lambda: nn.GLU(*args))

    # At its kink torch's forward and reverse derivatives of PReLU differ: none of these lies there.
    def prelu(name, shape, *args, **kwargs):
        def model():
            made = nn.PReLU(*args, **kwargs)
            if len(made.weight) > 1:
                nn.init.normal_(made.weight)
            return made
        return layer(f"prelu_{name}", shape, model)

    return [
        glu("plain", (2, 4)),
        glu("rank1", (6,), 0),
        glu("dim_0", (4, 3), 0),
        glu("dim_1", (1, 4, 3), 1),
        glu("dim_minus_2", (1, 4, 3), -2),
        glu("rank4", (1, 4, 1, 2), 1),
        prelu("plain", (2, 5)),
        prelu("rank1", (5,)),
        prelu("scalar", ()),
        prelu("init", (2, 5), init=-0.4),
        prelu("channels", (2, 3), 3),
        prelu("channels_rank4", (1, 3, 2, 2), 3),
    ]
