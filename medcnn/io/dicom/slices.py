"""What each slice of a series says of itself and of its place, from its header alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from medcnn.io.dicom.frames import FRAME_KEYWORDS, frame_header
from medcnn.io.dicom.header import (
    DicomFile,
    check_is_image,
    integer,
    numbers,
    read_file,
    reader_errors,
    text,
    uid_of,
    written,
)
from medcnn.io.dicom.mosaic import Mosaic, mosaic_of, mosaic_rejected
from medcnn.scan import Reason, ScanRejected

Positions = npt.NDArray[np.float64]

SAME_DIRECTION = 1e-3  # direction cosines, absolute
MAX_SPACING_MM = 100.0
_FARTHEST_MM = 1e5
PIXELS_ALIKE = ("Modality", "PhotometricInterpretation", "SamplesPerPixel", "BitsAllocated", "PixelRepresentation")
SCALING = ("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence")
ALIKE = ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID", *PIXELS_ALIKE)
READ_TAGS = frozenset(  # all that reading a slice needs, pixel data aside
    int(Tag(keyword))
    for keyword in (
        *FRAME_KEYWORDS,
        *ALIKE,
        *(
            "SpecificCharacterSet",
            "SOPClassUID",
            "SOPInstanceUID",
            "SeriesInstanceUID",
            "BodyPartExamined",
            "BurnedInAnnotation",
        ),
        *("ViewPosition", "Laterality", "ImageLaterality"),
        *("Rows", "Columns", "NumberOfFrames", "PlanarConfiguration", "BitsStored", "HighBit"),
        *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
        *("RedPaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData"),
        *("GreenPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableData"),
        *("BluePaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableData"),
        *("SegmentedRedPaletteColorLookupTableData", "PaletteColorLookupTableUID"),
        *("SegmentedGreenPaletteColorLookupTableData", "SegmentedBluePaletteColorLookupTableData"),
        *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    )
)


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice: a file, one frame of it, or one tile of a mosaic. Positions and directions LPS+ mm, as DICOM has them.

    header  its elements, as if it were a file of its own
    alike   what all slices of one volume must share: person, study, coordinates and kind of pixels (ALIKE), and
            which elements scale them
    mosaic  how the picture is divided, and which of its slices this is
    """

    file: DicomFile
    frame: int
    uid: str
    header: Dataset
    position_mm: Positions
    row: Positions  # direction in which the column index grows
    column: Positions
    spacing_mm: tuple[float, float]  # (between rows, between columns)
    size: tuple[int, int]  # (rows, columns)
    alike: tuple[str, ...]
    mosaic: tuple[Mosaic, int] | None = None

    @property
    def normal(self) -> Positions:
        return np.cross(self.row, self.column)

    @property
    def number(self) -> int:
        """InstanceNumber and frame: tells repeats apart, orders nothing."""
        return integer(self.header, "InstanceNumber", 0) + self.frame

    @property
    def name(self) -> tuple[str, int, int]:
        """What no other slice has: UID, frame, tile."""
        return self.uid, self.frame, self.mosaic[1] if self.mosaic else 0


def open_image(path: Path) -> DicomFile:
    """A file that is an image, with all that reading needs in its header. Raises ScanRejected."""
    file = read_file(path, tags=READ_TAGS)
    check_is_image(file)
    return file


def slices_of(file: DicomFile, *, detile: bool = False) -> list[Slice]:
    """The slices of one file, from its header alone. Raises GEOMETRY_INVALID, SPACING_UNKNOWN, MOSAIC ..."""
    frames = max(integer(file.header, "NumberOfFrames", 1), 1)
    if frames > 1:
        _check_frames(file.header, frames)
    found = [_slice(file, frame_header(file.header, index), index) for index in range(frames)]
    if not is_mosaic(file.header):
        return found
    if not detile:
        raise mosaic_rejected("each image is a mosaic of many slices")
    return [tile for one in found for tile in _tiles(one)]


def is_mosaic(header: Dataset) -> bool:
    """Whether ImageType says so."""
    return "MOSAIC" in text(header, "ImageType").upper().split("\\")


def _check_frames(dataset: Dataset, frames: int) -> None:
    with reader_errors():
        groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if len(groups) != frames:
        raise ScanRejected(
            Reason.GEOMETRY_INVALID,
            f"{frames} frames, of which {len(groups)} say where they lie",
            "Export the series as an enhanced object with its functional groups, or slice by slice; "
            "a single frame can be named with #frame=",
        )


def place_of(header: Dataset) -> tuple[Positions, Positions, Positions] | None:
    """(position in mm, row and column direction), LPS+; None where a picture does not say where it lies.

    Raises GEOMETRY_INVALID for what cannot be a place.
    """
    try:
        orientation, position = (
            numbers(header, "ImageOrientationPatient", 6),
            numbers(header, "ImagePositionPatient", 3),
        )
    except ScanRejected:
        raise geometry_invalid("an orientation or position is not a row of finite numbers") from None
    if orientation is None or position is None:
        return None
    row, column = np.reshape(np.array(orientation), (2, 3))
    if max(abs(math.hypot(*row) - 1), abs(math.hypot(*column) - 1), abs(row @ column)) > SAME_DIRECTION:
        raise geometry_invalid("the row and column directions are not two unit vectors at a right angle")
    if max(map(abs, position)) > _FARTHEST_MM:
        raise geometry_invalid("a position lies farther away than any scanner reaches")
    return np.array(position), row, column


def _slice(file: DicomFile, header: Dataset, frame: int) -> Slice:
    """GEOMETRY_INVALID where the place is missing or cannot be."""
    place = place_of(header)
    if place is None:
        raise geometry_invalid("a slice has no orientation or no position")
    position_mm, row, column = place
    return Slice(
        file=file,
        frame=frame,
        uid=uid_of(file, "SOPInstanceUID"),
        header=header,
        position_mm=position_mm,
        row=row,
        column=column,
        spacing_mm=_spacing(header),
        size=(integer(file.header, "Rows"), integer(file.header, "Columns")),
        alike=(*(file.text(keyword) for keyword in ALIKE), _scaling(header)),
    )


def _scaling(header: Dataset) -> str:
    """Which elements scale the pixels; their values may differ from slice to slice, their presence may not."""
    return "+".join(keyword for keyword in SCALING if keyword in header) or "none"


def _tiles(one: Slice) -> list[Slice]:
    mosaic = mosaic_of(one.file.path, one.size)
    first_mm = mosaic.first_position_mm(one.position_mm, one.row, one.column, one.size, one.spacing_mm)
    tile_size = mosaic.tile_size(one.size)
    return [
        replace(one, position_mm=first_mm + number * mosaic.step_mm, size=tile_size, mosaic=(mosaic, number))
        for number in range(mosaic.count)
    ]


def _spacing(header: Dataset) -> tuple[float, float]:
    spacing = numbers(header, "PixelSpacing", 2)
    if spacing is None:
        raise ScanRejected(
            Reason.SPACING_UNKNOWN,
            "a slice has no PixelSpacing, a volume needs it",
            "Export the series with its full header",
        )
    if not min(spacing) > 0 or max(spacing) > MAX_SPACING_MM:
        raise geometry_invalid(f"PixelSpacing is not between 0 and {MAX_SPACING_MM:g} mm")
    return spacing[0], spacing[1]


def rounding_mm(header: Dataset) -> float:
    """One unit of the last decimal that the position is written with: half for itself, half for the grid's ends."""
    try:
        decimals = max(-int(Decimal(value).as_tuple().exponent) for value in written(header, "ImagePositionPatient"))
    except (InvalidOperation, ValueError, TypeError):
        return 0.0
    return float(10.0 ** -max(decimals, 0))


def geometry_invalid(found: str) -> ScanRejected:
    return ScanRejected(Reason.GEOMETRY_INVALID, found, "Export the series with its full header")
