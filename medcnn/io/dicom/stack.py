"""Whether the slices of a series are one volume: alike, each place taken once, on one straight and even grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from medcnn.geometry import LPS_TO_RAS, Affine
from medcnn.io.dicom.elements import read_pixels
from medcnn.io.dicom.header import missing
from medcnn.io.dicom.slices import ALIKE, PIXELS_ALIKE, SAME_DIRECTION, Positions, Slice
from medcnn.scan import Reason, ScanRejected

SAME_SPACING = 1e-3  # relative
_SAME_PLACE_MM = 1e-3  # below what any scanner can mean


def check_one_origin(slices: Sequence[Slice]) -> None:
    """One person, one study, one set of coordinates, one kind of pixels."""
    for place, keyword in enumerate((*ALIKE, "their rescale elements")):
        values = {one.alike[place] for one in slices} - {""}
        if len(values) > 1:
            raise ScanRejected(
                Reason.SLICE_INCONSISTENT if keyword in PIXELS_ALIKE else Reason.META_INVALID,
                f"the slices of one series differ in {keyword}: {len(values)} kinds",
                "Export the series again; do not mix patients, studies or kinds of image under one series",
            )


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
    return sorted(slices, key=lambda one: (float(one.position_mm @ normal), one.number, one.name))


def places_of(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Slices in order, those of one position together."""
    places: list[list[Slice]] = []
    for one in slices:
        if places and math.dist(one.position_mm, places[-1][-1].position_mm) <= _SAME_PLACE_MM:
            places[-1].append(one)
        else:
            places.append([one])
    return places


def without_copies(slices: Sequence[Slice]) -> list[Slice]:
    """A file copied twice counts once; two different slices under one UID are an error."""
    kept: dict[tuple[str, int, int], Slice] = {}
    for one in slices:
        if not one.uid:
            raise missing("SOPInstanceUID")
        other = kept.setdefault(one.name, one)
        if other is not one and not _is_copy(one, other):
            raise ScanRejected(
                Reason.META_INVALID, "two different slices share one SOPInstanceUID", "Export the series again"
            )
    return list(kept.values())


def _is_copy(one: Slice, other: Slice) -> bool:
    """The same place and the same pixel data; headers may differ where an archive stamped its own into a copy."""
    if not np.allclose(other.position_mm, one.position_mm, atol=1e-3) or one.size != other.size:
        return False
    return read_pixels(one.file.path, one.file.elements) == read_pixels(other.file.path, other.file.elements)


def check_tilt(positions_mm: Positions, first: Slice, *, resample: bool) -> bool:
    """Whether the stack drifts sideways; GANTRY_TILT where it does and may not be sheared back.

    positions_mm (n, 3) sorted along the normal. The tag (0018,1120) is not trusted.
    """
    if len(positions_mm) < 2:
        raise too_few(len(positions_mm), 2)
    whole_mm = positions_mm[-1] - positions_mm[0]
    drift_mm = float(np.linalg.norm(whole_mm - (whole_mm @ first.normal) * first.normal))
    most_mm = max(0.1, 0.1 * min(first.spacing_mm))
    if drift_mm > most_mm and not resample:
        raise ScanRejected(
            Reason.GANTRY_TILT,
            f"the stack drifts {drift_mm:.2f} mm sideways (at most {most_mm:.2f} mm)",
            "Have it sheared back with data.tilt=resample, or export the series reformatted without gantry tilt",
        )
    return drift_mm > most_mm


def check_grid(positions_mm: Positions, normal: Positions, *, rounding_mm: float) -> None:
    """Distinct positions (n, 3), sorted along the normal, must lie on one straight, even grid.

    rounding_mm  what their own decimals leave open along each axis
    """
    n = len(positions_mm)
    step_mm = (positions_mm[-1] - positions_mm[0]) / (n - 1)  # the affine's third column
    gaps_mm = np.diff(positions_mm @ normal)
    usual_mm = float(np.median(gaps_mm))
    worst = int(np.argmax(np.abs(gaps_mm - usual_mm)))
    missing = min(abs(gaps_mm[worst] / usual_mm - k) for k in (2, 3, 4)) < 0.1  # at any rounding
    grid_mm = positions_mm[0] + np.arange(n)[:, None] * step_mm
    off_mm = float(np.linalg.norm(positions_mm - grid_mm, axis=1).max())
    rounded = np.abs(positions_mm - grid_mm).max() <= rounding_mm * 1.001
    if missing or not (off_mm <= 0.01 * float(np.linalg.norm(step_mm)) or rounded):  # nan too
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
