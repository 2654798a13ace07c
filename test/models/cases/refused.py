"""Models that a reader refuses or takes as custom layers."""

import torch
import torch.nn.utils.prune
from torch import nn

import custom_model


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
        ("custom_skip", "custom_model.Skip with a child and attributes, between torch's layers", "custom",
         ["custom_model.Skip", "1"], save(skip)),
        ("custom_alone", "custom_model.Skip as the whole model", "custom", ["custom_model.Skip"],
         save(lambda: custom_model.Skip(nn.Linear(3, 3), 0.5))),
        ("custom_sequential", "a subclass of Sequential with a forward of its own", "custom", ["custom_model.Twice"],
         save(lambda: custom_model.Twice(nn.Linear(3, 3), nn.Tanh()))),
        ("custom_with_buffers", "a custom class with a buffer, a bare Parameter and no child", "custom",
         ["custom_model.Scale", "0"], save(lambda: nn.Sequential(custom_model.Scale(3)))),
    ]
