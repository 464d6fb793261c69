"""What each slice of a series says of its place, and whether all of them together are one volume."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from medcnn.geometry import LPS_TO_RAS, Affine
from medcnn.io.dicom_header import integer, numbers, reader_errors, text
from medcnn.scan import Reason, ScanRejected

Positions = npt.NDArray[np.float64]

SAME_DIRECTION = 1e-3  # direction cosines, absolute
SAME_SPACING = 1e-3  # relative
_SAME_PLACE_MM = 1e-3  # below what any scanner can mean
_SELECTORS = {  # what may tell repeated positions apart, and the elements that say it
    "image_type": ("ImageType",),
    "echo": ("EchoTime", "EchoNumbers"),
    "b_value": ("DiffusionBValue",),
    "time": ("TemporalPositionIdentifier", "AcquisitionNumber", "TriggerTime"),
}


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice: a file, or one frame of it. Positions and directions LPS+ mm, as DICOM has them."""

    path: Path
    frame: int
    uid: str
    position_mm: Positions
    row: Positions  # direction in which the column index grows
    column: Positions
    spacing_mm: tuple[float, float]  # (between rows, between columns)
    size: tuple[int, int]  # (rows, columns)
    rounding_mm: float
    instance: int
    is_mosaic: bool
    marks: dict[str, str]

    @property
    def normal(self) -> Positions:
        return np.cross(self.row, self.column)


def slice_of(header: Dataset, path: Path, frame: int, uid: str, size: tuple[int, int]) -> Slice:
    """GEOMETRY_INVALID where the place is missing or cannot be."""
    try:
        orientation, position = (
            numbers(header, "ImageOrientationPatient", 6),
            numbers(header, "ImagePositionPatient", 3),
        )
    except ScanRejected:
        raise _geometry("an orientation or position is not a row of finite numbers") from None
    if orientation is None or position is None:
        raise _geometry("a slice has no orientation or no position")
    row, column = np.reshape(np.array(orientation), (2, 3))
    if max(abs(np.linalg.norm(row) - 1), abs(np.linalg.norm(column) - 1), abs(row @ column)) > SAME_DIRECTION:
        raise _geometry("the row and column directions are not two unit vectors at a right angle")
    return Slice(
        path=path,
        frame=frame,
        uid=uid,
        position_mm=np.array(position),
        row=row,
        column=column,
        spacing_mm=_spacing(header),
        size=size,
        rounding_mm=_rounding_mm(header),
        instance=integer(header, "InstanceNumber", 0) + frame,
        is_mosaic="MOSAIC" in text(header, "ImageType").upper().split("\\"),
        marks={key: _mark(header, keywords) for key, keywords in _SELECTORS.items()},
    )


def _spacing(header: Dataset) -> tuple[float, float]:
    spacing = numbers(header, "PixelSpacing", 2)
    if spacing is None:
        raise ScanRejected(
            Reason.SPACING_UNKNOWN,
            "a slice has no PixelSpacing, a volume needs it",
            "Export the series with its full header",
        )
    if not min(spacing) > 0:
        raise _geometry("PixelSpacing is not positive")
    return spacing[0], spacing[1]


def _rounding_mm(header: Dataset) -> float:
    """One unit of the last decimal that the position is written with, the three axes together."""
    with reader_errors():
        written = [str(value) for value in header.ImagePositionPatient]
    try:
        decimals = max(-int(Decimal(value).as_tuple().exponent) for value in written)
    except (InvalidOperation, ValueError, TypeError):
        return 0.0
    return float(np.sqrt(3) * 10.0 ** -max(decimals, 0))


def _mark(header: Dataset, keywords: Sequence[str]) -> str:
    return " ".join(text(header, keyword) for keyword in keywords).strip()


def check_alike(slices: Sequence[Slice]) -> None:
    """One orientation, one matrix, one in-plane spacing."""
    directions = np.array([np.concatenate([one.row, one.column]) for one in slices])
    if np.abs(directions - directions[0]).max() > SAME_DIRECTION:
        kinds = len(np.unique(np.round(directions, 2), axis=0))
        raise ScanRejected(
            Reason.ORIENTATION_INCONSISTENT,
            f"one series holds slices in about {max(kinds, 2)} orientations",
            "Export each orientation as a series of its own",
        )
    spacings = np.array([one.spacing_mm for one in slices])
    if len({one.size for one in slices}) > 1 or (np.abs(spacings / spacings[0] - 1) > SAME_SPACING).any():
        raise ScanRejected(
            Reason.SLICE_INCONSISTENT,
            "the slices differ in rows, columns or pixel spacing",
            "Export each kind as a series of its own",
        )


def in_order(slices: Sequence[Slice]) -> list[Slice]:
    """Along the normal; never by instance number, slice location or file name."""
    normal = slices[0].normal
    return sorted(slices, key=lambda one: (float(one.position_mm @ normal), one.instance, one.uid, one.frame))


def check_repeats(slices: Sequence[Slice]) -> None:
    """Each position once. Slices in order."""
    if any(one.is_mosaic for one in slices):
        raise ScanRejected(
            Reason.MOSAIC,
            "each image is a mosaic of many slices",
            "Convert the series with dcm2niix and read the NIfTI",
        )
    places: dict[int, list[Slice]] = defaultdict(list)
    place, last = 0, slices[0]
    for one in slices:
        place += bool(np.linalg.norm(one.position_mm - last.position_mm) > _SAME_PLACE_MM)
        places[place].append(one)
        last = one
    most = max(map(len, places.values()))
    if most == 1:
        return
    if values := _selectable(list(places.values())):
        raise ScanRejected(
            Reason.FOUR_D_AMBIGUOUS,
            f"{len(places)} positions are taken up to {most} times; they differ in {values}",
            "Export what is wanted as a series of its own",
        )
    repeated = next(number for number, group in places.items() if len(group) > 1)
    raise ScanRejected(
        Reason.SLICE_DUPLICATE,
        f"position {repeated} of {len(places)} is taken by {len(places[repeated])} different slices",
        "Remove the wrong one, or export the series again",
    )


def _selectable(places: list[list[Slice]]) -> str:
    """What tells the repeats apart, with its values; "" where nothing does."""
    told = []
    for key in _SELECTORS:
        if any(len({one.marks[key] for one in group}) > 1 for group in places):
            values = sorted({one.marks[key] for group in places for one in group}, key=lambda mark: (len(mark), mark))
            told.append(f"{key}: {', '.join(_public(key, values))}")
    counts = {len(group) for group in places}
    evenly = len(counts) == 1 and all(len({one.instance for one in group}) == len(group) for group in places)
    if not told and evenly and len(places) > 1:
        told.append(f"time: {', '.join(str(number + 1) for number in range(counts.pop()))}")
    return "; ".join(told)


def _public(key: str, values: list[str]) -> list[str]:
    """Values as they may stand in a message: numbers as they are, image types by their coded parts."""
    return [value.replace("\\", "/")[:60] if key == "image_type" else value[:24] for value in values]


def check_grid(positions_mm: Positions, normal: Positions, *, pixel_mm: float, rounding_mm: float) -> None:
    """Distinct positions (n, 3), sorted along the normal, must lie on one straight, even grid.

    rounding_mm  what their own decimals leave open: one unit of the last one, axes together
    """
    n = len(positions_mm)
    if n < 2:
        raise too_few(n, 2)
    step_mm = (positions_mm[-1] - positions_mm[0]) / (n - 1)  # the affine's third column
    drift_mm = (n - 1) * float(np.linalg.norm(step_mm - (step_mm @ normal) * normal))
    if drift_mm > (most_mm := max(0.1, 0.1 * pixel_mm)):
        raise ScanRejected(
            Reason.GANTRY_TILT,
            f"the stack drifts {drift_mm:.2f} mm sideways (at most {most_mm:.2f} mm)",
            "Export the series reformatted without gantry tilt",
        )
    gaps_mm = np.diff(positions_mm @ normal)
    usual_mm = float(np.median(gaps_mm))
    worst = int(np.argmax(np.abs(gaps_mm - usual_mm)))
    missing = min(abs(gaps_mm[worst] / usual_mm - k) for k in (2, 3, 4)) < 0.1  # at any rounding
    grid_mm = positions_mm[0] + np.arange(n)[:, None] * step_mm
    off_mm = float(np.linalg.norm(positions_mm - grid_mm, axis=1).max())
    if missing or not off_mm <= max(0.01 * float(np.linalg.norm(step_mm)), rounding_mm):  # nan too
        raise ScanRejected(
            Reason.SLICE_MISSING if missing else Reason.SLICE_SPACING_IRREGULAR,
            f"slices {worst} and {worst + 1} lie {gaps_mm[worst]:.2f} mm apart, the others {usual_mm:.2f} mm, "
            f"one lies {off_mm:.2f} mm off an even grid",
            "Export the series again, or take it out of the manifest",
        )


def affine_of_slices(slices: Sequence[Slice]) -> Affine:
    """DICOM PS3.3 C.7.6.2.1.1, with our (i, j, k) = (column, row, slice); RAS+ mm."""
    first, last = slices[0], slices[-1]
    between_rows_mm, between_columns_mm = first.spacing_mm  # rows first: a classic swap
    lps = np.eye(4)
    lps[:3, 0] = first.row * between_columns_mm  # i: one column further along a row
    lps[:3, 1] = first.column * between_rows_mm  # j: one row further down a column
    lps[:3, 2] = (last.position_mm - first.position_mm) / (len(slices) - 1)  # measured, so a tolerated drift stays
    lps[:3, 3] = first.position_mm
    return np.asarray(LPS_TO_RAS @ lps)


def too_few(found: int, least: int) -> ScanRejected:
    return ScanRejected(
        Reason.TOO_FEW_SLICES,
        f"found {found} slice(s), a volume needs at least {least}",
        "Export the whole series, or name a single file to read it as a picture",
    )


def _geometry(found: str) -> ScanRejected:
    return ScanRejected(Reason.GEOMETRY_INVALID, found, "Export the series with its full header")
