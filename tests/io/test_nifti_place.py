"""Where a header puts its voxels: what can be true, and what contradicts itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from medcnn.io.nifti.reader import read_nifti
from medcnn.scan import Reason, ScanRejected

Write = Callable[..., Path]


def blob() -> np.ndarray:
    return np.arange(24, dtype="i2").reshape(2, 3, 4)


def code_of(path: Path) -> Reason:
    with pytest.raises(ScanRejected) as caught:
        read_nifti(path)
    return caught.value.rejection.code


def patched(path: Path, at: int, value: int) -> Path:
    content = bytearray(path.read_bytes())
    content[at] = value
    path.write_bytes(content)
    return path


@pytest.mark.case("N16")
@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("factor", [1.01, 0.9, 10])
@pytest.mark.parametrize("codes", [(1, 1), (0, 1), (0, 2)])
def test_a_changed_digit_of_pixdim(write_nifti: Write, axis: int, factor: float, codes: tuple[int, int]) -> None:
    pixdim = [1, 2, 3, 4, 0, 0, 0, 0]
    pixdim[axis] *= factor
    path = write_nifti(blob(), pixdim=pixdim, qform_code=codes[0], sform_code=codes[1])
    assert code_of(path) is Reason.HEADER


def test_an_sform_into_another_space_may_scale(write_nifti: Write) -> None:
    """Registered to a template by twelve parameters: pixdim stays that of the scanner."""
    scan = read_nifti(write_nifti(blob(), qform_code=1, sform_code=4, srow_x=(2.2, 0, 0, 0)))
    assert scan.spacing_mm == pytest.approx((2.2, 3, 4))


@pytest.mark.parametrize(("qform", "sform"), [(-1, 1), (1, -1), (6, 1), (1, 300)])
def test_form_codes_that_nobody_defined(write_nifti: Write, qform: int, sform: int) -> None:
    assert code_of(write_nifti(blob(), qform_code=qform, sform_code=sform)) is Reason.HEADER


@pytest.mark.parametrize("qfac", [0.5, -2, float("nan"), float("inf")])
def test_a_sign_that_is_none(write_nifti: Write, qfac: float) -> None:
    assert code_of(write_nifti(blob(), pixdim=(qfac, 2, 3, 4, 0, 0, 0, 0), qform_code=1)) is Reason.HEADER


@pytest.mark.parametrize("units", [4, 7, 2 | 56, 2 | 64, 2 | 128])
def test_units_that_nobody_defined(write_nifti: Write, units: int) -> None:
    assert code_of(patched(write_nifti(blob()), 123, units)) is Reason.HEADER


@pytest.mark.parametrize(("units", "factor"), [(0, 1), (1, 1000), (2, 1), (3, 1e-3), (2 | 8, 1), (2 | 48, 1)])
def test_units_of_length(write_nifti: Write, units: int, factor: float) -> None:
    edges = np.array([2.0, 3, 4]) / factor
    scan = read_nifti(patched(write_nifti(blob(), affine=np.diag([*edges, 1])), 123, units))
    assert scan.spacing_mm == pytest.approx((2, 3, 4))
    assert scan.geometry is not None
    assert scan.geometry.affine == pytest.approx(np.diag([2.0, 3, 4, 1]))


@pytest.mark.parametrize("units", [1, 3])
def test_a_wrong_unit_makes_a_scan_that_cannot_be(write_nifti: Write, units: int) -> None:
    """4 x 9 x 16 mm read as micrometres or metres."""
    assert code_of(patched(write_nifti(blob()), 123, units)) is Reason.HEADER


def test_no_scan_lies_beyond_the_room(write_nifti: Write) -> None:
    far = np.diag([2.0, 3, 4, 1])
    far[2, 3] = 2e4
    assert code_of(write_nifti(blob(), affine=far)) is Reason.GEOMETRY_INVALID
    assert code_of(write_nifti(blob(), srow_x=(2, 0, 0, 3e38), qform_code=0)) is Reason.GEOMETRY_INVALID


@pytest.mark.parametrize("quatern", [(0.9, 0.9, 0), (np.nan, 0, 0), (3e38, 0, 0)])
def test_a_quaternion_that_is_no_rotation(write_nifti: Write, quatern: tuple[float, ...]) -> None:
    path = write_nifti(blob(), quatern=quatern, qform_code=1, sform_code=0)
    assert code_of(path) is Reason.GEOMETRY_INVALID


@pytest.mark.parametrize("degrees", [0, 0.001, 0.01, 0.1, 1, 10])
def test_what_a_quaternion_cannot_hold_is_no_conflict(tmp_path: Path, degrees: float) -> None:
    """Slightly oblique slices, stored from left to right reversed as most scans are: a half turn, all but.

    Three 32-bit numbers place a corner up to half a voxel off; that is no contradiction, and the sform counts.
    """
    rng = np.random.default_rng(0)
    for _ in range(5):
        tilt = Rotation.from_rotvec(np.radians(degrees) * rng.normal(size=3)).as_matrix()
        affine = np.eye(4)
        affine[:3, :3] = tilt @ np.diag([-0.5, 0.5, 3])
        affine[:3, 3] = [128, -128, -60]
        image = nibabel.Nifti1Image(np.zeros((512, 512, 4), "u1"), affine)
        image.set_qform(affine, 1)
        image.set_sform(affine, 1)
        image.to_filename(tmp_path / "x.nii")
        scan = read_nifti(tmp_path / "x.nii")
        assert scan.geometry is not None
        assert scan.geometry.affine == pytest.approx(affine, abs=1e-4)


def test_no_form_no_unit_and_edges_of_one_are_no_spacing(write_nifti: Write) -> None:
    """What programs write that know of none; with a unit, or another number, it is a statement."""
    ones = (1, 1, 1, 1, 1, 1, 1, 1)
    silent = patched(write_nifti(blob(), qform_code=0, sform_code=0, pixdim=ones), 123, 0)
    assert read_nifti(silent).spacing_mm is None
    assert read_nifti(silent).facts["spacing_source"] == "unknown"
    assert read_nifti(write_nifti(blob(), qform_code=0, sform_code=0, pixdim=ones)).spacing_mm == (1, 1, 1)


def test_real_headers_agree_with_themselves(medcnn_data: Path) -> None:
    """Files by dcm2niix from four makers' scanners, and a public challenge: none is refused for its geometry."""
    files = [*sorted((medcnn_data / "dicom").rglob("Ref/*.nii")), *sorted((medcnn_data / "hippocampus").rglob("*.gz"))]
    assert len(files) > 400
    for path in files:
        shape = nibabel.load(path).shape
        assert read_nifti(path, volume=0 if len(shape) == 4 else None).geometry is not None


@pytest.mark.case("N04")
def test_what_a_half_turn_may_lose_excuses_no_shift(write_nifti: Write) -> None:
    """The corners of a half turn may lie apart by what 32 bits lose; the offsets are stored as they are."""
    affine = np.diag([-2.0, -3.0, 4.0, 1.0])
    assert read_nifti(write_nifti(blob(), affine=affine, qform_code=1, sform_code=1)).geometry is not None
    shifted = write_nifti(blob(), affine=affine, qform_code=1, sform_code=1, srow_x=(-2.0, 0, 0, 0.03))
    assert code_of(shifted) is Reason.QSFORM_CONFLICT
