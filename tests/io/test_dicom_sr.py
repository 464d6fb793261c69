"""Reports: read back by highdicom, found free of errors by dciodvfy, the same bytes whenever they are written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_checks import dciodvfy_errors
from pydicom.dataset import Dataset

from medcnn.io.dicom.result_object import NOTICE, PRIVATE_SCHEME, Algorithm, own_code
from medcnn.io.dicom.sc_write import sc_bytes
from medcnn.io.dicom.seg_source import source_of
from medcnn.io.dicom.seg_write import Form, seg_of
from medcnn.io.dicom.segment import Code, Segment
from medcnn.io.dicom.source import UNKNOWN_MOMENT, source_of_files
from medcnn.io.dicom.sr_write import (
    CUBIC_CM,
    NO,
    NO_UNITS,
    VOLUME,
    YES,
    Group,
    Number,
    Report,
    SegmentReference,
    sr_bytes,
)
from medcnn.io.read import read_scan, source_files
from medcnn.io.reference import Reference
from medcnn.scan import Reason, ScanRejected

Write = Callable[..., Path]
MODEL = Algorithm("phantom network", "1.0", "ab" * 32)
LIVER = Code("SCT", "10200004", "Liver")
FOUND = own_code("Found")
REPORT = Report(
    (
        Group("Liver", LIVER, (Number(VOLUME, 12.3456789, CUBIC_CM),), ((FOUND, YES),)),
        Group("Spleen", own_code("Spleen"), (Number(VOLUME, 0.0, CUBIC_CM),), ((FOUND, NO),)),
    ),
    notes=("ODD: brighter than usual",),
)


def identified(number: int, data: Dataset) -> None:
    data.StudyInstanceUID, data.FrameOfReferenceUID, data.SeriesInstanceUID = "1.2.840.99.1", "1.2.840.99.2", "1.2.3.9"
    data.SOPInstanceUID = f"1.2.3.9.{number + 1}"
    data.PatientID, data.PatientName, data.StudyDate, data.StudyTime = "7", "Canary^Name", "20260101", "101112"


@pytest.fixture
def series(write_series: Write) -> Path:
    return write_series(np.zeros((6, 5, 4), np.int16), change=identified)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[bytes], Path]:
    def save(content: bytes) -> Path:
        path = tmp_path / "object.dcm"
        path.write_bytes(content)
        return path

    return save


def numbers_of(path: Path) -> list[tuple[str, str, float]]:
    """(finding, name of the measurement, value), as highdicom reads them."""
    from highdicom.sr import srread

    content: Any = srread(path).content
    groups = [*content.get_image_measurement_groups(), *content.get_volumetric_roi_measurement_groups()]
    return [
        (group.finding_type.meaning, one.name.meaning, one.value)
        for group in groups
        for one in group.get_measurements()
    ]


def test_highdicom_reads_what_was_measured(series: Path, saved: Callable[[bytes], Path]) -> None:
    path = saved(sr_bytes(REPORT, source_of_files(sorted(series.iterdir()), {}), MODEL))
    assert numbers_of(path) == [("Liver", "Volume", 12.3457), ("Spleen", "Volume", 0.0)]
    data = pydicom.dcmread(path)
    assert (data.StudyInstanceUID, data.PatientID, str(data.PatientName)) == ("1.2.840.99.1", "7", "Canary^Name")
    assert (data.CompletionFlag, data.VerificationFlag, data.PreliminaryFlag) == (
        "COMPLETE",
        "UNVERIFIED",
        "PRELIMINARY",
    )
    assert data.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert NOTICE in data.SeriesDescription
    texts = [item.TextValue for item in data.ContentSequence[-1].ContentSequence]
    assert texts == [NOTICE, "ODD: brighter than usual"]
    said = [str(element.value) for element in data.iterall() if element.keyword == "TextValue"]
    assert {"medcnn", "phantom network", "1.0", f"model={'ab' * 32}"} <= set(said)
    (scheme,) = data.CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == PRIVATE_SCHEME
    (study,) = data.CurrentRequestedProcedureEvidenceSequence
    (evidence,) = study.ReferencedSeriesSequence
    assert {one.ReferencedSOPInstanceUID for one in evidence.ReferencedSOPSequence} == {
        f"1.2.3.9.{n}" for n in range(1, 5)
    }
    assert dciodvfy_errors(path) == []


def test_an_incomplete_report_says_so(series: Path) -> None:
    report = Report(REPORT.groups, is_complete=False)
    data = read(sr_bytes(report, source_of_files(sorted(series.iterdir()), {}), MODEL))
    assert data.CompletionFlag == "PARTIAL"


def read(content: bytes) -> Dataset:
    return pydicom.dcmread(pydicom.filebase.DicomBytesIO(content))


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_a_group_refers_to_the_segment_that_was_written(
    series: Path, saved: Callable[[bytes], Path], kind: Any
) -> None:
    from highdicom.sr import srread

    scan = read_scan(series.parent, series.name)
    assert scan.geometry is not None
    labels = np.zeros((6, 5, 4), np.uint8)
    labels[1:4, 2:4, 1:3] = 2
    source = source_of(sorted(series.iterdir()), scan.geometry, {})
    segments = [Segment(1, "Spleen", own_code("Spleen")), Segment(2, "Liver", LIVER)]
    seg = seg_of(labels, scan.geometry, source, segments, MODEL, form=Form(kind))
    assert seg.found == {2}
    written = read(seg.content)
    assert (written.SOPInstanceUID, written.SeriesInstanceUID) == (seg.sop_instance_uid, seg.series_instance_uid)
    reference = SegmentReference(seg.sop_class_uid, seg.sop_instance_uid, seg.series_instance_uid, 2)
    report = Report((Group("Liver", LIVER, (Number(VOLUME, 1.5, CUBIC_CM),), segment=reference),))
    path = saved(sr_bytes(report, source, MODEL))
    (group,) = srread(path).content.get_volumetric_roi_measurement_groups()
    (item,) = [item for item in group[0].ContentSequence if item.ValueType == "IMAGE"]
    (referred,) = item.ReferencedSOPSequence
    assert referred.ReferencedSOPInstanceUID == written.SOPInstanceUID
    assert referred.ReferencedSOPClassUID == written.SOPClassUID
    assert int(referred.ReferencedSegmentNumber) == 2
    assert group.tracking_uid.startswith("2.25.")
    evidence = pydicom.dcmread(path).CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert {one.SeriesInstanceUID for one in evidence} == {"1.2.3.9", seg.series_instance_uid}
    if kind == "BINARY":  # the tool is older than label maps, and takes them for no segmentations
        assert dciodvfy_errors(path) == []


def test_one_frame_of_many_is_referred_to_by_its_number(tmp_path: Path, write_image: Write) -> None:
    path = write_image(
        np.zeros((3, 4, 5), np.uint8), NumberOfFrames=3, StudyInstanceUID="1.2.840.99.1", Modality="XA",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.12.1",
    )  # fmt: skip
    data = read(sr_bytes(REPORT, source_of_files([path], {}, frame=1), MODEL))
    references = [element.value for element in data.iterall() if element.keyword == "ReferencedFrameNumber"]
    assert references == [2]


def test_the_same_report_is_the_same_bytes_and_another_another_object(series: Path) -> None:
    files = sorted(series.iterdir())
    one = sr_bytes(REPORT, source_of_files(files, {}), MODEL)
    assert one == sr_bytes(REPORT, source_of_files(files[::-1], {}), MODEL)
    others = [
        sr_bytes(Report(REPORT.groups[:1]), source_of_files(files, {}), MODEL),
        sr_bytes(REPORT, source_of_files(files, {}), Algorithm("phantom network", "1.0", "cd")),
    ]
    uids = [read(content).SOPInstanceUID for content in (one, *others)]
    assert len(set(uids)) == 3
    assert len({read(content).SeriesInstanceUID for content in (one, *others)}) == 3


def digests_of_all_three(series: Path) -> list[str]:
    """Of a segmentation, a report and a picture."""
    scan = read_scan(series.parent, series.name)
    assert scan.geometry is not None
    labels = np.zeros((6, 5, 4), np.uint8)
    labels[1:4, 2:4, 1:3] = 1
    source = source_of(sorted(series.iterdir()), scan.geometry, {})
    seg = seg_of(labels, scan.geometry, source, [Segment(1, "Spleen", own_code("Spleen"))], MODEL).content
    picture = sc_bytes(np.zeros((4, 5, 3), np.uint8), source, MODEL)
    return [sha256(content).hexdigest() for content in (seg, sr_bytes(REPORT, source, MODEL), picture)]


def test_all_objects_are_the_same_bytes_in_another_process_and_time_zone(series: Path) -> None:
    here = Path(__file__).resolve()
    paths = os.pathsep.join(map(str, (here.parent, here.parents[1], here.parents[2])))
    environment = os.environ | {"TZ": "Pacific/Auckland", "PYTHONPATH": paths, "PYTHONHASHSEED": "7"}
    code = "import sys, pathlib, test_dicom_sr as own; print(*own.digests_of_all_three(pathlib.Path(sys.argv[1])))"
    ran = subprocess.run(
        [sys.executable, "-c", code, str(series)],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.stdout.split() == digests_of_all_three(series)


@pytest.mark.parametrize(
    ("elements", "moment"),
    [
        ({}, "19700101000000"),
        ({"StudyDate": "20200102", "StudyTime": "030405.678"}, "20200102030405"),
        ({"StudyDate": "20200102", "StudyTime": "0304", "ContentDate": "20200102"}, "20200102030400"),
        ({"StudyDate": "20200102", "ContentDate": "20200103", "ContentTime": "235960"}, "20200103235959"),
        ({"StudyDate": "2020.01.02", "StudyTime": "03:04:05"}, "20200102030405"),
        ({"AcquisitionDateTime": "20211231235958.5+0100", "StudyDate": "20211231"}, "20211231235958"),
        ({"StudyDate": "20209999", "SeriesDate": "20200101", "SeriesTime": "x"}, "20200101000000"),
    ],
)
def test_an_object_is_dated_by_its_sources(write_image: Write, elements: dict[str, str], moment: str) -> None:
    path = write_image(np.zeros((4, 5), np.uint8), StudyInstanceUID="1.2.840.99.1", **elements)
    source = source_of_files([path], {})
    data = read(sr_bytes(REPORT, source, MODEL))
    assert f"{data.ContentDate}{data.ContentTime}" == moment
    assert f"{data.InstanceCreationDate}{data.InstanceCreationTime}" == moment
    assert data.ContributingEquipmentSequence[-1].ContributionDateTime == moment
    assert (source.moment == UNKNOWN_MOMENT) == (not elements)


def without_kind() -> Dataset:
    item = Dataset()
    item.PatientID = "8"
    return item


BROKEN: dict[str, dict[str, Any]] = {
    "an unknown sex": {"PatientSex": "unknown", "PatientBirthDate": "yesterday"},
    "too many values": {"StudyID": "1\\2\\3", "AccessionNumber": "1\\2"},
    "lower case": {"TypeOfPatientID": "text", "PatientIdentityRemoved": "yes"},
    "removed, nobody says how": {"PatientIdentityRemoved": "YES"},
    "not a date": {"StudyDate": "2026-01-01", "StudyTime": "noon", "PatientAge": "44"},
    "too long": {"StudyDescription": "x" * 80, "InstitutionName": "y" * 99, "Manufacturer": "z" * 70},
    "half a code": {"ProcedureCodeSequence": [Dataset()]},
    "half a reference": {"ReferencedStudySequence": [Dataset()]},
    "an unknown alphabet": {"SpecificCharacterSet": "ISO_IR 100", "swap": (b"ISO_IR 100", b"KLINGON   ")},
    "a broken number": {"PatientWeight": "99.125", "swap": (b"99.125", b"heavy ")},
    "bytes of no alphabet": {"InstitutionName": "Sain X", "swap": (b"Sain X", b"Sain\x83X")},
    "another identifier of no kind": {"OtherPatientIDsSequence": [without_kind()], "PregnancyStatus": 17},
    "no time zone": {"TimezoneOffsetFromUTC": "CET"},
}


@pytest.mark.parametrize("elements", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_broken_in_a_source_is_not_repeated(
    write_image: Write, saved: Callable[[bytes], Path], elements: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"StudyInstanceUID": "1.2.840.99.1", "PatientID": "7", "PatientName": "A^B"} | elements
    swapped = said.pop("swap", (b"", b""))  # what pydicom cannot be made to write
    with monkeypatch.context() as without_checks:
        without_checks.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.IGNORE)
        path = write_image(np.zeros((4, 5), np.uint8), **said)
    path.write_bytes(path.read_bytes().replace(*swapped) if swapped[0] else path.read_bytes())
    source = source_of_files([path], {})
    for content in (sr_bytes(REPORT, source, MODEL), sc_bytes(np.zeros((4, 5, 3), np.uint8), source, MODEL)):
        data = read(content)
        assert (data.PatientID, str(data.PatientName)) == ("7", "A^B")
        assert dciodvfy_errors(saved(content)) == []


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientID", "x" * 65),
        ("PatientID", "one\\two"),
        ("PatientName", "x" * 80),
        ("StudyInstanceUID", "1.2.canary"),
        ("StudyInstanceUID", "9.2.840"),
        ("SeriesInstanceUID", "1.2.03"),
    ],
)
def test_what_names_the_patient_and_the_study_is_repeated_as_it_is_or_not_at_all(
    write_image: Write, keyword: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without_checks:
        without_checks.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.IGNORE)
        path = write_image(np.zeros((4, 5), np.uint8), **({"StudyInstanceUID": "1.2.840.99.1"} | {keyword: value}))
    with pytest.raises(ScanRejected) as caught:
        source_of_files([path], {})
    assert caught.value.rejection.code is Reason.TAG_INVALID
    assert keyword in str(caught.value)
    assert value not in str(caught.value)


def test_a_kind_of_object_that_nobody_knows_has_a_picture_but_no_report(write_image: Write) -> None:
    path = write_image(
        np.zeros((4, 5), np.uint8), StudyInstanceUID="1.2.840.99.1", SOPClassUID="1.3.46.670589.11.0.0.12.1"
    )
    source = source_of_files([path], {})
    with pytest.raises(ScanRejected) as caught:
        sr_bytes(REPORT, source, MODEL)
    assert caught.value.rejection.code is Reason.META_INVALID
    assert read(sc_bytes(np.zeros((4, 5, 3), np.uint8), source, MODEL)).Rows == 4


def test_words_that_dicom_cannot_hold_are_made_to_fit(series: Path, saved: Callable[[bytes], Path]) -> None:
    label = "left\\right\n" + "long " * 20
    report = Report((Group(label, own_code(label), (Number(VOLUME, 1e-12 / 3, CUBIC_CM),)),), label, (label * 20,))
    path = saved(sr_bytes(report, source_of_files(sorted(series.iterdir()), {}), Algorithm(label, label, "")))
    assert numbers_of(path)[0][2] == pytest.approx(1e-12 / 3, rel=1e-5)
    assert NOTICE in pydicom.dcmread(path).SeriesDescription
    assert dciodvfy_errors(path) == []


def test_a_source_without_a_study_has_no_result(write_image: Write) -> None:
    with pytest.raises(ScanRejected, match="StudyInstanceUID is missing"):
        source_of_files([write_image(np.zeros((4, 5), np.uint8))], {})


def test_names_in_other_alphabets_and_words_in_ours_stand_together(write_image: Write) -> None:
    """A Japanese name, kept as it is; with a structure that its alphabet cannot write, all is Unicode."""
    name = "Yamada^Tarou=山田^太郎"
    path = write_image(
        np.zeros((4, 5), np.uint8), StudyInstanceUID="1.2.840.99.1", SpecificCharacterSet=["", "ISO 2022 IR 87"],
        PatientName=name,
    )  # fmt: skip
    source = source_of_files([path], {})
    for label in ("Liver", "Fígado ∂"):
        report = Report((Group(label, own_code(label), (Number(VOLUME, 1.0, CUBIC_CM),)),))
        data = read(sr_bytes(report, source, MODEL))
        assert str(data.PatientName) == name
        assert label in [str(element.value) for element in data.iterall()]


def test_a_private_code_is_short_and_its_own() -> None:
    names = ["Liver", "left upper lobe", "left upper lobe of lung", "left_upper_lobe", "肝臓", "肝"]
    codes = [own_code(name) for name in names]
    assert codes[0].value == "Liver"
    assert len({code.value for code in codes}) == len(names)
    assert all(code.value.isascii() and 0 < len(code.value) <= 16 for code in codes)


BUNDLED = [  # of every kind that a model may be shown, from the scanners' own mistakes to retired transfer syntaxes
    *("CT_small", "MR_small", "RG1_UNCI", "US1_UNCR", "SC_rgb", "693_J2KI", "vlut_04", "mlut_18"),
    *("eCT_Supplemental", "emri_small", "JPEG2000", "JPEG-lossy", "rtdose", "examples_overlay", "explicit_VR-UN"),
]


@pytest.mark.parametrize("name", BUNDLED)
def test_dciodvfy_finds_no_error_in_a_report_on_the_bundled_images(
    bundled: Callable[[str], Path], saved: Callable[[bytes], Path], name: str
) -> None:
    path = saved(sr_bytes(REPORT, source_of_files([bundled(name)], {}), MODEL))
    assert dciodvfy_errors(path) == []
    assert len(numbers_of(path)) == 2


@pytest.mark.parametrize(
    "reference",
    ["dcm_qa_nih/In/20180918GE/mr_0004#time=3", "dcm_qa_enh/In/Siemens/XA10#time=2", "dcm_qa_ts/In/1.dcm"],
)
def test_dciodvfy_finds_no_error_in_a_report_on_scanners_series(
    medcnn_data: Path, saved: Callable[[bytes], Path], reference: str
) -> None:
    root = medcnn_data / "dicom"
    sources = source_files(root, reference)
    source = source_of_files(sources, dict(Reference.parse(reference).chosen))
    assert set(source.uids) <= {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in sources}
    path = saved(sr_bytes(Report((Group("P", own_code("P"), (Number(own_code("Q"), 0.5, NO_UNITS),)),)), source, MODEL))
    assert dciodvfy_errors(path) == []
    assert numbers_of(path) == [("P", "Q", 0.5)]
