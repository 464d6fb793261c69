"""A stack whose slices drift sideways (gantry tilt), sheared back onto a grid with right angles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medcnn.geometry import LPS_TO_RAS, Affine
from medcnn.io.dicom.slices import Slice

Voxels = npt.NDArray[np.float32]


def straightened(voxels: Voxels, slices: Sequence[Slice]) -> tuple[Voxels, Affine]:
    """(slices, rows, columns) in, (slices, rows', columns') and the affine of (column, row, slice) in RAS+ mm out.

    Each slice is moved within its own plane, by linear interpolation between its pixels; the picture grows so that
    nothing is cut off, and what no slice covers takes the least value there is. Slices in order along the normal.
    """
    first, last = slices[0], slices[-1]
    between_rows_mm, between_columns_mm = first.spacing_mm
    offsets_mm = np.array([one.position_mm - first.position_mm for one in slices])
    shifts_px = np.stack([offsets_mm @ first.column / between_rows_mm, offsets_mm @ first.row / between_columns_mm], 1)
    lowest = np.floor(shifts_px.min(axis=0)).astype(int)
    room = np.ceil(shifts_px.max(axis=0)).astype(int) - lowest
    n, rows, columns = voxels.shape
    fill = float(voxels.min())
    moved = np.full((n, rows + int(room[0]), columns + int(room[1])), fill, dtype=np.float32)
    for number, shift in enumerate(shifts_px - lowest):
        _place(moved[number], voxels[number], float(shift[0]), float(shift[1]), fill)
    normal = first.normal / np.linalg.norm(first.normal)
    lps = np.eye(4)
    lps[:3, 0] = first.row * between_columns_mm
    lps[:3, 1] = first.column * between_rows_mm
    lps[:3, 2] = normal * float((last.position_mm - first.position_mm) @ normal) / (n - 1)
    lps[:3, 3] = first.position_mm + lps[:3, 0] * float(lowest[1]) + lps[:3, 1] * float(lowest[0])
    return moved, np.asarray(LPS_TO_RAS @ lps)


def _place(target: Voxels, picture: Voxels, down: float, across: float, fill: float) -> None:
    """Add a picture at a fractional place: four weighted copies; the surroundings count as fill."""
    rows, columns = picture.shape
    above = picture - np.float32(fill)
    whole_down, whole_across = int(down), int(across)
    part_down, part_across = down - whole_down, across - whole_across
    for step_down, weight_down in ((0, 1 - part_down), (1, part_down)):
        for step_across, weight_across in ((0, 1 - part_across), (1, part_across)):
            if weight := weight_down * weight_across:
                top, left = whole_down + step_down, whole_across + step_across
                target[top : top + rows, left : left + columns] += np.float32(weight) * above
