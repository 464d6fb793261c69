"""Conformance 5.1, what the other files leave open of a single DICOM image; each test is named after its case."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import HTJ2K, UID, HTJ2KLossless, HTJ2KLosslessRPCL, JPEGLSLossless

from medcnn.io.dicom.seg_write import Algorithm, write_seg
from medcnn.io.dicom.segment import Code, Segment
from medcnn.io.discover import Found, Skipped, discover
from medcnn.scan import Reason, ScanRejected

Read = Callable[..., Any]
Bundled = Callable[[str], Path]
Write = Callable[..., Path]
COLOUR = np.random.default_rng(0).integers(0, 256, (16, 20, 3)).astype(np.uint8)
DEEP = np.random.default_rng(1).integers(0, 4096, (16, 20)).astype(np.uint16)


@pytest.mark.case("C02")
def test_C02_the_plain_file_is_one_of_the_eight(read: Read, bundled: Bundled) -> None:
    kinds = ["", "_implicit", "_bigendian", "_expb", "_RLE", "_jp2klossless", "_jpeg_ls_lossless", "_padded"]
    scans = [read(bundled(f"MR_small{kind}")) for kind in kinds]
    assert {scan.voxels.tobytes() for scan in scans} == {scans[0].voxels.tobytes()}
    assert {scan.value_range for scan in scans} == {scans[0].value_range}


@pytest.mark.case("C08")
def test_C08_widths_below_one_and_words(read: Read, rejected: Read, write_image: Write) -> None:
    grid = np.arange(12, dtype="u2").reshape(3, 4)
    narrow = {"WindowCenter": "5", "WindowWidth": "0.5"}
    assert rejected(write_image(grid, **narrow), voi="window").code is Reason.WINDOW_INVALID
    exact = read(write_image(grid, **narrow, VOILUTFunction="LINEAR_EXACT"), voi="window")
    assert exact.voxels[0].ravel().tolist() == [0] * 5 + [0.5] + [1] * 6
    path = write_image(grid, WindowCenter="5", WindowWidth="77")
    path.write_bytes(_spoilt(path.read_bytes(), b"77", b"7x"))
    assert rejected(path, voi="window").code is Reason.WINDOW_INVALID
    assert np.array_equal(read(path).voxels[0], grid)


@pytest.mark.case("C09")
@pytest.mark.parametrize(("slope", "intercept"), [("nan", "0"), ("inf", "0"), ("1", "nan"), ("1\\2", "0"), ("x", "0")])
def test_C09_what_is_no_number(rejected: Read, write_image: Write, slope: str, intercept: str) -> None:
    path = write_image(np.ones((2, 2), "u2"), RescaleSlope="9999", RescaleIntercept="8888")
    content = _spoilt(path.read_bytes(), b"9999", slope.ljust(4).encode())
    path.write_bytes(_spoilt(content, b"8888", intercept.ljust(4).encode()))
    assert rejected(path).code is Reason.RESCALE_INVALID


def _spoilt(content: bytes, number: bytes, wrong: bytes) -> bytes:
    """With another text in the one decimal string that holds this number; the same digits in a random UID stay."""
    element = b"DS" + struct.pack("<H", len(number)) + number
    assert content.count(element) == 1
    return content.replace(element, element.replace(number, wrong))


@pytest.mark.case("C09")
def test_C09_a_missing_intercept_is_zero(read: Read, write_image: Write) -> None:
    assert read(write_image(np.array([[3, 5]], "u2"), RescaleSlope="2")).voxels[0].tolist() == [[6, 10]]


SHAPES = {  # of SC_rgb_* and SC_ybr_*, bits by frames
    **dict.fromkeys(["SC_rgb", "SC_rgb_expb", "SC_rgb_gdcm2k_uncompressed"], (100, 1)),
    **dict.fromkeys(["SC_rgb_16bit", "SC_rgb_expb_16bit", "SC_rgb_rle_16bit", "SC_rgb_32bit"], (100, 1)),
    **dict.fromkeys(["SC_rgb_expb_32bit", "SC_rgb_rle_32bit"], (100, 1)),
    **dict.fromkeys(["SC_rgb_2frame", "SC_rgb_expb_2frame", "SC_rgb_rle_2frame"], (100, 2)),
    **dict.fromkeys(["SC_rgb_16bit_2frame", "SC_rgb_expb_16bit_2frame", "SC_rgb_rle_16bit_2frame"], (100, 2)),
    **dict.fromkeys(["SC_rgb_32bit_2frame", "SC_rgb_expb_32bit_2frame", "SC_rgb_rle_32bit_2frame"], (100, 2)),
    **dict.fromkeys(["SC_rgb_small_odd", "SC_rgb_small_odd_big_endian"], (3, 1)),
}


@pytest.mark.case("C11")
@pytest.mark.parametrize("name", SHAPES)
def test_C11_every_frame_of_every_depth_is_the_same_picture(read: Read, bundled: Bundled, name: str) -> None:
    """Deeper words hold the eight bits stretched to their range: as shares of it all are one picture."""
    side, frames = SHAPES[name]
    plain = read(bundled("SC_rgb" if side == 100 else "SC_rgb_small_odd"), burned_in="allow").voxels / 255
    for frame in range(frames):
        scan = read(bundled(name), f"#frame={frame}", burned_in="allow")
        assert scan.voxels.shape == (1, side, side)
        picture = scan.voxels / scan.value_range[1]
        if frame == 0:
            assert picture == pytest.approx(plain, abs=1e-4)
        else:  # the second frame is the inverted first
            assert picture == pytest.approx(1 - plain, abs=1e-4)


@pytest.mark.case("C11")
@pytest.mark.parametrize(
    "names",
    [  # two exposures of one picture, each in files that turn its colours in other ways, or not at all
        ("SC_rgb_jpeg", "SC_rgb_jpeg_dcmd", "SC_jpeg_no_color_transform"),
        ("SC_rgb_jpeg_app14_dcmd", "SC_jpeg_no_color_transform_2"),
    ],
)
def test_C11_the_larger_picture(read: Read, bundled: Bundled, names: tuple[str, ...]) -> None:
    first, *others = (read(bundled(name), burned_in="allow").voxels for name in names)
    assert first.shape == (1, 256, 256)
    assert all(np.abs(first - other).max() <= 1 for other in others)


@pytest.mark.case("C16")
def test_C16_both_files_hold_one_picture(read: Read, bundled: Bundled) -> None:
    one, other = (read(bundled(name), burned_in="allow").voxels for name in ("JPGExtended", "JPEG-lossy"))
    assert np.array_equal(one, other)


@pytest.fixture
def write_code(tmp_path: Path, image: Callable[..., Dataset]) -> Callable[..., Path]:
    """A picture whose compressed frame and transfer syntax are given; colours as RGB by pixel."""

    def write(name: str, plain: np.ndarray, code: bytes, syntax: UID, **elements: Any) -> Path:
        data = image(plain[..., 0] if plain.ndim == 3 else plain, **elements)
        if plain.ndim == 3:
            data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "RGB", 0
        data.file_meta.TransferSyntaxUID = syntax
        data.PixelData = encapsulate([code])
        data["PixelData"].VR = "OB"
        pydicom.dcmwrite(tmp_path / name, data, enforce_file_format=True)
        return tmp_path / name

    return write


@pytest.mark.case("C18")
def test_C18_jpeg_ls_colours_are_the_same_by_plane_by_line_and_by_pixel(
    read: Read, write_image: Write, write_code: Callable[..., Path]
) -> None:
    from jpeg_ls import encode_array

    grey = COLOUR @ np.array([0.299, 0.587, 0.114])
    for interleave in (0, 1, 2):
        source = COLOUR.transpose(2, 0, 1) if interleave == 0 else COLOUR  # by plane: as three pictures
        code = bytes(encode_array(np.ascontiguousarray(source), interleave_mode=interleave))
        scan = read(write_code(f"{interleave}.dcm", COLOUR, code, JPEGLSLossless))
        assert scan.voxels[0] == pytest.approx(grey, abs=1e-3), f"interleave {interleave}"


@pytest.mark.case("C18")
@pytest.mark.parametrize("syntax", [HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K])
def test_C18_high_throughput_jpeg2000(read: Read, write_code: Callable[..., Path], syntax: UID) -> None:
    """By another library's encoder (OpenJPH) than the decoder's (OpenJPEG)."""
    import imagecodecs

    grey = imagecodecs.htj2k_encode(DEEP)
    scan = read(write_code("grey.dcm", DEEP, grey, syntax, BitsStored=16, HighBit=15))
    assert np.array_equal(scan.voxels[0], DEEP)
    colour = write_code("colour.dcm", COLOUR, imagecodecs.htj2k_encode(COLOUR), syntax, PhotometricInterpretation="RGB")
    assert read(colour).voxels[0] == pytest.approx(COLOUR @ np.array([0.299, 0.587, 0.114]), abs=1e-3)


@pytest.mark.case("C18")
def test_C18_pydicoms_own_files(read: Read) -> None:
    """They are not in its wheel: who has fetched them has them tested."""
    names = ["JLSL_RGB_ILV0.dcm", "JLSL_RGB_ILV1.dcm", "JLSL_RGB_ILV2.dcm", "HTJ2KLossless_08_RGB.dcm"]
    paths = [get_testdata_file(name, download=False) for name in names]
    if None in paths:
        pytest.skip("not at hand: pydicom's wheel leaves these files to a download")
    first, *others, high = (read(Path(str(path)), burned_in="allow").voxels for path in paths)
    assert all(np.array_equal(first, other) for other in others)
    assert high.ndim == 3


@pytest.mark.case("C20")
def test_C20_a_broken_sequence_beside_a_whole_picture(read: Read, bundled: Bundled) -> None:
    assert read(bundled("bad_sequence"), burned_in="allow").voxels.ndim == 3


WITHOUT_PIXELS = (
    *("UN_sequence", "reportsi", "reportsi_with_empty_number_tags", "rtplan", "rtplan_truncated"),
    *("waveform_ecg", "test-SR", "empty_charset_LEI", "no_meta_group_length", "priv_SQ"),
)


@pytest.mark.case("C22")
def test_C22_all_ten_are_counted_as_skips(bundled: Bundled, write_image: Write, tmp_path: Path) -> None:
    write_image(np.ones((2, 2), "u2"), "folder/one.dcm")
    for name in WITHOUT_PIXELS:
        shutil.copy(bundled(name), tmp_path / "folder" / f"{name}.dcm")
    found = list(discover(tmp_path / "folder"))
    skipped = {one.reference: one.rejection.code for one in found if isinstance(one, Skipped)}
    assert skipped == {f"{name}.dcm": Reason.NOT_AN_IMAGE for name in WITHOUT_PIXELS}
    assert [one.reference for one in found if isinstance(one, Found)] == ["one.dcm"]


@pytest.mark.case("C23")
def test_C23_the_magnification_counts_on_request(read: Read, write_image: Write) -> None:
    grid = np.ones((3, 4), "u2")
    at_detector = {"ImagerPixelSpacing": ["0.2", "0.1"], "EstimatedRadiographicMagnificationFactor": "1.25"}
    scan = read(write_image(grid, **at_detector), magnification=True)
    assert scan.spacing_mm == pytest.approx((0.16, 0.08))
    assert scan.facts["spacing_source"] == "ImagerPixelSpacing / magnification"
    calibrated = read(write_image(grid, **at_detector, PixelSpacing=["0.2", "0.1"]), magnification=True)
    assert calibrated.spacing_mm == (0.2, 0.1)  # in the patient already
    nominal = {"NominalScannedPixelSpacing": ["0.3", "0.3"]}
    assert read(write_image(grid, **nominal)).facts["spacing_source"] == "NominalScannedPixelSpacing"


@pytest.mark.case("C24")
def test_C24_millimetres_are_not_guessed(
    read: Read, rejected: Read, write_image: Write, write_series: Write, phantom: np.ndarray
) -> None:
    from medcnn.transforms.regrid import on_grid

    scan = read(write_image(np.ones((8, 8), "u2")))
    with pytest.raises(ScanRejected) as caught:
        on_grid(scan.voxels, scan, (4, 4), (1.0, 1.0), keep_aspect=True)
    assert caught.value.rejection.code is Reason.SPACING_UNKNOWN
    folder = write_series(phantom, change=lambda _, data: delattr(data, "PixelSpacing"))
    assert rejected(folder).code is Reason.SPACING_UNKNOWN


@pytest.mark.case("C26")
@pytest.mark.parametrize("kind", ["6.1", "3.1", "7", "7.2", "77.1.4"])
def test_C26_ultrasound_captures_and_photographs(
    read: Read, rejected: Read, write_image: Write, kind: str, bundled: Bundled
) -> None:
    path = write_image(np.ones((2, 2), "u2"), SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{kind}")
    assert rejected(path).code is Reason.BURNED_IN
    assert read(path, burned_in="allow").voxels.shape == (1, 2, 2)
    assert "SECONDARY" in pydicom.dcmread(bundled("MR_small")).ImageType  # which alone says nothing of text
    assert read(bundled("MR_small")).voxels.ndim == 3


@pytest.mark.case("C26")
def test_C26_one_slice_with_text_refuses_its_series(rejected: Read, write_series: Write, phantom: np.ndarray) -> None:
    def change(number: int, data: Dataset) -> None:
        data.BurnedInAnnotation = "YES" if number == 5 else "NO"

    assert rejected(write_series(phantom, change=change)).code is Reason.BURNED_IN


@pytest.mark.case("C28")
@pytest.mark.parametrize("mark", [b"MZ", b"\x7fELF", b"II*\0"])
def test_C28_what_is_written_has_an_empty_preamble(
    read: Read, write_series: Write, phantom: np.ndarray, tmp_path: Path, mark: bytes
) -> None:
    """A TIFF's start is allowed and not flagged; none of it is handed on."""

    def change(number: int, data: Dataset) -> None:
        data.StudyInstanceUID, data.FrameOfReferenceUID = "1.2.840.99.1", "1.2.840.99.2"

    files = sorted(write_series(phantom, change=change).iterdir())
    for path in files:
        path.write_bytes(mark.ljust(128, b"\1") + path.read_bytes()[128:])
    scan = read(files[0].parent)
    assert scan.facts.get("preamble") == (None if mark.startswith(b"II") else "executable")
    liver = Segment(1, "Liver", Code("SCT", "10200004", "Liver"))
    labels = (phantom > 200).astype(np.uint8)
    write_seg(tmp_path / "out.dcm", labels, scan.geometry, files, [liver], Algorithm("phantom", "1", "ab" * 32))
    assert (tmp_path / "out.dcm").read_bytes()[:132] == bytes(128) + b"DICM"


# VmHWM, and not ru_maxrss: that one begins with what the parent's memory was at the start.
MEASURED = """
import re, sys, time
from pathlib import Path
from medcnn.io.read import read_scan
from medcnn.scan import ScanRejected

def kilobytes():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

path, selector = Path(sys.argv[1]), sys.argv[2]
before, start = kilobytes(), time.process_time()
try:
    read_scan(path.parent, path.name + selector)
except ScanRejected as rejected:
    print(rejected.rejection.code.value, time.process_time() - start, (kilobytes() - before) / 1000)
"""


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no way to know a process's peak memory")


def measured(path: Path, selector: str = "") -> tuple[str, float, float]:
    """(code, CPU seconds, MB of peak memory above the start) of reading in a process of its own."""
    child = [sys.executable, "-c", MEASURED, str(path), selector]
    done = subprocess.run(child, capture_output=True, text=True, check=True, timeout=120)
    code, seconds, megabytes = done.stdout.split()
    return code, float(seconds), float(megabytes)


@pytest.mark.case("C29")
@needs_proc
@pytest.mark.parametrize(
    ("name", "elements", "selector"),
    [
        ("MR_small_RLE", {"Rows": 65535, "Columns": 65535}, ""),
        ("MR_small_jp2klossless", {"Rows": 65535, "Columns": 65535}, ""),
        ("MR_small", {"Rows": 65535, "Columns": 65535}, ""),
        ("MR_small_RLE", {"NumberOfFrames": "100000"}, ""),
        ("MR_small_jp2klossless", {"NumberOfFrames": "100000"}, "#frame=0"),
        ("MR_small", {"NumberOfFrames": "100000"}, "#frame=99999"),
    ],
)
def test_C29_the_limits_hold_in_a_process_of_its_own(
    bundled: Bundled, tmp_path: Path, name: str, elements: dict[str, Any], selector: str
) -> None:
    data = pydicom.dcmread(bundled(name))
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    data.save_as(tmp_path / "lie.dcm")
    code, seconds, megabytes = measured(tmp_path / "lie.dcm", selector)
    assert code == "SIZE_IMPLAUSIBLE"
    assert seconds < 1
    assert megabytes < 200


ENCODINGS = (
    *("SC_rgb_jpeg_dcmtk", "JPGExtended", "JPEG-LL", "MR_small_jpeg_ls_lossless", "MR_small_jp2klossless"),
    *("MR_small_RLE", "image_dfl", "MR_small_bigendian", "SC_ybr_full_422_uncompressed", "examples_palette"),
)


@pytest.mark.case("C29")
@pytest.mark.parametrize("elements", [{"Rows": 65535, "Columns": 65535}, {"NumberOfFrames": "100000"}], ids=str)
@pytest.mark.parametrize("name", ENCODINGS)
def test_C29_in_every_encoding(
    rejected: Read, bundled: Bundled, tmp_path: Path, name: str, elements: dict[str, Any]
) -> None:
    data = pydicom.dcmread(bundled(name))
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    data.save_as(tmp_path / "lie.dcm")
    for selector in ("", "#frame=0"):
        assert rejected(tmp_path / "lie.dcm", selector, burned_in="allow").code is Reason.SIZE_IMPLAUSIBLE


@pytest.mark.case("C32")
@needs_proc
def test_C32_a_bomb_is_refused_before_it_unpacks(bundled: Bundled, tmp_path: Path) -> None:
    content = bundled("image_dfl").read_bytes()
    length = 132 + 12 + struct.unpack_from("<I", content, 140)[0]
    packer = zlib.compressobj(1, wbits=-15)
    zeros = b"".join(packer.compress(bytes(10**7)) for _ in range(100)) + packer.flush()
    (tmp_path / "bomb.dcm").write_bytes(content[:length] + zeros)
    code, _, megabytes = measured(tmp_path / "bomb.dcm")
    assert code == "BOMB"
    assert megabytes < 200


NO_DICOM = {
    "empty.dcm": b"",
    "short.dcm": b"x" * 131,
    "noise.dcm": np.random.default_rng(1).bytes(2**20),
    "program.dcm": b"\x7fELF" + bytes(500),
    "photo.dcm": b"\xff\xd8\xff\xe0" + bytes(500),
    "paper.dcm": b"%PDF-1.7\n" + b" " * 500,
    "table.dcm": b"patient,label\n1,2\n" * 20,
    "paper.pdf": b"%PDF-1.7\n" + b" " * 500,
    "table.csv": b"patient,label\n1,2\n" * 20,
    "no_suffix": np.random.default_rng(2).bytes(2**12),
}


@pytest.mark.case("C31")
def test_C31_each_is_skipped_in_a_folder_and_spoils_nothing(read: Read, write_image: Write, tmp_path: Path) -> None:
    write_image(np.ones((2, 2), "u2"), "folder/scan.dcm")
    for name, content in NO_DICOM.items():
        (tmp_path / "folder" / name).write_bytes(content)
    found = list(discover(tmp_path / "folder"))
    assert {one.reference: one.rejection.code for one in found if isinstance(one, Skipped)} == dict.fromkeys(
        NO_DICOM, Reason.NOT_DICOM
    )
    (case,) = (one for one in found if isinstance(one, Found))
    assert read(tmp_path / "folder" / case.reference).voxels.shape == (1, 2, 2)
