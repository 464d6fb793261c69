"""What was measured or decided, as a Comprehensive 3D SR after template TID 1500 (PS3.16): a table that archives take.

Nothing here knows where the numbers come from. Each group is one thing that was looked for, with its code, its numbers
and, where it was outlined, the segment of the DICOM segmentation that shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from medcnn.io.dicom.header import integer, text
from medcnn.io.dicom.result_object import (
    NOTICE,
    SR_SERIES,
    Algorithm,
    common,
    concept,
    dicom_bytes,
    key_of,
    quietly,
    schemes,
    settle,
    uid,
)
from medcnn.io.dicom.segment import Code
from medcnn.io.dicom.source import Source
from medcnn.io.read import rejecting
from medcnn.scan import Reason, ScanRejected

VOLUME = Code("SCT", "118565006", "Volume")
CUBIC_CM = Code("UCUM", "cm3", "cubic centimeter")
NO_UNITS = Code("UCUM", "1", "no units")
YES, NO = Code("SCT", "373066001", "Yes"), Code("SCT", "373067005", "No")
_PROCEDURES = {  # what the images come from, SNOMED CT
    "CT": Code("SCT", "77477000", "Computed tomography"),
    "MR": Code("SCT", "113091000", "Magnetic resonance imaging"),
    "PT": Code("SCT", "82918005", "Positron emission tomography"),
    "MG": Code("SCT", "71651007", "Mammography"),
    "US": Code("SCT", "16310003", "Ultrasonography"),
    **dict.fromkeys(("CR", "DX", "DR", "RG"), Code("SCT", "168537006", "Plain radiography")),
}
_ANY_PROCEDURE = Code("SCT", "363679005", "Imaging")
_EVALUATIONS = Code("UMLS", "C0034375", "Qualitative Evaluations")  # TID 1500, row 12
_COMMENT = Code("DCM", "121106", "Comment")
_SOURCE = Code("SCT", "260753009", "Source")
_DIGITS = 6  # significant ones; more would be of no use, and DICOM's decimal strings hold 16 characters


@dataclass(frozen=True)
class Number:
    """One measured number: what of, how much, in what."""

    name: Code
    value: float
    unit: Code


@dataclass(frozen=True)
class SegmentReference:
    """One segment of a segmentation that was written."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    number: int


@dataclass(frozen=True)
class Group:
    """One thing that was looked for.

    label        its name
    finding      its code
    evaluations  coded questions with coded answers
    segment      where it is outlined; None where it is not: the group speaks of the images as a whole then
    """

    label: str
    finding: Code
    numbers: tuple[Number, ...] = ()
    evaluations: tuple[tuple[Code, Code], ...] = ()
    segment: SegmentReference | None = None
    category: Code | None = None


@dataclass(frozen=True)
class Report:
    """All that is said of one scan.

    notes        what a person should read too, in words; the notice that it is for research stands before them
    is_complete  False where the answer is withheld
    """

    groups: tuple[Group, ...]
    description: str = "Measurements"
    notes: tuple[str, ...] = ()
    is_complete: bool = True


@rejecting
def sr_bytes(report: Report, source: Source, algorithm: Algorithm) -> bytes:
    """A report in the study of the source. Raises ScanRejected: META_INVALID, TAG_INVALID."""
    if not report.groups:
        raise ValueError("a report needs at least one group")
    key = key_of(source, "SR", report, algorithm)
    with quietly():
        return dicom_bytes(_document(report, source, algorithm, key))


def _document(report: Report, source: Source, algorithm: Algorithm, key: bytes) -> Dataset:
    from highdicom.sr import Comprehensive3DSR

    codes = [code for group in report.groups for code in _codes(group)]
    words = " ".join(
        [report.description, algorithm.name, *report.notes, *(group.label for group in report.groups)]
        + [code.meaning for code in codes]
    )
    content = _content(report, source, algorithm, key)
    try:
        written: Dataset = Comprehensive3DSR(
            evidence=[*source.all_headers, *_segmentations(report, source)],
            content=content,
            series_number=SR_SERIES,
            is_complete=report.is_complete,
            is_final=False,
            is_verified=False,  # nobody has looked at it
            coding_schemes=schemes(codes),
            **common(source, algorithm, key, report.description),
        )
    except KeyError:  # highdicom copies what patient and study say by the source's kind of object, and knows no other
        raise ScanRejected(
            Reason.META_INVALID,
            "the scan is of a private or retired kind of DICOM object, which a report cannot be written on",
            "Export the study with current kinds of object; tables and pictures are not affected",
        ) from None
    settle(written, source, words)
    return written


def _codes(group: Group) -> list[Code]:
    return [
        group.finding,
        *(number.name for number in group.numbers),
        *(code for pair in group.evaluations for code in pair),
    ]


def _segmentations(report: Report, source: Source) -> list[Dataset]:
    """What the report refers to beside the images, as highdicom takes evidence."""
    segments = {group.segment.sop_instance_uid: group.segment for group in report.groups if group.segment is not None}
    evidence = []
    for segment in segments.values():
        one = Dataset()
        one.StudyInstanceUID = source.headers[0].StudyInstanceUID
        one.SeriesInstanceUID = segment.series_instance_uid
        one.SOPInstanceUID, one.SOPClassUID = segment.sop_instance_uid, segment.sop_class_uid
        evidence.append(one)
    return evidence


def _content(report: Report, source: Source, algorithm: Algorithm, key: bytes) -> Dataset:
    """The tree, from its root."""
    from highdicom.sr import (
        DeviceObserverIdentifyingAttributes,
        MeasurementReport,
        ObservationContext,
        ObserverContext,
    )

    device = DeviceObserverIdentifyingAttributes(
        uid=uid(repr(algorithm).encode(), "device"),  # the model itself: the same in every report
        name="medcnn",
        manufacturer_name="medcnn",
        model_name=algorithm.name,
        serial_number=algorithm.digest or None,
    )
    observer = ObserverContext(concept(Code("DCM", "121007", "Device")), device)
    tree = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=concept(_PROCEDURES.get(text(source.headers[0], "Modality").upper(), _ANY_PROCEDURE)),
        imaging_measurements=[
            _group(group, source, algorithm, uid(key, f"tracking {n}")) for n, group in enumerate(report.groups)
        ],
    )
    root: Any = tree[0]
    measurements = root.ContentSequence.pop()
    for item in (_library(source), measurements, _notes(report)):
        root.ContentSequence.append(item)
    return root  # type: ignore[no-any-return]


def _group(group: Group, source: Source, algorithm: Algorithm, tracking_uid: str) -> Any:
    from highdicom import sr

    said: dict[str, Any] = {
        "tracking_identifier": sr.TrackingIdentifier(tracking_uid, group.label),
        "finding_type": concept(group.finding),
        "finding_category": None if group.category is None else concept(group.category),
        "algorithm_id": sr.AlgorithmIdentification(
            algorithm.name,
            algorithm.version,
            [f"model={algorithm.digest}"],
            concept(Code("DCM", "123110", "Artificial Intelligence")),
            "medcnn",
        ),
        "measurements": [
            sr.Measurement(concept(one.name), float(f"{one.value:.{_DIGITS}g}"), concept(one.unit))
            for one in group.numbers
        ],
        "qualitative_evaluations": [
            sr.QualitativeEvaluation(concept(name), concept(value)) for name, value in group.evaluations
        ],
    }
    if group.segment is None:  # of all the images in the library, as TID 1501 says where none is named
        return sr.MeasurementsAndQualitativeEvaluations(**said)
    referenced = sr.ReferencedSegment(
        group.segment.sop_class_uid,
        group.segment.sop_instance_uid,
        group.segment.number,
        source_series=sr.SourceSeriesForSegmentation(source.headers[0].SeriesInstanceUID),
    )
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=referenced, **said)


def _library(source: Source) -> Any:
    """TID 1600: the images that were looked at; the frames where they are not all of their file's."""
    from highdicom import sr

    group = _container(Code("DCM", "126200", "Image Library Group"))
    for header in source.all_headers:
        frames = None if source.frames is None else [frame + 1 for frame in source.frames]
        whole = frames is None or len(frames) == integer(header, "NumberOfFrames", 1) == 1
        group.ContentSequence.append(
            sr.ImageContentItem(
                concept(_SOURCE),
                header.SOPClassUID,
                header.SOPInstanceUID,
                referenced_frame_numbers=None if whole else frames,
                relationship_type="CONTAINS",
            )
        )
    library = _container(Code("DCM", "111028", "Image Library"))
    library.ContentSequence.append(group)
    return library


def _notes(report: Report) -> Any:
    """TID 1500, rows 12 to 14."""
    from highdicom import sr

    container = _container(_EVALUATIONS)
    for note in (NOTICE, *report.notes):
        container.ContentSequence.append(sr.TextContentItem(concept(_COMMENT), note, "CONTAINS"))
    return container


def _container(name: Code) -> Any:
    from highdicom import sr

    container = sr.ContainerContentItem(concept(name), relationship_type="CONTAINS")
    container.ContentSequence = sr.ContentSequence()
    return container
