"""Gantry tilt: refused, or sheared back so that a straight rod is straight again."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medcnn.scan import Reason, Rejection, Scan

ROWS, COLUMNS, SLICES = 40, 24, 12
ROW_MM, COLUMN_MM, STEP_MM = 0.8, 0.5, 2.5


def tilted_rod(degrees: float) -> tuple[np.ndarray, tuple[float, float, float]]:
    """A rod along the patient's z axis, as a tilted stack shows it: it wanders down the rows. (voxels, step in mm)."""
    shift_mm = STEP_MM * math.tan(math.radians(degrees))
    voxels = np.zeros((COLUMNS, ROWS, SLICES), np.int16)
    rows = np.arange(ROWS)
    for number in range(SLICES):
        centre = 25 - shift_mm * number / ROW_MM  # the slice moves one way, the rod in it the other
        voxels[9:14, :, number] = np.rint(1000 * np.exp(-0.5 * ((rows - centre) / 3) ** 2)).astype(np.int16)
    return voxels, (0.0, shift_mm, STEP_MM)


@pytest.mark.case("V11")
@pytest.mark.parametrize("degrees", [15, -15])
def test_a_tilted_stack_is_refused_and_sheared_back_on_request(
    degrees: float, write_series: Callable[..., Path], read: Callable[..., Scan], rejected: Callable[..., Rejection]
) -> None:
    voxels, step_mm = tilted_rod(degrees)
    folder = write_series(voxels, step_mm=step_mm, spacing_mm=(ROW_MM, COLUMN_MM))
    assert rejected(folder).code is Reason.GANTRY_TILT
    scan = read(folder, tilt="resample")
    assert scan.geometry is not None
    assert scan.facts["tilt"] == "resampled"
    axes = scan.geometry.affine[:3, :3] / scan.geometry.spacing_mm()
    assert np.abs(axes.T @ axes - np.eye(3)).max() < 1e-6, "the grid has right angles"
    assert scan.geometry.spacing_mm() == pytest.approx([COLUMN_MM, ROW_MM, STEP_MM])
    weights = scan.voxels[0].astype(np.float64)
    places = np.indices(weights.shape).reshape(3, -1)
    for number in range(SLICES):
        inside = weights[:, :, number].ravel() > 200
        index = places.reshape(3, *weights.shape)[:, :, :, number].reshape(3, -1)[:, inside]
        mass = weights[:, :, number].ravel()[inside]
        centre = scan.geometry.affine[:3, :3] @ ((index * mass).sum(axis=1) / mass.sum()) + scan.geometry.affine[:3, 3]
        assert centre[0] == pytest.approx(10 - 11 * COLUMN_MM, abs=1e-3)  # RAS: start -10 mm in LPS
        assert centre[1] == pytest.approx(20 - 25 * ROW_MM, abs=0.05), "the rod is straight along z"
        assert centre[2] == pytest.approx(30 + STEP_MM * number, abs=1e-6)


@pytest.mark.case("V11")
def test_nothing_is_cut_off_and_whole_pixels_are_moved_exactly(
    write_series: Callable[..., Path], read: Callable[..., Scan]
) -> None:
    voxels = np.random.default_rng(0).integers(1, 1000, (6, 5, 4)).astype(np.int16)
    folder = write_series(voxels, step_mm=(2 * COLUMN_MM, 3 * ROW_MM, 4.0), spacing_mm=(ROW_MM, COLUMN_MM))
    scan = read(folder, tilt="resample")
    assert scan.voxels.shape == (1, 6 + 2 * 3, 5 + 3 * 3, 4)
    for number in range(4):
        corner = scan.voxels[0, 2 * number : 2 * number + 6, 3 * number : 3 * number + 5, number]
        assert np.allclose(corner, voxels[:, :, number], atol=1e-3)
    assert scan.voxels[0].sum() == pytest.approx(
        voxels.sum() + (scan.voxels[0].size - voxels.size) * voxels.min(), 1e-5
    )


@pytest.mark.case("V11")
def test_a_straight_stack_is_not_touched(
    write_series: Callable[..., Path], read: Callable[..., Scan], phantom: np.ndarray
) -> None:
    scan = read(write_series(phantom), tilt="resample")
    assert np.array_equal(scan.voxels[0], phantom)
    assert "tilt" not in scan.facts
