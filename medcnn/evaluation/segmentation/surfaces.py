"""Surfaces of masks, and how far they are from each other.

A surface is the set of mask voxels that have a face neighbour (6 in a volume, 4 in a picture) outside the mask; what
lies beyond the image counts as outside. Distances run between voxel centres, from each surface voxel of one mask to the
nearest surface voxel of the other. MONAI's metrics define both in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medcnn.evaluation.arrays import Bools, Floats

# A search tree costs about as much per surface voxel as a distance transform per 5 voxels of the box, in time as in
# memory. Smooth masks have few surface voxels in a large box; the speckles of a poor network have many.
_VOXELS_PER_POINT = 5


def surface(mask: Bools) -> Bools:
    """Which voxels of a mask touch its outside; same shape."""
    inside = mask.copy()
    for axis in range(mask.ndim):
        own, turned = np.moveaxis(mask, axis, 0), np.moveaxis(inside, axis, 0)
        turned[1:] &= own[:-1]
        turned[:-1] &= own[1:]
        turned[0] = turned[-1] = False
    return mask & ~inside


def surface_distances(truth: Bools, predicted: Bools, spacing: Sequence[float]) -> tuple[Floats, Floats]:
    """From the truth's surface to the predicted one, and back: (points,) each, in the unit of the spacing.

    truth, predicted  of one shape, neither empty; crop them to a box that holds both, nothing else counts
    """
    edges = surface(truth), surface(predicted)
    if _VOXELS_PER_POINT * sum(map(np.count_nonzero, edges)) < truth.size:
        return _by_tree(*edges, spacing)
    return _by_transform(edges[1], edges[0], spacing), _by_transform(edges[0], edges[1], spacing)


def _by_tree(truth: Bools, predicted: Bools, spacing: Sequence[float]) -> tuple[Floats, Floats]:
    """Both ways between two surfaces; memory grows with them, not with the box."""
    from scipy.spatial import cKDTree

    true, given = (np.argwhere(edge) * np.asarray(spacing, dtype=np.float64) for edge in (truth, predicted))
    return cKDTree(given).query(true)[0], cKDTree(true).query(given)[0]


def _by_transform(onto: Bools, points: Bools, spacing: Sequence[float]) -> Floats:
    """From each of `points` to the nearest of `onto`; 4 bytes per voxel and axis, distances at the points only."""
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(~onto, sampling=list(spacing), return_distances=False, return_indices=True)
    found = [np.zeros(0)]
    for row, plane in enumerate(points):  # plane by plane, or the coordinates of many points outweigh the volume
        there = np.argwhere(plane)
        places = np.column_stack([np.full(len(there), row), there])
        away = (nearest[(slice(None), *places.T)].T - places) * np.asarray(spacing, dtype=np.float64)
        found.append(np.sqrt((away**2).sum(axis=1)))
    return np.concatenate(found)
