"""What a DICOM segmentation outlines: its segments, each with a number, a name and a code."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from medcnn.io.dicom.header import first_item, integer, missing, reader_errors, text
from medcnn.scan import Reason, ScanRejected


@dataclass(frozen=True)
class Code:
    """A term of a coding scheme: ("SCT", "10200004", "Liver")."""

    scheme: str
    value: str
    meaning: str


ANATOMY = Code("SCT", "123037004", "Anatomical Structure")


@dataclass(frozen=True)
class Segment:
    """One thing that a segmentation outlines.

    number     its value in a label map, from 1
    code       what it is; category: of what kind that is
    algorithm  AUTOMATIC, SEMIAUTOMATIC or MANUAL
    """

    number: int
    label: str
    code: Code
    category: Code = ANATOMY
    algorithm: str = "AUTOMATIC"


def segments_of(dataset: Dataset) -> tuple[Segment, ...]:
    with reader_errors():
        items = list(dataset.get("SegmentSequence") or [])
    found = sorted((_segment(item) for item in items), key=lambda segment: segment.number)
    found = [segment for segment in found if segment.number]  # a LABELMAP may describe its background
    if not found:
        raise missing("SegmentSequence")
    if len({segment.number for segment in found}) < len(found) or found[0].number < 0:
        raise ScanRejected(
            Reason.META_INVALID, "two segments share one number, or one is negative", "Export the segmentation again"
        )
    return tuple(found)


def _segment(item: Dataset) -> Segment:
    return Segment(
        number=integer(item, "SegmentNumber"),
        label=text(item, "SegmentLabel"),
        code=_code(first_item(item, "SegmentedPropertyTypeCodeSequence")),
        category=_code(first_item(item, "SegmentedPropertyCategoryCodeSequence")),
        algorithm=text(item, "SegmentAlgorithmType"),
    )


def _code(item: Dataset | None) -> Code:
    """Empty where the file names none; long values and addresses have elements of their own."""
    if item is None:
        return Code("", "", "")
    value = text(item, "CodeValue") or text(item, "LongCodeValue") or text(item, "URNCodeValue")
    return Code(text(item, "CodingSchemeDesignator"), value, text(item, "CodeMeaning"))
