"""How much of each structure every plane of a scan cuts, counted without a copy of its masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Counts = list[npt.NDArray[np.int64]]


def cross_sections(labels: npt.NDArray[np.uint8], num_structures: int) -> Counts:
    """Per axis of S: (K, planes) voxels of each structure on each plane across that axis.

    labels (M, *S): one plane of the structures' numbers, or where M > 1 a plane of 0 and 1 for each.

    Goes from plane to plane as they lie in memory: what it takes is a few planes, and time for the voxels found.
    """
    sides = labels.shape[1:]
    order = sorted(range(len(sides)), key=lambda axis: -abs(labels.strides[1 + axis]))
    counts = [np.zeros((num_structures, sides[axis]), np.int64) for axis in order]
    for number, volume in enumerate(labels.transpose(0, *(1 + axis for axis in order))):
        for index, plane in enumerate(volume):
            places = np.flatnonzero(plane)
            if len(places):
                which = np.full(len(places), number) if len(labels) > 1 else plane.ravel()[places].astype(np.intp) - 1
                counts[0][:, index] += np.bincount(which, minlength=num_structures)
                _count(counts[1:], np.unravel_index(places, plane.shape), which)
    return [counts[order.index(axis)] for axis in range(len(sides))]


def _count(counts: Counts, found: Sequence[npt.NDArray[np.intp]], which: npt.NDArray[np.intp]) -> None:
    """One plane's voxels, added up along its own axes."""
    for count, along in zip(counts, found, strict=True):
        count += np.bincount(which * count.shape[1] + along, minlength=count.size).reshape(count.shape)
