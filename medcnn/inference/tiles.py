"""A grid covered by overlapping tiles whose weights sum to one in every voxel.

Every set of tiles is a product of starts along each axis, and the Gaussian is a product too. So the weights are
normalised axis by axis, once: no map of summed weights is kept, and nothing is divided at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Image = npt.NDArray[np.float32]

#: Which start along each axis: a tile's place in its tiling.
Place = tuple[int, ...]

# The Gaussian's sigma in sides of the tile, as nnU-Net has it (Isensee et al. 2021).
_SIGMA = 1 / 8

# Its least weight along an axis, relative to the centre's: enough where no other tile reaches.
_LEAST = 1e-6


@dataclass(frozen=True, eq=False)
class Tiling:
    """Tiles of one size over a grid. Where a tile is longer than the grid it lies around it, centred.

    size     the grid's sides in voxels
    sides    a tile's
    starts   along each axis, in order; negative where the tile is longer than the grid
    weights  per axis (number of starts, side) float32: over all tiles they sum to 1 in each voxel of the grid, and are
             0 outside of it
    """

    size: tuple[int, ...]
    sides: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]
    weights: tuple[Tensor, ...]

    @classmethod
    def of(
        cls, size: Sequence[int], patch: Sequence[int], *, overlap: float, divisor: Sequence[int], stretch: float = 1.25
    ) -> Tiling:
        """Neighbours share at least `overlap` of a side.

        An axis that is longer than the patch by no more than `stretch` times gets one tile of its own length, rounded
        up to the divisor: networks of convolutions take any length, and two tiles would cost nearly twice as much.
        """
        sides = tuple(
            ceil(length / whole) * whole if side < length <= stretch * side else side
            for length, side, whole in zip(size, patch, divisor, strict=True)
        )
        starts = tuple(starts_along(length, side, overlap) for length, side in zip(size, sides, strict=True))
        weights = tuple(weights_along(*axis) for axis in zip(size, sides, starts, strict=True))
        return cls(tuple(size), sides, starts, weights)

    def places(self, slow: int) -> list[Place]:
        """All tiles, ordered by their start along the slow axis."""
        counts = [range(len(starts)) for starts in self.starts]
        return sorted(product(*counts), key=lambda place: place[slow])

    def covered(self, place: Place) -> tuple[slice, ...]:
        """The part of the grid under a tile."""
        return tuple(slice(first, stop) for first, stop in self._spans(place))

    def inside(self, place: Place) -> tuple[slice, ...]:
        """The part of a tile that lies on the grid, in the tile's own voxels."""
        starts = (axis[at] for axis, at in zip(self.starts, place, strict=True))
        return tuple(
            slice(first - start, stop - start) for (first, stop), start in zip(self._spans(place), starts, strict=True)
        )

    def cut(self, image: Image, place: Place) -> Tensor:
        """(C, *size) -> (C, *sides), 0 around the grid: after normalisation about the mean, as in training."""
        tile = torch.zeros(image.shape[0], *self.sides)
        tile.numpy()[(slice(None), *self.inside(place))] = image[(slice(None), *self.covered(place))]
        return tile

    def weight(self, place: Place) -> Tensor:
        """(*sides of the part inside the grid) float32."""
        weight = torch.ones(())
        for axis, at, part in zip(self.weights, place, self.inside(place), strict=True):
            weight = weight[..., None] * axis[at, part]
        return weight

    def _spans(self, place: Place) -> Iterator[tuple[int, int]]:
        for length, side, starts, at in zip(self.size, self.sides, self.starts, place, strict=True):
            yield max(starts[at], 0), min(starts[at] + side, length)


def starts_along(length: int, side: int, overlap: float) -> tuple[int, ...]:
    """As few tiles as cover the axis with that overlap, spread evenly; one, centred, where the side is no shorter."""
    if side >= length:
        return (-((side - length) // 2),)
    step = max(1.0, side * (1 - overlap))
    count = ceil((length - side) / step) + 1
    return tuple(int(start) for start in np.round(np.linspace(0, length - side, count)))


def weights_along(length: int, side: int, starts: Sequence[int]) -> Tensor:
    """(number of starts, side): a Gaussian around each tile's centre, divided by the sum over all tiles.

    Less its value at the tile's edge: the outermost voxels, which see least of what is around them, then count for
    nothing where another tile covers them.
    """
    from_centre = (np.arange(side) - (side - 1) / 2) / (side * _SIGMA)
    bell = np.exp(-0.5 * from_centre**2)
    bell = np.maximum(bell - bell[0], _LEAST)
    weights = np.zeros((len(starts), side))
    total = np.zeros(length)
    for row, start in zip(weights, starts, strict=True):
        first, stop = max(start, 0), min(start + side, length)
        row[first - start : stop - start] = bell[first - start : stop - start]
        total[first:stop] += row[first - start : stop - start]
    for row, start in zip(weights, starts, strict=True):
        first, stop = max(start, 0), min(start + side, length)
        row[first - start : stop - start] /= total[first:stop]
    return torch.from_numpy(weights.astype(np.float32))
