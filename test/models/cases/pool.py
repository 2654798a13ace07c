"""Pools."""

from torch import nn

from .case import layer


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
