"""Conformance 5.3, damaged and hostile NIfTI files; each test is named after its case."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medcnn.io.nifti.reader import read_nifti
from medcnn.scan import Reason, ScanRejected

Read = Callable[..., Any]
Write = Callable[..., Path]


def blob(kind: str = "i2") -> np.ndarray:
    return np.arange(24).reshape(2, 3, 4).astype(kind)


def code_of(path: Path) -> Reason:
    with pytest.raises(ScanRejected) as caught:
        read_nifti(path)
    return caught.value.rejection.code


@pytest.mark.case("N10")
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


@pytest.mark.case("N11")
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


@pytest.mark.case("N12")
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
    path.write_bytes(gzip.compress(plain[:100], mtime=0) + gzip.compress(plain[100:]))
    assert np.array_equal(read_nifti(path).voxels[0], blob())
    second = bytearray(gzip.compress(plain[100:], mtime=0))
    second[-8] ^= 1
    path.write_bytes(gzip.compress(plain[:100], mtime=0) + second)
    assert code_of(path) is Reason.CHECKSUM


@pytest.mark.case("N13")
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.nii.gz", b"not gzip" * 100),
        ("x.nii.gz", b""),
        ("x.nii", b""),
        ("x.nii", None),
        ("x.nii", struct.pack("<i", 348) + bytes(343)),
        ("x.nii", gzip.compress(bytes(400), mtime=0)),
    ],
)
def test_N13_what_is_no_nifti(
    rejected: Read, write_nifti: Write, tmp_path: Path, name: str, content: bytes | None
) -> None:
    header_only = write_nifti(blob()).read_bytes()[:348]
    (tmp_path / name).write_bytes(header_only if content is None else content)
    assert rejected(tmp_path / name).code in (Reason.NOT_NIFTI, Reason.TRUNCATED, Reason.HEADER)


@pytest.mark.case("N14")
@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
@pytest.mark.parametrize(
    "dim", [(3, 32767, 32767, 32767, 1, 1, 1, 1), (3, -2, 3, 4, 1, 1, 1, 1), (3, 0, 3, 4, 1, 1, 1, 1), (9, *[2] * 7)]
)
def test_N14_dimensions_that_lie(write_nifti: Write, name: str, dim: tuple[int, ...]) -> None:
    path, start = write_nifti(blob(), name, dim=dim), time.process_time()
    assert code_of(path) is Reason.HEADER
    assert time.process_time() - start < 0.5


MEASURED = """
import re, sys, time
from pathlib import Path
from medcnn.io.nifti.reader import read_nifti
from medcnn.scan import ScanRejected

start = time.process_time()
try:
    read_nifti(Path(sys.argv[1]))
except ScanRejected as rejected:
    # not ru_maxrss, which a child inherits from its parent
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
    print(rejected.rejection.code, time.process_time() - start, peak)
"""


def measured(path: Path) -> tuple[str, float, float]:
    """(code, seconds, greatest resident MB) of reading in a process of its own."""
    child = [sys.executable, "-c", MEASURED, str(path)]
    code, seconds, kilobytes = subprocess.run(child, capture_output=True, text=True, check=True).stdout.split()
    return code, float(seconds), float(kilobytes) / 1000


@pytest.mark.case("N15")
def test_N15_a_bomb_is_refused_before_it_unpacks(write_nifti: Write) -> None:
    head = write_nifti(blob("u1"), dim=(3, 1024, 1024, 2048, 1, 1, 1, 1)).read_bytes()[:352]
    path = write_nifti(blob(), "bomb.nii.gz")
    path.write_bytes(gzip.compress(head, mtime=0) + gzip.compress(bytes(2**26)) * 32)
    assert path.stat().st_size < 2.2e6
    code, seconds, megabytes = measured(path)  # 2 GiB of zeros
    assert (code, seconds < 2, megabytes < 500) == ("BOMB", True, True)


@pytest.mark.case("N15")
def test_N15_far_more_than_the_header_announces(write_nifti: Write) -> None:
    path = write_nifti(blob("u1"), "bomb.nii.gz")
    path.write_bytes(path.read_bytes() + gzip.compress(bytes(2**26)) * 32)
    code, seconds, megabytes = measured(path)
    assert (code, seconds < 2, megabytes < 500) == ("BOMB", True, True)


@pytest.mark.case("N16")
@pytest.mark.parametrize("size", [0.0, -1.0, np.nan, 1e6])
def test_N16_voxel_sizes_that_cannot_be(write_nifti: Write, size: float) -> None:
    assert code_of(write_nifti(blob(), pixdim=(1, size, 3, 4, 0, 0, 0, 0))) is Reason.HEADER


@pytest.mark.case("N17")
@pytest.mark.parametrize("offset", [1e9, 0])
def test_N17_voxels_that_begin_where_they_cannot(write_nifti: Write, offset: float) -> None:
    for name in ("x.nii", "x.nii.gz"):
        assert code_of(write_nifti(blob(), name, vox_offset=offset)) in (Reason.HEADER, Reason.TRUNCATED)
