"""Conformance 5.1, encodings, colours and bits of one DICOM picture; each test is named after its case."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
)

from medcnn.io.decoding import codecs
from medcnn.io.dicom import decode as dicom_decode
from medcnn.io.dicom.decode import check_size, decode_frame, pixel_format
from medcnn.io.dicom.header import read_file
from medcnn.scan import Reason, ScanRejected

Read = Callable[..., Any]
Bundled = Callable[[str], Path]
Write = Callable[..., Path]


def grid(kind: str = "u2") -> np.ndarray:
    return np.arange(12, dtype=kind).reshape(3, 4)


@pytest.mark.case("C02")
@pytest.mark.parametrize(
    "kind", ["_implicit", "_bigendian", "_expb", "_RLE", "_jp2klossless", "_jpeg_ls_lossless", "_padded"]
)
def test_C02_one_image_in_eight_encodings(read: Read, bundled: Bundled, kind: str) -> None:
    plain = pydicom.dcmread(bundled("MR_small")).pixel_array
    assert np.array_equal(read(bundled(f"MR_small{kind}")).voxels[0], plain)


@pytest.mark.case("C04")
@pytest.mark.parametrize("name", ["RG1", "RG3", "MR2", "693", "US1"])
def test_C04_compressed_equals_uncompressed(read: Read, bundled: Bundled, name: str) -> None:
    pixels = {
        kind: read(bundled(f"{name}_{kind}"), burned_in="allow").voxels for kind in ("UNCR", "UNCI", "J2KR", "J2KI")
    }
    assert np.array_equal(pixels["J2KR"], pixels["UNCR"])
    assert np.array_equal(pixels["J2KI"], pixels["UNCI"])
    error = np.sqrt(np.mean((pixels["J2KI"] - pixels["UNCR"]).astype(np.float64) ** 2))
    assert 0 < error < 0.05 * np.ptp(pixels["UNCR"])  # 26 dB


@pytest.mark.case("C10")
@pytest.mark.parametrize("name", ["examples_palette", "OBXXXX1A", "OBXXXX1A_expb", "OBXXXX1A_rle"])
def test_C10_palette_is_applied_then_grey(read: Read, bundled: Bundled, name: str) -> None:
    little_endian = bundled(name.removesuffix("_expb").removesuffix("_rle"))  # pydicom mistakes big-endian palettes
    dataset = pydicom.dcmread(little_endian)
    colour = pydicom.pixels.apply_color_lut(dataset.pixel_array, dataset).astype(float)
    expected = 0.299 * colour[..., 0] + 0.587 * colour[..., 1] + 0.114 * colour[..., 2]
    assert np.abs(read(bundled(name), burned_in="allow").voxels[0] - expected).max() < 0.01


def colours(path: Path) -> np.ndarray:
    dataset = read_file(path).image()
    return decode_frame(dataset, pixel_format(dataset), 0).astype(int)


@pytest.mark.case("C11")
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


@pytest.mark.case("C11")
def test_C11_grey_is_the_luma_of_the_colours(read: Read, bundled: Bundled) -> None:
    red, green, blue = np.moveaxis(colours(bundled("SC_rgb")), -1, 0)
    scan = read(bundled("SC_rgb"), burned_in="allow")
    assert scan.voxels[0] == pytest.approx(0.299 * red + 0.587 * green + 0.114 * blue, abs=1e-3)


@pytest.mark.case("C12")
def test_C12_odd_width(read: Read, bundled: Bundled) -> None:
    odd = read(bundled("SC_rgb_small_odd_jpeg"), burned_in="allow").voxels
    assert odd.shape == (1, 3, 3)
    assert np.abs(odd - read(bundled("SC_rgb_small_odd"), burned_in="allow").voxels).max() < 2


@pytest.mark.case("C13")
def test_C13_jpeg2000_sign_against_the_header(read: Read, bundled: Bundled) -> None:
    voxels = read(bundled("J2K_pixelrep_mismatch")).voxels
    assert (voxels.min(), voxels.max()) == (-2000, 1896)


@pytest.mark.case("C14")
@pytest.mark.parametrize("name", ["examples_overlay", "MR-SIEMENS-DICOM-WithOverlays"])
def test_C14_overlay_bits_are_no_intensity(read: Read, bundled: Bundled, name: str) -> None:
    scan = read(bundled(name))
    assert scan.value_range == (0, 4095)
    assert scan.voxels.max() == 1123


@pytest.mark.case("C15")
@pytest.mark.parametrize(("kind", "expected"), [("u2", [0, 2047, 2048, 4095]), ("i2", [0, 2047, -2048, -1])])
def test_C15_rubbish_above_the_high_bit(read: Read, write_image: Write, kind: str, expected: list[int]) -> None:
    stored = np.array([[0x5000, 0xA7FF, 0xF800, 0x3FFF]], dtype="u2").view(kind)
    scan = read(write_image(stored, BitsStored=12, HighBit=11))
    assert scan.voxels[0, 0].tolist() == expected


@pytest.mark.case("C15")
def test_C15_bits_that_lie_high_in_their_word_contradict_the_standard(rejected: Read, write_image: Write) -> None:
    assert rejected(write_image(grid(), BitsStored=12, HighBit=15)).code is Reason.META_INVALID


@pytest.mark.case("C16", "C17")
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


@pytest.mark.case("C17b")
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
    monkeypatch.setattr(dicom_decode, "decode_guarded", codecs.decode)  # in this process, where it can be hidden
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    found = rejected(bundled("bad_sequence"))
    assert found.code is Reason.NO_DECODER
    assert JPEGLosslessSV1 in found.found
    assert "imagecodecs" in found.found


@pytest.mark.case("V14")
def test_V14_frames_of_five_encodings_agree(read: Read, rejected: Read, bundled: Bundled) -> None:
    names = [f"emri_small{kind}" for kind in ("", "_RLE", "_big_endian", "_jpeg_2k_lossless", "_jpeg_ls_lossless")]
    for frame in (0, 4, 9):
        first, *others = (read(bundled(name), f"#frame={frame}").voxels for name in names)
        assert all(np.array_equal(first, other) for other in others)
    for name in names:
        assert rejected(bundled(name)).code is Reason.GEOMETRY_INVALID


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"PixelRepresentation": 2}, Reason.META_INVALID),
        ({"PixelRepresentation": None}, Reason.META_INVALID),
        ({"SamplesPerPixel": None}, Reason.META_INVALID),
        ({"BitsStored": None}, Reason.META_INVALID),
        ({"HighBit": None}, Reason.META_INVALID),
        ({"HighBit": 14}, Reason.META_INVALID),
        ({"BitsStored": 17}, Reason.META_INVALID),
        ({"BitsAllocated": 12, "BitsStored": 12, "HighBit": 11}, Reason.META_INVALID),
        ({"SamplesPerPixel": 3, "PlanarConfiguration": 0}, Reason.META_INVALID),
        ({"PhotometricInterpretation": "RGB"}, Reason.META_INVALID),
        ({"PhotometricInterpretation": "XYZ"}, Reason.META_INVALID),
        ({"Rows": 0}, Reason.SIZE_IMPLAUSIBLE),
        ({"Rows": 2}, Reason.SIZE_IMPLAUSIBLE),
        ({"Columns": 3}, Reason.SIZE_IMPLAUSIBLE),
        ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, Reason.SIZE_IMPLAUSIBLE),
        ({"Rows": 4}, Reason.PIXEL_DATA_TRUNCATED),
        ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}, Reason.PIXEL_DATA_TRUNCATED),
        ({"NumberOfFrames": 500}, Reason.SIZE_IMPLAUSIBLE),
    ],
)
def test_a_header_that_contradicts_itself_or_its_bytes(
    rejected: Read, write_image: Write, change: dict[str, Any], code: Reason
) -> None:
    frame = {"selector": "#frame=0"} if "NumberOfFrames" in change else {}
    assert rejected(write_image(grid() + 1, **change), **frame).code is code


def test_colours_that_contradict_themselves(rejected: Read, bundled: Bundled, tmp_path: Path) -> None:
    for change in ({"PlanarConfiguration": 2}, {"PixelRepresentation": 1}, {"PhotometricInterpretation": "YBR_RCT"}):
        dataset = pydicom.dcmread(bundled("SC_rgb"))
        for keyword, value in change.items():
            setattr(dataset, keyword, value)
        dataset.save_as(tmp_path / "x.dcm")
        assert rejected(tmp_path / "x.dcm", burned_in="allow").code is Reason.META_INVALID


def test_padding_is_a_byte_or_a_few_zeros(read: Read, rejected: Read, write_image: Write) -> None:
    stored = grid("u1")[:, :3].copy() + 1  # 9 bytes, and one to an even length
    assert np.array_equal(read(write_image(stored, PixelData=stored.tobytes() + b"\xff")).voxels[0], stored)
    whole = grid() + 1
    padded = read(write_image(whole, PixelData=whole.tobytes() + b"\0" * 128))
    assert np.array_equal(padded.voxels[0], whole)
    for wrong in (b"\0" * 130, b"\0\1", b"\1" * 8):
        assert rejected(write_image(whole, PixelData=whole.tobytes() + wrong)).code is Reason.SIZE_IMPLAUSIBLE
    black = whole * (np.arange(4) < 3)  # a black border goes on: rows may be missing as well
    assert rejected(write_image(black, PixelData=black.tobytes() + b"\0" * 8)).code is Reason.SIZE_IMPLAUSIBLE


ENCAPSULATED = (
    *("SC_rgb_jpeg_dcmtk", "JPGExtended", "JPEG-LL", "SC_rgb_jpeg_gdcm", "MR_small_jpeg_ls_lossless"),
    *("SC_rgb_jls_lossy_line", "MR_small_jp2klossless", "examples_jpeg2k", "MR_small_RLE", "SC_rgb_rle_16bit"),
)


def mutated(path: Path, change: Callable[[bytes], bytes]) -> Any:
    """The data set with its first frame's code changed, and correctly wrapped."""
    dataset = read_dataset(path)
    dataset.NumberOfFrames = 1
    dataset.PixelData = encapsulate([change(first_code(dataset))])
    return dataset


def read_dataset(path: Path) -> Any:
    return pydicom.dcmread(path)


def first_code(dataset: Any) -> bytes:
    return get_frame(dataset.PixelData, 0, number_of_frames=int(dataset.get("NumberOfFrames", 1)))


def decoded(dataset: Any) -> np.ndarray:
    form = pixel_format(dataset)
    check_size(dataset, form)
    return decode_frame(dataset, form, 0)


@pytest.mark.parametrize("name", ENCAPSULATED)
def test_a_frame_that_was_cut_is_never_read(bundled: Bundled, name: str) -> None:
    for part in (0.02, 0.3, 0.6, 0.9, 0.99):
        with pytest.raises(ScanRejected) as caught:
            decoded(mutated(bundled(name), lambda code, part=part: code[: int(len(code) * part)]))
        assert caught.value.rejection.code in (
            Reason.PIXEL_DATA_TRUNCATED,
            Reason.DECODE_FAILED,
            Reason.SIZE_IMPLAUSIBLE,
        )


@pytest.mark.parametrize("name", [name for name in ENCAPSULATED if "RLE" not in name and "rle" not in name])
def test_a_frame_that_was_cut_and_given_an_end_is_never_read(bundled: Bundled, name: str) -> None:
    for part in (0.5, 0.7, 0.9):
        with pytest.raises(ScanRejected):
            decoded(mutated(bundled(name), lambda code, part=part: code[: int(len(code) * part)] + b"\xff\xd9"))


@pytest.mark.parametrize("name", ENCAPSULATED)
def test_rubbish_behind_a_frame_is_seen(bundled: Bundled, name: str) -> None:
    with pytest.raises(ScanRejected) as caught:
        decoded(mutated(bundled(name), lambda code: code + b"rubbish "))
    assert caught.value.rejection.code is Reason.DECODE_FAILED


@pytest.mark.parametrize("name", ENCAPSULATED)
def test_another_size_than_the_codestream_has(bundled: Bundled, name: str) -> None:
    for keyword in ("Rows", "Columns"):
        for step in (-1, 1):
            dataset = read_dataset(bundled(name))
            dataset[keyword].value += step
            with pytest.raises(ScanRejected):
                decoded(dataset)


def test_another_kind_of_picture_than_the_transfer_syntax(bundled: Bundled) -> None:
    dataset = read_dataset(bundled("MR_small_jpeg_ls_lossless"))
    for syntax in (JPEGBaseline8Bit, JPEGLosslessSV1, JPEG2000Lossless, RLELossless):
        dataset.file_meta.TransferSyntaxUID = syntax
        with pytest.raises(ScanRejected) as caught:
            decoded(dataset)
        assert caught.value.rejection.code is Reason.DECODE_FAILED


def test_planar_configuration_says_nothing_where_the_codec_decides(bundled: Bundled) -> None:
    for name in ("SC_rgb_jpeg_dcmtk", "examples_jpeg2k", "SC_rgb_rle"):
        dataset = read_dataset(bundled(name))
        expected = decoded(dataset)
        dataset.PlanarConfiguration = 1
        assert np.array_equal(decoded(dataset), expected)


def test_colours_that_the_jpeg_itself_turns_are_turned_once(bundled: Bundled) -> None:
    import io

    from PIL import Image

    colour = np.zeros((16, 16, 3), np.uint8) + np.array([200, 30, 60], np.uint8)
    file = io.BytesIO()
    Image.fromarray(colour).save(file, "JPEG", quality=100, subsampling=0)
    jfif = file.getvalue()
    adobe = b"\xff\xd8\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x01" + jfif[20:]  # in place of JFIF's marker
    dataset = read_dataset(bundled("SC_rgb_jpeg_dcmtk"))
    dataset.Rows = dataset.Columns = 16
    for code in (jfif, adobe):
        dataset.PixelData = encapsulate([code])
        assert np.abs(decoded(dataset).astype(int) - colour).max() <= 3


def test_values_that_do_not_fit_their_bits(bundled: Bundled) -> None:
    for name in ("emri_small_jpeg_ls_lossless", "emri_small_jpeg_2k_lossless", "bad_sequence"):
        dataset = read_dataset(bundled(name))
        dataset.BitsStored, dataset.HighBit = 6, 5
        with pytest.raises(ScanRejected) as caught:
            decoded(dataset)
        assert caught.value.rejection.code is Reason.DECODE_FAILED


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("where", ["MR_small", "emri_small"])  # pydicom's folder, and pydicom-data's
def test_every_bundled_compressed_file_is_the_same_in_and_out_of_process(
    bundled: Bundled, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    for path in sorted(bundled(where).parent.glob("*.dcm")):
        dataset = pydicom.dcmread(path, force=True)
        syntax = dataset.file_meta.get("TransferSyntaxUID", ExplicitVRLittleEndian)
        if "PixelData" not in dataset or not syntax.is_encapsulated:
            continue
        try:
            guarded = decoded(dataset)
        except ScanRejected:
            continue
        with monkeypatch.context() as patch:
            patch.setattr(dicom_decode, "decode_guarded", codecs.decode)
            here = decoded(dataset)
        assert here.dtype == guarded.dtype
        assert np.array_equal(here, guarded)
        seen.add(path.name)
    assert len(seen) >= 19
