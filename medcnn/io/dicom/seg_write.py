"""A label map written as a DICOM segmentation of the series it was predicted on.

The object belongs to the patient's study and carries its identifiers, as DICOM requires of a result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from medcnn.geometry import Geometry
from medcnn.io.dicom.header import text
from medcnn.io.dicom.result_object import (
    NOTICE,
    SEG_SERIES,
    Algorithm,
    common,
    concept,
    dicom_bytes,
    key_of,
    line,
    noticed,
    quietly,
    schemes,
    settle,
    uid,
)
from medcnn.io.dicom.seg_source import source_of
from medcnn.io.dicom.segment import Code, Segment
from medcnn.io.dicom.source import Source
from medcnn.io.read import rejecting
from medcnn.scan import Reason, ScanRejected
from medcnn.whole_file import write_whole

__all__ = ["NOTICE", "Algorithm", "Form", "SegObject", "seg_bytes", "seg_of", "write_seg"]

Labels = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Form:
    """How a segmentation is stored and described.

    kind     BINARY, which every archive takes, or LABELMAP: newer, one frame a plane however many segments there are
    created  what the object is dated by; None: the newest time that its sources give
    """

    kind: Literal["BINARY", "LABELMAP"] = "BINARY"
    description: str = "Segmentation"
    series_number: int = SEG_SERIES
    created: datetime | None = None


@dataclass(frozen=True, eq=False)
class SegObject:
    """A segmentation as it is written, and what a report needs to refer to it.

    found  the segments that have a voxel
    """

    content: bytes
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    found: frozenset[int]


def write_seg(
    path: Path,
    labels: Labels,
    geometry: Geometry,
    sources: Sequence[Path],
    segments: Sequence[Segment],
    algorithm: Algorithm,
    *,
    form: Form | None = None,
    chosen: Mapping[str, str] | None = None,
) -> None:
    """seg_bytes into a file that is whole or not there. Raises ScanRejected, and OSError where the disk refuses."""
    write_whole(path, seg_bytes(labels, geometry, sources, segments, algorithm, form=form, chosen=chosen))


@rejecting
def seg_bytes(
    labels: Labels,
    geometry: Geometry,
    sources: Sequence[Path],
    segments: Sequence[Segment],
    algorithm: Algorithm,
    *,
    form: Form | None = None,
    chosen: Mapping[str, str] | None = None,
) -> bytes:
    """A DICOM segmentation of the scan that the sources make.

    sources   the scan's files, in any order: each plane of the grid once
    chosen    which part of the series the scan is, as in read_volume
    The others as in seg_of. Raises ScanRejected, GEOMETRY_MISMATCH where the sources are not the grid's planes.
    """
    source = source_of(sources, geometry, chosen or {})
    return seg_of(labels, geometry, source, segments, algorithm, form=form).content


@rejecting
def seg_of(
    labels: Labels,
    geometry: Geometry,
    source: Source,
    segments: Sequence[Segment],
    algorithm: Algorithm,
    *,
    form: Form | None = None,
) -> SegObject:
    """A DICOM segmentation.

    labels    (I, J, K) whole numbers on geometry's grid, 0 is background, the others are segments' numbers
    geometry  as the scan was read
    source    source_of(...) with the same geometry: each source with its plane of the grid
    Raises ScanRejected: GEOMETRY_MISMATCH, LABEL_VALUES, TAG_INVALID.
    """
    form = form or Form()
    numbers, found = _check_labels(labels, geometry, segments, form)
    if form.created is not None:
        source = replace(source, moment=form.created.replace(microsecond=0))
    key = _key(source, labels, geometry, segments, algorithm, form)
    if not found:
        source = source.first_plane()  # an object needs a frame; one empty one says it all
    dtype = np.uint8 if max(numbers) < 256 else np.uint16
    with quietly():
        written = _segmentation(_planes(labels, source, dtype), source, segments, algorithm, form, key)
        _restore_frame_numbers(written, source)
        content = dicom_bytes(written)
    own_class, instance, series = (text(written, f"{of}UID") for of in ("SOPClass", "SOPInstance", "SeriesInstance"))
    return SegObject(content, own_class, instance, series, found)


def _check_labels(
    labels: Labels, geometry: Geometry, segments: Sequence[Segment], form: Form
) -> tuple[list[int], frozenset[int]]:
    """The segments' numbers, ascending, and those that have a voxel."""
    if labels.shape != geometry.shape_vox:
        raise ScanRejected(
            Reason.GEOMETRY_MISMATCH,
            f"labels of {labels.shape} voxels do not fit a scan of {geometry.shape_vox}",
            "Restore the labels to the scan's grid first",
        )
    numbers = sorted(segment.number for segment in segments)
    consecutive = numbers == list(range(1, len(numbers) + 1))
    if not numbers or len(set(numbers)) < len(numbers) or numbers[0] < 1 or numbers[-1] > 65535:
        raise _values("segments need numbers of their own from 1 to 65535")
    if form.kind == "BINARY" and not consecutive:
        raise _values("the segments of a BINARY segmentation are numbered 1, 2, 3 ... without a gap")
    used = {int(value) for plane in labels for value in np.unique(plane)} - {0}  # of all at once: copies of a large map
    if unknown := sorted(used - set(numbers)):
        raise _values(f"the labels hold {', '.join(map(str, unknown[:5]))}, which no segment describes")
    return numbers, frozenset(used)


def _planes(labels: Labels, source: Source, dtype: type[np.unsignedinteger[Any]]) -> Labels:
    """(planes, rows, columns), in the order of the sources."""
    planes: Labels = np.empty((len(source.places), *source.places[0].of(labels).shape), dtype)
    for plane, place in zip(planes, source.places, strict=True):
        plane[...] = place.of(labels)
    return planes


def _segmentation(
    planes: Labels, source: Source, segments: Sequence[Segment], algorithm: Algorithm, form: Form, key: bytes
) -> Dataset:
    from highdicom.seg import Segmentation

    words = " ".join([form.description, algorithm.name, *(segment.label for segment in segments)])
    written: Dataset = Segmentation(
        source_images=source.headers,
        further_source_images=source.further or None,
        pixel_array=planes,
        segmentation_type=form.kind,
        segment_descriptions=_descriptions(segments, algorithm),
        series_number=form.series_number,
        content_label="SEGMENTATION",
        content_description=noticed(form.description),
        coding_schemes=schemes([segment.code for segment in segments]),
        **common(source, algorithm, key, form.description),
    )
    written.BurnedInAnnotation = "NO"
    settle(written, source, words)
    organization = uid(key, "dimensions")
    for item in [*written.DimensionOrganizationSequence, *written.DimensionIndexSequence]:
        item.DimensionOrganizationUID = organization
    return written


def _descriptions(segments: Sequence[Segment], algorithm: Algorithm) -> list[Any]:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription

    identification = AlgorithmIdentificationSequence(
        name=line(algorithm.name),
        family=concept(Code("DCM", "123110", "Artificial Intelligence")),
        version=line(algorithm.version),
        source="medcnn",
        parameters={"model": algorithm.digest},
    )
    return [
        SegmentDescription(
            segment_number=segment.number,
            segment_label=line(segment.label),
            segmented_property_category=concept(segment.category),
            segmented_property_type=concept(segment.code),
            algorithm_type=segment.algorithm,
            algorithm_identification=None if segment.algorithm == "MANUAL" else identification,
        )
        for segment in sorted(segments, key=lambda segment: segment.number)
    ]


def _restore_frame_numbers(written: Dataset, source: Source) -> None:
    """A scan that is some frames of a file was handed on as a file of these alone: refer to the true numbers."""
    if source.frames is None:
        return
    groups = [*written.PerFrameFunctionalGroupsSequence, *(written.get("SharedFunctionalGroupsSequence") or [])]
    items = {  # by identity: the segments of one plane share theirs
        id(item): item
        for group in groups
        for derivation in group.get("DerivationImageSequence") or []
        for item in derivation.SourceImageSequence
        if "ReferencedFrameNumber" in item
    }
    for item in items.values():
        item.ReferencedFrameNumber = source.frames[int(item.ReferencedFrameNumber) - 1] + 1


def _key(
    source: Source,
    labels: Labels,
    geometry: Geometry,
    segments: Sequence[Segment],
    algorithm: Algorithm,
    form: Form,
) -> bytes:
    content = hashlib.sha256(np.round(geometry.affine, 6).tobytes())
    for plane in labels:  # plane by plane: a copy of a large map in four bytes would cost more than all else
        content.update(np.ascontiguousarray(plane, dtype="<i4").tobytes())
    described = sorted(segments, key=lambda segment: segment.number)
    said_of_form = form.kind, form.description, form.series_number
    return key_of(source, "SEG", geometry.shape_vox, described, algorithm, said_of_form, content.hexdigest())


def _values(found: str) -> ScanRejected:
    return ScanRejected(Reason.LABEL_VALUES, found, "Describe each label value by one segment")
