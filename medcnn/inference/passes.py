"""The ways in which a tile is shown to a network: mirrored, moved by a voxel; and how the answer is turned back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pass:
    """One way. Axes are a tile's spatial axes.

    flips  mirrored along these
    order  the structures' channels after the mirror is taken back, where left and right change places; () as they are
    shift  (axis, step): moved by so many voxels, the border continued; None not moved
    """

    flips: tuple[int, ...] = ()
    order: tuple[int, ...] = ()
    shift: tuple[int, int] | None = None

    def there(self, tile: Tensor) -> Tensor:
        """(C, *sides) as the network sees it."""
        moved = tile if self.shift is None else moved_along(tile, *self.shift)
        return moved.flip([1 + axis for axis in self.flips]) if self.flips else moved

    def back(self, answer: Tensor) -> Tensor:
        """(K or more channels, *sides) in the tile's own voxels; what comes behind the structures stays where it is."""
        if self.flips:
            answer = answer.flip([1 + axis for axis in self.flips])
        if self.order:
            answer = answer[[*self.order, *range(len(self.order), len(answer))]]
        return answer if self.shift is None else moved_along(answer, self.shift[0], -self.shift[1])


def moved_along(tile: Tensor, axis: int, step: int) -> Tensor:
    """By so many voxels, the border continued."""
    length = tile.shape[1 + axis]
    return tile.index_select(1 + axis, (torch.arange(length, device=tile.device) - step).clamp(0, length - 1))


def all_passes(
    *,
    mirror_axes: Sequence[int],
    swaps: Sequence[Sequence[int]],
    num_structures: int,
    left_right: int,
    shift_axes: Sequence[int],
    shifts: int,
) -> list[Pass]:
    """Every combination of mirrored axes, each also moved in `shifts` ways: by -1 and +1 along the last axis, then
    along the others.

    swaps       pairs of structures, counted from 1, that change places when left and right do
    left_right  the axis along which they do
    """
    order = list(range(num_structures))
    for one, other in swaps:
        order[one - 1], order[other - 1] = other - 1, one - 1
    moves = [None, *((axis, step) for axis in reversed(shift_axes) for step in (-1, 1))][: 1 + shifts]
    return [
        Pass(flips, tuple(order) if swaps and left_right in flips else (), move)
        for count in range(len(mirror_axes) + 1)
        for flips in combinations(sorted(mirror_axes), count)
        for move in moves
    ]
