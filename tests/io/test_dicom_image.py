"""Conformance 5.1, what the pixels of one DICOM picture mean; each test is named after its case."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from medcnn.scan import Reason

Read = Callable[..., Any]
Bundled = Callable[[str], Path]
Write = Callable[..., Path]
SC = "1.2.840.10008.5.1.4.1.1.7"


def grid(kind: str = "u2") -> np.ndarray:
    return np.arange(12, dtype=kind).reshape(3, 4)


def lut(values: list[int], first: int, bits: int = 16) -> list[Dataset]:
    item = Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    item.LUTData = values
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    return [item]


@pytest.mark.case("C01")
def test_C01_rescale_to_hounsfield_units(read: Read, bundled: Bundled) -> None:
    scan = read(bundled("CT_small"))
    assert (scan.voxels.shape, scan.voxels.dtype) == ((1, 128, 128), np.float32)
    assert (scan.voxels.min(), scan.voxels.max()) == (-896, 1167)
    assert scan.spacing_mm == (0.661468, 0.661468)
    assert scan.facts["spacing_source"] == "PixelSpacing"
    assert scan.value_range == (-32768 - 1024, 32767 - 1024)


@pytest.mark.case("C03")
@pytest.mark.parametrize("name", ["RG1_UNCR", "RG3_UNCR"])
def test_C03_monochrome1_equals_its_inverted_twin(read: Read, bundled: Bundled, tmp_path: Path, name: str) -> None:
    dataset = pydicom.dcmread(bundled(name))
    most = 2**dataset.BitsStored - 1
    dataset.PixelData = (most - dataset.pixel_array).astype("<u2").tobytes()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.save_as(tmp_path / "twin.dcm")
    scan, twin = read(bundled(name)), read(tmp_path / "twin.dcm")
    assert np.array_equal(scan.voxels, twin.voxels)
    assert scan.value_range == twin.value_range == (0, most)
    assert scan.facts["inverted"] == "yes"
    assert "inverted" not in twin.facts


@pytest.mark.case("C03b")
def test_C03b_signed_monochrome1_with_rescale(read: Read, write_image: Write) -> None:
    stored = np.array([[-2048, -1], [0, 2047]], dtype=np.int16)
    twelve = {"BitsStored": 12, "HighBit": 11, "RescaleSlope": "2", "RescaleIntercept": "-10"}
    one = read(write_image(stored, PhotometricInterpretation="MONOCHROME1", **twelve))
    twin = read(write_image((-1 - stored).astype(np.int16), "twin.dcm", **twelve))
    assert np.array_equal(one.voxels, twin.voxels)
    assert one.value_range == (-4106, 4084)
    assert one.voxels[0].tolist() == [[4084, -10], [-12, -4106]]  # by hand: least + greatest - (2 x - 10)


@pytest.mark.case("C03b")
def test_C03b_monochrome1_with_a_modality_lut_is_turned_within_the_outputs(read: Read, write_image: Write) -> None:
    stored = np.array([[0, 1, 2, 3]], dtype=np.uint8)
    table = lut([100, 50, 20, 400], 0)
    scan = read(write_image(stored, PhotometricInterpretation="MONOCHROME1", ModalityLUTSequence=table))
    assert scan.value_range == (20, 400)
    assert scan.voxels[0].tolist() == [[320, 370, 400, 20]]


@pytest.mark.case("C05")
def test_C05_modality_lut(read: Read, bundled: Bundled) -> None:
    dataset = pydicom.dcmread(bundled("mlut_18"))
    expected = pydicom.pixels.apply_modality_lut(dataset.pixel_array, dataset)
    scan = read(bundled("mlut_18"), burned_in="allow")
    assert np.array_equal(scan.voxels[0], expected)
    assert not np.array_equal(scan.voxels[0], dataset.pixel_array)


@pytest.mark.case("C06")
def test_C06_voi_lut_only_on_request(read: Read, bundled: Bundled) -> None:
    dataset = pydicom.dcmread(bundled("vlut_04"))
    asked = read(bundled("vlut_04"), burned_in="allow", voi="lut")
    assert np.array_equal(asked.voxels[0], pydicom.pixels.apply_voi_lut(dataset.pixel_array, dataset))
    assert np.array_equal(read(bundled("vlut_04"), burned_in="allow").voxels[0], dataset.pixel_array)


@pytest.mark.case("C07")
@pytest.mark.parametrize(
    ("function", "expected"),
    [  # at centre - width/2, centre, centre + width/2 and far outside, for centre 100, width 40
        ("LINEAR", [0, 0.5 / 39 + 0.5, 1, 0, 1]),
        ("LINEAR_EXACT", [0, 0.5, 1, 0, 1]),
        ("SIGMOID", [1 / (1 + np.exp(2)), 0.5, 1 / (1 + np.exp(-2)), 1 / (1 + np.exp(10)), 1 / (1 + np.exp(-10))]),
    ],
)
def test_C07_windows_are_analytic(read: Read, write_image: Write, function: str, expected: list[float]) -> None:
    stored = np.array([[80, 100, 120, 0, 200]], dtype=np.uint16)
    path = write_image(stored, WindowCenter="100", WindowWidth="40", VOILUTFunction=function)
    scan = read(path, voi="window")
    assert scan.voxels[0, 0] == pytest.approx(expected, abs=1e-6)
    assert scan.value_range == (0, 1)


@pytest.mark.case("C08")
@pytest.mark.parametrize("width", ["0", "-1"])
def test_C08_an_impossible_window_is_rejected_when_asked_for(
    rejected: Read, read: Read, write_image: Write, width: str
) -> None:
    path = write_image(grid(), WindowCenter="5", WindowWidth=width)
    assert rejected(path, voi="window").code is Reason.WINDOW_INVALID
    assert np.array_equal(read(path).voxels[0], grid())


@pytest.mark.case("C08")
def test_C08_missing_width_means_no_window_and_the_first_of_several_counts(read: Read, write_image: Write) -> None:
    assert np.array_equal(read(write_image(grid(), WindowCenter="5"), voi="window").voxels[0], grid())
    one = read(write_image(grid(), WindowCenter="5", WindowWidth="4"), voi="window").voxels
    two = read(write_image(grid(), WindowCenter=["5", "1"], WindowWidth=["4", "9"]), voi="window").voxels
    assert np.array_equal(one, two)


@pytest.mark.case("C09")
def test_C09_rescale_values(read: Read, rejected: Read, write_image: Write, tmp_path: Path) -> None:
    assert rejected(write_image(grid(), RescaleSlope="0", RescaleIntercept="0")).code is Reason.RESCALE_INVALID
    assert read(write_image(grid(), RescaleSlope="1E-6")).voxels[0, 2, 3] == np.float32(11e-6)
    path = write_image(grid(), RescaleSlope="1.5", RescaleIntercept="0")
    path.write_bytes(path.read_bytes().replace(b"1.5 ", b"1,0 "))
    assert rejected(path).code is Reason.RESCALE_INVALID


@pytest.mark.case("C23")
def test_C23_where_the_spacing_comes_from(read: Read, write_image: Write) -> None:
    only = read(write_image(grid(), ImagerPixelSpacing=["0.1", "0.2"], EstimatedRadiographicMagnificationFactor="1.25"))
    assert only.spacing_mm == (0.1, 0.2)
    assert only.facts["spacing_source"] == "ImagerPixelSpacing"
    assert only.facts["magnification"] == "1.25"
    both = read(write_image(grid(), ImagerPixelSpacing=["0.1", "0.1"], PixelSpacing=["0.08", "0.08"]))
    assert both.spacing_mm == (0.08, 0.08)
    assert both.facts["spacing_source"] == "PixelSpacing"
    assert both.facts["imager_spacing"] == "different"


@pytest.mark.case("C24")
def test_C24_no_spacing_is_unknown(read: Read, write_image: Write) -> None:
    for elements in ({}, {"PixelSpacing": ["0", "0"]}):
        scan = read(write_image(grid(), **elements))
        assert scan.spacing_mm is None
        assert scan.facts["spacing_source"] == "unknown"


@pytest.mark.case("C25")
def test_C25_rows_come_first_in_the_spacing(read: Read, write_image: Write) -> None:
    scan = read(write_image(grid(), PixelSpacing=["0.2", "0.4"]))
    assert scan.spacing_mm == (0.2, 0.4)
    assert scan.voxels.shape == (1, 3, 4)


@pytest.mark.case("C26")
@pytest.mark.parametrize(
    "elements",
    [{"BurnedInAnnotation": "YES"}, {"SOPClassUID": SC}, {"ImageType": ["DERIVED", "PRIMARY", "SCREEN SAVE"]}],
)
def test_C26_burned_in_text_is_refused_by_default(
    rejected: Read, read: Read, write_image: Write, elements: dict[str, Any]
) -> None:
    path = write_image(grid(), **elements)
    assert rejected(path).code is Reason.BURNED_IN
    assert read(path, burned_in="allow").voxels.shape == (1, 3, 4)


@pytest.mark.case("C27")
@pytest.mark.parametrize("character_set", ["", "NO SUCH SET", "ISO 2022 IR 87"])
def test_C27_character_sets_load_and_nothing_of_the_patient_is_told(
    read: Read,
    write_image: Write,
    character_set: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = write_image(grid(), PatientID="canary-id")
    dataset = pydicom.dcmread(path)
    dataset.add_new("PatientName", "PN", b"Canary^Name=\x1b$B;3ED\x1b(B")
    dataset.SpecificCharacterSet = character_set
    dataset.save_as(path)
    with caplog.at_level(logging.DEBUG):
        scan = read(path)
    told = caplog.text + "".join(capfd.readouterr()) + repr(scan) + str(scan.facts)
    assert "canary" not in told.lower()
    assert scan.patient_id == "canary-id"


def test_what_a_picture_is_called(read: Read, write_image: Write) -> None:
    path = write_image(
        grid(), Modality="DX", BodyPartExamined="Chest", ViewPosition="PA", ImageLaterality="L", PatientID="secret"
    )
    scan = read(path)
    assert (scan.modality, scan.body_part) == ("DX", "CHEST")
    assert scan.identity == (pydicom.dcmread(path).SOPInstanceUID,)
    assert (scan.facts["view_position"], scan.facts["laterality"]) == ("PA", "L")
    assert "secret" not in repr(scan)
    assert scan.geometry is None


def test_one_frame_of_many(read: Read, rejected: Read, write_image: Write) -> None:
    frames = np.arange(24, dtype="u2").reshape(2, 3, 4)
    path = write_image(frames, NumberOfFrames="2")
    assert np.array_equal(read(path, "#frame=1").voxels[0], frames[1])
    assert rejected(path).code is Reason.NOT_A_VOLUME
    assert rejected(path, "#frame=2").code is Reason.READ_ERROR
