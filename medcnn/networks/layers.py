"""A network's layers from the input to the head, for what is learnt slowly, late or not at all."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn import Parameter
from torch.nn.modules.batchnorm import _NormBase

from medcnn.networks.covariates import image_network
from medcnn.networks.weights_fit import head_of

_ROOMS = ("body", "features", "blocks", "_blocks", "stages")  # what only holds the stages, one after the other


def layer_groups(network: nn.Module) -> list[list[Parameter]]:
    """Every parameter once, in groups from the input to the head; a norm stands with the layer before it.

    A group is a stage where a network has stages, else a layer. The last one is the head, and what joins covariates
    to it: all that starts at random in a network with given weights.
    """
    image = image_network(network)
    groups = [[p for module in group for p in module.parameters()] for group in _groups(image)]
    known = {id(parameter) for group in groups for parameter in group}
    groups[-1] += [parameter for parameter in network.parameters() if id(parameter) not in known]
    return groups


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


def freeze(network: nn.Module, held: int) -> None:
    """Hold the first groups as they are and let the others learn; the head always does.

    Again with another number, it holds or frees others.
    """
    groups = layer_groups(network)
    for index, parameters in enumerate(groups):
        for parameter in parameters:
            parameter.requires_grad_(index >= min(held, len(groups) - 1))


def hold_norms(network: nn.Module) -> int:
    """Norms of frozen layers keep their statistics: to be called after network.train(). How many do."""
    held = [m for m in network.modules() if isinstance(m, _NormBase) and m.weight is not None
            and not m.weight.requires_grad]  # fmt: skip
    for module in held:
        module.eval()
    return len(held)
