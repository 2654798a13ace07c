"""Layers that keep every number."""

from torch import nn

from .case import Case, layer


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
