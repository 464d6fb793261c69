"""Conformance 5.1, encodings, colours and bits of one DICOM picture; each test is named after its case."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1

from medcnn.io.dicom_decode import decode_frame, pixel_format
from medcnn.io.dicom_header import read_header
from medcnn.scan import Reason

Read = Callable[..., Any]
Bundled = Callable[[str], Path]
Write = Callable[..., Path]


def grid(kind: str = "u2") -> np.ndarray:
    return np.arange(12, dtype=kind).reshape(3, 4)


@pytest.mark.parametrize(
    "kind", ["_implicit", "_bigendian", "_expb", "_RLE", "_jp2klossless", "_jpeg_ls_lossless", "_padded"]
)
def test_C02_one_image_in_eight_encodings(read: Read, bundled: Bundled, kind: str) -> None:
    plain = pydicom.dcmread(bundled("MR_small")).pixel_array
    assert np.array_equal(read(bundled(f"MR_small{kind}")).voxels[0], plain)


@pytest.mark.parametrize("name", ["RG1", "RG3", "MR2", "693", "US1"])
def test_C04_compressed_equals_uncompressed(read: Read, bundled: Bundled, name: str) -> None:
    pixels = {
        kind: read(bundled(f"{name}_{kind}"), burned_in="allow").voxels for kind in ("UNCR", "UNCI", "J2KR", "J2KI")
    }
    assert np.array_equal(pixels["J2KR"], pixels["UNCR"])
    assert np.array_equal(pixels["J2KI"], pixels["UNCI"])
    error = np.sqrt(np.mean((pixels["J2KI"] - pixels["UNCR"]).astype(np.float64) ** 2))
    assert 0 < error < 0.05 * np.ptp(pixels["UNCR"])  # 26 dB


@pytest.mark.parametrize("name", ["examples_palette", "OBXXXX1A", "OBXXXX1A_expb", "OBXXXX1A_rle"])
def test_C10_palette_is_applied_then_grey(read: Read, bundled: Bundled, name: str) -> None:
    little_endian = bundled(name.removesuffix("_expb").removesuffix("_rle"))  # pydicom mistakes big-endian palettes
    dataset = pydicom.dcmread(little_endian)
    colour = pydicom.pixels.apply_color_lut(dataset.pixel_array, dataset).astype(float)
    expected = 0.299 * colour[..., 0] + 0.587 * colour[..., 1] + 0.114 * colour[..., 2]
    assert np.abs(read(bundled(name), burned_in="allow").voxels[0] - expected).max() < 0.01


def colours(path: Path) -> np.ndarray:
    dataset = read_header(path)
    return decode_frame(dataset, pixel_format(dataset), 0).astype(int)


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("SC_rgb_rle", 0),
        ("SC_rgb_jpeg_gdcm", 0),
        ("SC_rgb_gdcm_KY", 2),
        ("SC_rgb_jls_lossy_line", 2),
        ("SC_rgb_jls_lossy_sample", 2),
        ("SC_rgb_dcmtk_+eb+cr", 2),
        ("SC_rgb_dcmtk_+eb+cy+n2", 6),
        ("SC_rgb_dcmtk_+eb+cy+s2", 6),
        ("SC_rgb_dcmtk_+eb+cy+s4", 6),
        ("SC_ybr_full_422_uncompressed", 6),
        ("SC_ybr_full_uncompressed", 6),
        ("SC_rgb_dcmtk_+eb+cy+n1", 77),
        ("SC_rgb_dcmtk_+eb+cy+np", 77),
        ("SC_rgb_jpeg_lossy_gdcm", 77),
    ],
)
def test_C11_one_colour_image_in_many_encodings(bundled: Bundled, name: str, most: int) -> None:
    apart = np.abs(colours(bundled(name)) - colours(bundled("SC_rgb")))
    assert apart.max() <= most
    assert apart.mean() < 3


def test_C11_grey_is_the_luma_of_the_colours(read: Read, bundled: Bundled) -> None:
    red, green, blue = np.moveaxis(colours(bundled("SC_rgb")), -1, 0)
    scan = read(bundled("SC_rgb"), burned_in="allow")
    assert scan.voxels[0] == pytest.approx(0.299 * red + 0.587 * green + 0.114 * blue, abs=1e-3)


def test_C12_odd_width(read: Read, bundled: Bundled) -> None:
    odd = read(bundled("SC_rgb_small_odd_jpeg"), burned_in="allow").voxels
    assert odd.shape == (1, 3, 3)
    assert np.abs(odd - read(bundled("SC_rgb_small_odd"), burned_in="allow").voxels).max() < 2


def test_C13_jpeg2000_sign_against_the_header(read: Read, bundled: Bundled) -> None:
    voxels = read(bundled("J2K_pixelrep_mismatch")).voxels
    assert (voxels.min(), voxels.max()) == (-2000, 1896)


@pytest.mark.parametrize("name", ["examples_overlay", "MR-SIEMENS-DICOM-WithOverlays"])
def test_C14_overlay_bits_are_no_intensity(read: Read, bundled: Bundled, name: str) -> None:
    scan = read(bundled(name))
    assert scan.value_range == (0, 4095)
    assert scan.voxels.max() == 1123


@pytest.mark.parametrize(("kind", "expected"), [("u2", [0, 2047, 2048, 4095]), ("i2", [0, 2047, -2048, -1])])
def test_C15_rubbish_above_the_high_bit(read: Read, write_image: Write, kind: str, expected: list[int]) -> None:
    stored = np.array([[0x5000, 0xA7FF, 0xF800, 0x3FFF]], dtype="u2").view(kind)
    scan = read(write_image(stored, BitsStored=12, HighBit=11))
    assert scan.voxels[0, 0].tolist() == expected


def test_C15_bits_that_lie_high_in_their_word_are_shifted_down(read: Read, write_image: Write) -> None:
    stored = np.array([[0x0010, 0x7FF0, 0xFFF0]], dtype="u2")
    assert read(write_image(stored, BitsStored=12, HighBit=15)).voxels[0, 0].tolist() == [1, 2047, 4095]


@pytest.mark.parametrize(
    ("name", "least", "most", "total"),
    [  # C16, C17
        ("JPGExtended", 0, 264, 3_767_007),
        ("JPEG-lossy", 0, 264, 3_767_007),
        ("JPEG-LL", 0, 278, 3_596_452),
        ("JPGLosslessP14SV1_1s_1f_8b", 0, 255, 13_572_107),
    ],
)
def test_C16_C17_jpeg_by_imagecodecs(
    read: Read, bundled: Bundled, name: str, least: int, most: int, total: int
) -> None:
    voxels = read(bundled(name), burned_in="allow").voxels
    assert (voxels.min(), voxels.max(), voxels.sum(dtype=np.float64)) == (least, most, total)


def test_C17b_no_decoder_is_named(
    rejected: Read, bundled: Bundled, write_image: Write, image: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = image(grid("u1"))
    video.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    video.PixelData = encapsulate([b"\0" * 64])
    video["PixelData"].VR = "OB"
    video.save_as(tmp_path / "video.dcm")
    found = rejected(tmp_path / "video.dcm")
    assert found.code is Reason.NO_DECODER
    assert "1.2.840.10008.1.2.4.102" in found.found
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    found = rejected(bundled("bad_sequence"))
    assert found.code is Reason.NO_DECODER
    assert JPEGLosslessSV1 in found.found
    assert "imagecodecs" in found.found


def test_V14_frames_of_five_encodings_agree(read: Read, rejected: Read, bundled: Bundled) -> None:
    names = [f"emri_small{kind}" for kind in ("", "_RLE", "_big_endian", "_jpeg_2k_lossless", "_jpeg_ls_lossless")]
    for frame in (0, 4, 9):
        first, *others = (read(bundled(name), f"#frame={frame}").voxels for name in names)
        assert all(np.array_equal(first, other) for other in others)
    for name in names:
        assert rejected(bundled(name)).code is Reason.GEOMETRY_INVALID
