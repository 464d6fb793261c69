"""Pictures of results: the same pixels come back, in the patient's study, without an error that dciodvfy knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_checks import dciodvfy_errors
from pydicom.dataset import Dataset

from medcnn.io.dicom.result_object import NOTICE, Algorithm
from medcnn.io.dicom.sc_write import sc_bytes
from medcnn.io.dicom.source import source_of_files
from medcnn.io.read import read_scan
from medcnn.scan import Reason, ScanRejected

Write = Callable[..., Path]
MODEL = Algorithm("phantom network", "1.0", "ab" * 32)
PICTURE = np.random.default_rng(0).integers(0, 256, (31, 41, 3)).astype(np.uint8)  # an odd number of bytes
STUDY = "1.2.840.99.1"


def read(content: bytes) -> Any:
    return pydicom.dcmread(pydicom.filebase.DicomBytesIO(content))


def captured(path: Path, picture: np.ndarray = PICTURE, **options: Any) -> Any:
    return read(sc_bytes(picture, source_of_files([path], {}, **options), MODEL))


def test_the_pixels_come_back_as_they_were(tmp_path: Path, write_image: Write) -> None:
    import SimpleITK

    source = write_image(np.zeros((4, 5), np.uint16), StudyInstanceUID=STUDY, PatientID="7", PatientName="Canary^Name")
    content = sc_bytes(PICTURE, source_of_files([source], {}), MODEL)
    data = read(content)
    assert np.array_equal(data.pixel_array, PICTURE)
    path = tmp_path / "sc.dcm"
    path.write_bytes(content)
    assert np.array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))[0], PICTURE)
    with pytest.raises(ScanRejected) as caught:  # a result that lies among scans is not taken for one
        read_scan(tmp_path, "sc.dcm")
    assert caught.value.rejection.code is Reason.BURNED_IN
    assert dciodvfy_errors(path) == []
    assert (data.StudyInstanceUID, data.PatientID, str(data.PatientName)) == (STUDY, "7", "Canary^Name")
    assert data.SeriesInstanceUID.startswith("2.25.")
    assert data.Modality == "OT"
    assert NOTICE in data.SeriesDescription
    assert data.DerivationDescription == f"{NOTICE}. Overlay by phantom network, medcnn 1.0, model {'ab' * 32}"
    (reference,) = data.SourceImageSequence
    assert reference.ReferencedSOPInstanceUID == pydicom.dcmread(source).SOPInstanceUID
    assert "ReferencedFrameNumber" not in reference
    assert (data.Laterality, data.PatientOrientation, data.BurnedInAnnotation) == ("", "", "NO")
    assert "RecognizableVisualFeatures" not in data


def test_what_the_source_says_of_its_picture_is_true_of_ours(write_image: Write, tmp_path: Path) -> None:
    path = write_image(
        np.zeros((4, 5), np.uint8), StudyInstanceUID=STUDY, BurnedInAnnotation="YES", LossyImageCompression="01",
        RecognizableVisualFeatures="YES", ImageLaterality="R", BodyPartExamined="HAND",
    )  # fmt: skip
    data = captured(path)
    assert (data.BurnedInAnnotation, data.RecognizableVisualFeatures) == ("YES", "YES")
    assert (data.LossyImageCompression, data.Laterality) == ("01", "R")
    pydicom.dcmwrite(tmp_path / "sc.dcm", data)
    assert dciodvfy_errors(tmp_path / "sc.dcm") == []


def test_a_series_and_a_frame_are_referred_to(write_series: Write, write_image: Write) -> None:
    def identified(number: int, data: Dataset) -> None:
        data.StudyInstanceUID = STUDY

    series = write_series(np.zeros((6, 5, 3), np.int16), change=identified)
    data = read(sc_bytes(PICTURE, source_of_files(sorted(series.iterdir()), {}), MODEL))
    assert [one.ReferencedSOPInstanceUID for one in data.SourceImageSequence] == ["1.2.3.1", "1.2.3.2", "1.2.3.3"]
    frames = write_image(np.zeros((3, 4, 5), np.uint8), NumberOfFrames=3, StudyInstanceUID=STUDY)
    assert captured(frames, frame=2).SourceImageSequence[0].ReferencedFrameNumber == 3
    assert "ReferencedFrameNumber" not in captured(frames).SourceImageSequence[0]


def test_the_same_picture_is_the_same_bytes(write_image: Write) -> None:
    source = source_of_files([write_image(np.zeros((4, 5), np.uint8), StudyInstanceUID=STUDY)], {})
    one = sc_bytes(PICTURE, source, MODEL)
    assert one == sc_bytes(PICTURE.copy(), source, MODEL)
    other = read(sc_bytes(PICTURE[::-1], source, MODEL))
    assert other.SOPInstanceUID != read(one).SOPInstanceUID
    assert np.array_equal(other.pixel_array, PICTURE[::-1])


def test_a_source_that_was_corrected_makes_another_object(write_image: Write) -> None:
    """An archive gives a patient the right name under the same UIDs: what we write differs, and so must its UID."""
    uids = {"StudyInstanceUID": STUDY, "SOPInstanceUID": "1.2.3.4"}
    before, after = (
        captured(write_image(np.zeros((4, 5), np.uint8), name, PatientName=name, **uids)) for name in ("A^B", "A^C")
    )
    assert before.SOPInstanceUID != after.SOPInstanceUID


@pytest.mark.parametrize("picture", [PICTURE[..., 0], PICTURE[..., :2], PICTURE.astype(np.uint16)])
def test_what_is_no_picture_of_three_colours_is_refused(write_image: Write, picture: np.ndarray) -> None:
    source = source_of_files([write_image(np.zeros((4, 5), np.uint8), StudyInstanceUID=STUDY)], {})
    with pytest.raises(ScanRejected) as caught:
        sc_bytes(picture, source, MODEL)
    assert caught.value.rejection.code is Reason.INTERNAL


BUNDLED = [
    *("CT_small", "MR_small", "RG1_UNCI", "US1_UNCR", "SC_rgb", "693_J2KI", "vlut_04", "mlut_18", "JPEG-lossy"),
    *("eCT_Supplemental", "emri_small", "JPEG2000", "rtdose", "examples_overlay", "explicit_VR-UN", "RG3_UNCR"),
]


@pytest.mark.parametrize("name", BUNDLED)
def test_dciodvfy_finds_no_error_in_a_picture_of_the_bundled_images(
    bundled: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    (tmp_path / "sc.dcm").write_bytes(sc_bytes(PICTURE, source_of_files([bundled(name)], {}), MODEL))
    assert dciodvfy_errors(tmp_path / "sc.dcm") == []


@pytest.mark.parametrize("name", ["dcm_qa_ts/In/1.dcm", "dcm_qa_ts/In/9.dcm", "dcm_qa_enh/In/Philips/IM_0027_fMAP.dcm"])
def test_dciodvfy_finds_no_error_in_a_picture_of_scanners_images(medcnn_data: Path, tmp_path: Path, name: str) -> None:
    source = source_of_files([medcnn_data / "dicom" / name], {})
    (tmp_path / "sc.dcm").write_bytes(sc_bytes(PICTURE, source, MODEL))
    assert dciodvfy_errors(tmp_path / "sc.dcm") == []
