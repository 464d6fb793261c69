"""Conformance 5.3, what a sound NIfTI file means; each test is named after its case."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from medcnn.io.nifti.reader import read_labels, read_nifti
from medcnn.scan import Reason, ScanRejected

Read = Callable[..., Any]
Write = Callable[..., Path]
DATA = Path(nibabel.__file__).parent / "tests" / "data"


def blob(kind: str = "i2") -> np.ndarray:
    return np.arange(24).reshape(2, 3, 4).astype(kind)


def code_of(path: Path) -> Reason:
    with pytest.raises(ScanRejected) as caught:
        read_nifti(path)
    return caught.value.rejection.code


@pytest.mark.case("N01")
@pytest.mark.parametrize(
    "name", ["example4d.nii.gz", "anatomical.nii", "functional.nii", "example_nifti2.nii.gz", "standard.nii.gz"]
)
def test_N01_arrays_and_affines_as_nibabel(name: str) -> None:
    expected = nibabel.load(DATA / name)
    four = len(expected.shape) == 4
    scan = read_nifti(DATA / name, volume=1 if four else None)
    values = expected.get_fdata()[..., 1] if four else expected.get_fdata()
    assert np.array_equal(scan.voxels[0], values.astype(np.float32))
    assert scan.geometry is not None
    assert scan.geometry.affine == pytest.approx(expected.affine, abs=1e-5)


@pytest.mark.case("N01")
def test_N01_big_endian_twin(write_nifti: Write, tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(blob(), np.eye(4), nibabel.Nifti1Header(endianness=">"))
    image.header.set_data_dtype(">i2")
    image.to_filename(tmp_path / "big.nii")
    assert (tmp_path / "big.nii").read_bytes()[:4] == struct.pack(">i", 348)
    assert np.array_equal(read_nifti(tmp_path / "big.nii").voxels, read_nifti(write_nifti(blob())).voxels)


@pytest.mark.case("N01")
@pytest.mark.parametrize("endianness", "<>")
@pytest.mark.parametrize("form", [nibabel.Nifti1Image, nibabel.Nifti2Image, nibabel.Nifti1Pair, nibabel.Nifti2Pair])
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_N01_versions_byte_orders_and_pairs(tmp_path: Path, form: Any, endianness: str, packed: str) -> None:
    affine = np.array([[0, -2.5, 0, 10], [2, 0, 0, -20], [0, 0, 3, 5.5], [0, 0, 0, 1]])
    image = form(blob(), affine, form.header_class(endianness=endianness))
    image.header.set_data_dtype(f"{endianness}i2")
    name = f"x.hdr{packed}" if "Pair" in form.__name__ else f"x.nii{packed}"
    image.to_filename(tmp_path / name)
    scan = read_nifti(tmp_path / name)
    assert np.array_equal(scan.voxels[0], blob())
    assert scan.geometry is not None
    assert np.array_equal(scan.geometry.affine, affine)


@pytest.mark.case("N01")
@pytest.mark.parametrize(("name", "start"), [("nifti1.hdr", 0), ("nifti2.hdr", 544)])
def test_N01_headers_of_pairs_by_another_program(tmp_path: Path, name: str, start: int) -> None:
    (tmp_path / "x.hdr").write_bytes((DATA / name).read_bytes())
    voxels = np.random.default_rng(0).integers(-99, 99, (91, 109, 91)).astype("i2")
    (tmp_path / "x.img").write_bytes(bytes(start) + voxels.tobytes(order="F"))
    scan = read_nifti(tmp_path / "x.hdr")
    assert np.array_equal(scan.voxels[0], voxels)
    assert scan.geometry is not None
    assert np.array_equal(scan.geometry.affine, nibabel.load(tmp_path / "x.hdr").affine)


@pytest.mark.case("N02")
def test_N02_a_moved_volume_resampled_by_nibabel_and_by_spm() -> None:
    from nibabel.processing import resample_to_output

    fixed, by_spm = read_nifti(DATA / "anatomical.nii"), read_nifti(DATA / "reoriented_anat_moved.nii")
    assert fixed.geometry is not None
    assert by_spm.geometry is not None
    turn = np.eye(4)
    turn[:3, :3] = nibabel.eulerangles.euler2mat(0.1, 0.2, 0.3)  # nibabel's make_moved_anat
    turn[:3, 3] = [3, 4, 5]
    moved = nibabel.Nifti1Image(fixed.voxels[0], turn @ fixed.geometry.affine)
    ours = resample_to_output(moved, 4, order=1, cval=np.nan)
    # SPM's grid has the same edges, but its first axis runs the other way round the same box
    to_spm = np.linalg.inv(by_spm.geometry.affine) @ ours.affine
    places = to_spm[:3, :3] @ np.indices(ours.shape).reshape(3, -1) + to_spm[:3, 3:]
    on_grid = np.rint(places).astype(int)
    assert np.abs(places - on_grid).max() < 1e-3
    within = ((on_grid >= 0) & (on_grid < np.reshape(by_spm.voxels.shape[1:], (3, 1)))).all(axis=0)
    mine, theirs = ours.get_fdata().reshape(-1)[within], by_spm.voxels[0][tuple(on_grid[:, within])]
    common = np.isfinite(mine) & (theirs != 0)
    assert common.sum() > 3000
    assert np.abs(mine - theirs)[common].max() < 1e-3 * theirs.max()


@pytest.mark.case("N02")
def test_N02_a_moved_volume_keeps_its_place() -> None:
    from scipy.ndimage import map_coordinates

    fixed, moved = read_nifti(DATA / "anatomical.nii"), read_nifti(DATA / "reoriented_anat_moved.nii")
    assert fixed.geometry is not None
    assert moved.geometry is not None
    turn = np.eye(4)
    turn[:3, :3] = nibabel.eulerangles.euler2mat(0.1, 0.2, 0.3)  # nibabel's make_moved_anat
    turn[:3, 3] = [3, 4, 5]
    to_fixed = np.linalg.inv(turn @ fixed.geometry.affine) @ moved.geometry.affine
    at = to_fixed @ np.vstack([np.indices(moved.voxels.shape[1:]).reshape(3, -1), np.ones(moved.voxels[0].size)])
    expected = map_coordinates(fixed.voxels[0], at[:3], order=1, cval=np.nan)
    inside = np.isfinite(expected)
    apart = np.abs(moved.voxels.reshape(-1)[inside] - expected[inside])
    assert inside.mean() > 0.3
    assert np.percentile(apart, 99) < 0.01 * moved.voxels.max()


@pytest.mark.case("N03")
@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_N03_every_axis_order_is_one_array_in_the_world(tmp_path: Path, axes: tuple[int, ...]) -> None:
    whole = np.random.default_rng(0).integers(0, 99, (4, 5, 6)).astype(np.int16)
    for flips in itertools.product([1, -1], repeat=3):
        orientation = np.array(list(zip(axes, flips, strict=True)))
        moved = nibabel.Nifti1Image(whole, np.diag([2.0, 3, 4, 1])).as_reoriented(orientation)
        moved.to_filename(tmp_path / "x.nii.gz")
        scan = read_nifti(tmp_path / "x.nii.gz")
        assert scan.geometry is not None
        back = nibabel.as_closest_canonical(nibabel.Nifti1Image(scan.voxels[0], scan.geometry.affine))
        assert np.array_equal(back.get_fdata(), whole)
        assert back.affine == pytest.approx(np.diag([2.0, 3, 4, 1]))


def forms(write_nifti: Write, qform: np.ndarray, sform: np.ndarray, codes: tuple[int, int]) -> Path:
    path = write_nifti(blob())
    image = nibabel.load(path)
    image = nibabel.Nifti1Image(blob(), None, image.header)
    image.header.set_qform(qform, codes[0])
    image.header.set_sform(sform, codes[1])
    path.write_bytes(image.to_bytes())
    return path


@pytest.mark.case("N04")
def test_N04_forms_that_contradict_each_other(write_nifti: Write) -> None:
    plain, mirrored, shifted = np.diag([2.0, 3, 4, 1]), np.diag([-2.0, 3, 4, 1]), np.diag([2.0, 3, 4, 1])
    shifted[0, 3] = 0.02 * 2
    assert code_of(forms(write_nifti, mirrored, plain, (1, 1))) is Reason.QSFORM_CONFLICT
    assert code_of(forms(write_nifti, plain, shifted, (1, 1))) is Reason.QSFORM_CONFLICT
    shifted[0, 3] = 0.002 * 2
    assert read_nifti(forms(write_nifti, plain, shifted, (1, 1))).facts["form"] == "sform"
    shifted[0, 3] = 40
    path = forms(write_nifti, plain, shifted, (1, 4))
    for form, expected in (("sform", shifted), ("qform", plain)):
        scan = read_nifti(path, form=form)
        assert scan.geometry is not None
        assert scan.geometry.affine == pytest.approx(expected)
        assert scan.facts["form"] == form


@pytest.mark.case("N04")
def test_N04_singular_and_nan_forms(write_nifti: Write) -> None:
    assert code_of(write_nifti(blob(), srow_x=(0, 0, 0, 0), qform_code=0)) is Reason.GEOMETRY_INVALID
    assert code_of(write_nifti(blob(), srow_x=(np.nan, 0, 0, 0), qform_code=0)) is Reason.GEOMETRY_INVALID
    sheared = write_nifti(blob(), srow_x=(2, 1, 0, 0), pixdim=(1, 2, 10**0.5, 4, 0, 0, 0, 0), qform_code=0)
    assert read_nifti(sheared).facts["sheared"] == "yes"


@pytest.mark.case("N05")
def test_N05_no_form_is_no_place(write_nifti: Write) -> None:
    scan = read_nifti(write_nifti(blob(), qform_code=0, sform_code=0))
    assert scan.geometry is None
    assert scan.spacing_mm == (2, 3, 4)
    assert scan.facts["orientation"] == "ORIENTATION_UNKNOWN"


@pytest.mark.case("N06")
@pytest.mark.parametrize(
    ("slope", "expected"), [(0.0, blob()), (np.nan, blob()), (2.5, blob() * 2.5 + 10), (1.0, blob() + 10.0)]
)
def test_N06_scaling(write_nifti: Write, slope: float, expected: np.ndarray) -> None:
    assert np.array_equal(read_nifti(write_nifti(blob(), scl_slope=slope, scl_inter=10)).voxels[0], expected)


@pytest.mark.case("N06")
@pytest.mark.parametrize("fields", [{"scl_slope": np.inf}, {"scl_slope": 1, "scl_inter": np.inf}])
def test_N06_infinite_scaling(write_nifti: Write, fields: dict[str, float]) -> None:
    assert code_of(write_nifti(blob(), **fields)) is Reason.RESCALE_INVALID


@pytest.mark.case("N07")
def test_N07_scaled_labels_are_exact(write_nifti: Write) -> None:
    stored = np.array([0, 85, 170], dtype=np.uint8).reshape(1, 1, 3)
    labels, geometry = read_labels(write_nifti(stored, scl_slope=0.01176470588, scl_inter=0), declared={0, 1, 2})
    assert labels.tolist() == [[[0, 1, 2]]]
    assert labels.dtype == np.int32
    assert geometry is not None


@pytest.mark.case("N08")
@pytest.mark.parametrize("wrong", [2.5, 255.0, -1.0, np.nan])
def test_N08_what_is_no_label_is_named(write_nifti: Write, wrong: float) -> None:
    mask = np.array([0, 1, wrong], dtype=np.float32).reshape(1, 1, 3)
    with pytest.raises(ScanRejected, match=rf"LABEL_VALUES: the mask holds {wrong:g}\."):
        read_labels(write_nifti(mask), declared={0, 1, 2})


@pytest.mark.case("N09")
def test_N09_axes(write_nifti: Write) -> None:
    assert read_nifti(write_nifti(blob()[..., None])).voxels.shape == (1, 2, 3, 4)
    assert code_of(write_nifti(np.zeros((2, 3, 4, 3), "i2"))) is Reason.FOUR_D_AMBIGUOUS
    assert code_of(write_nifti(np.zeros((2, 3, 4, 1, 3), "i2"))) is Reason.FOUR_D_AMBIGUOUS
    flat = read_nifti(write_nifti(np.arange(6, dtype="i2").reshape(2, 3)))
    assert flat.voxels[0].tolist() == [[0, 3], [1, 4], [2, 5]]  # rows by columns
    assert (flat.geometry, flat.spacing_mm) == (None, (3, 2))


@pytest.mark.case("N18")
@pytest.mark.parametrize(("datatype", "bitpix"), [(128, 24), (32, 64), (1536, 128), (1, 1)])
def test_N18_voxels_that_are_no_grey_values(write_nifti: Write, datatype: int, bitpix: int) -> None:
    assert code_of(write_nifti(blob(), datatype=datatype, bitpix=bitpix)) is Reason.DTYPE


@pytest.mark.case("N19")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_N19_voxels_that_are_no_numbers(write_nifti: Write, value: float) -> None:
    voxels = blob("f4")
    voxels[1, 2, 3] = value
    with pytest.raises(ScanRejected, match=r"NONFINITE: 1 voxel"):
        read_nifti(write_nifti(voxels))


def test_half_turn_of_the_quaternion(write_nifti: Write) -> None:
    turned = np.diag([-2.0, -3, 4, 1])
    scan = read_nifti(forms(write_nifti, turned, turned, (1, 0)))
    assert scan.geometry is not None
    assert scan.geometry.affine == pytest.approx(turned, abs=1e-5)


def test_value_range_is_that_of_the_type(write_nifti: Write) -> None:
    assert read_nifti(write_nifti(blob("u1"), scl_slope=-2, scl_inter=1)).value_range == (-509, 1)
    assert read_nifti(write_nifti(blob("f4"))).value_range is None


def test_real_volumes_are_read_as_nibabel_reads_them(read: Read, medcnn_data: Path) -> None:
    for path in sorted((medcnn_data / "hippocampus" / "imagesTr").glob("*.nii.gz"))[:5]:
        image = nibabel.load(path)
        scan = read(path)
        assert np.array_equal(scan.voxels[0], image.get_fdata(dtype=np.float32))
        assert scan.geometry.affine == pytest.approx(image.affine)
        labels, geometry = read_labels(medcnn_data / "hippocampus" / "labelsTr" / path.name, declared={0, 1, 2})
        assert set(np.unique(labels)) == {0, 1, 2}
        assert geometry is not None
        assert scan.geometry.corner_distance_mm(geometry) == 0
