"""Which layers a network passes an image through, and which of them is looked at. B cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeGuard
from weakref import WeakKeyDictionary

import torch
from torch import nn

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
_found: WeakKeyDictionary[nn.Module, dict[tuple[int, ...], str]] = WeakKeyDictionary()  # a pass is not for nothing


@dataclass(frozen=True, eq=False)
class Passed:
    """One module that answered with one tensor while an image passed through; shape without the cases."""

    name: str
    module: nn.Module
    shape: tuple[int, ...]

    @property
    def size(self) -> tuple[int, ...]:
        """Of its maps; () of what is no map."""
        return self.shape[1:]


def is_convolution(module: nn.Module) -> TypeGuard[nn.Conv2d | nn.Conv3d]:
    """In two or three dimensions."""
    return isinstance(module, _CONVOLUTIONS)


def has_maps(network: nn.Module) -> bool:
    """Whether there is a convolution to look at."""
    return any(is_convolution(module) for module in network.modules())


def passed(network: nn.Module, batch: torch.Tensor) -> list[Passed]:
    """The modules that batch (B, C, *size) goes through, in the order in which they answer, each with its last answer.

    What answers several times is left out: nobody could say which of its answers is meant.
    """
    found: list[Passed] = []
    names = {module: name for name, module in network.named_modules() if name}

    def note(module: nn.Module, given: object, output: object) -> None:
        if isinstance(output, torch.Tensor):
            found.append(Passed(names[module], module, tuple(output.shape[1:])))

    hooks = [module.register_forward_hook(note) for module in names]
    try:
        with torch.no_grad():
            network(batch[:1])
    finally:
        for hook in hooks:
            hook.remove()
    times = Counter(one.name for one in found)
    return [one for one in found if times[one.name] == 1]


def target_layer(network: nn.Module, batch: torch.Tensor | None = None) -> str:
    """The name of the last convolutional map. Raises ValueError where there is none.

    The last convolution whose map is larger than one point, and from there outwards and onwards while the map stays the
    same: past the gate of an attention block, the sum at the end of a residual stage, the norm and the activation.
    Without a batch, the last convolution by name.
    """
    if not has_maps(network):
        raise ValueError("Grad-CAM needs a network with convolutions; ask for explain=none")
    if batch is None:
        return [str(name) for name, module in network.named_modules() if is_convolution(module)][-1]
    shape = tuple(batch.shape[1:])
    known = _found.setdefault(network, {})
    if shape not in known:
        known[shape] = _last_map(passed(network, batch), batch.ndim - 2)
    return known[shape]


def _last_map(found: Sequence[Passed], dims: int) -> str:
    maps = [one for one in found if is_convolution(one.module) and len(one.size) == dims]
    maps = [one for one in maps if prod(one.size) > 1] or maps  # of a tiny input there may be no larger one
    if not maps:
        raise ValueError("Grad-CAM found no convolution that answers once with a map; ask for explain=none")
    by_name = {one.name: one for one in found}
    last = maps[-1]
    while (outer := by_name.get(last.name.rpartition(".")[0])) and outer.size == last.size:
        last = outer
    room = last.name.rpartition(".")[0]
    for one in found[found.index(last) + 1 :]:
        if one.name.rpartition(".")[0] == room:
            if one.shape != last.shape:
                break
            last = one
    return last.name
