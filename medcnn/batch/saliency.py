"""Where a classifier looked, as a map on the scan's own grid: to be laid over the scan by any viewer."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from medcnn.batch.masks import Grid
from medcnn.batch.results import SALIENCY, Results
from medcnn.batch.seen import Seen
from medcnn.batch.view import Heat
from medcnn.io.nifti.writer import write_nifti
from medcnn.transforms.placement import turned
from medcnn.transforms.preprocessing import Preprocessing
from medcnn.whole_file import write_whole

_FULL = np.iinfo(np.uint16).max  # a pixel's value for heat 1, in pictures


def saliency_file(name: str, suffix: str) -> str:
    """As a path in the results; suffix as Grid says it."""
    return f"{SALIENCY}/{name}{suffix}"


def write_saliency(results: Results, name: str, heat: Heat, grid: Grid, preprocessing: Preprocessing) -> str:
    """heat (*size_px) from 0 to 1 on the network's grid; what was written, as a path in the results.

    Volumes: 32-bit floats in NIfTI, in the scan's own axes and place. Pictures: PNG of 16 bits, 65535 is 1.
    Raises ValueError where heat holds no number, OSError.
    """
    file = saliency_file(name, grid.suffix)
    path = results.place(file)
    values = on_scan(heat, grid, preprocessing)
    if len(grid.shape_vox) == 2:
        write_whole(path, _png(values))
    else:
        spacing_mm = None if grid.geometry is not None else grid.spacing_mm
        write_nifti(path, values, grid.geometry, spacing_mm=spacing_mm)
    return file


def on_scan(heat: Heat, grid: Grid, preprocessing: Preprocessing) -> Heat:
    """(*size_px) on the network's grid -> (*scan's shape), linear between its voxels; 0 where the network saw nothing.

    The way back through Preprocessing: padding, crop, resampling, turning.
    """
    if tuple(heat.shape) != preprocessing.size_px:
        raise ValueError(f"heat of {heat.shape} on a network's grid of {preprocessing.size_px}")
    seen = Seen.of(grid, preprocessing)
    found = np.zeros(grid.shape_vox, np.float32)
    view = turned(found[None], seen.axes, seen.flipped)[0]
    for index, plane in (_planes if seen.is_straight(view.shape) else _slanted_planes)(heat, seen, view.shape):
        view[index] = plane
    return found


@dataclass(frozen=True, eq=False)
class _Line:
    """Along one axis: for each voxel of the scan the two of the network's grid that it lies between.

    share  of the upper one
    seen   whether the network saw this place: it lies in one of its voxels
    """

    lower: npt.NDArray[np.intp]
    upper: npt.NDArray[np.intp]
    share: npt.NDArray[np.float32]
    seen: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, scale: float, offset: float, side: int, size: int) -> _Line:
        """Of `side` voxels, the n-th at scale * n + offset of `size` in the network's grid."""
        places = np.arange(side) * scale + offset
        within = np.clip(places, 0, size - 1)
        lower = np.floor(within).astype(np.intp)
        share = (within - lower).astype(np.float32)
        return cls(lower, np.minimum(lower + 1, size - 1), share, (places >= -0.5) & (places <= size - 0.5))

    def along(self, values: Heat, axis: int) -> Heat:
        """Values with this axis brought to the scan's voxels."""
        share = np.where(self.seen, self.share, 0).reshape(-1, *[1] * (values.ndim - 1 - axis))
        rest = np.where(self.seen, 1 - self.share, 0).astype(np.float32).reshape(share.shape)
        lower, upper = values.take(self.lower, axis), values.take(self.upper, axis)
        return np.asarray(lower * rest + upper * share, np.float32)


def _planes(heat: Heat, seen: Seen, shape: Sequence[int]) -> Iterator[tuple[int, Heat]]:
    """Each plane of the turned scan that the network saw: no more than one is held."""
    steps = zip(np.diag(seen.matrix), seen.matrix[:, -1], shape, heat.shape, strict=True)
    first, *others = (_Line.of(float(scale), float(offset), side, size) for scale, offset, side, size in steps)
    for index in np.flatnonzero(first.seen):
        share = first.share[index]
        plane = heat[first.lower[index]] * (1 - share) + heat[first.upper[index]] * share
        for axis, line in enumerate(others):
            plane = line.along(plane, axis)
        yield int(index), plane


def _slanted_planes(heat: Heat, seen: Seen, shape: Sequence[int]) -> Iterator[tuple[int, Heat]]:
    """The same where the scan's grid is sheared and the network's is not: ten times slower."""
    from scipy.ndimage import map_coordinates

    plane = np.stack(np.meshgrid(*(np.arange(side) for side in shape[1:]), indexing="ij"))
    in_plane = np.tensordot(seen.matrix[:, 1:-1], plane, axes=1)
    last = np.array(heat.shape).reshape(-1, *[1] * (len(shape) - 1)) - 0.5
    for index in range(shape[0]):
        start = seen.matrix[:, 0] * index + seen.matrix[:, -1]
        places = in_plane + start.reshape(last.shape)
        within = ((places >= -0.5) & (places <= last)).all(axis=0)
        yield index, map_coordinates(heat, places, order=1, mode="nearest", output=np.float32) * within


def _png(values: Heat) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.rint(np.clip(values, 0, 1) * _FULL).astype(np.uint16)).save(stream, "PNG")
    return stream.getvalue()
