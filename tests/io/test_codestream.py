"""What compressed pictures say of themselves, on files that other programs wrote."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.encaps import get_frame

from medcnn.io.decoding.codestream import Codestream, read_codestream

Bundled = Callable[[str], Path]


def frame(path: Path, index: int = 0) -> bytes:
    dataset = pydicom.dcmread(path)
    return get_frame(dataset.PixelData, index, number_of_frames=int(dataset.get("NumberOfFrames", 1)))


def whole(process: int, rows: int, columns: int, components: int, precision: int, **other: int) -> Codestream:
    known = {"colour_transform": False, "adobe_transform": -1, "complete": True, "trailing": False} | other
    return Codestream(process, rows, columns, components, precision, **known)  # type: ignore[arg-type]


KNOWN = {
    "SC_rgb_jpeg_dcmtk": whole(0xC0, 100, 100, 3, 8),
    "SC_rgb_dcmtk_+eb+cr": whole(0xC0, 100, 100, 3, 8, adobe_transform=0),
    "JPGExtended": whole(0xC1, 1024, 256, 1, 12),
    "JPEG-LL": whole(0xC3, 1024, 256, 1, 16),
    "MR_small_jpeg_ls_lossless": whole(0xF7, 64, 64, 1, 16),
    "J2K_pixelrep_mismatch": whole(0, 512, 512, 1, 13),
    "US1_J2KR": whole(0, 480, 640, 3, 8, colour_transform=True),
    "GDCMJ2K_TextGBR": whole(0, 400, 400, 3, 8, colour_transform=True),
}


@pytest.mark.parametrize("name", KNOWN)
def test_facts_of_pictures_by_other_programs(bundled: Bundled, name: str) -> None:
    assert read_codestream(frame(bundled(name))) == KNOWN[name]


@pytest.mark.parametrize("name", KNOWN)
def test_a_picture_that_was_cut_is_never_complete(bundled: Bundled, name: str) -> None:
    code = frame(bundled(name)).rstrip(b"\0\xff")
    for part in range(1, 100):
        stream = read_codestream(code[: len(code) * part // 100])
        assert stream is None or not stream.complete
    stream = read_codestream(code[:-1])
    assert stream is None or not stream.complete


@pytest.mark.parametrize("name", KNOWN)
def test_padding_is_no_content_and_rubbish_is(bundled: Bundled, name: str) -> None:
    code = frame(bundled(name)).rstrip(b"\0\xff")
    assert read_codestream(code + b"\0\0\0") == KNOWN[name]
    if name != "GDCMJ2K_TextGBR":  # a JP2 file may go on with other boxes
        assert read_codestream(code + b"rubbish") == dataclasses.replace(KNOWN[name], trailing=True)


def test_bytes_that_are_no_picture() -> None:
    for code in (
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xff",
        b"\xff\x4f\xff\x51",
        b"\0\0\0\x0cjP  " + b"\0" * 99,
        b"RLE" * 40,
    ):
        assert read_codestream(code) is None


def jpeg(scan: bytes, interval: int) -> bytes:
    head = b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x08\x00\x30\x01\x01\x11\x00\xff\xdd\x00\x04" + interval.to_bytes(2)
    return head + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + scan + b"\xff\xd9"


def test_restart_markers_count_round() -> None:
    pieces = [b"ab", b"\xff\x00c", b"d"]
    counted = b"\xff\xd0".join(pieces[:2]) + b"\xff\xd1" + pieces[2]
    assert read_codestream(jpeg(counted, 1)).complete  # type: ignore[union-attr]
    without_a_piece = pieces[0] + b"\xff\xd1" + pieces[2]
    assert not read_codestream(jpeg(without_a_piece, 1)).complete  # type: ignore[union-attr]
    assert not read_codestream(jpeg(counted, 0)).complete  # type: ignore[union-attr]


def test_a_missing_tile_is_missed() -> None:
    import numpy as np
    from openjpeg.utils import encode_array

    one_tile = bytes(encode_array(np.zeros((64, 64), np.uint8), photometric_interpretation=2))
    assert read_codestream(one_tile).complete  # type: ignore[union-attr]
    narrow = bytearray(one_tile)
    at = one_tile.index(b"\xff\x51") + 22
    narrow[at : at + 4] = (32).to_bytes(4)  # tiles half as wide: now there should be two
    assert not read_codestream(bytes(narrow)).complete  # type: ignore[union-attr]
