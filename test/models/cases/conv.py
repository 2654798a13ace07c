"""Convolutions."""

import torch
from torch import nn

from .case import layer


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
