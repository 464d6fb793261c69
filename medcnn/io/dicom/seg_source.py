"""The files that a scan was read from, as the sources of a result: each with its plane of the scan's grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from medcnn.geometry import Geometry
from medcnn.io.dicom.header import missing, read_file, reader_errors, text
from medcnn.io.dicom.plane import Place, place_in, plane_of_slice
from medcnn.io.dicom.slices import Slice, open_image, slices_of
from medcnn.io.dicom.split import select
from medcnn.io.dicom.stack import without_copies
from medcnn.scan import Reason, ScanRejected

_NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
_MAY_BE_EMPTY = (  # of type 2: every result has them, some sources lack them
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
_SHARED = ("PixelMeasuresSequence", "PlaneOrientationSequence")


@dataclass(frozen=True, eq=False)
class Source:
    """The planes of one scan, in the order of the grid.

    headers  one per plane, whole but for the pixels; or one enhanced object whose frames are the planes
    places   where each plane lies
    frames   of the enhanced object in its file, 0-based; None where there is none
    further  sources without a plane of their own here
    """

    headers: list[Dataset]
    places: list[Place]
    frames: tuple[int, ...] | None
    further: list[Dataset]

    @property
    def uids(self) -> tuple[str, ...]:
        """SOPInstanceUIDs of all the files."""
        return tuple(text(header, "SOPInstanceUID") for header in [*self.headers, *self.further])

    def first_plane(self) -> Source:
        """The same sources, of which only the first plane is pictured."""
        if self.frames is not None:
            chosen = _only_frames(self.headers[0], [0])
            return replace(self, headers=[chosen], places=self.places[:1], frames=self.frames[:1])
        return replace(self, headers=self.headers[:1], places=self.places[:1], further=self.headers[1:])


def source_of(paths: Sequence[Path], geometry: Geometry, chosen: Mapping[str, str]) -> Source:
    """GEOMETRY_MISMATCH where the slices are not the grid's planes, each once; META_INVALID without the UIDs needed.

    chosen  which part of the series, as in read_volume
    """
    slices = without_copies([one for path in sorted(paths) for one in slices_of(open_image(path))])
    if chosen:
        slices = select(slices, chosen)
    placed = sorted(
        ((place_in(geometry, plane_of_slice(one)), one) for one in slices),
        key=lambda pair: (pair[0].index, pair[1].name),
    )
    places = [place for place, _ in placed]
    _check_all(geometry, places)
    slices = [one for _, one in placed]
    if not any("PerFrameFunctionalGroupsSequence" in one.file.header for one in slices):
        headers = [_header(one) for one in slices]
        for place, header in zip(places, headers, strict=True):
            if not text(header, "SliceThickness"):  # where nothing is said, a plane is as thick as its step
                header.SliceThickness = f"{geometry.spacing_mm()[place.axis]:.6g}"
        return Source(headers, places, None, [])
    if (files := len({one.file.path for one in slices})) > 1:
        raise ScanRejected(
            Reason.NOT_A_VOLUME, f"the scan is spread over {files} files of several frames", "Write its result as NIfTI"
        )
    frames = tuple(one.frame for one in slices)
    return Source([_only_frames(_header(slices[0]), frames)], places, frames, [])


def _header(one: Slice) -> Dataset:
    """All of a source's header, with what every result says of patient and study, if only that it is not known."""
    header = read_file(one.file.path).header
    for keyword in _NEEDED:
        if not text(header, keyword):
            raise missing(keyword)
    for keyword in _MAY_BE_EMPTY:
        if keyword not in header:
            setattr(header, keyword, "")
    return header


def _only_frames(header: Dataset, order: Sequence[int]) -> Dataset:
    """The header of an object of these frames alone, in this order.

    What they all share stands in the shared group, where highdicom looks for it; scanners repeat it in each frame.
    """
    chosen, shared = Dataset(), Dataset()
    with reader_errors():
        chosen.update(header)
        groups = header.PerFrameFunctionalGroupsSequence
        chosen.PerFrameFunctionalGroupsSequence = Items([groups[frame] for frame in order])
        shared.update((header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0])
        for macro in _SHARED:
            if macro not in shared and macro in groups[order[0]]:
                setattr(shared, macro, groups[order[0]][macro].value)
        chosen.SharedFunctionalGroupsSequence = Items([shared])
    chosen.NumberOfFrames = len(order)
    return chosen


def _check_all(geometry: Geometry, places: Sequence[Place]) -> None:
    """Places in order: every plane of the grid along one axis, once."""
    if len({(place.axis, place.rows_axis, place.rows_mirrored, place.columns_mirrored) for place in places}) > 1:
        raise ScanRejected(
            Reason.ORIENTATION_INCONSISTENT, "the sources lie in several orientations", "Name the files of one volume"
        )
    repeated = len(places) - len({place.index for place in places})
    if repeated:
        raise ScanRejected(
            Reason.SLICE_DUPLICATE,
            f"{repeated} planes of the scan have a second source",
            "Name the files of one volume alone, or choose one as for reading it",
        )
    wanted = geometry.shape_vox[places[0].axis] if places else 0
    if not places or len(places) != wanted:
        raise ScanRejected(
            Reason.GEOMETRY_MISMATCH,
            f"{len(places)} sources for the {wanted} planes of the scan",
            "Name all files of the scan",
        )
