"""The files that a scan was read from, as the sources of a result: their headers, sound enough to be repeated."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import Tag

from medcnn.io.dicom.header import DicomFile, check_is_image, missing, read_file, reader_errors, text
from medcnn.io.dicom.plane import Place
from medcnn.io.dicom.slices import slices_of
from medcnn.io.dicom.sound import sound
from medcnn.io.dicom.split import select
from medcnn.io.dicom.stack import without_copies
from medcnn.io.read import rejecting

UNKNOWN_MOMENT = datetime(1970, 1, 1)
_MOMENTS = (  # of the image before those of its series and study
    *(("ContentDate", "ContentTime"), ("AcquisitionDate", "AcquisitionTime")),
    *(("SeriesDate", "SeriesTime"), ("StudyDate", "StudyTime")),
)
_NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_OF_A_PLANE = frozenset(  # all that is asked of a source beyond the first, which speaks for patient and study
    int(Tag(keyword))
    for keyword in (
        *(*_NEEDED, "FrameOfReferenceUID", "Modality", "Rows", "Columns", "NumberOfFrames"),
        *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
        *(keyword for pair in _MOMENTS for keyword in pair),
    )
)
_SHARED = ("PixelMeasuresSequence", "PlaneOrientationSequence")


@dataclass(frozen=True, eq=False)
class Source:
    """What a result was made from.

    headers  without pixels. Of a volume for its segmentation: one per plane in the order of the grid, or one enhanced
             object whose frames are the planes. The first is whole, the others as far as results ask for them
    places   where each plane lies; empty where a result needs no planes
    frames   of the only file, 0-based; None where it is taken whole
    further  sources without a plane of their own here
    moment   the newest time that the sources give, without its fractions of a second: what a result is dated by
    """

    headers: list[Dataset]
    places: list[Place]
    frames: tuple[int, ...] | None
    further: list[Dataset]
    moment: datetime = UNKNOWN_MOMENT

    @property
    def uids(self) -> tuple[str, ...]:
        """SOPInstanceUIDs of all the files."""
        return tuple(text(header, "SOPInstanceUID") for header in self.all_headers)

    @property
    def all_headers(self) -> list[Dataset]:
        """One per file."""
        return [*self.headers, *self.further]

    def first_plane(self) -> Source:
        """The same sources, of which only the first plane is pictured."""
        if self.frames is not None:
            chosen = only_frames(self.headers[0], [0])
            return replace(self, headers=[chosen], places=self.places[:1], frames=self.frames[:1])
        return replace(self, headers=self.headers[:1], places=self.places[:1], further=self.headers[1:])


@rejecting
def source_of_files(paths: Sequence[Path], chosen: Mapping[str, str], frame: int | None = None) -> Source:
    """For results that need no planes: reports and pictures. Raises ScanRejected: META_INVALID, TAG_INVALID.

    chosen  which part of a series the scan is, as in read_volume
    frame   the only one of the file that was looked at, 0-based
    """
    files = [open_whole(path) for path in sorted(paths)]
    frames: tuple[int, ...] | None
    if not chosen:
        frames = None if frame is None else (frame,)
        return Source(headers_of(files), [], frames, [], newest(file.header for file in files))
    slices = select(without_copies([one for file in files for one in slices_of(file, detile=True)]), chosen)
    files = list({one.file.path: one.file for one in slices}.values())
    is_enhanced = "PerFrameFunctionalGroupsSequence" in files[0].header
    frames = tuple(sorted(one.frame for one in slices)) if is_enhanced and len(files) == 1 else None
    return Source(headers_of(files), [], frames, [], newest(file.header for file in files))


def open_whole(path: Path) -> DicomFile:
    """An image with all its elements but the pixels. Raises ScanRejected."""
    file = read_file(path)
    check_is_image(file)
    return file


def headers_of(files: Sequence[DicomFile], *needed: str) -> list[Dataset]:
    """The first sound and whole, the others as far as results ask for them. META_INVALID without the UIDs needed."""
    headers = [sound(files[0].header)]
    for file in files[1:]:
        header = Dataset()
        header.update({tag: file.header.get_item(tag) for tag in file.header.keys() & _OF_A_PLANE})
        headers.append(sound(header))
    for header in headers:
        for keyword in (*_NEEDED, *needed):
            if not text(header, keyword):
                raise missing(keyword)
    return headers


def newest(headers: Iterable[Dataset]) -> datetime:
    """The newest time that any of them gives; 1970 where none does."""
    found = [moment for header in headers for moment in _moments(header)]
    return max(found, default=UNKNOWN_MOMENT)


def _moments(header: Dataset) -> Iterable[datetime]:
    for date, time in _MOMENTS:
        if (moment := _moment(text(header, date), text(header, time))) is not None:
            yield moment
    if (both := text(header, "AcquisitionDateTime")) and (moment := _moment(both[:8], both[8:])) is not None:
        yield moment


def _moment(date: str, time: str) -> datetime | None:
    """DICOM's date and time, the older notation with dots and colons too; None where there is none that can be."""
    day = re.fullmatch(r"(\d{4})\.?(\d\d)\.?(\d\d)", date)
    clock = re.match(r"(\d\d):?(\d\d)?:?(\d\d)?", time)
    if day is None or int(day[1]) < 1900:
        return None
    hours, minutes, seconds = (int(part or 0) for part in (clock.groups() if clock else ("0", "0", "0")))
    try:
        return datetime(int(day[1]), int(day[2]), int(day[3]), hours, minutes, min(seconds, 59))  # 60: a leap second
    except ValueError:
        return None


def only_frames(header: Dataset, order: Sequence[int]) -> Dataset:
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
