"""A label map written as a DICOM segmentation of the series it was predicted on.

The object belongs to the patient's study and carries its identifiers, as DICOM requires of a result. Its UIDs follow
from the sources, the model and the labels alone, so that the same result written again is the same object.
"""

from __future__ import annotations

import hashlib
import io
import logging
import uuid
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset

from medcnn.geometry import Geometry
from medcnn.io.dicom.header import reader_errors
from medcnn.io.dicom.seg_source import Source, source_of
from medcnn.io.dicom.segment import Code, Segment
from medcnn.io.read import rejecting
from medcnn.scan import Reason, ScanRejected
from medcnn.whole_file import write_whole

logging.getLogger("highdicom").setLevel(logging.CRITICAL)  # as pydicom's: what matters is a Rejection here

Labels = npt.NDArray[np.integer[Any]]

NOTICE = "FOR RESEARCH USE ONLY"
SERIES_NUMBER = 9001  # far from the numbers that scanners give
_LONGEST = 64  # characters of a DICOM long string


@dataclass(frozen=True)
class Algorithm:
    """What made the labels. digest: of the model's weights, in hex."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True)
class Form:
    """How a segmentation is stored and described.

    kind     BINARY, which every archive takes, or LABELMAP, smaller and newer
    created  stands in the object; give one time to a whole run and writing it again gives the same bytes
    """

    kind: Literal["BINARY", "LABELMAP"] = "BINARY"
    description: str = "Segmentation"
    series_number: int = SERIES_NUMBER
    created: datetime | None = None


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

    labels    (I, J, K) whole numbers on geometry's grid, 0 is background, the others are segments' numbers
    geometry  as the scan was read; each source finds its plane in it by its own position
    sources   the scan's files, in any order: each plane of the grid once
    chosen    which part of the series the scan is, as in read_volume
    Raises ScanRejected: GEOMETRY_MISMATCH where the sources are not the grid's planes, LABEL_VALUES.
    """
    form = form or Form()
    numbers = _check_labels(labels, geometry, segments, form)
    source = source_of(sources, geometry, chosen or {})
    if not labels.any():
        source = source.first_plane()  # an object needs a frame; one empty one says it all
    planes: Labels = np.stack([place.of(labels) for place in source.places]).astype(
        np.uint8 if max(numbers) < 256 else np.uint16
    )
    key = _key(source, labels, geometry, segments, algorithm, form)
    with reader_errors(), warnings.catch_warnings():  # highdicom checks what the sources say of patient and study,
        warnings.simplefilter("ignore")  # and its warnings quote it
        written = _segmentation(planes, source, segments, algorithm, form, key)
        _restore_frame_numbers(written, source)
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, written, enforce_file_format=True)
    return buffer.getvalue()


def _check_labels(labels: Labels, geometry: Geometry, segments: Sequence[Segment], form: Form) -> list[int]:
    """The segments' numbers, ascending."""
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
    used = {int(value) for value in np.unique(labels)} - {0}
    if unknown := sorted(used - set(numbers)):
        raise _values(f"the labels hold {', '.join(map(str, unknown[:5]))}, which no segment describes")
    return numbers


def _segmentation(
    planes: Labels, source: Source, segments: Sequence[Segment], algorithm: Algorithm, form: Form, key: bytes
) -> Dataset:
    from highdicom.seg import Segmentation

    created = form.created or datetime.now()
    written: Dataset = Segmentation(
        source_images=source.headers,
        further_source_images=source.further or None,
        pixel_array=planes,
        segmentation_type=form.kind,
        segment_descriptions=_descriptions(segments, algorithm),
        series_instance_uid=_uid(key, "series"),
        series_number=form.series_number,
        sop_instance_uid=_uid(key, "instance"),
        instance_number=1,
        manufacturer="medcnn",
        manufacturer_model_name=algorithm.name[:_LONGEST],
        software_versions=algorithm.version[:_LONGEST],
        device_serial_number=algorithm.digest[:_LONGEST] or "none",
        content_label="SEGMENTATION",
        content_description=_noticed(form.description),
        series_description=_noticed(form.description),
        content_date=created.date(),
        content_time=created.time().replace(microsecond=0),
    )
    written.BurnedInAnnotation = "NO"
    written.InstanceCreationDate, written.InstanceCreationTime = written.ContentDate, written.ContentTime
    written.ContributingEquipmentSequence[-1].ContributionDateTime = created.strftime("%Y%m%d%H%M%S")  # highdicom's own
    organization = _uid(key, "dimensions")
    for item in [*written.DimensionOrganizationSequence, *written.DimensionIndexSequence]:
        item.DimensionOrganizationUID = organization
    return written


def _descriptions(segments: Sequence[Segment], algorithm: Algorithm) -> list[Any]:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription

    identification = AlgorithmIdentificationSequence(
        name=algorithm.name[:_LONGEST],
        family=_concept(Code("DCM", "123110", "Artificial Intelligence")),
        version=algorithm.version[:_LONGEST],
        source="medcnn",
        parameters={"model": algorithm.digest},
    )
    return [
        SegmentDescription(
            segment_number=segment.number,
            segment_label=segment.label[:_LONGEST],
            segmented_property_category=_concept(segment.category),
            segmented_property_type=_concept(segment.code),
            algorithm_type=segment.algorithm,
            algorithm_identification=None if segment.algorithm == "MANUAL" else identification,
        )
        for segment in sorted(segments, key=lambda segment: segment.number)
    ]


def _concept(code: Code) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning[:_LONGEST])


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
    """A digest of all that makes this object what it is; not of when it was made."""
    digest = hashlib.sha256()
    said = (sorted(source.uids), source.frames, geometry.shape_vox, tuple(segments), algorithm)
    said_of_form = (form.kind, form.description, form.series_number)
    digest.update(repr((said, said_of_form)).encode())
    digest.update(np.round(geometry.affine, 6).tobytes())
    digest.update(np.ascontiguousarray(labels, dtype="<i4").tobytes())
    return digest.digest()


def _uid(key: bytes, what: str) -> str:
    """PS3.5 B.2: 2.25 and a UUID as a whole number."""
    return f"2.25.{uuid.UUID(bytes=hashlib.sha256(key + what.encode()).digest()[:16], version=5).int}"


def _noticed(description: str) -> str:
    return f"{description[: _LONGEST - len(NOTICE) - 2]}, {NOTICE}" if description else NOTICE


def _values(found: str) -> ScanRejected:
    return ScanRejected(Reason.LABEL_VALUES, found, "Describe each label value by one segment")
