"""The files of `hostile/` that are layers over lines, images and volumes, with faults in their attributes."""


# Faults that show when the layer meets an image, so that the message is about shapes.
OF_SHAPES = (
    "beyond_memory", "cropped", "too_large", "factor_huge", "factor_tiny", "factor_three", "wrong_rank", "not_dividing", "open_0",
    "windows", "padding_all", "size_and_factor",
)  # fmt: skip


def named(name, attribute):
    """The attribute, where the message has to name it."""
    return () if name.endswith(OF_SHAPES) or attribute == "size" else (attribute,)


def spatial_faults():
    """(class below torch.nn.modules, good attributes, faults): each fault is a name, an attribute, and what it becomes."""
    each = {"0": 0, "negative": -2, "text": "2", "five": (1, 1, 1, 1, 1), "none": None, "huge": 2**62}
    found = []
    for n in (1, 3):
        pool = {"kernel_size": 2, "stride": 2, "padding": 0, "ceil_mode": False}
        faults = [
            *[(f"kernel_{name}", "kernel_size", v) for name, v in each.items()],
            *[(f"stride_{name}", "stride", v) for name, v in each.items() if v is not None],
            ("padding_over_half", "padding", 2),
            ("ceil_mode_text", "ceil_mode", "no"),
        ]
        found.append((f"pooling.AvgPool{n}d", {**pool, "count_include_pad": True, "divisor_override": None}, faults))
        dilation = [(f"dilation_{name}", "dilation", v) for name, v in each.items() if v is not None]
        indices = ("return_indices", "return_indices", True)
        found.append((f"pooling.MaxPool{n}d", {**pool, "dilation": 1, "return_indices": False}, [*faults, *dilation, indices]))
    for n in (1, 2, 3):
        adaptive = [
            *[(f"size_{name}", "output_size", v) for name, v in each.items() if name in ("negative", "text", "five", "huge")],
            *[("size_beyond_memory", "output_size", (2**31 - 1,) * n) for _ in range(n > 1)],
        ]
        found.append((f"pooling.AdaptiveAvgPool{n}d", {"output_size": 2}, adaptive))
        indices = ("return_indices", "return_indices", True)
        found.append((f"pooling.AdaptiveMaxPool{n}d", {"output_size": 2, "return_indices": False}, [*adaptive, indices]))
    power = {"norm_type": 2.0, "kernel_size": 2, "stride": None, "ceil_mode": False}
    found.append(("pooling.LPPool2d", power, [
        ("norm_0", "norm_type", 0), ("norm_nan", "norm_type", float("nan")), ("norm_text", "norm_type", "2"),
        ("norm_infinite", "norm_type", float("inf")), ("kernel_0", "kernel_size", 0), ("stride_0", "stride", 0),
    ]))  # fmt: skip
    for kind in ("Constant", "Reflection", "Replication", "Circular"):
        good = {"padding": (1, 1, 1, 1), **({"value": 0.0} if kind == "Constant" else {})}
        faults = [
            ("odd", "padding", (1, 1, 1)), ("text", "padding", "1"), ("float", "padding", (1.5, 1, 1, 1)), ("none", "padding", None),
            ("huge", "padding", (2**62, 2**62, 1, 1)), ("beyond_memory", "padding", (2**31 - 1,) * 4), ("cropped", "padding", (-9, 1, 0, 0)),
        ]  # fmt: skip
        if kind == "Constant":
            faults += [("value_text", "value", "0"), ("value_nan", "value", float("nan"))]
        else:
            faults += [("two", "padding", (1, 1)), ("six", "padding", (1,) * 6)]
        if kind in ("Reflection", "Circular"):
            faults.append(("too_large", "padding", (9, 9, 9, 9)))
        found.append((f"padding.{kind}Pad2d", good, faults))
    up = {"size": None, "scale_factor": 2.0, "mode": "bilinear", "align_corners": None, "recompute_scale_factor": None}
    factors = {
        "nan": float("nan"), "infinite": float("inf"), "0": 0.0, "negative": -1.0, "text": "2", "three": (2.0, 2.0, 2.0),
        "beyond_memory": 1e9, "huge": 1e300, "tiny": 1e-300, "none": None,
    }  # fmt: skip
    found.append(("upsampling.Upsample", up, [
        *[(f"factor_{name}", "scale_factor", v) for name, v in factors.items()],
        *[(f"size_{name}", "size", v) for name, v in each.items() if v is not None],
        ("size_and_factor", "size", 3), ("mode_unknown", "mode", "cubic"), ("mode_none", "mode", None),
        ("align_corners_text", "align_corners", "yes"), ("recompute_text", "recompute_scale_factor", 3),
        ("wrong_rank", "mode", "trilinear"),
    ]))  # fmt: skip
    found.append(("upsampling.UpsamplingNearest2d", {**up, "mode": "nearest"}, [("corners", "align_corners", True)]))
    positive = [(name, v) for name, v in each.items() if name != "five"]
    for cls, attribute in (
        ("pixelshuffle.PixelShuffle", "upscale_factor"), ("pixelshuffle.PixelUnshuffle", "downscale_factor"),
        ("channelshuffle.ChannelShuffle", "groups"),
    ):  # fmt: skip
        faults = [(name, attribute, v) for name, v in positive] + [("not_dividing", attribute, 3)]
        found.append((cls, {attribute: 1}, faults))
    found.append(("flatten.Unflatten", {"dim": 1, "unflattened_size": (1, 1)}, [
        ("not_dividing", "unflattened_size", (7, 1)), ("two_open", "unflattened_size", (-1, -1)), ("empty", "unflattened_size", ()),
        ("negative", "unflattened_size", (-2, 3)), ("text", "unflattened_size", "2"), ("beyond_memory", "unflattened_size", (2**62, 2**62)),
        ("open_0", "unflattened_size", (0, -1)), ("dim_far", "dim", 9), ("dim_text", "dim", "C"), ("dim_none", "dim", None),
    ]))  # fmt: skip
    fold = {"output_size": (4, 5), "kernel_size": 2, "dilation": 1, "padding": 0, "stride": 1}
    faults = [
        (f"{attribute}_{name}", attribute, v)
        for attribute in ("kernel_size", "dilation", "padding", "stride")
        for name, v in each.items()
        if (attribute, v) != ("padding", 0)
    ]
    found.append(("fold.Fold", fold, [*faults, *[(f"size_{name}", "output_size", v) for name, v in each.items()], ("windows", "stride", 3)]))
    unfold = {k: v for k, v in fold.items() if k != "output_size"}
    found.append(("fold.Unfold", unfold, [*faults, ("kernel_too_large", "kernel_size", 6), ("padding_beyond_memory", "padding", 2**31 - 1)]))
    found.append(("dropout.AlphaDropout", {"p": 0.5, "inplace": False}, [("p_2", "p", 2.0), ("p_text", "p", "half")]))
    return found


def convolution_faults():
    """The same for (transposed) convolutions with one channel and a kernel of (2, 3)."""
    good = {
        "in_channels": 1, "out_channels": 1, "kernel_size": (2, 3), "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1),
        "transposed": True, "output_padding": (0, 0), "groups": 1, "padding_mode": "zeros",
    }  # fmt: skip
    return good, [
        ("groups_0", "groups", 0), ("groups_not_dividing", "groups", 2), ("stride_0", "stride", (0, 1)), ("stride_text", "stride", "1"),
        ("stride_triple", "stride", (1, 1, 1)), ("padding_negative", "padding", (-1, 0)), ("padding_text", "padding", "same"),
        ("padding_all", "padding", (9, 9)), ("dilation_0", "dilation", (0, 1)), ("dilation_huge", "dilation", (2**62, 1)),
        ("dilation_beyond_memory", "dilation", (2**31 - 1, 2**31 - 1)), ("stride_beyond_memory", "stride", (2**31 - 1, 2**31 - 1)),
        ("output_padding_large", "output_padding", (1, 0)), ("output_padding_negative", "output_padding", (-1, 0)),
        ("kernel_wrong", "kernel_size", (3, 3)), ("channels_wrong", "in_channels", 3), ("transposed", "transposed", False),
        ("padding_mode", "padding_mode", "reflect"),
    ]  # fmt: skip
