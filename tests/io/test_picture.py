from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medcnn.scan import Reason

Read = Callable[..., Any]
GREY = np.arange(12, dtype=np.uint8).reshape(3, 4)
COLOUR = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)


def test_grey_and_colour_keep_their_values(read: Read, tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    Image.fromarray(GREY.astype(np.uint16) * 5000).save(tmp_path / "deep.png")
    Image.fromarray(COLOUR).save(tmp_path / "colour.png")
    assert np.array_equal(read(tmp_path / "grey.png").voxels, GREY[None])
    deep = read(tmp_path / "deep.png")
    assert np.array_equal(deep.voxels, GREY[None] * 5000.0)
    assert deep.value_range == (0, 65535)
    assert np.array_equal(read(tmp_path / "colour.png").voxels, np.moveaxis(COLOUR, -1, 0))


def test_palette_becomes_colour_and_transparency_is_dropped(read: Read, tmp_path: Path) -> None:
    palette = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), mode="P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    palette.save(tmp_path / "palette.png")
    assert read(tmp_path / "palette.png").voxels[:, 0, 1].tolist() == [40, 50, 60]
    Image.fromarray(np.dstack([COLOUR, GREY])).save(tmp_path / "rgba.png")
    assert np.array_equal(read(tmp_path / "rgba.png").voxels, np.moveaxis(COLOUR, -1, 0))
    Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(GREY[::-1].copy())]).save(tmp_path / "la.png")
    assert np.array_equal(read(tmp_path / "la.png").voxels, GREY[None])
    Image.fromarray(GREY > 5).save(tmp_path / "bits.png")
    assert np.array_equal(read(tmp_path / "bits.png").voxels[0], (GREY > 5) * 255)


def test_a_picture_stands_upright(read: Read, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show rotated by a quarter clockwise
    Image.fromarray(GREY).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read(tmp_path / "turned.png").voxels[0], np.rot90(GREY, -1))


def test_jpeg_by_content_whatever_its_suffix(read: Read, tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 100, np.uint8)).save(tmp_path / "x.jpg", quality=95)
    (tmp_path / "x.jpg").rename(tmp_path / "x.png")
    assert np.abs(read(tmp_path / "x.png").voxels - 100).max() <= 1


def test_damaged_pictures(rejected: Read, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 50)).astype(np.uint8)
    for name in ("x.png", "x.jpg"):
        Image.fromarray(noise).save(tmp_path / name)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        assert rejected(tmp_path / name).code in (Reason.PIXEL_DATA_TRUNCATED, Reason.DECODE_FAILED)


def test_a_picture_that_claims_to_be_huge(rejected: Read, tmp_path: Path) -> None:
    import struct
    import zlib

    Image.fromarray(GREY).save(tmp_path / "x.png")
    content = bytearray((tmp_path / "x.png").read_bytes())
    content[16:24] = struct.pack(">2I", 60000, 60000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "x.png").write_bytes(content)
    assert rejected(tmp_path / "x.png").code in (Reason.BOMB, Reason.SIZE_IMPLAUSIBLE)


@pytest.mark.parametrize("name", ["x.gif", "x.tif"])
def test_other_picture_formats_are_no_input(rejected: Read, tmp_path: Path, name: str) -> None:
    Image.fromarray(GREY).save(tmp_path / name)
    assert rejected(tmp_path / name).code is Reason.NOT_DICOM
