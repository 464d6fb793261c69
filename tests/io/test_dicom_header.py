"""Conformance 5.1, truncated, lying, nested, foreign and hostile files; each test is named after its case."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless, RLELossless

from medcnn.io.read import read_scan
from medcnn.scan import Reason, ScanRejected

Read = Callable[..., Any]
Bundled = Callable[[str], Path]
Write = Callable[..., Path]


def grid(kind: str = "u2") -> np.ndarray:
    return np.arange(12, dtype=kind).reshape(3, 4)


@pytest.mark.case("C19", "C20", "C21", "C22")
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("no_meta", Reason.NOT_DICOM_PART10),
        ("ExplVR_LitEndNoMeta", Reason.NOT_AN_IMAGE),
        ("ExplVR_BigEndNoMeta", Reason.NOT_AN_IMAGE),
        ("rtstruct", Reason.NOT_AN_IMAGE),
        ("meta_missing_tsyntax", Reason.META_INVALID),  # from here on C20
        ("badVR", Reason.TAG_INVALID),
        ("nested_priv_SQ", Reason.META_INVALID),
        ("UN_sequence", Reason.NOT_AN_IMAGE),
        ("JPEG2000-embedded-sequence-delimiter", Reason.DECODE_FAILED),  # section 2.2
        ("MR_truncated", Reason.PIXEL_DATA_TRUNCATED),  # C21
        ("emri_small_jpeg_2k_lossless_too_short", Reason.PIXEL_DATA_TRUNCATED),
        *(
            (name, Reason.NOT_AN_IMAGE)  # C22
            for name in [
                "reportsi",
                "reportsi_with_empty_number_tags",
                "rtplan",
                "rtplan_truncated",
                "waveform_ecg",
                "test-SR",
                "empty_charset_LEI",
                "no_meta_group_length",
                "priv_SQ",
            ]
        ),
    ],
)
def test_C19_to_C22_odd_files_have_their_code(rejected: Read, bundled: Bundled, name: str, code: Reason) -> None:
    assert rejected(bundled(name), burned_in="allow").code is code


@pytest.mark.case("C19")
def test_C19_an_image_without_preamble_and_meta_is_read(read: Read, bundled: Bundled, tmp_path: Path) -> None:
    palette = pydicom.dcmread(bundled("OT-PAL-8-face"), force=True)
    assert len(palette.file_meta) == 0
    assert read(bundled("OT-PAL-8-face"), burned_in="allow").voxels.shape == (1, 480, 640)
    content = bundled("CT_small").read_bytes()
    (tmp_path / "bare.dcm").write_bytes(content[content.index(b"\x08\0\x05\0CS") :])
    assert np.array_equal(read(tmp_path / "bare.dcm").voxels, read(bundled("CT_small")).voxels)


@pytest.mark.case("C21")
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
def test_C21_a_truncated_file_is_never_read(rejected: Read, bundled: Bundled, tmp_path: Path, share: float) -> None:
    for name in ("CT_small", "MR_small_RLE", "MR_small_jp2klossless"):
        content = bundled(name).read_bytes()
        (tmp_path / "cut.dcm").write_bytes(content[: int(share * len(content))])
        found = rejected(tmp_path / "cut.dcm").code
        assert found in (Reason.PIXEL_DATA_TRUNCATED, Reason.SIZE_IMPLAUSIBLE, Reason.DECODE_FAILED), name


@pytest.mark.case("C28")
@pytest.mark.parametrize("mark", [b"MZ", b"\x7fELF"])
def test_C28_an_executable_preamble_is_flagged(read: Read, write_image: Write, mark: bytes) -> None:
    path = write_image(grid())
    assert "preamble" not in read(path).facts
    path.write_bytes(mark.ljust(128, b"\0") + path.read_bytes()[128:])
    assert read(path).facts["preamble"] == "executable"


@pytest.mark.case("C29")
@pytest.mark.parametrize(
    ("name", "elements", "selector"),
    [
        ("MR_small_RLE", {"Rows": 65535, "Columns": 65535}, ""),
        ("MR_small_jp2klossless", {"Rows": 65535, "Columns": 65535}, ""),
        ("MR_small_RLE", {"Rows": 8000, "Columns": 8000}, ""),
        ("MR_small_jp2klossless", {"Rows": 8000, "Columns": 8000}, ""),
        ("MR_small_RLE", {"NumberOfFrames": "100000"}, ""),
        ("MR_small_jp2klossless", {"NumberOfFrames": "100000"}, "#frame=0"),
        ("MR_small", {"NumberOfFrames": "100000"}, "#frame=0"),
    ],
)
def test_C29_a_lying_size_is_rejected_before_memory_is_taken(
    rejected: Read, bundled: Bundled, tmp_path: Path, name: str, elements: dict[str, Any], selector: str
) -> None:
    dataset = pydicom.dcmread(bundled(name))
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.save_as(tmp_path / "lie.dcm")
    assert rejected(tmp_path / "lie.dcm", selector).code is Reason.SIZE_IMPLAUSIBLE  # memory: test_cases_dicom.py


def nested(depth: int, *, undefined: bool) -> bytes:
    """Referenced Series Sequence in itself, explicit little endian."""
    content = b""
    for _ in range(depth):
        if undefined:
            item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + content + b"\xfe\xff\x0d\xe0\0\0\0\0"
            content = b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff" + item + b"\xfe\xff\xdd\xe0\0\0\0\0"
        else:
            item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(content)) + content
            content = b"\x08\x00\x15\x11SQ\0\0" + struct.pack("<I", len(item)) + item
    return content


@pytest.mark.case("C30")
@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize(("depth", "fine"), [(10, True), (200, False), (5000, False)])
def test_C30_deep_sequences(
    read: Read, rejected: Read, write_image: Write, depth: int, fine: bool, undefined: bool
) -> None:
    path = write_image(grid())
    content = path.read_bytes()
    at = content.index(b"\x20\x00\x0e\x00UI")  # Series Instance UID, behind group 0008
    path.write_bytes(content[:at] + nested(depth, undefined=undefined) + content[at:])
    if fine:
        assert np.array_equal(read(path).voxels[0], grid())
    else:
        assert rejected(path).code is Reason.NESTING


@pytest.mark.case("C31")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x" * 131,
        np.random.default_rng(1).bytes(2**20),
        b"\x7fELF" + b"\0" * 500,
        b"\xff\xd8\xff\xe0" + b"\0" * 500,
        b"%PDF-1.7\n" + b" " * 500,
        b"patient,label\n1,2\n" * 20,
    ],
    ids=["empty", "131 bytes", "random", "ELF", "JPEG", "PDF", "text"],
)
def test_C31_what_is_no_dicom(rejected: Read, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.dcm").write_bytes(content)
    assert rejected(tmp_path / "x.dcm").code is Reason.NOT_DICOM


@pytest.mark.case("C32")
def test_C32_deflated(read: Read, rejected: Read, bundled: Bundled, tmp_path: Path) -> None:
    expected = pydicom.dcmread(bundled("image_dfl")).pixel_array
    assert np.array_equal(read(bundled("image_dfl"), burned_in="allow").voxels[0], expected)
    content = bundled("image_dfl").read_bytes()
    length = 132 + 12 + struct.unpack_from("<I", content, 140)[0]
    packer = zlib.compressobj(1, wbits=-15)
    zeros = b"".join(packer.compress(bytes(10**7)) for _ in range(100)) + packer.flush()
    (tmp_path / "bomb.dcm").write_bytes(content[:length] + zeros)
    assert rejected(tmp_path / "bomb.dcm").code is Reason.BOMB  # memory: test_cases_dicom.py


def test_damaged_rle_ends_typed_every_time(rejected: Read, bundled: Bundled, tmp_path: Path) -> None:
    content, rng = bundled("MR_small_RLE").read_bytes(), np.random.default_rng(0)
    codes = []
    for _ in range(150):
        damaged = bytearray(content)
        damaged[rng.integers(132, len(content))] ^= 1 << rng.integers(8)
        (tmp_path / "x.dcm").write_bytes(damaged)
        try:
            read_scan(tmp_path, "x.dcm")
        except ScanRejected as error:
            codes.append(error.rejection.code)
    assert len(codes) > 5
    assert Reason.INTERNAL not in codes


def test_rle_that_is_too_short_for_its_image_is_refused(rejected: Read, bundled: Bundled, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(bundled("MR_small_RLE"))
    assert dataset.file_meta.TransferSyntaxUID == RLELossless
    dataset.Rows = 90
    dataset.save_as(tmp_path / "x.dcm")
    assert rejected(tmp_path / "x.dcm").code is Reason.DECODE_FAILED


def test_jpeg2000_of_another_size_is_refused(rejected: Read, bundled: Bundled, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(bundled("MR_small_jp2klossless"))
    assert dataset.file_meta.TransferSyntaxUID == JPEG2000Lossless
    dataset.Rows = 60
    dataset.save_as(tmp_path / "x.dcm")
    assert rejected(tmp_path / "x.dcm").code is Reason.DECODE_FAILED
