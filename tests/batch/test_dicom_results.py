"""What a case leaves in its study: the three objects together, and the same bytes wherever and whenever."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_checks import dciodvfy_errors
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from medcnn.batch import dicom_results
from medcnn.batch.dicom_results import DicomResults, Objects, answer_files, segmentation_files
from medcnn.batch.dicom_words import CERTAINTY, DECISION, EXPECTED_DICE, FOUND, PROBABILITY
from medcnn.batch.masks import Grid
from medcnn.batch.results import Results
from medcnn.inference.mask_rule import MaskRule
from medcnn.inference.prediction import Prediction
from medcnn.io.dicom.result_object import NOTICE, PRIVATE_SCHEME, Algorithm
from medcnn.io.read import read_scan

CT, CR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.1"
MODEL = Algorithm("phantom network", "1.0", "ab" * 8)
CODES = {"liver": "10200004", "pneumonia": "233604007"}
RULE = MaskRule(("liver", "a thing of long name", "spleen"))
PICTURE = np.random.default_rng(0).integers(0, 256, (30, 41, 3)).astype(np.uint8)
SAID = Prediction({"normal": 0.125, "pneumonia": 0.875}, "pneumonia", 0.875, ("ODD: brighter than usual",))


def write(path: Path, pixels: np.ndarray, **elements: Any) -> None:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = CR, "1.2.840.99.5", "CR"
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.840.99.1", "1.2.840.99.3"
    data.PatientID, data.PatientName, data.StudyDate, data.StudyTime = "canary-id", "Canary^Name", "20260101", "101112"
    data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = *pixels.shape, 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    data.PixelData = pixels.astype("<i2").tobytes()
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, data, enforce_file_format=True)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """The folder that holds it; the series is ct."""
    for number in range(6):
        write(
            tmp_path / "scans" / "ct" / f"{number}.dcm", np.zeros((9, 11)), SOPClassUID=CT, Modality="CT",
            SOPInstanceUID=f"1.2.840.99.4.{number + 1}", FrameOfReferenceUID="1.2.840.99.2", InstanceNumber=number + 1,
            ImagePositionPatient=[0, 0, 2.5 * number], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[0.7, 0.5], RescaleSlope="1", RescaleIntercept="0",
        )  # fmt: skip
    return tmp_path / "scans"


@pytest.fixture
def xray(tmp_path: Path) -> Path:
    write(tmp_path / "scans" / "chest.dcm", np.zeros((9, 11)))
    return tmp_path / "scans"


@pytest.fixture
def results(tmp_path: Path) -> Callable[..., DicomResults]:
    def make(rule: MaskRule | None = RULE, folder: str = "results", **objects: Any) -> DicomResults:
        return DicomResults(Results(tmp_path / folder), Objects(**objects), MODEL, CODES, rule)

    return make


def labels() -> np.ndarray:
    """(1, 11, 9, 6): a liver, a thing, no spleen."""
    made = np.zeros((1, 11, 9, 6), np.uint8)
    made[0, 1:5, 2:4, 1:4] = 1
    made[0, 8:11, 6:9, 3:5] = 2
    return made


def grid_of(root: Path, reference: str = "ct") -> Grid:
    scan = read_scan(root, reference)
    return Grid(tuple(scan.voxels.shape[1:]), scan.geometry, scan.spacing_mm)


VOLUMES = {"liver": 0.021, "a thing of long name": 0.01575, "spleen": 0.0}
DICES = {"liver": 0.9, "a thing of long name": 0.75, "spleen": float("nan")}


def of_masks(writer: DicomResults, root: Path, made: np.ndarray | None = None, **options: Any) -> tuple[list[str], str]:
    given = {"volumes_ml": VOLUMES, "expected_dice": DICES, "picture": lambda: PICTURE} | options
    grid = given.pop("grid", None) or grid_of(root)
    return writer.of_masks(root, "ct", "ct", labels() if made is None else made, grid, **given)


def groups_of(path: Path) -> dict[str, Any]:
    """Tracking identifier -> what highdicom reads of the group: numbers by code, evaluations by code, is it a ROI."""
    from highdicom.sr import srread

    content: Any = srread(path).content
    found = {}
    for is_roi, groups in (
        (False, content.get_image_measurement_groups()),
        (True, content.get_volumetric_roi_measurement_groups()),
    ):
        for group in groups:
            numbers = {one.name.value: one.value for one in group.get_measurements()}
            answers = [
                (item.name.value, item.value.meaning)
                for item in group[0].ContentSequence
                if item.ValueType == "CODE" and item.name.value.startswith("Q-")
            ]
            found[group.tracking_identifier] = (group.finding_type, numbers, answers, is_roi)
    return found


def test_a_volume_leaves_three_objects_in_its_study(series: Path, results: Callable[..., DicomResults]) -> None:
    writer = results()
    files, why = of_masks(writer, series, notes=("ODD: brighter than usual",))
    assert (files, why) == (["dicom/ct_seg.dcm", "dicom/ct_sr.dcm", "dicom/ct_sc.dcm"], "")
    assert files == segmentation_files(RULE, "ct", writer.objects)
    folder = writer.results.folder
    assert (folder / "dicom").stat().st_mode & 0o777 == 0o700
    objects = [pydicom.dcmread(folder / name) for name in files]
    assert {one.StudyInstanceUID for one in objects} == {"1.2.840.99.1"}
    assert len({one.SeriesInstanceUID for one in objects} | {"1.2.840.99.3"}) == 4
    assert {(one.PatientID, str(one.PatientName)) for one in objects} == {("canary-id", "Canary^Name")}
    assert {(one.ContentDate, one.ContentTime) for one in objects} == {("20260101", "101112")}
    assert all(NOTICE in one.SeriesDescription for one in objects)
    assert all(dciodvfy_errors(folder / name) == [] for name in files)
    from highdicom.seg import segread

    back = segread(folder / files[0]).get_volume(combine_segments=True)
    positions = back.map_indices_to_reference(np.argwhere(back.array == 1))
    wanted = np.argwhere(labels()[0] == 1) * [0.5, 0.7, 2.5]
    assert np.allclose(sorted(map(tuple, positions.round(3))), sorted(map(tuple, wanted.round(3))))
    assert np.array_equal(objects[2].pixel_array, PICTURE)


def test_the_report_has_a_group_for_each_structure_and_says_what_was_not_found(
    series: Path, results: Callable[..., DicomResults]
) -> None:
    writer = results()
    of_masks(writer, series)
    groups = groups_of(writer.results.folder / "dicom" / "ct_sr.dcm")
    assert list(groups) == [
        "spleen",
        "liver",
        "a thing of long name",
    ]  # those without a segment first, as they are read
    finding, numbers, answers, is_roi = groups["liver"]
    assert (finding.scheme_designator, finding.value) == ("SCT", "10200004")
    assert numbers == {"118565006": 0.021, EXPECTED_DICE.value: 0.9}
    assert (answers, is_roi) == ([(FOUND.value, "Yes")], True)
    finding, numbers, answers, is_roi = groups["spleen"]
    assert (finding.scheme_designator, numbers, is_roi) == (PRIVATE_SCHEME, {"118565006": 0.0}, False)
    assert answers == [(FOUND.value, "No")]
    seg, report = (pydicom.dcmread(writer.results.folder / "dicom" / f"ct_{kind}.dcm") for kind in ("seg", "sr"))
    described = {item.SegmentLabel: item.SegmentedPropertyTypeCodeSequence[0] for item in seg.SegmentSequence}
    assert described["a thing of long name"].CodeValue == groups["a thing of long name"][0].value
    referred = {
        (item.ReferencedSOPInstanceUID, int(item.ReferencedSegmentNumber))
        for item in items(report)
        if "ReferencedSegmentNumber" in item
    }
    assert referred == {(seg.SOPInstanceUID, 1), (seg.SOPInstanceUID, 2)}


def items(data: Dataset) -> list[Dataset]:
    """All items at any depth."""
    found = [item for element in data if element.VR == "SQ" for item in element.value]
    return [*found, *(deep for item in found for deep in items(item))]


def test_nothing_found_is_said_too(series: Path, results: Callable[..., DicomResults]) -> None:
    writer = results()
    empty = np.zeros((1, 11, 9, 6), np.uint8)
    files, why = of_masks(writer, series, empty, volumes_ml=dict.fromkeys(RULE.names, 0.0), expected_dice={})
    assert (len(files), why) == (3, "")
    groups = groups_of(writer.results.folder / "dicom" / "ct_sr.dcm")
    assert [answers for _, _, answers, _ in groups.values()] == [[(FOUND.value, "No")]] * 3
    assert not any(is_roi for _, _, _, is_roi in groups.values())
    assert all(dciodvfy_errors(writer.results.folder / name) == [] for name in files)


def test_structures_that_overlap_have_an_object_each(series: Path, results: Callable[..., DicomResults]) -> None:
    rule = MaskRule(("liver", "tumour"), overlapping=True)
    made = np.zeros((2, 11, 9, 6), np.uint8)
    made[0, 1:5, 2:4, 1:4] = made[1, 2:3, 2:4, 1:4] = 1
    writer = results(rule)
    files, why = of_masks(writer, series, made, volumes_ml={"liver": 2.0, "tumour": 1.0}, expected_dice={})
    assert why == ""
    assert files == ["dicom/ct_liver_seg.dcm", "dicom/ct_tumour_seg.dcm", "dicom/ct_sr.dcm", "dicom/ct_sc.dcm"]
    assert files == segmentation_files(rule, "ct", writer.objects)
    segs = [pydicom.dcmread(writer.results.folder / name) for name in files[:2]]
    report = pydicom.dcmread(writer.results.folder / files[2])
    referred = {item.ReferencedSOPInstanceUID for item in items(report) if "ReferencedSegmentNumber" in item}
    assert referred == {one.SOPInstanceUID for one in segs}


def test_a_picture_has_no_segmentation_but_a_report(xray: Path, results: Callable[..., DicomResults]) -> None:
    made = np.zeros((1, 9, 11), np.uint8)
    made[0, 2:4, 3:6] = 1
    writer = results()
    grid = Grid((9, 11), None, None)
    files, why = writer.of_masks(xray, "chest.dcm", "chest", made, grid, None, {"liver": 0.8}, lambda: PICTURE)
    assert (files, why) == (["dicom/chest_sr.dcm", "dicom/chest_sc.dcm"], "")
    groups = groups_of(writer.results.folder / files[0])
    assert {name: (numbers, answers[0][1]) for name, (_, numbers, answers, _) in groups.items()} == {
        "liver": ({EXPECTED_DICE.value: 0.8}, "Yes"),
        "a thing of long name": ({}, "No"),
        "spleen": ({}, "No"),
    }
    assert all(dciodvfy_errors(writer.results.folder / name) == [] for name in files)


def test_only_what_is_wanted_is_written(series: Path, results: Callable[..., DicomResults]) -> None:
    assert of_masks(results(folder="a", seg="none", sc=False), series) == (["dicom/ct_sr.dcm"], "")
    assert of_masks(results(folder="b", sr=False), series, picture=None) == (["dicom/ct_seg.dcm"], "")
    assert of_masks(results(folder="c", seg="none", sr=False, sc=False), series) == ([], "")
    files, _ = of_masks(writer := results(folder="d", seg="labelmap", sr=False, sc=False), series)
    assert pydicom.dcmread(writer.results.folder / files[0]).SegmentationType == "LABELMAP"


def test_a_scan_that_was_not_read_from_dicom_leaves_nothing(
    tmp_path: Path, results: Callable[..., DicomResults]
) -> None:
    from PIL import Image

    (tmp_path / "scans").mkdir()
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "scans" / "a.png")
    writer = results(None)
    assert writer.of_answer(tmp_path / "scans", "a.png", "a", SAID, lambda: PICTURE) == ([], "")
    assert not (writer.results.folder / "dicom").exists()


def test_a_series_that_carries_no_segmentation_still_has_its_report(
    series: Path, results: Callable[..., DicomResults]
) -> None:
    """Without a frame of reference nothing says that a mask lies where the scan does."""
    grid = grid_of(series)
    for path in (series / "ct").iterdir():
        data = pydicom.dcmread(path)
        del data.FrameOfReferenceUID
        data.save_as(path)
    writer = results()
    files, why = of_masks(writer, series, grid=grid)
    assert files == ["dicom/ct_sr.dcm", "dicom/ct_sc.dcm"]
    assert why.startswith("DICOM: no segmentation. META_INVALID: FrameOfReferenceUID is missing")
    assert not any(is_roi for _, _, _, is_roi in groups_of(writer.results.folder / files[0]).values())


def test_a_study_that_can_carry_nothing_is_said_and_nobody_named(
    xray: Path, results: Callable[..., DicomResults]
) -> None:
    write(xray / "chest.dcm", np.zeros((9, 11)), StudyInstanceUID="")
    files, why = results(None).of_answer(xray, "chest.dcm", "chest", SAID, lambda: PICTURE)
    assert files == []
    assert why.startswith("DICOM: no result in the study. META_INVALID")
    assert "anary" not in why


def test_an_answer_is_a_decision_and_a_probability_for_each_class(
    xray: Path, results: Callable[..., DicomResults]
) -> None:
    writer = results(None)
    files, why = writer.of_answer(xray, "chest.dcm", "chest", SAID, lambda: PICTURE)
    assert (files, why) == (["dicom/chest_sr.dcm", "dicom/chest_sc.dcm"], "")
    assert files == answer_files("chest", writer.objects)
    assert all(dciodvfy_errors(writer.results.folder / name) == [] for name in files)
    path = writer.results.folder / files[0]
    groups = groups_of(path)
    assert list(groups) == ["Decision", "normal", "pneumonia"]
    assert groups["Decision"][1:3] == ({CERTAINTY.value: 87.5}, [(DECISION.value, "pneumonia")])
    assert groups["pneumonia"][1] == {PROBABILITY.value: 0.875}
    assert (groups["pneumonia"][0].scheme_designator, groups["normal"][0].scheme_designator) == ("SCT", PRIVATE_SCHEME)
    data = pydicom.dcmread(path)
    assert data.CompletionFlag == "COMPLETE"
    texts = [item.TextValue for item in data.ContentSequence[-1].ContentSequence]
    assert texts == [NOTICE, "ODD: brighter than usual"]


@pytest.mark.parametrize(
    ("decision", "answers"),
    [("none", ["None of the classes"]), ("normal+pneumonia", ["normal", "pneumonia"]), ("normal", ["normal"])],
)
def test_an_answer_of_no_or_of_several_classes(
    xray: Path, results: Callable[..., DicomResults], decision: str, answers: Sequence[str]
) -> None:
    writer = results(None)
    writer.of_answer(xray, "chest.dcm", "chest", replace(SAID, decision=decision), None)
    groups = groups_of(writer.results.folder / "dicom" / "chest_sr.dcm")
    assert groups["Decision"][2] == [(DECISION.value, answer) for answer in answers]


def test_a_withheld_answer_gives_no_number_away(xray: Path, results: Callable[..., DicomResults]) -> None:
    writer = results(None)
    reason = "MODALITY: the model knows CR and DX"
    withheld = Prediction(SAID.probability, "", 0.0, (reason,), reason)
    writer.of_answer(xray, "chest.dcm", "chest", withheld, None)
    path = writer.results.folder / "dicom" / "chest_sr.dcm"
    assert groups_of(path)["Decision"][1:3] == ({}, [(DECISION.value, "Withheld")])
    data = pydicom.dcmread(path)
    assert (data.CompletionFlag, len(groups_of(path))) == ("PARTIAL", 1)
    assert [item.TextValue for item in data.ContentSequence[-1].ContentSequence] == [NOTICE, reason]
    assert dciodvfy_errors(path) == []


def test_the_sources_are_opened_once_for_all_objects(
    series: Path, results: Callable[..., DicomResults], monkeypatch: pytest.MonkeyPatch
) -> None:
    from medcnn.io.dicom import source

    grid, opened = grid_of(series), []
    whole = source.open_whole
    monkeypatch.setattr("medcnn.io.dicom.seg_source.open_whole", lambda path: opened.append(path) or whole(path))
    monkeypatch.setattr(source, "open_whole", lambda path: opened.append(path) or whole(path))
    assert len(of_masks(results(), series, grid=grid)[0]) == 3
    assert sorted(opened) == sorted((series / "ct").iterdir())


def test_the_same_case_is_the_same_bytes_at_another_time_and_place(
    series: Path, results: Callable[..., DicomResults], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, again = results(folder="here"), results(folder="there")
    names, _ = of_masks(first, series)
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    of_masks(again, series)
    monkeypatch.undo()
    time.tzset()
    assert [(first.results.folder / name).read_bytes() for name in names] == [
        (again.results.folder / name).read_bytes() for name in names
    ]


def test_an_answer_on_the_bundled_radiographs(results: Callable[..., DicomResults]) -> None:
    writer = results(None)
    for name in ("RG1_UNCI.dcm", "vlut_04.dcm", "SC_rgb.dcm"):
        path = Path(str(get_testdata_file(name, download=False)))
        files, why = writer.of_answer(path.parent, path.name, path.stem, SAID, lambda: PICTURE)
        assert (len(files), why) == (2, "")
        assert all(dciodvfy_errors(writer.results.folder / file) == [] for file in files)


def test_a_disk_that_refuses_is_the_runs_fault(
    series: Path, results: Callable[..., DicomResults], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr("medcnn.whole_file.os.fsync", full)
    writer = results()
    with pytest.raises(OSError, match="no space"):
        of_masks(writer, series)
    assert list((writer.results.folder / "dicom").iterdir()) == []


def test_a_fault_in_one_object_leaves_the_others(
    series: Path, results: Callable[..., DicomResults], monkeypatch: pytest.MonkeyPatch
) -> None:
    from medcnn.scan import Reason, ScanRejected

    def broken(*_: Any, **__: Any) -> bytes:
        raise ScanRejected(Reason.TAG_INVALID, "an element cannot be read", "Export the file again")

    monkeypatch.setattr(dicom_results, "sr_bytes", broken)
    files, why = of_masks(results(), series)
    assert files == ["dicom/ct_seg.dcm", "dicom/ct_sc.dcm"]
    assert why == "DICOM: no report. TAG_INVALID: an element cannot be read. Export the file again"
