"""Conformance 5.3, the cases of NIfTI; each test is named after its case."""

from __future__ import annotations

import gzip
import itertools
import resource
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from medcnn.io.nifti import read_labels, read_nifti
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


def test_N01_big_endian_twin(write_nifti: Write, tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(blob(), np.eye(4), nibabel.Nifti1Header(endianness=">"))
    image.header.set_data_dtype(">i2")
    image.to_filename(tmp_path / "big.nii")
    assert (tmp_path / "big.nii").read_bytes()[:4] == struct.pack(">i", 348)
    assert np.array_equal(read_nifti(tmp_path / "big.nii").voxels, read_nifti(write_nifti(blob())).voxels)


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


def test_N04_singular_and_nan_forms(write_nifti: Write) -> None:
    assert code_of(write_nifti(blob(), srow_x=(0, 0, 0, 0), qform_code=0)) is Reason.GEOMETRY_INVALID
    assert code_of(write_nifti(blob(), srow_x=(np.nan, 0, 0, 0), qform_code=0)) is Reason.GEOMETRY_INVALID
    assert read_nifti(write_nifti(blob(), srow_x=(2, 1, 0, 0), qform_code=0)).facts["sheared"] == "yes"


def test_N05_no_form_is_no_place(write_nifti: Write) -> None:
    scan = read_nifti(write_nifti(blob(), qform_code=0, sform_code=0))
    assert scan.geometry is None
    assert scan.spacing_mm == (2, 3, 4)
    assert scan.facts["orientation"] == "ORIENTATION_UNKNOWN"


@pytest.mark.parametrize(
    ("slope", "expected"), [(0.0, blob()), (np.nan, blob()), (2.5, blob() * 2.5 + 10), (1.0, blob() + 10.0)]
)
def test_N06_scaling(write_nifti: Write, slope: float, expected: np.ndarray) -> None:
    assert np.array_equal(read_nifti(write_nifti(blob(), scl_slope=slope, scl_inter=10)).voxels[0], expected)


@pytest.mark.parametrize("fields", [{"scl_slope": np.inf}, {"scl_slope": 1, "scl_inter": np.inf}])
def test_N06_infinite_scaling(write_nifti: Write, fields: dict[str, float]) -> None:
    assert code_of(write_nifti(blob(), **fields)) is Reason.RESCALE_INVALID


def test_N07_scaled_labels_are_exact(write_nifti: Write) -> None:
    stored = np.array([0, 85, 170], dtype=np.uint8).reshape(1, 1, 3)
    labels, geometry = read_labels(write_nifti(stored, scl_slope=0.01176470588, scl_inter=0), declared={0, 1, 2})
    assert labels.tolist() == [[[0, 1, 2]]]
    assert labels.dtype == np.int32
    assert geometry is not None


@pytest.mark.parametrize("wrong", [2.5, 255.0, -1.0, np.nan])
def test_N08_what_is_no_label_is_named(write_nifti: Write, wrong: float) -> None:
    mask = np.array([0, 1, wrong], dtype=np.float32).reshape(1, 1, 3)
    with pytest.raises(ScanRejected, match=rf"LABEL_VALUES: the mask holds {wrong:g}\."):
        read_labels(write_nifti(mask), declared={0, 1, 2})


def test_N09_axes(write_nifti: Write) -> None:
    assert read_nifti(write_nifti(blob()[..., None])).voxels.shape == (1, 2, 3, 4)
    assert code_of(write_nifti(np.zeros((2, 3, 4, 3), "i2"))) is Reason.FOUR_D_AMBIGUOUS
    assert code_of(write_nifti(np.zeros((2, 3, 4, 1, 3), "i2"))) is Reason.FOUR_D_AMBIGUOUS
    flat = read_nifti(write_nifti(np.arange(6, dtype="i2").reshape(2, 3)))
    assert flat.voxels[0].tolist() == [[0, 3], [1, 4], [2, 5]]  # rows by columns
    assert (flat.geometry, flat.spacing_mm) == (None, (3, 2))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_N10_truncated_gzip(write_nifti: Write, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 2**15, (20, 20, 20)).astype("i2")
    path = write_nifti(noise, "x.nii.gz")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert code_of(path) is Reason.TRUNCATED
    plain = write_nifti(noise)
    plain.write_bytes(plain.read_bytes()[: int(share * 16352)])
    assert code_of(plain) is Reason.TRUNCATED


def test_N11_no_bit_flip_goes_unseen(write_nifti: Write) -> None:
    smooth = np.add.outer(np.add.outer(np.arange(16), np.arange(16)), np.arange(16)).astype("i2")
    path = write_nifti(smooth, "x.nii.gz")
    content, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    expected = read_nifti(path)
    for _ in range(200):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            scan = read_nifti(path)
        except ScanRejected:
            refused += 1
        else:  # a time stamp or system byte of the gzip header
            assert np.array_equal(scan.voxels, expected.voxels)
            assert scan.geometry is not None
            assert expected.geometry is not None
            assert scan.geometry.corner_distance_mm(expected.geometry) == 0
    assert refused > 180


def test_N12_the_trailer_of_gzip(write_nifti: Write) -> None:
    path = write_nifti(blob(), "x.nii.gz")
    content = path.read_bytes()
    for at in (-8, -4):  # CRC32, ISIZE
        damaged = bytearray(content)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        assert code_of(path) is Reason.CHECKSUM
    path.write_bytes(content + b"rubbish")
    scan = read_nifti(path)
    assert (scan.facts["bytes_behind_gzip"], scan.voxels.max()) == ("7", 23)
    plain = gzip.decompress(content)
    path.write_bytes(gzip.compress(plain[:100]) + gzip.compress(plain[100:]))
    assert np.array_equal(read_nifti(path).voxels[0], blob())
    second = bytearray(gzip.compress(plain[100:]))
    second[-8] ^= 1
    path.write_bytes(gzip.compress(plain[:100]) + second)
    assert code_of(path) is Reason.CHECKSUM


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.nii.gz", b"not gzip" * 100),
        ("x.nii.gz", b""),
        ("x.nii", b""),
        ("x.nii", None),
        ("x.nii", struct.pack("<i", 348) + bytes(343)),
        ("x.nii", gzip.compress(bytes(400))),
    ],
)
def test_N13_what_is_no_nifti(
    rejected: Read, write_nifti: Write, tmp_path: Path, name: str, content: bytes | None
) -> None:
    header_only = write_nifti(blob()).read_bytes()[:348]
    (tmp_path / name).write_bytes(header_only if content is None else content)
    assert rejected(tmp_path / name).code in (Reason.NOT_NIFTI, Reason.TRUNCATED, Reason.HEADER)


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
@pytest.mark.parametrize(
    "dim", [(3, 32767, 32767, 32767, 1, 1, 1, 1), (3, -2, 3, 4, 1, 1, 1, 1), (3, 0, 3, 4, 1, 1, 1, 1), (9, *[2] * 7)]
)
def test_N14_dimensions_that_lie(write_nifti: Write, name: str, dim: tuple[int, ...]) -> None:
    path, start = write_nifti(blob(), name, dim=dim), time.monotonic()
    assert code_of(path) is Reason.HEADER
    assert time.monotonic() - start < 0.5


def test_N15_a_bomb(write_nifti: Write) -> None:
    head = write_nifti(blob("u1"), dim=(3, 1024, 1024, 2049, 1, 1, 1, 1)).read_bytes()[:352]
    path = write_nifti(blob(), "bomb.nii.gz")
    zeros = gzip.compress(bytes(2**26))
    path.write_bytes(gzip.compress(head) + zeros * 33)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    assert code_of(path) is Reason.BOMB
    assert time.monotonic() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000
    small = write_nifti(blob("u1"), "small.nii").read_bytes()
    path.write_bytes(gzip.compress(small) + zeros)  # an honest header, far more behind it
    assert code_of(path) is Reason.BOMB


@pytest.mark.parametrize("size", [0.0, -1.0, np.nan, 1e6])
def test_N16_voxel_sizes_that_cannot_be(write_nifti: Write, size: float) -> None:
    assert code_of(write_nifti(blob(), pixdim=(1, size, 3, 4, 0, 0, 0, 0))) is Reason.HEADER


@pytest.mark.parametrize("offset", [1e9, 0])
def test_N17_voxels_that_begin_where_they_cannot(write_nifti: Write, offset: float) -> None:
    for name in ("x.nii", "x.nii.gz"):
        assert code_of(write_nifti(blob(), name, vox_offset=offset)) in (Reason.HEADER, Reason.TRUNCATED)


@pytest.mark.parametrize(("datatype", "bitpix"), [(128, 24), (32, 64), (1536, 128), (1, 1)])
def test_N18_voxels_that_are_no_grey_values(write_nifti: Write, datatype: int, bitpix: int) -> None:
    assert code_of(write_nifti(blob(), datatype=datatype, bitpix=bitpix)) is Reason.DTYPE


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
