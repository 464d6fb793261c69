"""A real archive takes every DICOM result, over C-STORE and STOW-RS, and gives it back as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from orthanc_server import Orthanc
from pydicom.dataset import Dataset
from studies import Answered

SOP_CLASS = {
    "seg": "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation Storage
    "sr": "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR Storage
    "sc": "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture Image Storage
}
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
SUCCESS = 0
SENT = ("oblique_down", "plain", "latin", "japanese", "sparse")

Send = Callable[[Orthanc, Path], None]


def by_c_store(archive: Orthanc, path: Path) -> None:
    assert archive.c_store(pydicom.dcmread(path)) == SUCCESS


def by_stow(archive: Orthanc, path: Path) -> None:
    said = archive.stow(path)
    assert said.get("00081198", {}).get("Value", []) == []  # FailedSOPSequence
    (taken,) = said["00081199"]["Value"]  # ReferencedSOPSequence
    assert taken["00081155"]["Value"] == [str(pydicom.dcmread(path).SOPInstanceUID)]
    assert "00081196" not in taken  # WarningReason


def differences(ours: Dataset, theirs: Dataset) -> list[str]:
    """Elements that are not the same in value or VR; pixels by their bytes."""
    tags = sorted({element.tag for element in ours} | {element.tag for element in theirs})
    return [str(tag) for tag in tags if ours.get(tag) != theirs.get(tag)]


def assert_kept_as_it_was(archive: Orthanc, path: Path) -> None:
    ours = pydicom.dcmread(path)
    for theirs in (
        archive.file(ours.SOPInstanceUID),
        archive.wado(ours.StudyInstanceUID, ours.SeriesInstanceUID, ours.SOPInstanceUID),
    ):
        assert differences(ours, theirs) == []
        assert theirs.file_meta.TransferSyntaxUID == ours.file_meta.TransferSyntaxUID
        assert theirs.file_meta.MediaStorageSOPInstanceUID == ours.SOPInstanceUID


@pytest.mark.parametrize("send", [by_c_store, by_stow])
@pytest.mark.parametrize("kind", SOP_CLASS)
def test_results_are_taken_and_given_back_unchanged(
    archive: Orthanc, segmented: Answered, classified: Answered, kind: str, send: Send
) -> None:
    paths = [path for one in (segmented, classified) for name in SENT for path in one.objects(kind, name)]
    assert paths
    for path in paths:
        assert str(pydicom.dcmread(path).SOPClassUID) == SOP_CLASS[kind]
        send(archive, path)
        assert_kept_as_it_was(archive, path)
    assert len(archive.json("/instances")) == len(paths)


@pytest.mark.parametrize("send", [by_c_store, by_stow])
def test_a_label_map_is_taken_where_unknown_classes_are(archive: Orthanc, label_map: Path, send: Send) -> None:
    assert str(pydicom.dcmread(label_map).SOPClassUID) == LABEL_MAP
    send(archive, label_map)
    assert_kept_as_it_was(archive, label_map)


def test_the_same_result_sent_twice_is_one_object(archive: Orthanc, segmented: Answered) -> None:
    """What was predicted again has the same UIDs, so that an archive does not fill up."""
    for output in (segmented.output, segmented.again):
        for kind in ("seg", "sr"):
            by_c_store(archive, output / "dicom" / f"sagittal_{kind}.dcm")
    assert len(archive.json("/instances")) == 2


def test_results_stand_in_their_study_beside_the_scan(archive: Orthanc, answered: Answered) -> None:
    """One patient and one study each, as the archive files them; results are series of their own."""
    for name in ("plain", "latin", "oblique"):
        if name not in answered.studies:
            continue
        archive.clear()
        study = answered.studies[name]
        results = answered.of_case(name)
        for path in [*study.files.values(), *results]:
            by_stow(archive, path)
        assert (len(archive.json("/patients")), len(archive.json("/studies"))) == (1, 1)
        series = archive.qido(f"studies/{study.first.StudyInstanceUID}/series")
        assert len(series) == 1 + len(results)
        modalities = {value for one in series for value in one["00080060"]["Value"]}
        wanted = {"SEG": "_seg", "SR": "_sr"}
        assert {code for code, ending in wanted.items() if any(p.stem.endswith(ending) for p in results)} <= modalities


@pytest.mark.parametrize("name", ["plain", "latin", "japanese"])
def test_an_archive_finds_results_by_the_patients_name(archive: Orthanc, classified: Answered, name: str) -> None:
    source = classified.studies[name].first
    for path in classified.of_case(name):
        by_c_store(archive, path)
    (found,) = archive.qido(f"studies?StudyInstanceUID={source.StudyInstanceUID}")
    assert name_of(found) == {key: part for key, part in parts_of(source).items() if part}
    assert found["00100020"]["Value"] == [source.PatientID]


def name_of(found: dict[str, Any]) -> dict[str, str]:
    (value,) = found["00100010"]["Value"]
    return {key: str(part) for key, part in value.items()}


def parts_of(source: Dataset) -> dict[str, str]:
    name = source.PatientName
    return {"Alphabetic": name.alphabetic, "Ideographic": name.ideographic, "Phonetic": name.phonetic}
