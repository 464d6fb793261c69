"""The strict walk: every element found where pydicom finds it, and every lie about a length noticed."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from medcnn.io.dicom.elements import MAX_NESTING, walk_file
from medcnn.io.dicom.header import read_file
from medcnn.io.files import FIRST_PIECE_BYTES
from medcnn.scan import Reason, ScanRejected

PIXEL_DATA = 0x7FE00010
DAMAGED = ("rtplan_truncated.dcm", "DICOMDIR-nooffset", "no_meta.dcm")  # on purpose, in their structure


def wheel_files() -> list[Path]:
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    found = [path for path in folder.rglob("*") if path.suffix == ".dcm" or path.name.startswith("DICOMDIR")]
    return sorted(path for path in found if path.is_file())


@pytest.mark.parametrize("path", [p for p in wheel_files() if p.name not in DAMAGED], ids=lambda path: path.name)
def test_the_walk_finds_what_pydicom_finds(path: Path) -> None:
    elements = walk_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True)
    theirs = {int(tag) for tag in dataset.keys() if int(tag) < PIXEL_DATA}  # noqa: SIM118  a Dataset is no dict
    assert {int(tag) for tag in elements.data} == theirs
    if path.name != "SC_rgb_jpeg.dcm":  # implicit behind a meta group that says explicit: pydicom names the latter
        assert (elements.encoding.implicit, elements.encoding.little) == dataset.original_encoding
    if elements.pixels is not None and elements.pixels.whole:
        assert elements.pixels.length == len(dataset.get_item(PIXEL_DATA).value)


@pytest.mark.parametrize("path", [p for p in wheel_files() if p.name in DAMAGED], ids=lambda path: path.name)
def test_damaged_structures_are_noticed(path: Path) -> None:
    with pytest.raises(ScanRejected):
        walk_file(path)


SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_values_and_sequences_in_every_encoding(
    syntax: pydicom.uid.UID, image: Callable[..., Dataset], tmp_path: Path
) -> None:
    long = b"x" * (2 * FIRST_PIECE_BYTES)
    data = image(np.arange(12, dtype=np.uint16).reshape(3, 4), RedPaletteColorLookupTableData=long)
    data.file_meta.TransferSyntaxUID = syntax
    inner = Dataset()
    inner.ImagePositionPatient = [1, 2, 3.25]
    for outer_length in (False, True):
        group = Dataset()
        group.PlanePositionSequence = Sequence([inner])
        data.PerFrameFunctionalGroupsSequence = Sequence([group, group])
        data["PerFrameFunctionalGroupsSequence"].is_undefined_length = outer_length
        pydicom.dcmwrite(tmp_path / "one.dcm", data, enforce_file_format=True)
        header = read_file(tmp_path / "one.dcm").image()
        assert (header.Rows, header.Columns) == (3, 4)
        groups = header.PerFrameFunctionalGroupsSequence
        assert [item.PlanePositionSequence[0].ImagePositionPatient for item in groups] == [[1, 2, 3.25]] * 2
        assert header.PixelData == data.PixelData


def code_of(content: bytes, tmp_path: Path) -> Reason:
    path = tmp_path / "damaged.dcm"
    path.write_bytes(content)
    with pytest.raises(ScanRejected) as caught:
        walk_file(path)
    return caught.value.rejection.code


@pytest.fixture
def plain(image: Callable[..., Dataset], tmp_path: Path) -> bytes:
    pydicom.dcmwrite(tmp_path / "plain.dcm", image(np.zeros((3, 4), np.uint16)), enforce_file_format=True)
    return (tmp_path / "plain.dcm").read_bytes()


def replaced(content: bytes, old: bytes, new: bytes) -> bytes:
    assert content.count(old) == 1, "the test must damage one place only"
    return content.replace(old, new)


def test_a_length_that_lies_is_not_followed(plain: bytes, tmp_path: Path) -> None:
    rows = b"\x28\0\x10\0US\x02\0\x03\0"
    assert code_of(replaced(plain, rows, rows[:6] + b"\0\0" + rows[8:]), tmp_path) is Reason.TAG_INVALID
    assert code_of(replaced(plain, rows, rows[:6] + b"\xff\x7f" + rows[8:]), tmp_path) is Reason.PIXEL_DATA_TRUNCATED
    assert code_of(replaced(plain, rows, b"\x28\0\x10\0Us" + rows[6:]), tmp_path) is Reason.TAG_INVALID
    assert code_of(replaced(plain, rows, b"\x08\0\x10\0US" + rows[6:]), tmp_path) is Reason.TAG_INVALID
    twice = replaced(plain, rows, rows + rows)
    assert code_of(twice, tmp_path) is Reason.TAG_INVALID


def test_every_cut_but_those_between_elements_is_noticed(plain: bytes, tmp_path: Path) -> None:
    whole = {0}
    at = 132
    while at < len(plain):  # explicit little endian, no sequences: the ends of elements by an own count
        whole.add(at)
        long = plain[at + 4 : at + 6] in (b"OB", b"OW", b"UN", b"SQ", b"UT")
        start, layout = (at + 12, "<I") if long else (at + 8, "<H")
        at = start + struct.unpack_from(layout, plain, start - struct.calcsize(layout))[0]
    for end in range(200, len(plain)):
        path = tmp_path / "cut.dcm"
        path.write_bytes(plain[:end])
        try:
            elements = walk_file(path)
        except ScanRejected:
            continue
        cut_pixels = elements.pixels is not None and not elements.pixels.whole
        assert end in whole or cut_pixels, f"a file cut at {end} of {len(plain)} passed"


def test_what_follows_the_pixel_data_is_looked_at(plain: bytes, tmp_path: Path) -> None:
    (tmp_path / "padded.dcm").write_bytes(plain + struct.pack("<HH2sHI", 0xFFFC, 0xFFFC, b"OB", 0, 4) + b"abcd")
    assert walk_file(tmp_path / "padded.dcm").pixels is not None
    assert code_of(plain + b"garbage behind the last element", tmp_path) is Reason.TAG_INVALID


@pytest.mark.parametrize("undefined", [True, False])
def test_sequences_deeper_than_any_real_one(undefined: bool, plain: bytes, tmp_path: Path) -> None:
    def nested(depth: int) -> bytes:
        content = b""
        for _ in range(depth):
            lengths = (0xFFFFFFFF, 0xFFFFFFFF) if undefined else (len(content) + 8, len(content))
            ends = (b"\xfe\xff\x0d\xe0" + bytes(4), b"\xfe\xff\xdd\xe0" + bytes(4)) if undefined else (b"", b"")
            head = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, lengths[0])
            content = head + b"\xfe\xff\0\xe0" + struct.pack("<I", lengths[1]) + content + ends[0] + ends[1]
        return content

    at = plain.index(b"\xe0\x7f\x10\0")
    (tmp_path / "deep.dcm").write_bytes(plain[:at] + nested(MAX_NESTING) + plain[at:])
    assert walk_file(tmp_path / "deep.dcm").pixels is not None
    for depth in (MAX_NESTING + 1, 5000):
        assert code_of(plain[:at] + nested(depth) + plain[at:], tmp_path) is Reason.NESTING


def test_a_deflated_bomb_is_not_unpacked(plain: bytes, tmp_path: Path) -> None:
    meta_end = 132 + 12 + struct.unpack_from("<I", plain, 140)[0]
    meta = plain[:meta_end].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    meta = meta[:140] + struct.pack("<I", len(meta) - 144) + meta[144:]
    meta = meta.replace(b"UI\x14\x001.2.840.10008.1.2.1.99", b"UI\x16\x001.2.840.10008.1.2.1.99")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(600)) + packer.flush()
    assert code_of(meta + bomb, tmp_path) is Reason.BOMB
