"""Which voxels of a grid one picture covers: found by its own position and directions, never by the order of frames."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from medcnn.geometry import LPS_TO_RAS, Geometry
from medcnn.io.dicom.header import first_item, numbers, reader_errors
from medcnn.io.dicom.slices import SAME_DIRECTION, Slice, geometry_invalid, rounding_mm
from medcnn.scan import Reason, ScanRejected

Vector = npt.NDArray[np.float64]

OFF_PLANE = 0.01  # of the grid's longest voxel edge: as far as the slices of a volume may lie off their own grid
OFF_PIXEL = 0.1  # of the grid's shortest voxel edge: what the directions and the spacing may add up to at a far corner


@dataclass(frozen=True, eq=False)
class Plane:
    """One picture in the patient. Position and directions LPS+ mm, as DICOM has them.

    rounding_mm  what the decimals of the position leave open, the three axes together
    """

    position_mm: Vector
    row: Vector  # direction in which the column index grows
    column: Vector
    spacing_mm: tuple[float, float]  # (between rows, between columns)
    size: tuple[int, int]  # (rows, columns)
    rounding_mm: float


@dataclass(frozen=True)
class Place:
    """One plane of a grid, perhaps mirrored or turned.

    axis, index     the plane has this index along this axis of the grid
    rows_axis       the grid's axis along which the picture's rows follow each other; mirrored: from the grid's end
    """

    axis: int
    index: int
    rows_axis: int
    rows_mirrored: bool
    columns_mirrored: bool

    def of(self, volume: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The picture's part of a volume (I, J, K, ...): a view (rows, columns, ...) that can be written to."""
        plane = volume[(slice(None),) * self.axis + (self.index,)]
        first_axis_left = 1 if self.axis == 0 else 0
        if self.rows_axis != first_axis_left:
            plane = plane.swapaxes(0, 1)
        return plane[:: -1 if self.rows_mirrored else 1, :: -1 if self.columns_mirrored else 1]


def plane_of(dataset: Dataset, frame: int, size: tuple[int, int]) -> Plane:
    """Where one frame (0-based) says that it lies: by its own functional group, the shared one, or the top level.

    GEOMETRY_INVALID where it does not say, or where that cannot be.
    """
    groups = _groups(dataset, frame)
    position, holder = _first(groups, "PlanePositionSequence", "ImagePositionPatient", 3)
    orientation, _ = _first(groups, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    spacing, _ = _first(groups, "PixelMeasuresSequence", "PixelSpacing", 2)
    row, column = np.reshape(orientation, (2, 3))
    skew = max(abs(math.hypot(*row) - 1), abs(math.hypot(*column) - 1), abs(float(row @ column)))
    if not skew <= SAME_DIRECTION:
        raise geometry_invalid("the row and column directions are not two unit vectors at a right angle")
    if not spacing.min() > 0:
        raise geometry_invalid("the pixel spacing is not positive")
    return Plane(position, row, column, (float(spacing[0]), float(spacing[1])), size, rounding_mm(holder))


def plane_of_slice(one: Slice) -> Plane:
    """Of a slice as the reader of volumes takes it."""
    return Plane(one.position_mm, one.row, one.column, one.spacing_mm, one.size, rounding_mm(one.header))


def place_in(geometry: Geometry, plane: Plane) -> Place:
    """GEOMETRY_MISMATCH, with mm, where the picture is not one whole plane of the grid's own voxels."""
    lps = LPS_TO_RAS @ geometry.affine
    to_index = np.linalg.inv(lps[:3, :3])
    across, down = plane.row * plane.spacing_mm[1], plane.column * plane.spacing_mm[0]
    per_column, per_row = np.rint(to_index @ across), np.rint(to_index @ down)
    if not _turned_only(per_column, per_row):
        raise _mismatch("its rows, columns or pixel spacing do not follow the voxels of the scan")
    rows, columns = plane.size
    far = np.array([0.0, columns - 1, 0, columns - 1]), np.array([0.0, 0, rows - 1, rows - 1])
    skewed_mm = np.outer(far[0], across - lps[:3, :3] @ per_column) + np.outer(far[1], down - lps[:3, :3] @ per_row)
    worst_mm, most_mm = float(np.linalg.norm(skewed_mm, axis=1).max()), OFF_PIXEL * float(geometry.spacing_mm().min())
    if not worst_mm <= most_mm:
        raise _mismatch(f"its far corner lies {worst_mm:.3f} mm off a voxel of the scan (at most {most_mm:.3f} mm)")
    start = np.rint(to_index @ (plane.position_mm - lps[:3, 3]))
    off_mm = float(np.linalg.norm(plane.position_mm - lps[:3, :3] @ start - lps[:3, 3]))
    most_mm = max(OFF_PLANE * float(geometry.spacing_mm().max()), plane.rounding_mm)
    if not off_mm <= most_mm:
        raise _mismatch(f"it lies {off_mm:.3f} mm off the voxels of the scan (at most {most_mm:.3f} mm)")
    start = np.clip(start, -(2**40), 2**40)  # whole numbers from here on
    return _place(geometry, start.astype(int), per_column.astype(int), per_row.astype(int), plane.size)


def _place(geometry: Geometry, start: Any, per_column: Any, per_row: Any, size: tuple[int, int]) -> Place:
    """The picture must cover its plane whole: begin at one edge of the grid and end at the other."""
    columns_axis, rows_axis = int(np.abs(per_column).argmax()), int(np.abs(per_row).argmax())
    axis = 3 - columns_axis - rows_axis
    wanted = geometry.shape_vox[rows_axis], geometry.shape_vox[columns_axis]
    if size != wanted:
        raise _mismatch(f"it has {size[0]} rows and {size[1]} columns, the scan {wanted[0]} and {wanted[1]}")
    rows_mirrored, columns_mirrored = bool(per_row[rows_axis] < 0), bool(per_column[columns_axis] < 0)
    edge = (size[0] - 1) * rows_mirrored, (size[1] - 1) * columns_mirrored
    beyond = start[rows_axis] - edge[0], start[columns_axis] - edge[1]
    index = int(start[axis])
    if any(beyond) or not 0 <= index < geometry.shape_vox[axis]:
        off = [*beyond, min(index, 0) or max(index - geometry.shape_vox[axis] + 1, 0)]
        off_mm = np.linalg.norm(np.array(off) * geometry.spacing_mm()[[rows_axis, columns_axis, axis]])
        raise _mismatch(f"it lies {float(off_mm):.3f} mm outside the scan")
    return Place(axis, index, rows_axis, rows_mirrored, columns_mirrored)


def _turned_only(per_column: Vector, per_row: Vector) -> bool:
    """One voxel further per pixel, along one axis of the grid each."""
    steps = np.abs([per_column, per_row])
    return bool((steps.sum(axis=1) == 1).all() and (steps.sum(axis=0) <= 1).all())


def _groups(dataset: Dataset, frame: int) -> tuple[list[Dataset], Dataset]:
    with reader_errors():
        per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
        shared = dataset.get("SharedFunctionalGroupsSequence") or []
        return [*per_frame[frame : frame + 1], *shared[:1]], dataset


def _first(groups: tuple[list[Dataset], Dataset], macro: str, keyword: str, count: int) -> tuple[Vector, Dataset]:
    """The first values found, and what holds them."""
    functional, top = groups
    for holder in [*(item for group in functional if (item := first_item(group, macro)) is not None), top]:
        try:
            found = numbers(holder, keyword, count)
        except ScanRejected:
            raise geometry_invalid(f"{keyword} is not {count} finite numbers") from None
        if found is not None:
            return np.array(found, dtype=np.float64), holder
    raise geometry_invalid(f"a frame has no {keyword}")


def _mismatch(found: str) -> ScanRejected:
    return ScanRejected(
        Reason.GEOMETRY_MISMATCH,
        f"a picture is no plane of the scan's own grid: {found}",
        "Name the series that the object was made from, or export it on that series' grid",
    )
