"""Files as older torch wrote them."""

from torch import nn

from .case import layer


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
