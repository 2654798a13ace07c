"""Layers over lines, images and volumes that have no file of their own: every class, with several settings of each
attribute. Sizes are tiny, since every case holds a Jacobian and a Hessian."""

import torch
from torch import nn

from .case import Case, layer

MODES = ("zeros", "reflect", "replicate", "circular")


def smooth(name, shape, model, **other):
    """A case in which the layer stands between functions with second derivatives."""
    return Case(f"layers/{name}", shape, lambda: nn.Sequential(nn.Sigmoid(), model(), nn.Tanh()), **other)


def spatial():
    return [
        *convolutions(),
        *transposed_convolutions(),
        *max_pools(),
        *avg_pools(),
        *adaptive_pools(),
        *lp_pools(),
        *pads(),
        *upsamples(),
        *shuffles(),
        *folds(),
        *unflatten(),
        *dropouts(),
        *nets(),
    ]


def convolutions():
    def line(name, *args, shape=(1, 2, 6), **kwargs):
        return layer(f"conv1d_{name}", shape, lambda: nn.Conv1d(*args, **kwargs))

    def volume(name, *args, shape=(1, 1, 2, 3, 3), **kwargs):
        return layer(f"conv3d_{name}", shape, lambda: nn.Conv3d(*args, **kwargs))

    return [
        line("plain", 2, 3, 3),
        line("unbatched", 2, 2, 2, shape=(2, 5)),
        line("stride_dilation_padding", 2, 2, 2, stride=2, dilation=2, padding=1),
        line("groups_no_bias", 4, 2, 2, groups=2, bias=False, shape=(1, 4, 4)),
        line("depthwise", 3, 6, 3, groups=3, padding="same", shape=(3, 4)),
        line("valid", 2, 2, 3, padding="valid", shape=(2, 2, 4)),
        *[line(f"{mode}_same_even", 2, 1, 4, padding="same", padding_mode=mode) for mode in MODES],
        *[line(f"{mode}_unbatched", 1, 1, 3, padding=2, stride=2, padding_mode=mode, shape=(1, 5)) for mode in MODES],
        smooth("conv1d_smooth", (2, 1, 5), lambda: nn.Conv1d(1, 2, 3, padding=1)),
        volume("plain", 1, 2, 2),
        volume("unbatched_tuple", 2, 1, (2, 1, 3), shape=(2, 2, 2, 3)),
        volume("stride_dilation_padding", 1, 2, (2, 2, 3), stride=(1, 2, 1), dilation=(2, 1, 1), padding=(1, 0, 1)),
        volume("groups_no_bias", 2, 4, (1, 2, 2), groups=2, bias=False, shape=(1, 2, 1, 3, 2)),
        volume("same_dilated", 1, 1, (2, 3, 2), padding="same", dilation=(1, 1, 2)),
        *[volume(f"{mode}_tuple", 1, 1, 2, padding=(0, 1, 2), padding_mode=mode) for mode in MODES[1:]],
        smooth("conv3d_smooth", (1, 1, 2, 2, 3), lambda: nn.Conv3d(1, 2, (1, 2, 2))),
    ]


def transposed_convolutions():
    shapes = {1: (1, 2, 4), 2: (1, 2, 2, 3), 3: (1, 1, 2, 2, 2)}

    def conv(name, n, *args, shape=None, **kwargs):
        model = lambda: getattr(nn, f"ConvTranspose{n}d")(*args, **kwargs)
        return layer(f"convtranspose{n}d_{name}", shape or shapes[n], model)

    return [
        conv("plain", 1, 2, 3, 3),
        conv("no_bias_unbatched", 1, 2, 2, 2, bias=False, shape=(2, 4)),
        conv("stride_output_padding", 1, 2, 1, 3, stride=3, padding=1, output_padding=2),
        conv("dilation_output_padding", 1, 2, 2, 2, dilation=3, output_padding=1),
        conv("groups", 1, 4, 2, 3, groups=2, padding=1, shape=(1, 4, 3)),
        conv("gaps", 1, 1, 1, 1, stride=3, shape=(1, 1, 3)),
        conv("plain", 2, 2, 2, 2),
        conv("tuple", 2, 2, 1, (2, 3), stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
        conv("stride_output_padding", 2, 2, 1, 2, stride=2, output_padding=(1, 0)),
        conv("groups_no_bias", 2, 4, 4, 2, groups=2, bias=False, shape=(1, 4, 2, 1)),
        conv("depthwise", 2, 3, 3, 2, stride=2, groups=3, shape=(3, 2, 1)),
        conv("unbatched", 2, 2, 2, 2, padding=1, shape=(2, 2, 3)),
        conv("batch_2", 2, 1, 2, 2, shape=(2, 1, 2, 2)),
        conv("padding_is_kernel", 2, 2, 1, 3, padding=2, stride=2, shape=(1, 2, 3, 3)),
        conv("plain", 3, 1, 2, 2, shape=(1, 1, 1, 2, 2)),
        conv("tuple", 3, 1, 1, (1, 2, 3), stride=(2, 1, 1), padding=(0, 1, 1), output_padding=(1, 0, 0)),
        conv("groups_unbatched", 3, 2, 2, (2, 1, 2), groups=2, dilation=(1, 1, 2), shape=(2, 1, 2, 2)),
        smooth("convtranspose2d_smooth", (1, 2, 2, 2), lambda: nn.ConvTranspose2d(2, 1, 3, stride=2, padding=1)),
        smooth("convtranspose1d_smooth", (2, 3), lambda: nn.ConvTranspose1d(2, 2, 2, stride=2)),
    ]


def max_pools():
    def pool(name, n, shape, *args, x=None, kinks=False, **kwargs):
        return layer(f"maxpool{n}d_{name}", shape, lambda: getattr(nn, f"MaxPool{n}d")(*args, **kwargs), x=x, kinks=kinks)

    return [
        pool("plain", 1, (1, 2, 6), 2),
        pool("unbatched_ceil", 1, (2, 7), 3, stride=2, ceil_mode=True),
        pool("padding_dilation", 1, (1, 2, 7), 3, stride=1, padding=1, dilation=2),
        pool("list", 1, (1, 1, 6), [2], stride=[3], padding=[1]),
        pool("ties", 1, (1, 1, 6), 3, stride=1, padding=1, x=[1.0, 1.0, 0.0, 2.0, 2.0, 2.0], kinks=True),
        pool("plain", 3, (1, 1, 2, 4, 2), 2),
        pool("unbatched_tuple", 3, (2, 2, 2, 3), (1, 2, 3), stride=(2, 1, 1)),
        pool("padding_ceil", 3, (1, 1, 3, 3, 3), 2, stride=2, padding=(1, 0, 1), ceil_mode=True),
        pool("dilation", 3, (1, 1, 3, 3, 3), (2, 1, 2), stride=1, dilation=(2, 1, 1)),
        smooth("maxpool1d_smooth", (1, 2, 5), lambda: nn.MaxPool1d(2, stride=1)),
        smooth("maxpool3d_smooth", (1, 1, 2, 3, 2), lambda: nn.MaxPool3d((1, 2, 2), stride=1)),
    ]


def avg_pools():
    def pool(name, n, shape, *args, **kwargs):
        return layer(f"avgpool{n}d_{name}", shape, lambda: getattr(nn, f"AvgPool{n}d")(*args, **kwargs))

    return [
        pool("plain", 1, (1, 2, 6), 2),
        pool("unbatched_ceil", 1, (2, 7), 3, stride=2, ceil_mode=True),
        pool("padding", 1, (1, 2, 5), 3, stride=1, padding=1),
        pool("padding_not_counted_ceil", 1, (1, 2, 6), 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
        pool("plain", 3, (1, 1, 2, 4, 2), 2),
        pool("unbatched_tuple", 3, (2, 2, 2, 3), (1, 2, 3), stride=(2, 1, 1)),
        pool("padding_ceil", 3, (1, 1, 3, 3, 3), 2, stride=2, padding=(1, 0, 1), ceil_mode=True),
        pool("padding_not_counted", 3, (1, 1, 2, 3, 3), 2, stride=1, padding=1, count_include_pad=False),
        pool("divisor", 3, (1, 1, 2, 3, 3), 2, stride=1, padding=(1, 0, 0), divisor_override=5),
        smooth("avgpool1d_smooth", (1, 2, 5), lambda: nn.AvgPool1d(2, stride=1)),
        smooth("avgpool3d_smooth", (1, 1, 2, 3, 2), lambda: nn.AvgPool3d((1, 2, 2), stride=1)),
    ]


def adaptive_pools():
    found = []
    for kind in ("Avg", "Max"):
        name = f"adaptive{kind.lower()}pool"

        def pool(setting, n, shape, size, kind=kind, name=name):
            return layer(f"{name}{n}d_{setting}", shape, lambda: getattr(nn, f"Adaptive{kind}Pool{n}d")(size))

        found += [
            pool("overlapping", 1, (1, 2, 7), 3),
            pool("unbatched_larger", 1, (2, 3), 5),
            pool("to_one", 1, (2, 2, 3), 1),
            pool("int", 2, (1, 2, 3, 4), 2),
            pool("none", 2, (1, 1, 3, 5), (None, 2)),
            pool("int_and_none_unbatched", 2, (2, 3, 3), (2, None)),
            pool("to_one", 2, (1, 3, 2, 2), (1, 1)),
            pool("larger", 2, (1, 1, 2, 3), (3, 7)),
            pool("tuple", 3, (1, 1, 2, 3, 3), (1, 2, 2)),
            pool("none_unbatched", 3, (2, 2, 2, 3), (None, 1, 2)),
            smooth(f"{name}2d_smooth", (1, 1, 3, 4), lambda kind=kind: getattr(nn, f"Adaptive{kind}Pool2d")((2, 3))),
        ]
    return found


def lp_pools():
    def pool(name, n, shape, *args, positive=False, **kwargs):
        count = torch.Size(shape).numel()
        x = [0.3 + 0.31 * ((5 * i) % 13) for i in range(count)] if positive else None
        return layer(f"lppool{n}d_{name}", shape, lambda: getattr(nn, f"LPPool{n}d")(*args, **kwargs), x=x)

    return [
        pool("plain", 1, (1, 2, 6), 2, 3),
        pool("ceil_unbatched", 1, (2, 5), 2, 2, ceil_mode=True),
        pool("power_4_stride_1", 1, (1, 1, 6), 4, 3, stride=1),
        pool("plain", 2, (1, 1, 4, 4), 2, 2),
        pool("tuple_fraction", 2, (1, 1, 3, 4), 1.5, (2, 3), stride=(1, 1), positive=True),
        pool("ceil", 2, (1, 1, 3, 3), 2.0, 2, stride=2, ceil_mode=True),
        pool("power_1_unbatched", 2, (1, 3, 3), 1, 2, stride=1, positive=True),
        layer("lppool1d_power_1_zero", (1, 1, 8), lambda: nn.LPPool1d(1, 2), kinks=True,
              x=[1.0, -1.0, 0.0, 0.0, 0.0, 2.0, 1.0, -3.0]),
        pool("power_3", 3, (1, 1, 2, 3, 2), 3, (1, 2, 2), stride=1, positive=True),
        pool("plain", 3, (1, 2, 2, 2, 2), 2, 2),
    ]


def pads():
    shapes = {1: (1, 2, 4), 2: (1, 1, 3, 4), 3: (1, 1, 2, 3, 2)}
    tuples = {1: (2, 1), 2: (1, 0, 2, 1), 3: (1, 0, 0, 2, 1, 1)}
    cropping = {1: (-1, 2), 2: (1, -1, -1, 1), 3: (1, -1, 0, 1, -1, 1)}
    found = []
    for n, shape in shapes.items():
        for kind, more in (("Constant", (1.5,)), ("Zero", ()), ("Reflection", ()), ("Replication", ()), ("Circular", ())):
            def pad(name, shape, padding, cls=f"{kind}Pad{n}d", more=more):
                return layer(f"{cls.lower()}_{name}", shape, lambda: getattr(nn, cls)(padding, *more))

            found += [pad("1", shape[:1] + (1,) + shape[2:], 1), pad("tuple_unbatched", shape[1:], tuples[n])]
            if kind != "Zero":
                found.append(pad("negative", shape, cropping[n]))
    return found + [
        layer("constantpad2d_one_pair", (2, 3), lambda: nn.ConstantPad2d((1, 2), -1.0), note="one pair: one dimension"),
        smooth("reflectionpad2d_smooth", (1, 1, 2, 3), lambda: nn.ReflectionPad2d((1, 1, 0, 1))),
    ]


def upsamples():
    shapes = {1: (1, 2, 4), 2: (1, 1, 3, 4), 3: (1, 1, 2, 2, 3)}

    def up(name, n, shape=None, **kwargs):
        return layer(f"upsample{n}d_{name}", shape or shapes[n], lambda: nn.Upsample(**kwargs))

    found = []
    for n, smooth_modes in ((1, ("linear",)), (2, ("bilinear", "bicubic")), (3, ("trilinear",))):
        for mode in ("nearest", "nearest-exact"):
            found += [
                up(f"{mode}_2", n, scale_factor=2, mode=mode),
                up(f"{mode}_1_7", n, scale_factor=1.7, mode=mode),
                up(f"{mode}_0_6_recomputed", n, scale_factor=0.6, mode=mode, recompute_scale_factor=True),
                up(f"{mode}_size", n, size=(5, 2, 4)[:n], mode=mode),
            ]
        for mode in smooth_modes:
            found += [
                up(f"{mode}_size_corners", n, size=(5, 2, 4)[:n], mode=mode, align_corners=True),
                up(f"{mode}_1_7", n, scale_factor=1.7, mode=mode),
                up(f"{mode}_1_7_corners", n, scale_factor=(1.7, 0.6, 1.3)[:n], mode=mode, align_corners=True),
                up(f"{mode}_0_6_recomputed", n, scale_factor=0.6, mode=mode, recompute_scale_factor=True),
                up(f"{mode}_size", n, size=3, mode=mode, align_corners=False),
            ]
        found.append(up("area", n, size=2, mode="area"))
    return found + [
        up("to_one_corners", 2, size=1, mode="bilinear", align_corners=True),
        up("nearest_beyond_128", 1, (1, 1, 3), size=148, mode="nearest"),
        up("nearest_awkward", 1, (1, 1, 12), scale_factor=3.0833333333333335, mode="nearest"),
        up("nearest_doubled", 2, (1, 1, 1, 6), scale_factor=(1.0, 2.13), mode="nearest"),
        layer("upsamplingnearest2d_factor", (1, 2, 2, 2), lambda: nn.UpsamplingNearest2d(scale_factor=2)),
        layer("upsamplingnearest2d_size", (1, 1, 2, 3), lambda: nn.UpsamplingNearest2d(size=(3, 5))),
        layer("upsamplingbilinear2d_factor", (1, 2, 2, 2), lambda: nn.UpsamplingBilinear2d(scale_factor=2)),
        layer("upsamplingbilinear2d_size", (1, 1, 2, 3), lambda: nn.UpsamplingBilinear2d(size=(3, 5))),
        smooth("upsample2d_smooth", (1, 1, 2, 3), lambda: nn.Upsample(scale_factor=1.5, mode="bicubic")),
    ]


def shuffles():
    return [
        layer("pixelshuffle", (1, 8, 1, 2), lambda: nn.PixelShuffle(2)),
        layer("pixelshuffle_3_unbatched", (9, 1, 2), lambda: nn.PixelShuffle(3)),
        layer("pixelshuffle_rank5", (2, 1, 4, 2, 1), lambda: nn.PixelShuffle(2)),
        layer("pixelshuffle_1", (1, 2, 2, 2), lambda: nn.PixelShuffle(1)),
        layer("pixelunshuffle", (1, 2, 2, 4), lambda: nn.PixelUnshuffle(2)),
        layer("pixelunshuffle_3_unbatched", (1, 3, 6), lambda: nn.PixelUnshuffle(3)),
        layer("channelshuffle", (1, 6, 1, 2), lambda: nn.ChannelShuffle(2)),
        layer("channelshuffle_rank3", (2, 6, 2), lambda: nn.ChannelShuffle(3)),
        smooth("pixelshuffle_smooth", (1, 4, 1, 2), lambda: nn.PixelShuffle(2)),
    ]


def folds():
    def unfold(name, shape, *args, **kwargs):
        return layer(f"unfold_{name}", shape, lambda: nn.Unfold(*args, **kwargs))

    def fold(name, shape, *args, **kwargs):
        return layer(f"fold_{name}", shape, lambda: nn.Fold(*args, **kwargs))

    return [
        unfold("plain", (1, 2, 3, 3), 2),
        unfold("tuple_unbatched", (2, 3, 3), (2, 3), padding=(1, 0), stride=(2, 1)),
        unfold("dilation", (1, 1, 4, 4), 2, dilation=(2, 3), padding=1),
        fold("plain", (1, 4, 4), (3, 3), 2),
        fold("tuple_unbatched", (6, 2), (3, 3), (2, 3), padding=(1, 0), stride=(2, 1)),
        fold("dilation_padding", (1, 4, 12), (4, 4), 2, dilation=(2, 3), padding=1),
        fold("stride_channels", (2, 8, 2), (2, 4), 2, stride=2),
        smooth("unfold_smooth", (1, 1, 2, 3), lambda: nn.Unfold((1, 2), padding=(0, 1))),
    ]


def unflatten():
    def case(name, shape, *args):
        return layer(f"unflatten_{name}", shape, lambda: nn.Unflatten(*args))

    return [
        case("plain", (2, 6), 1, (2, 3)),
        case("open", (2, 6), 1, (-1, 2)),
        case("first_dim", (6, 2), 0, (3, 2)),
        case("last_dim", (2, 6), -1, [3, -1, 1]),
        case("size", (1, 6), 1, torch.Size([2, 3])),
        Case("layers/unflatten_before_conv", (1, 8), lambda: nn.Sequential(nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 1, 2))),
    ]


def dropouts():
    return [
        layer("dropout1d", (1, 2, 3), lambda: nn.Dropout1d(0.2)),
        layer("dropout2d", (1, 2, 2, 2), lambda: nn.Dropout2d(0.2, inplace=True)),
        layer("dropout3d", (1, 1, 2, 2, 2), lambda: nn.Dropout3d()),
        layer("alphadropout", (2, 3), lambda: nn.AlphaDropout(0.3)),
        layer("featurealphadropout", (1, 2, 2, 2), lambda: nn.FeatureAlphaDropout(0.3)),
    ]


def nets():
    def autoencoder():
        return nn.Sequential(
            nn.Conv1d(1, 2, 3, stride=2, padding=1), nn.Tanh(), nn.AdaptiveAvgPool1d(2), nn.Flatten(), nn.Linear(4, 4),
            nn.Unflatten(1, (2, 2)), nn.Sigmoid(), nn.ConvTranspose1d(2, 1, 4, stride=4),
        )

    def super_resolution():
        return nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(1, 4, 3), nn.Softplus(), nn.PixelShuffle(2), nn.Upsample(size=(3, 3), mode="bilinear"),
        )

    def volume():
        return nn.Sequential(
            nn.Conv3d(1, 2, 2), nn.Tanh(), nn.MaxPool3d((1, 2, 1)), nn.Dropout3d(), nn.AdaptiveMaxPool3d((1, None, 1)), nn.Flatten(),
        )

    return [
        Case("nets/line_autoencoder", (1, 1, 8), autoencoder),
        Case("nets/super_resolution", (1, 1, 2, 3), super_resolution),
        Case("nets/volume", (1, 1, 2, 3, 3), volume),
    ]
