"""What is written must come back: by medcnn, by nibabel and by SimpleITK."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from scipy.spatial.transform import Rotation

from medcnn.geometry import LPS_TO_RAS, Geometry
from medcnn.io.nifti.reader import read_labels, read_nifti
from medcnn.io.nifti.writer import write_nifti

DATA = Path(nibabel.__file__).parent / "tests" / "data"
SHAPE = (5, 6, 7)


def oblique(degrees: float = 20, shape: tuple[int, int, int] = SHAPE) -> Geometry:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [degrees, -degrees / 2, 3], degrees=True).as_matrix() * [0.7, 0.9, 2.5]
    affine[:3, 3] = [-100.25, 30.125, 7.0]
    return Geometry(affine, shape)


def values(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def itk_corners_mm(image: Any) -> np.ndarray:
    """As Geometry.corners_mm, from LPS."""
    last = [size - 1 for size in image.GetSize()]
    corners = [[i, j, k] for i in (0, last[0]) for j in (0, last[1]) for k in (0, last[2])]
    lps = np.array([image.TransformIndexToPhysicalPoint(corner) for corner in corners])
    return lps @ LPS_TO_RAS[:3, :3]


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i2", "u1", "?", ">f4"])
def test_three_readers_agree(tmp_path: Path, name: str, dtype: str) -> None:
    voxels, geometry = (values() * 100).astype(dtype), oblique()
    write_nifti(tmp_path / name, voxels, geometry)
    expected = voxels.astype(np.float32)
    scan = read_nifti(tmp_path / name)
    assert np.array_equal(scan.voxels[0], expected)
    assert scan.geometry is not None
    assert scan.geometry.corner_distance_mm(geometry) < 1e-3
    assert scan.facts["form"] == "sform"
    by_nibabel = nibabel.load(tmp_path / name)
    assert np.array_equal(by_nibabel.get_fdata(dtype=np.float32), expected)
    assert Geometry(by_nibabel.get_qform(), SHAPE).corner_distance_mm(geometry) < 1e-3
    by_itk = SimpleITK.ReadImage(str(tmp_path / name))
    assert np.array_equal(SimpleITK.GetArrayFromImage(by_itk).transpose(), expected)
    assert np.abs(itk_corners_mm(by_itk) - geometry.corners_mm()).max() < 1e-3


@pytest.mark.parametrize(("highest", "dtype"), [(1, "u1"), (255, "u1"), (256, "u2"), (65535, "u2")])
def test_labels_are_exact(tmp_path: Path, highest: int, dtype: str) -> None:
    labels = np.random.default_rng(0).integers(0, highest + 1, SHAPE)
    labels[0, 0, 0] = highest
    write_nifti(tmp_path / "a.nii.gz", labels, oblique(), labels=True)
    read, geometry = read_labels(tmp_path / "a.nii.gz")
    assert np.array_equal(read, labels)
    assert geometry is not None
    assert geometry.corner_distance_mm(oblique()) < 1e-3
    stored = nibabel.load(tmp_path / "a.nii.gz")
    assert np.asarray(stored.dataobj).dtype == np.dtype(dtype)
    assert struct.unpack_from("<2f", gzip.decompress((tmp_path / "a.nii.gz").read_bytes()), 112) == (1, 0)  # unscaled
    by_itk = SimpleITK.ReadImage(str(tmp_path / "a.nii.gz"))
    assert np.array_equal(SimpleITK.GetArrayFromImage(by_itk).transpose(), labels)


@pytest.mark.parametrize("wrong", [-1, 65536, 0.5, np.nan, 1j])
def test_what_is_no_label_is_not_written(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(ValueError, match="labels"):
        write_nifti(tmp_path / "a.nii", np.full(SHAPE, wrong), oblique(), labels=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e300, 2**24 + 1, 1j])
def test_what_32_bit_floats_do_not_hold_is_not_written(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(ValueError, match="voxels"):
        write_nifti(tmp_path / "a.nii", np.full(SHAPE, wrong), oblique())
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    for name, voxels, geometry, spacing_mm, message in (
        ("a.nrrd", values(), oblique(), None, "named .nii or .nii.gz, not '.nrrd'"),
        ("a.nii", values((5, 6, 8)), oblique(), None, "5 x 6 x 8 do not lie on a grid of 5 x 6 x 7"),
        ("a.nii", values((5, 6)), oblique(), None, "do not lie on a grid"),
        ("a.nii", values((2, 2, 2, 2)), None, None, "2 or 3 axes"),
        ("a.nii", values((2, 2)), None, (1.0, 1.0, 1.0), "3 spacings for 2 axes"),
        ("a.nii", values(), oblique(), (1.0, 1.0, 1.0), "says the spacing already"),
        ("a.nii", np.zeros((2, 40000), "u1"), None, None, "32767"),
    ):
        with pytest.raises(ValueError, match=message):
            write_nifti(path.with_name(name), voxels, geometry, spacing_mm=spacing_mm)
    assert list(tmp_path.iterdir()) == []


def test_channels_become_volumes(tmp_path: Path) -> None:
    voxels = values((*SHAPE, 3))
    write_nifti(tmp_path / "a.nii.gz", voxels, oblique())
    for channel in range(3):
        scan = read_nifti(tmp_path / "a.nii.gz", volume=channel)
        assert np.array_equal(scan.voxels[0], voxels[..., channel])
        assert scan.geometry is not None
        assert scan.geometry.corner_distance_mm(oblique()) < 1e-3
    assert np.array_equal(nibabel.load(tmp_path / "a.nii.gz").get_fdata(), voxels)


def test_a_picture_without_a_place(tmp_path: Path) -> None:
    """Rows by columns, as in a Scan; NIfTI's first axis runs along a row."""
    picture = np.arange(12.0).reshape(3, 4)
    for spacing_mm in ((0.2, 0.7), None):
        write_nifti(tmp_path / "a.nii", picture, None, spacing_mm=spacing_mm)
        scan = read_nifti(tmp_path / "a.nii")
        assert np.array_equal(scan.voxels[0], picture)
        assert scan.geometry is None
        assert scan.spacing_mm == (None if spacing_mm is None else pytest.approx(spacing_mm))
        assert nibabel.load(tmp_path / "a.nii").shape == (4, 3)
    write_nifti(tmp_path / "a.nii", picture, None, labels=True)
    assert np.array_equal(read_labels(tmp_path / "a.nii")[0], picture)


def test_a_volume_without_a_place(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii", values(), None, spacing_mm=(1.0, 2.0, 3.0))
    scan = read_nifti(tmp_path / "a.nii")
    assert (scan.geometry, scan.spacing_mm) == (None, (1, 2, 3))
    assert np.array_equal(scan.voxels[0], values())


def test_shear_is_in_the_sform_alone(tmp_path: Path) -> None:
    affine = oblique().affine.copy()
    affine[:3, 2] += affine[:3, 1] * 0.3
    write_nifti(tmp_path / "a.nii", values(), Geometry(affine, SHAPE))
    header = nibabel.load(tmp_path / "a.nii").header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (0, 1)
    scan = read_nifti(tmp_path / "a.nii")
    assert scan.facts["sheared"] == "yes"
    assert scan.geometry is not None
    assert scan.geometry.corner_distance_mm(Geometry(affine, SHAPE)) < 1e-3


@pytest.mark.parametrize("degrees", [0.0, 0.001, 0.01, 0.1])
def test_close_to_a_half_turn(tmp_path: Path, degrees: float) -> None:
    """A quaternion of three 32-bit numbers is left out where it would place corners off."""
    flipped = oblique(degrees, (512, 512, 2)).affine @ np.diag([-1.0, 1, 1, 1])
    geometry = Geometry(flipped, (512, 512, 2))
    write_nifti(tmp_path / "a.nii", np.zeros(geometry.shape_vox, "u1"), geometry)
    scan = read_nifti(tmp_path / "a.nii")
    assert scan.geometry is not None
    assert scan.geometry.corner_distance_mm(geometry) < 1e-3
    image = nibabel.load(tmp_path / "a.nii")
    if image.header["qform_code"] > 0:
        assert Geometry(image.get_qform(), geometry.shape_vox).corner_distance_mm(geometry) < 0.01


@pytest.mark.parametrize("name", ["anatomical.nii", "standard.nii.gz", "example_nifti2.nii.gz"])
def test_the_affine_of_a_nifti_survives_bit_for_bit(tmp_path: Path, name: str) -> None:
    four = len(nibabel.load(DATA / name).shape) == 4
    scan = read_nifti(DATA / name, volume=0 if four else None)
    write_nifti(tmp_path / "a.nii.gz", scan.voxels[0], scan.geometry)
    again = read_nifti(tmp_path / "a.nii.gz")
    assert again.geometry is not None
    assert scan.geometry is not None
    assert again.geometry.affine.astype("f4").tobytes() == scan.geometry.affine.astype("f4").tobytes()
    assert np.array_equal(again.voxels, scan.voxels)


def test_a_real_scan_and_its_mask_survive_bit_for_bit(tmp_path: Path, medcnn_data: Path) -> None:
    for kind in ("imagesTr", "labelsTr"):
        source = sorted((medcnn_data / "hippocampus" / kind).glob("*.nii.gz"))[0]
        scan = read_nifti(source)
        write_nifti(tmp_path / "a.nii.gz", scan.voxels[0], scan.geometry, labels=kind == "labelsTr")
        assert np.array_equal(nibabel.load(tmp_path / "a.nii.gz").get_fdata(), nibabel.load(source).get_fdata())
        assert nibabel.load(tmp_path / "a.nii.gz").affine.tobytes() == nibabel.load(source).affine.tobytes()


def test_the_bytes_are_always_the_same(tmp_path: Path) -> None:
    for name in ("one.nii.gz", "another.nii.gz"):
        write_nifti(tmp_path / name, values(), oblique())
    content = (tmp_path / "one.nii.gz").read_bytes()
    assert content == (tmp_path / "another.nii.gz").read_bytes()
    assert content[3] == 0, "gzip's header names no file"
    assert content[4:8] == bytes(4), "nor a time"
    write_nifti(tmp_path / "plain.nii", np.asfortranarray(values()), oblique())
    assert gzip.decompress(content) == (tmp_path / "plain.nii").read_bytes()


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, step: str) -> None:
    (tmp_path / name).write_bytes(b"before")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "no space left")

    if step == "write":
        monkeypatch.setattr("medcnn.io.nifti.writer._write", fail)
    elif step == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        write_nifti(tmp_path / name, values(), oblique())
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"before"


@pytest.mark.case("N21")
def test_N21_what_a_header_says_of_a_patient_goes_nowhere(tmp_path: Path) -> None:
    secret = b"DOE^JANE"
    source = nibabel.Nifti1Image(values(), oblique().affine)
    for field in ("descrip", "aux_file", "db_name", "intent_name"):
        source.header[field] = secret
    source.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", secret))
    source.header.extensions.append(nibabel.nifti1.Nifti1Extension(2, secret))  # a DICOM header
    source.to_filename(tmp_path / "source.nii")
    content = (tmp_path / "source.nii").read_bytes()
    assert content.count(secret) == 6
    scan = read_nifti(tmp_path / "source.nii")
    assert secret.decode() not in repr(scan)
    assert (scan.patient_id, scan.identity) == ("", ())
    write_nifti(tmp_path / "written.nii", scan.voxels[0], scan.geometry)
    written = (tmp_path / "written.nii").read_bytes()
    assert secret not in written
    assert written[4:38] + written[148:252] + written[328:344] + written[348:352] == bytes(158)
    for length in range(0, len(content), 97):  # cut anywhere: no message quotes it
        (tmp_path / "cut.nii").write_bytes(content[:length])
        with pytest.raises(ValueError) as caught:  # noqa: PT011  its text is what is looked at
            read_nifti(tmp_path / "cut.nii")
        assert secret.decode() not in str(caught.value)
