"""The frames of a DICOM segmentation: its sizes checked first, then each frame's place on a grid, and its masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset

from medcnn.geometry import Geometry
from medcnn.io.dicom.decode import PixelFormat, check_size, decode_frame, pixel_format
from medcnn.io.dicom.elements import walk_file
from medcnn.io.dicom.header import DicomFile, first_item, integer, missing, read_file, reader_errors, text
from medcnn.io.dicom.plane import Place, place_in, plane_of
from medcnn.io.dicom.segment import segments_of
from medcnn.scan import Reason, ScanRejected

Masks = npt.NDArray[np.bool_]
Kind = Literal["BINARY", "FRACTIONAL", "LABELMAP"]

SEG_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
HALF = 0.5  # of MaximumFractionalValue: from here on a voxel of a FRACTIONAL segmentation belongs to its segment


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame on the grid. segment is None in a LABELMAP, whose pixels say it themselves."""

    index: int
    place: Place
    segment: int | None


@dataclass(frozen=True, eq=False)
class Segmentation:
    """One opened segmentation, its sizes checked."""

    dataset: FileDataset
    form: PixelFormat
    kind: Kind
    numbers: tuple[int, ...]


def seg_file(path: Path) -> DicomFile:
    """A file that is a segmentation for sure."""
    try:
        file = read_file(path)
    except ScanRejected as rejected:
        if rejected.rejection.code is Reason.NOT_AN_IMAGE:  # all that a damaged segmentation is to who seeks images
            walk_file(path)  # says what is damaged
        raise
    if text(file.header, "SOPClassUID") not in SEG_CLASSES:
        raise ScanRejected(
            Reason.META_INVALID, "the file is no DICOM segmentation", "Name a SEG object, or a mask as NIfTI"
        )
    return file


def open_seg(path: Path) -> Segmentation:
    """Sizes are compared with the bytes that are there before memory is taken for anything."""
    dataset = seg_file(path).image()
    kind = text(dataset, "SegmentationType").upper()
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise ScanRejected(Reason.META_INVALID, "SegmentationType is none of DICOM's", "Export the segmentation again")
    if "PixelData" not in dataset:
        raise ScanRejected(
            Reason.PIXEL_DATA_TRUNCATED, "the file ends before its pixel data", "Copy or export the file again"
        )
    form = pixel_format(dataset)
    with reader_errors():
        described = len(dataset.get("PerFrameFunctionalGroupsSequence") or [])
    if form.samples != 1 or form.signed or (kind == "BINARY") != (form.bits_allocated == 1):
        raise ScanRejected(
            Reason.META_INVALID,
            f"{form.bits_allocated} bits and {form.samples} sample(s) per pixel make no {kind} segmentation",
            "Export the segmentation again",
        )
    if described != form.frames:
        raise ScanRejected(
            Reason.SIZE_IMPLAUSIBLE if form.frames > described else Reason.META_INVALID,
            f"{form.frames} frames, of which {described} say where they lie",
            "Export the segmentation again",
        )
    check_size(dataset, form)
    numbers = tuple(segment.number for segment in segments_of(dataset))
    return Segmentation(dataset, form, cast(Kind, kind), numbers)


def _is_packed(form: PixelFormat) -> bool:
    """Frames of single bits follow each other without a gap, so that one may begin inside a byte."""
    return form.bits_allocated == 1 and not form.syntax.is_encapsulated and form.syntax.is_little_endian


def frames_on(opened: Segmentation, geometry: Geometry) -> Iterator[Frame]:
    """Each frame with its place; two of one segment in one plane contradict each other."""
    size = opened.form.rows, opened.form.columns
    taken: set[tuple[int | None, int, int]] = set()
    for index in range(opened.form.frames):
        place = place_in(geometry, plane_of(opened.dataset, index, size))
        segment = None if opened.kind == "LABELMAP" else _segment_of(opened.dataset, index)
        key = segment, place.axis, place.index
        if key in taken:
            raise ScanRejected(
                Reason.SLICE_DUPLICATE,
                f"segment {segment or 'map'} has two frames in one plane",
                "Export the segmentation again, each segment once",
            )
        taken.add(key)
        yield Frame(index, place, segment)


def _segment_of(dataset: Dataset, index: int) -> int:
    with reader_errors():
        groups = [
            dataset.PerFrameFunctionalGroupsSequence[index],
            *(dataset.get("SharedFunctionalGroupsSequence") or []),
        ]
    for group in groups:
        if (item := first_item(group, "SegmentIdentificationSequence")) is not None:
            return integer(item, "ReferencedSegmentNumber")
    raise missing("SegmentIdentificationSequence")


def masks_of(opened: Segmentation, frame: Frame, wanted: Sequence[int]) -> Iterator[tuple[int, Masks]]:
    """The wanted segments of one frame that have pixels there: (number, (rows, columns))."""
    if frame.segment is not None and frame.segment not in opened.numbers:
        raise _undescribed(frame.segment)
    if frame.segment is not None and frame.segment not in wanted:
        return
    stored = _stored(opened, frame.index)
    if frame.segment is not None:
        mask = stored > 0 if opened.kind == "BINARY" else stored >= HALF * _greatest(opened.dataset)
        if mask.any():
            yield frame.segment, mask
        return
    background = {0, integer(opened.dataset, "PixelPaddingValue", 0)}
    for number in sorted(set(np.flatnonzero(np.bincount(stored.ravel())).tolist()) - background):
        if number not in opened.numbers:
            raise _undescribed(number)
        if number in wanted:
            yield number, stored == number


def _stored(opened: Segmentation, index: int) -> npt.NDArray[Any]:
    form = opened.form
    if not _is_packed(form):
        return decode_frame(opened.dataset, form, index)
    count = form.rows * form.columns
    first, inside = divmod(index * count, 8)
    packed = np.frombuffer(opened.dataset.PixelData, np.uint8, count=(inside + count + 7) // 8, offset=first)
    bits = np.unpackbits(packed, bitorder="little")[inside : inside + count]
    return bits.reshape(form.rows, form.columns)


def _greatest(dataset: Dataset) -> int:
    greatest = integer(dataset, "MaximumFractionalValue")
    if greatest <= 0:
        raise ScanRejected(
            Reason.META_INVALID, "MaximumFractionalValue is not positive", "Export the segmentation again"
        )
    return greatest


def _undescribed(number: int) -> ScanRejected:
    return ScanRejected(
        Reason.LABEL_VALUES, f"segment {number} is used but not described", "Export the segmentation again"
    )
