"""A network's layers from the input to the head, for what is learnt slowly, late or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn
from torch.nn import Parameter
from torch.nn.modules.batchnorm import _NormBase

from medcnn.networks.weights_fit import head_of

_ROOMS = ("body", "features", "blocks", "_blocks", "stages")  # what only holds the stages, one after the other
ALL_BUT_HEAD = -1


def layer_groups(network: nn.Module) -> list[list[Parameter]]:
    """Every parameter once, in groups from the input to the head; a norm stands with the layer before it.

    A group is a stage where a network has stages, else a layer. The last one is the head.
    """
    return [[p for p in module_parameters(group)] for group in _groups(network)]


def module_parameters(modules: Sequence[nn.Module]) -> list[Parameter]:
    """Those of several modules, one after the other."""
    return [parameter for module in modules for parameter in module.parameters()]


def _groups(network: nn.Module) -> list[list[nn.Module]]:
    head = head_of(network)
    groups: list[list[nn.Module]] = []
    for name, piece in _pieces(network, ""):
        is_head = bool(head) and (head == name or head.startswith(f"{name}."))
        if groups and not is_head and not any(p.ndim > 1 for p in piece.parameters()):
            groups[-1].append(piece)  # a norm belongs to what it norms
        else:
            groups.append([piece])
    return groups


def _pieces(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    own = list(module.parameters(recurse=False))
    if own:  # weights beside children: nothing to take apart
        yield path, module
        return
    for name, child in module.named_children():
        whole = f"{path}.{name}" if path else name
        if name in _ROOMS and list(child.children()):
            yield from _pieces(child, whole)
        elif any(True for _ in child.parameters()):
            yield whole, child


def parameter_groups(
    network: nn.Module, lr: float, decay: float = 1.0, *, frozen: int = 0, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """An optimiser's groups with a learning rate for each layer: `lr` in the head, `decay` times less in each before.

    frozen        groups from the input that are not learnt, and not in the answer; ALL_BUT_HEAD is the linear probe
    weight_decay  on kernels and matrices only

    Each has params, lr, weight_decay, and `lr_scale`, by which a schedule multiplies its own rate.
    """
    groups = layer_groups(network)
    held = held_groups(len(groups), frozen)
    made: list[dict[str, Any]] = []
    for index, parameters in enumerate(groups[held:], start=held):
        scale = decay ** (len(groups) - 1 - index)
        for decayed in (True, False):
            chosen = [p for p in parameters if p.requires_grad and (p.ndim > 1) == decayed]
            if chosen:
                rate = {"lr": lr * scale, "lr_scale": scale, "weight_decay": weight_decay if decayed else 0.0}
                made.append({"params": chosen, **rate})
    return made


def held_groups(groups: int, frozen: int) -> int:
    """How many groups from the input are held; the head never is."""
    return groups - 1 if frozen == ALL_BUT_HEAD else min(frozen, groups - 1)


def thawed(groups: int, epoch: int, epochs_each: int) -> int:
    """Gradual unfreezing (Howard and Ruder 2018): how many groups are still held in an epoch, counted from 0.

    First the head alone; after every `epochs_each` epochs one more group, from the head backwards.
    """
    return max(0, groups - 1 - epoch // max(1, epochs_each))


def freeze(network: nn.Module, frozen: int) -> int:
    """Hold the first groups as they are and let the others learn; how many groups are held.

    Again with another number, it holds or frees others.
    """
    groups = layer_groups(network)
    held = held_groups(len(groups), frozen)
    for index, parameters in enumerate(groups):
        for parameter in parameters:
            parameter.requires_grad_(index >= held)
    return held


def hold_norms(network: nn.Module) -> int:
    """Norms of frozen layers keep their statistics: to be called after network.train(). How many do."""
    held = [m for m in network.modules() if isinstance(m, _NormBase) and m.weight is not None
            and not m.weight.requires_grad]  # fmt: skip
    for module in held:
        module.eval()
    return len(held)
