"""How much memory a network needs for one tile, so that as many are batched as fit."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor, nn

# What a U-Net holds beside the layer at work, as a multiple of that layer's inputs and outputs: skips and workspace.
_BESIDE = 2

# Sides of the small tile that is tried, at least; and twice the network's divisor.
_TRIED_SIDE = 16


def bytes_per_tile(network: nn.Module, shape: Sequence[int], divisor: Sequence[int], device: torch.device) -> int:
    """Of one input (C, *sides) in float32, an estimate from above: the largest layer's inputs and outputs, twice.

    Seen on a small tile of zeros, as the memory of convolutions grows with the voxels; on a whole one where a network
    takes no other.
    """
    sides = [
        min(side, ceil(max(_TRIED_SIDE, 2 * whole) / whole) * whole)
        for side, whole in zip(shape[1:], divisor, strict=True)
    ]
    try:
        return ceil(_largest_layer(network, (shape[0], *sides), device) * prod(shape[1:]) / prod(sides))
    except (RuntimeError, ValueError):
        return _largest_layer(network, shape, device)


def tiles_that_fit(per_tile: int, memory_mb: int, most: int, device: torch.device) -> int:
    """At least one. On a GPU half of what is free counts instead of memory_mb."""
    room = torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else memory_mb * 2**20
    return max(1, min(most, room // max(1, per_tile)))


@torch.no_grad()
def _largest_layer(network: nn.Module, shape: Sequence[int], device: torch.device) -> int:
    tile = torch.zeros(1, *shape, device=device)
    sizes = [tile.numel()]

    def note(_: nn.Module, inputs: Any, output: Any) -> None:
        sizes.append(_numbers(inputs) + _numbers(output))

    leaves = [module for module in network.modules() if not any(module.children())]
    handles = [module.register_forward_hook(note) for module in leaves]
    try:
        network(tile)
    finally:
        for handle in handles:
            handle.remove()
    return max(sizes) * tile.element_size() * _BESIDE


def _numbers(found: Any) -> int:
    if isinstance(found, Tensor):
        return prod(found.shape)
    return sum(_numbers(each) for each in found) if isinstance(found, list | tuple) else 0
