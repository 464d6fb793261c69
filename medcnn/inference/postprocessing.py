"""What is mended in a mask after the fact: holes, small pieces, all pieces but the largest. In the scan's own grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medcnn.inference.mask_rule import Labels, MaskRule

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Mending:
    """Of one structure, in this order. A piece is connected by faces, edges or corners.

    fill_holes  background that the structure encloses on all sides becomes the structure
    largest     only its largest piece stays; the first of equals
    least_ml    smaller pieces go, where the scan's spacing is known (in 2D this is cm2)
    least_voxels  smaller pieces go, in voxels of the scan
    """

    fill_holes: bool = False
    largest: bool = False
    least_ml: float = 0.0
    least_voxels: int = 0

    def mend(self, mask: Mask, voxel_ml: float) -> Mask:
        """A new mask."""
        if self.fill_holes:
            mask = ndimage.binary_fill_holes(mask)
        if not self.largest and self.least_ml <= 0 and self.least_voxels <= 1:
            return mask
        pieces, sizes = pieces_of(mask)
        stay = self.stays(sizes, voxel_ml)
        return np.concatenate([[False], stay])[pieces]

    def stays(self, sizes: npt.NDArray[np.int64], voxel_ml: float) -> Mask:
        """Which pieces of these sizes (in voxels) are kept."""
        stay = (sizes * voxel_ml >= self.least_ml * (1 - 1e-9)) & (sizes >= self.least_voxels)
        if self.largest and len(sizes):
            stay &= np.arange(len(sizes)) == np.argmax(sizes)
        return np.asarray(stay)


@dataclass(frozen=True)
class PostProcessing:
    """Structure -> what is mended; nothing for those not named."""

    mendings: dict[str, Mending] = field(default_factory=dict)

    def apply(self, labels: Labels, rule: MaskRule, voxel_ml: float) -> None:
        """(M, *S) labels, changed in place, structure after structure in the order of names.

        Works in each structure's bounding box. Where structures exclude each other only background is filled, and what
        goes becomes background.
        """
        for number, name in enumerate(rule.names):
            mending = self.mendings.get(name, Mending())
            if mending == Mending():
                continue
            plane, value = (labels[number], 1) if rule.overlapping else (labels[0], number + 1)
            box = bounding_box(plane, value)
            if box is None:
                continue
            inside = plane[box]
            before = inside == value
            after = mending.mend(before, voxel_ml)
            inside[before & ~after] = 0
            inside[after & (inside == 0)] = value

    def as_json(self) -> dict[str, Any]:
        """For model.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """From model.json."""
        return cls({name: Mending(**mending) for name, mending in found["mendings"].items()})


def pieces_of(mask: Mask) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """(each voxel's piece, counted from 1, 0 outside; each piece's size in voxels)."""
    pieces, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    # Plane by plane: bincount makes eight bytes of each voxel.
    sizes = sum((np.bincount(plane.ravel(), minlength=count + 1) for plane in pieces), np.zeros(count + 1, np.int64))
    return pieces, sizes[1:]


def bounding_box(plane: Labels, value: int) -> tuple[slice, ...] | None:
    """Of all voxels with that value; None where there is none. Needs memory for one plane."""
    sides = [np.zeros(length, bool) for length in plane.shape]
    for at, row in enumerate(plane):
        here = row == value
        sides[0][at] = here.any()
        for axis in range(1, plane.ndim):
            other = tuple(n - 1 for n in range(1, plane.ndim) if n != axis)
            sides[axis] |= here.any(axis=other)
    found = [np.flatnonzero(side) for side in sides]
    return None if not len(found[0]) else tuple(slice(int(each[0]), int(each[-1]) + 1) for each in found)


def voxel_ml(spacing_mm: Sequence[float]) -> float:
    """Of one voxel; in 2D cm2 of one pixel."""
    return float(np.prod(spacing_mm)) / 10.0 ** len(spacing_mm)
