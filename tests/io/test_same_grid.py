"""A mask must lie on its scan's grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medcnn.geometry import Geometry
from medcnn.io.nifti.reader import read_labels, read_nifti
from medcnn.io.same_grid import check_same_grid
from medcnn.scan import Reason, ScanRejected

Write = Callable[..., Path]
SPACING_MM = np.array([2.0, 3.0, 4.0])


def refused(*grid: Any) -> str:
    with pytest.raises(ScanRejected) as caught:
        check_same_grid(*grid)
    assert caught.value.rejection.code is Reason.GEOMETRY_MISMATCH
    return caught.value.rejection.found


@pytest.mark.case("N20")
def test_N20_a_mask_on_its_scan_and_one_beside_it(write_nifti: Write) -> None:
    scan = read_nifti(write_nifti(np.zeros((5, 6, 7), "i2")))
    check_same_grid(scan, *read_labels(write_nifti(np.ones((5, 6, 7), "u1"))))
    assert scan.geometry is not None
    for axis in range(3):
        shifted = np.diag([*SPACING_MM, 1.0])
        shifted[axis, 3] = SPACING_MM[axis]
        mask = read_labels(write_nifti(np.ones((5, 6, 7), "u1"), affine=shifted))
        assert refused(scan, *mask).endswith(f"{SPACING_MM[axis] / 2:.2f} voxels apart")
    mask = read_labels(write_nifti(np.ones((5, 6, 8), "u1")))
    assert refused(scan, *mask) == "the scan and its mask have 5 x 6 x 7 and 5 x 6 x 8 voxels"


@pytest.mark.case("N20")
def test_N20_the_other_hand_or_order_of_axes_is_another_grid(write_nifti: Write) -> None:
    scan = read_nifti(write_nifti(np.zeros((5, 5, 5), "i2")))
    for affine in (np.diag([-2.0, 3, 4, 1]), np.array([[0, 3, 0, 0], [2, 0, 0, 0], [0, 0, 4, 0], [0, 0, 0, 1.0]])):
        assert refused(scan, *read_labels(write_nifti(np.ones((5, 5, 5), "u1"), affine=affine)))


@pytest.mark.case("N20")
def test_N20_the_rounding_of_another_program_is_tolerated(write_nifti: Write) -> None:
    """A pixel spacing of 250/512 mm, written with four decimals."""
    shape, edge_mm = (512, 512, 2), 250 / 512
    scan = read_nifti(write_nifti(np.zeros(shape, "u1"), affine=np.diag([edge_mm, edge_mm, 3, 1])))
    rounded = Geometry(np.diag([round(edge_mm, 4), round(edge_mm, 4), 3.0, 1.0]), shape)
    check_same_grid(scan, np.ones(shape, "u1"), rounded)
    coarser = Geometry(np.diag([round(edge_mm, 3), round(edge_mm, 3), 3.0, 1.0]), shape)
    assert refused(scan, np.ones(shape, "u1"), coarser)


@pytest.mark.case("N20")
def test_N20_a_place_that_only_one_names(write_nifti: Write) -> None:
    placed = write_nifti(np.zeros((2, 3, 4), "u1"), "a.nii")
    nowhere = write_nifti(np.zeros((2, 3, 4), "u1"), "b.nii", qform_code=0, sform_code=0)
    check_same_grid(read_nifti(nowhere), *read_labels(nowhere))
    assert refused(read_nifti(placed), *read_labels(nowhere))
    assert refused(read_nifti(nowhere), *read_labels(placed))


def test_a_flat_mask_has_the_axes_of_its_picture(write_nifti: Write) -> None:
    picture = write_nifti(np.arange(6, dtype="u1").reshape(2, 3))
    labels, geometry = read_labels(picture)
    scan = read_nifti(picture)
    check_same_grid(scan, labels, geometry)
    assert np.array_equal(labels, scan.voxels[0])
