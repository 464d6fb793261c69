"""How a prepared grid lies in the scan that it was made from: what it takes to bring a result back, voxel by voxel.

The way there: axes turned to the nearest RAS (permutation and flips), cut to a box, resampled. All spatial only.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import permutations
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from medcnn.geometry import Geometry

Kind = TypeVar("Kind", bound=np.generic)


@dataclass(frozen=True)
class Placement:
    """How a prepared grid lies in its scan. Axes are spatial only.

    shape_vox  the scan's own shape, in its own axes
    axes       turned axis n is the scan's axis axes[n]
    flipped    per turned axis: it runs against the scan's
    box        (start, stop) kept along each turned axis, in the scan's voxels, counted along the turned axis
    size       of the prepared grid: the box, resampled

    The outer edges of the box and of the prepared grid coincide: prepared voxel p lies at the box's index
    (p + 0.5) * length / size - 0.5, where length is the box's (align_corners=False in torch's words).
    """

    shape_vox: tuple[int, ...]
    axes: tuple[int, ...]
    flipped: tuple[bool, ...]
    box: tuple[tuple[int, int], ...]
    size: tuple[int, ...]

    @property
    def turned_shape(self) -> tuple[int, ...]:
        """The whole scan's shape in turned axes, before the box is cut."""
        return tuple(self.shape_vox[axis] for axis in self.axes)

    @property
    def box_shape(self) -> tuple[int, ...]:
        """The box's sides, in the scan's voxels."""
        return tuple(stop - start for start, stop in self.box)

    def turned(self, array: npt.NDArray[Kind]) -> npt.NDArray[Kind]:
        """(M, *shape_vox) -> (M, *turned_shape), a view."""
        return turned(array, self.axes, self.flipped)

    def turned_back(self, array: npt.NDArray[Kind]) -> npt.NDArray[Kind]:
        """(M, *turned_shape) -> (M, *shape_vox), a view: the inverse of `turned`."""
        unflipped = np.flip(array, tuple(1 + n for n, flip in enumerate(self.flipped) if flip))
        return unflipped.transpose(0, *(1 + self.axes.index(axis) for axis in range(len(self.axes))))

    def cut(self, array: npt.NDArray[Kind]) -> npt.NDArray[Kind]:
        """(M, *turned_shape) -> (M, *box_shape), a view."""
        return array[(slice(None), *(slice(start, stop) for start, stop in self.box))]

    def as_json(self) -> dict[str, Any]:
        """For a cache: lists and numbers."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Self:
        """What `as_json` gave, after a round through JSON or without."""
        plain = {name: tuple(found[name]) for name in ("shape_vox", "axes", "flipped", "size")}
        return cls(**plain, box=tuple((start, stop) for start, stop in found["box"]))


def turned(array: npt.NDArray[Kind], axes: tuple[int, ...], flipped: tuple[bool, ...]) -> npt.NDArray[Kind]:
    """(M, *shape) -> (M, *turned shape), a view; axes and flipped as in Placement."""
    moved = array.transpose(0, *(1 + axis for axis in axes))
    return np.flip(moved, tuple(1 + n for n, flip in enumerate(flipped) if flip))


def nearest_ras(geometry: Geometry) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """(axes, flipped) that bring the grid's axes closest to Right, Anterior, Superior.

    The assignment with the largest sum of cosines, after the shear is taken out as nibabel does (nearest orthogonal
    matrix). Between equals, at 45 degrees, the file's own order stays.
    """
    directions = geometry.affine[:3, :3] / geometry.spacing_mm()
    left, _, right = np.linalg.svd(directions)
    cosines = left @ right  # row: RAS axis, column: the scan's axis
    best = max(permutations(range(3)), key=lambda axes: round(sum(abs(cosines[n, a]) for n, a in enumerate(axes)), 6))
    return best, tuple(bool(cosines[n, axis] < 0) for n, axis in enumerate(best))
