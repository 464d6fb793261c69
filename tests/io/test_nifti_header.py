"""A header that contradicts itself, or the file that it stands in."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from medcnn.io.nifti.reader import read_nifti
from medcnn.scan import Reason, Scan, ScanRejected

Write = Callable[..., Path]

#: First byte and layout of the fields of NIfTI-1 that a single wrong bit may change into another plausible value.
PLAUSIBLE = {"scl_slope": (112, 116), "scl_inter": (116, 120)}
BY_QFORM_ALONE = PLAUSIBLE | {"pixdim": (76, 92), "qform_code": (252, 254), "quatern and qoffset": (256, 280)}
BY_SFORM_ALONE = PLAUSIBLE | {"sform_code": (254, 256), "srow": (280, 328)}
BY_TWO_SPACES = PLAUSIBLE | {"srow": (280, 328)}
SILENT = {*range(4, 40), *range(56, 68), *range(120, 123), *range(124, 252), *range(328, 344)}
SLIGHTLY_VOX = 0.02  # below what qform and sform may differ by, and the rounding of a quaternion


def blob(kind: str = "i2") -> np.ndarray:
    return np.arange(24).reshape(2, 3, 4).astype(kind)


def code_of(path: Path) -> Reason:
    with pytest.raises(ScanRejected) as caught:
        read_nifti(path)
    return caught.value.rejection.code


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("change", [-1, 1])
def test_one_voxel_more_or_less_along_an_axis(write_nifti: Write, name: str, axis: int, change: int) -> None:
    dim = [3, 2, 3, 4, 1, 1, 1, 1]
    dim[axis] += change
    assert code_of(write_nifti(blob(), name, dim=dim)) in (Reason.HEADER, Reason.TRUNCATED)


@pytest.mark.parametrize(
    "dim", [(2, 2, 3, 4, 1, 1, 1, 1), (3, 2, 3, 4, 2, 1, 1, 1), (3, 2, 3, 4, 1, 1, 1, -1), (1, 2, 1, 1, 1, 1, 1, 1)]
)
def test_sizes_beyond_the_number_of_axes(write_nifti: Write, dim: tuple[int, ...]) -> None:
    assert code_of(write_nifti(blob(), dim=dim)) is Reason.HEADER


def test_zeros_beyond_the_number_of_axes_are_an_old_habit(write_nifti: Write) -> None:
    assert read_nifti(write_nifti(blob(), dim=(3, 2, 3, 4, 0, 0, 0, 0))).voxels.max() == 23


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
@pytest.mark.parametrize("surplus", [1, 16, 2**16])
def test_bytes_that_no_field_accounts_for(write_nifti: Write, name: str, surplus: int) -> None:
    path = write_nifti(blob(), "x.nii")
    content = path.read_bytes() + bytes(surplus)
    path = path.with_name(name)
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert code_of(path) is Reason.HEADER


@pytest.mark.parametrize("offset", [336, 351, 352.5, 353, 368, float("nan"), float("inf"), -352])
def test_voxels_that_begin_elsewhere(write_nifti: Write, offset: float) -> None:
    assert code_of(write_nifti(blob(), vox_offset=offset)) in (Reason.HEADER, Reason.TRUNCATED)


@pytest.mark.parametrize(("datatype", "bitpix"), [(4, 8), (2, 16), (16, 16), (8, 16), (0, 0), (4, -16)])
def test_a_type_that_does_not_fit_its_size(write_nifti: Write, datatype: int, bitpix: int) -> None:
    assert code_of(write_nifti(blob(), datatype=datatype, bitpix=bitpix)) in (Reason.HEADER, Reason.DTYPE)


@pytest.mark.parametrize("slope", [1e-20, -1e20])
def test_a_slope_beyond_any_quantity(write_nifti: Write, slope: float) -> None:
    assert code_of(write_nifti(blob(), scl_slope=slope)) is Reason.RESCALE_INVALID


def test_a_scaling_that_makes_all_voxels_equal(write_nifti: Write) -> None:
    assert code_of(write_nifti(blob(), scl_slope=1, scl_inter=1e12)) is Reason.RESCALE_INVALID
    assert read_nifti(write_nifti(blob() * 0, scl_slope=1, scl_inter=1e12)).voxels.max() == np.float32(1e12)


def test_64_bit_floats_beyond_32_bits(write_nifti: Write) -> None:
    assert code_of(write_nifti(blob("f8") * 1e300)) is Reason.NONFINITE


def with_extension(path: Path, extension: bytes, flag: int = 1) -> Path:
    content = bytearray(path.read_bytes())
    content[348:352] = bytes([flag, 0, 0, 0])
    struct.pack_into("<f", content, 108, 352 + len(extension))
    path.write_bytes(content[:352] + extension + content[352:])
    return path


@pytest.mark.parametrize("size", [0, 8, 17, 24, 48, -16, 2**31 - 16])
def test_extensions_whose_sizes_cannot_be(write_nifti: Write, size: int) -> None:
    extension = struct.pack("<2i", size, 6) + bytes(24)
    assert code_of(with_extension(write_nifti(blob()), extension)) is Reason.HEADER


def test_extensions_are_passed_over(write_nifti: Write) -> None:
    one, other = struct.pack("<2i", 32, 6) + bytes(24), struct.pack("<2i", 16, 2) + bytes(8)
    for extension in (one, one + other, b""):
        assert read_nifti(with_extension(write_nifti(blob()), extension)).voxels.max() == 23
    assert read_nifti(with_extension(write_nifti(blob()), bytes(32), flag=0)).voxels.max() == 23


def changed(scan: Scan, sound: Scan) -> float:
    """How far the corners moved, in voxels; infinite where anything else is different."""
    if not np.array_equal(scan.voxels, sound.voxels) or scan.value_range != sound.value_range:
        return float("inf")
    if scan.geometry is None or sound.geometry is None:
        return 0.0 if scan.geometry is sound.geometry else float("inf")
    return scan.geometry.corner_distance_mm(sound.geometry) / float(sound.geometry.spacing_mm().min())


@pytest.mark.parametrize(
    ("codes", "undetectable"),
    [((1, 1), PLAUSIBLE), ((1, 0), BY_QFORM_ALONE), ((0, 2), BY_SFORM_ALONE), ((1, 4), BY_TWO_SPACES)],
)
def test_every_bit_of_the_header(
    tmp_path: Path, codes: tuple[int, int], undetectable: dict[str, tuple[int, int]]
) -> None:
    """One wrong bit is refused or changes nothing, but for the fields where it makes another plausible value."""
    affine = np.diag([2.0, 2.5, 3, 1])
    affine[:3, :3] = Rotation.from_rotvec([0.2, 0.1, 0.3]).as_matrix() @ affine[:3, :3]
    affine[:3, 3] = [-10, 20, -30]
    image = nibabel.Nifti1Image(np.random.default_rng(0).integers(0, 999, (6, 7, 8)).astype("i2"), affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, codes[0])
    image.set_sform(affine, codes[1])
    content, path, wrong = image.to_bytes(), tmp_path / "x.nii", set()
    path.write_bytes(content)
    sound = read_nifti(path)
    for at, bit in np.ndindex(352, 8):
        if at in SILENT and bit != at % 8:
            continue  # one bit of a byte will do where nothing is read
        damaged = bytearray(content)
        damaged[at] ^= 1 << bit
        path.write_bytes(damaged)
        with suppress(ScanRejected):
            if changed(read_nifti(path), sound) > SLIGHTLY_VOX:
                wrong.add(at)
    assert wrong <= {at for start, end in undetectable.values() for at in range(start, end)}
