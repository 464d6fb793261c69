"""Resampling along the axes of a grid, outer edges kept. Separable: one small matrix per axis, applied slab by slab.

Tensor-product splines are products of one-dimensional ones, so that three matrix products replace the 64 taps per
voxel of a cubic in 3D: the numbers are those of scipy.ndimage.zoom(grid_mode=True, mode="nearest").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Image = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
Matrices = list[npt.NDArray[np.float32] | None]  # one per axis, (new, old); None leaves the axis as it is

_COARSE = 3.0  # an axis with more than three times the finest spacing is coarse, as in nnU-Net
_MUCH = 2.0  # shrunk by this or more, voxels are averaged: a spline would pick single ones and alias
_SLAB_VOX = 2**23  # voxels worked on at once: 32 MiB of float32
_NEGLIGIBLE = 1e-8  # of a spline's weight: float32 does not see it, and the matrix stays a band


def resampled_image(image: Image, size: Sequence[int], coarse: int | None = None) -> Image:
    """image (C, *box) -> (C, *size): cubic spline, linear along the coarse axis, averages where it shrinks much."""
    matrices = _matrices(image.shape[1:], size, [1 if axis == coarse else 3 for axis in range(len(size))])
    result = np.empty((len(image), *size), np.float32)
    for channel, place in zip(image, result, strict=True):
        for rows in _slabs(size):
            near, own = _near(matrices, rows, len(channel))
            place[rows] = _along_axes(channel[near], own)
    return result


def resampled_labels(labels: Labels, size: Sequence[int]) -> Labels:
    """labels (M, *box) -> (M, *size): each value's indicator is interpolated linearly, the largest wins.

    As nnU-Net's resize_segmentation, but without voids where no value reaches a half; between equals the lowest value
    wins. 255 (ignore) is a value like others. Beside the result, memory holds a few slabs.
    """
    matrices = _matrices(labels.shape[1:], size, [1] * len(size))
    result = np.empty((len(labels), *size), np.uint8)
    for plane, place in zip(labels, result, strict=True):
        for rows in _slabs(size):
            near, own = _near(matrices, rows, len(plane))
            place[rows] = _winner(plane[near], own)
    return result


def coarse_axis(spacing_mm: Sequence[float]) -> int | None:
    """The one axis that is much coarser than the finest, or None."""
    axes = [axis for axis, edge in enumerate(spacing_mm) if edge > _COARSE * min(spacing_mm)]
    return axes[0] if len(axes) == 1 and len(spacing_mm) == 3 else None


def axis_matrix(old: int, new: int, order: int) -> npt.NDArray[np.float32] | None:
    """(new, old) weights of one axis; None where nothing changes. Rows sum to one."""
    if old == new:
        return None
    if old >= _MUCH * new:
        edges = np.linspace(0, old, new + 1)
        upper = np.minimum(edges[1:, None], np.arange(1, old + 1))
        lower = np.maximum(edges[:-1, None], np.arange(old))
        return np.asarray(np.clip(upper - lower, 0, None) * (new / old), np.float32)
    zoom = (new / old, 1.0)
    weights = ndimage.zoom(np.eye(old), zoom, order=order if old > 1 else 1, mode="nearest", grid_mode=True)
    return np.asarray(np.where(np.abs(weights) < _NEGLIGIBLE, 0, weights), np.float32)


def _matrices(shape: Sequence[int], size: Sequence[int], orders: Sequence[int]) -> Matrices:
    return [axis_matrix(old, new, order) for old, new, order in zip(shape, size, orders, strict=True)]


def _slabs(size: Sequence[int]) -> Iterator[slice]:
    """Rows of the result along its first axis, few enough for the memory of one slab."""
    thick = max(1, _SLAB_VOX // max(1, int(np.prod(size[1:]))))
    return (slice(start, min(start + thick, size[0])) for start in range(0, size[0], thick))


def _near(matrices: Matrices, rows: slice, length: int) -> tuple[slice, Matrices]:
    """The rows of the volume that a slab of the result depends on, and the matrices between the two."""
    if (first := matrices[0]) is None:
        return rows, matrices
    used = np.flatnonzero(first[rows].any(axis=0))
    near = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, length)
    return near, [first[rows, near], *matrices[1:]]


def _along_axes(volume: Image, matrices: Matrices) -> Image:
    """(I, J, K) or (H, W), each axis by its matrix. The last axis counts fastest: no product needs a copy."""
    for axis, matrix in enumerate(matrices):
        if matrix is None:
            continue
        if axis == 0:
            volume = np.tensordot(matrix, volume, axes=1)
        elif axis == volume.ndim - 1:
            volume = np.matmul(volume, matrix.T)
        else:
            volume = np.matmul(matrix, volume)
    return volume


def _winner(labels: Labels, matrices: Matrices) -> Labels:
    """For each voxel of the result the value whose interpolated indicator is largest, the lowest of equals."""
    if all(matrix is None for matrix in matrices):
        return labels
    size = [side if matrix is None else len(matrix) for side, matrix in zip(labels.shape, matrices, strict=True)]
    winner, most = np.zeros(size, np.uint8), np.zeros(size, np.float32)
    boxes = [tuple(slice(0, side) for side in labels.shape), *ndimage.find_objects(labels, max_label=255)]
    for value, box in enumerate(boxes):
        if box is None:
            continue
        own, place = _reached(matrices, box)
        share = _along_axes((labels[box] == value).astype(np.float32), own)
        better = share > most[place]
        winner[place][better], most[place][better] = value, share[better]
    return winner


def _reached(matrices: Matrices, box: tuple[slice, ...]) -> tuple[Matrices, tuple[slice, ...]]:
    """The part of the result that a box has weight in, and the matrices from one to the other."""
    own: Matrices = []
    place: list[slice] = []
    for matrix, inside in zip(matrices, box, strict=True):
        if matrix is None:
            own.append(None)
            place.append(inside)
            continue
        used = np.flatnonzero(matrix[:, inside].any(axis=1))
        rows = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 0)
        own.append(matrix[rows, inside])
        place.append(rows)
    return own, tuple(place)
