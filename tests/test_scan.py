"""Reasons, rejections, scans."""

from __future__ import annotations

import numpy as np

from medcnn.scan import SKIPPED_IN_A_FOLDER, Reason, Rejection, Scan, ScanRejected


def test_a_code_reads_as_itself() -> None:
    assert all(str(reason) == reason.value for reason in Reason)
    assert str(Reason.FOUR_D_AMBIGUOUS) == "4D_AMBIGUOUS"
    assert len({reason.value for reason in Reason}) == len(Reason) == 54


def test_a_rejection_says_what_and_what_to_do() -> None:
    error = ScanRejected(Reason.SLICE_MISSING, "slices 2 and 3 lie 4.00 mm apart", "Export the series again")
    assert str(error) == "SLICE_MISSING: slices 2 and 3 lie 4.00 mm apart. Export the series again"
    assert error.rejection == Rejection(
        Reason.SLICE_MISSING, "slices 2 and 3 lie 4.00 mm apart", "Export the series again"
    )


def test_only_what_is_no_case_is_skipped() -> None:
    assert Reason.NOT_AN_IMAGE in SKIPPED_IN_A_FOLDER
    assert Reason.PIXEL_DATA_TRUNCATED not in SKIPPED_IN_A_FOLDER


def test_a_scan_shown_hides_its_patient() -> None:
    scan = Scan(np.zeros((1, 2, 2), np.float32), patient_id="canary-0815")
    assert "canary-0815" not in repr(scan)
    assert scan.spatial_dims == 2
    assert Scan(np.zeros((1, 2, 2, 2), np.float32)).spatial_dims == 3
