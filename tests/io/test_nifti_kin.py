"""Pairs of files, and what only resembles NIfTI."""

from __future__ import annotations

import gzip
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from medcnn.io.nifti.kin import pair_of
from medcnn.scan import Reason

Read = Callable[..., Any]
DATA = Path(nibabel.__file__).parent / "tests" / "data"


def write_pair(path: Path) -> None:
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nibabel.Nifti1Pair(voxels, np.diag([2.0, 3, 4, 1])).to_filename(path)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("a.hdr", "a.img"),
        ("a.img", "a.hdr"),
        ("A.HDR", "A.IMG"),
        ("a.b.hdr.gz", "a.b.img.gz"),
        ("a.img.gz", "a.hdr.gz"),
    ],
)
def test_each_half_knows_the_other(tmp_path: Path, name: str, other: str) -> None:
    assert pair_of(tmp_path / name) is None
    (tmp_path / other).touch()
    assert pair_of(tmp_path / name) == tmp_path / other
    assert pair_of(tmp_path / "a.nii") is None


@pytest.mark.case("N01")
def test_a_pair_is_read_by_its_header(read: Read, tmp_path: Path) -> None:
    write_pair(tmp_path / "a.hdr")
    scan = read(tmp_path / "a.hdr")
    assert scan.voxels.shape == (1, 2, 3, 4)
    assert scan.voxels.max() == 23


def test_half_a_pair_is_refused(rejected: Read, tmp_path: Path) -> None:
    write_pair(tmp_path / "a.hdr")
    image = rejected(tmp_path / "a.img")
    assert image.code is Reason.NOT_NIFTI
    assert ".hdr" in image.remedy
    (tmp_path / "a.img").unlink()
    assert rejected(tmp_path / "a.hdr").code is Reason.READ_ERROR


def test_the_second_half_may_not_lead_out_of_the_folder(rejected: Read, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    write_pair(tmp_path / "root" / "a.hdr")
    (tmp_path / "root" / "a.img").rename(tmp_path / "elsewhere")
    (tmp_path / "root" / "a.img").symlink_to(tmp_path / "elsewhere")
    assert rejected(tmp_path / "root" / "a.hdr").code is Reason.PATH_ESCAPE


def test_the_halves_must_fit(read: Read, rejected: Read, tmp_path: Path) -> None:
    write_pair(tmp_path / "a.hdr")
    content = (tmp_path / "a.img").read_bytes()
    for changed, code in ((content[:-1], Reason.TRUNCATED), (content + b"x", Reason.HEADER)):
        (tmp_path / "a.img").write_bytes(changed)
        assert rejected(tmp_path / "a.hdr").code is code
    (tmp_path / "a.img").write_bytes(content)
    header = (tmp_path / "a.hdr").read_bytes()[:348]
    endings = {b"x": Reason.TRUNCATED, bytes(5): Reason.HEADER, b"\1\0\0\0" + bytes(8): Reason.HEADER}
    for ending, code in endings.items():
        (tmp_path / "a.hdr").write_bytes(header + ending)
        assert rejected(tmp_path / "a.hdr").code is code
    for ending in (b"", bytes(4), b"\1\0\0\0" + struct.pack("<2i", 16, 6) + bytes(8)):
        (tmp_path / "a.hdr").write_bytes(header + ending)
        assert read(tmp_path / "a.hdr").voxels.max() == 23


def test_a_name_that_contradicts_the_magic(rejected: Read, tmp_path: Path) -> None:
    write_pair(tmp_path / "a.hdr")
    (tmp_path / "a.hdr").rename(tmp_path / "a.nii")
    assert rejected(tmp_path / "a.nii").code is Reason.NOT_NIFTI
    shutil.copy(DATA / "anatomical.nii", tmp_path / "b.hdr")
    assert rejected(tmp_path / "b.hdr").code is Reason.NOT_NIFTI


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_analyze_does_not_say_which_side_is_left(rejected: Read, tmp_path: Path, pack: Callable[..., bytes]) -> None:
    name = "a.hdr" if pack is bytes else "a.hdr.gz"
    (tmp_path / name).write_bytes(pack((DATA / "analyze.hdr").read_bytes()))
    found = rejected(tmp_path / name)
    assert found.code is Reason.NOT_NIFTI
    assert "Analyze" in found.found


@pytest.mark.parametrize("name", ["a.mgz", "a.gz", "a.mgh", "a"])
def test_mgh_names_its_converter(rejected: Read, tmp_path: Path, name: str) -> None:
    content = (DATA / "test.mgz").read_bytes()
    (tmp_path / name).write_bytes(content if name.endswith("z") else gzip.decompress(content))
    found = rejected(tmp_path / name)
    assert found.code is Reason.NOT_NIFTI
    assert "mri_convert" in found.remedy


def test_any_other_hdr_is_no_scan(rejected: Read, tmp_path: Path) -> None:
    (tmp_path / "a.hdr").write_bytes(b"#?RADIANCE" + struct.pack("<i", 348) * 100)
    assert rejected(tmp_path / "a.hdr").code is Reason.NOT_DICOM
