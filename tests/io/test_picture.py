from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

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
    Image.fromarray(GREY).save(tmp_path / "x.png")
    content = bytearray((tmp_path / "x.png").read_bytes())
    content[16:24] = struct.pack(">2I", 60000, 60000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "x.png").write_bytes(content)
    assert rejected(tmp_path / "x.png").code in (Reason.BOMB, Reason.SIZE_IMPLAUSIBLE)


@pytest.mark.parametrize("name", ["x.gif", "x.bmp"])
def test_other_picture_formats_are_no_input(rejected: Read, tmp_path: Path, name: str) -> None:
    Image.fromarray(GREY).save(tmp_path / name)
    assert rejected(tmp_path / name).code is Reason.NOT_DICOM


def test_no_damaged_png_is_read_as_something_else(rejected: Read, read: Read, tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    for at in range(8, len(content)):
        wrong = bytearray(content)
        wrong[at] ^= 4
        (tmp_path / "x.png").write_bytes(wrong)
        assert rejected(tmp_path / "x.png").code in (Reason.DECODE_FAILED, Reason.PIXEL_DATA_TRUNCATED), at
    for end in range(8, len(content)):
        (tmp_path / "x.png").write_bytes(content[:end])
        assert rejected(tmp_path / "x.png").code is Reason.PIXEL_DATA_TRUNCATED, end
    (tmp_path / "x.png").write_bytes(content + b"and something behind")
    assert np.array_equal(read(tmp_path / "x.png").voxels, GREY[None])


@pytest.mark.parametrize("progressive", [False, True])
def test_no_cut_jpeg_is_read(rejected: Read, tmp_path: Path, progressive: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "x.jpg", progressive=progressive)
    content = (tmp_path / "x.jpg").read_bytes()
    ends = [b""] if progressive else [b"", b"\xff\xd9"]  # a progressive one without its end is only less sharp
    for end in range(len(content) // 2, len(content) - 16, 97):
        for tail in ends:
            (tmp_path / "x.jpg").write_bytes(content[:end] + tail)
            assert rejected(tmp_path / "x.jpg").code is Reason.PIXEL_DATA_TRUNCATED


@pytest.mark.parametrize("colours", [(), (3,), (4,)])
def test_sixteen_bits_are_kept_in_colour_too(read: Read, tmp_path: Path, colours: tuple[int, ...]) -> None:
    import imagecodecs

    pixels = np.random.default_rng(0).integers(0, 65536, (5, 7, *colours)).astype(np.uint16)
    (tmp_path / "x.png").write_bytes(imagecodecs.png_encode(pixels))
    scan = read(tmp_path / "x.png")
    assert np.array_equal(scan.voxels, pixels[None] if not colours else np.moveaxis(pixels[..., :3], -1, 0))
    assert scan.value_range == (0, 65535)


@pytest.mark.parametrize("packed", ["raw", "tiff_lzw", "tiff_deflate"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_tiff_grey(read: Read, tmp_path: Path, kind: type, packed: str) -> None:
    pixels = (GREY * 300.25).astype(kind)
    Image.fromarray(pixels).save(tmp_path / "x.tif", compression=packed, dpi=(300, 300))
    scan = read(tmp_path / "x.tif")
    assert np.array_equal(scan.voxels, pixels[None].astype(np.float32))
    assert scan.spacing_mm is None  # dots per inch are a printer's
    whole = {np.uint8: (0, 255), np.uint16: (0, 65535)}
    assert scan.value_range == whole.get(kind, (0.0, 11 * 300.25))


def test_tiff_colour_of_eight_and_sixteen_bits(read: Read, tmp_path: Path) -> None:
    import SimpleITK

    Image.fromarray(COLOUR).save(tmp_path / "x.tif")
    assert np.array_equal(read(tmp_path / "x.tif").voxels, np.moveaxis(COLOUR, -1, 0))
    deep = COLOUR.astype(np.uint16) * 1801
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(deep, isVector=True), str(tmp_path / "deep.tif"))
    scan = read(tmp_path / "deep.tif")
    assert np.array_equal(scan.voxels, np.moveaxis(deep, -1, 0))
    assert scan.value_range == (0, 65535)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_tiff_with_white_as_zero(read: Read, tmp_path: Path, kind: type) -> None:
    pixels = GREY.astype(kind)
    Image.fromarray(pixels).save(tmp_path / "x.tif", tiffinfo={262: 0})
    content = bytearray((tmp_path / "x.tif").read_bytes())
    at = content.index(struct.pack("<HHI", 262, 3, 1)) + 8
    content[at] = 0  # the tag, whatever the writer made of it
    (tmp_path / "x.tif").write_bytes(content)
    stored = np.frombuffer(bytes(content[strip_of(bytes(content)) :])[: pixels.nbytes], dtype=kind).reshape(3, 4)
    assert np.array_equal(read(tmp_path / "x.tif").voxels[0], np.iinfo(kind).max - stored)


def strip_of(content: bytes) -> int:
    at = content.index(struct.pack("<HHI", 273, 4, 1)) + 8
    return int.from_bytes(content[at : at + 4], "little")


@pytest.mark.parametrize("packed", ["raw", "tiff_lzw"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_and_png_stand_upright_alike(read: Read, tmp_path: Path, orientation: int, packed: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(GREY).save(tmp_path / "x.png", exif=exif)
    Image.fromarray(GREY).save(tmp_path / "x.tif", tiffinfo={274: orientation}, compression=packed)
    with Image.open(tmp_path / "x.png") as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture))
    assert np.array_equal(read(tmp_path / "x.png").voxels[0], expected)
    assert np.array_equal(read(tmp_path / "x.tif").voxels[0], expected)


def test_tiffs_that_are_refused(rejected: Read, tmp_path: Path) -> None:
    pages = [Image.fromarray(GREY + page) for page in range(3)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    assert rejected(tmp_path / "pages.tif").code is Reason.NOT_A_VOLUME
    Image.fromarray(GREY.astype(np.int32)).save(tmp_path / "signed.tif")
    assert rejected(tmp_path / "signed.tif").code is Reason.DTYPE
    holes = GREY.astype(np.float32)
    holes[1, 1] = np.nan
    Image.fromarray(holes).save(tmp_path / "holes.tif")
    assert rejected(tmp_path / "holes.tif").code is Reason.NONFINITE


@pytest.mark.parametrize("packed", ["raw", "tiff_lzw", "packbits"])
def test_no_cut_tiff_is_read(rejected: Read, tmp_path: Path, packed: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "x.tif", compression=packed)
    content = (tmp_path / "x.tif").read_bytes()
    for end in range(8, len(content) - 1, 101):
        (tmp_path / "x.tif").write_bytes(content[:end])
        assert rejected(tmp_path / "x.tif").code in (Reason.DECODE_FAILED, Reason.PIXEL_DATA_TRUNCATED)


def test_a_dicom_file_with_a_tiff_before_it_is_dicom(write_image: Read, read: Read) -> None:
    path = write_image(GREY.astype(np.uint16))
    content = bytearray(path.read_bytes())
    content[:4] = b"II*\0"
    path.write_bytes(content)
    assert read(path).facts["format"] == "DICOM"
