"""How large a scan is, before a pixel is read: from headers only, in milliseconds.

What a header claims is not checked against the file here: the reader does that, and rejects the scan where it lies.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medcnn.geometry import LPS_TO_RAS, Geometry
from medcnn.io.content import Content, content_of
from medcnn.io.dicom.frames import frame_header
from medcnn.io.dicom.header import DicomFile, integer, numbers, read_file, text
from medcnn.io.dicom.image import spacing_of
from medcnn.io.dicom.series import SERIES_MODALITIES, header_of
from medcnn.io.dicom.slices import Slice, is_mosaic, open_image, place_of, slices_of
from medcnn.io.dicom.split import select
from medcnn.io.dicom.stack import affine_of_slices, in_order, without_copies
from medcnn.io.nifti.kin import voxel_file
from medcnn.io.options import AS_THE_FILE_SAYS, Reading
from medcnn.io.read import rejecting, source_files
from medcnn.io.reference import Reference, resolve

_PLACE_TAGS = frozenset({0x00200032, 0x00200037})  # ImagePositionPatient, ImageOrientationPatient
_BEHIND_THE_PLACE = 0x00200038
_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)  # EXIF


@dataclass(frozen=True, eq=False)
class ScanSize:
    """What reading a scan would give.

    shape_vox     spatial, as the scan's voxels: (I, J, K), or (H, W) of a picture
    channels      of the scan's voxels
    file_bytes    of all its files, as they lie on the disk
    stored_bytes  unpacked pixels that stand in memory beside the voxels while they are made: all of a NIfTI, of a
                  picture or of a multi-frame object, one slice of a series
    spacing_mm    along shape_vox; None where the file does not say
    geometry      of a volume, where the file says how it lies
    """

    shape_vox: tuple[int, ...]
    channels: int
    file_bytes: int
    stored_bytes: int
    spacing_mm: tuple[float, ...] | None = None
    geometry: Geometry | None = None

    @property
    def voxels(self) -> int:
        """Of one channel."""
        return math.prod(self.shape_vox)


@rejecting
def scan_size(root: Path, reference: str, reading: Reading = AS_THE_FILE_SAYS) -> ScanSize | None:
    """Of one image reference below root, read with the same choices as the scan will be.

    None where the headers do not say, as for frames that are no volume. Raises ScanRejected, and nothing else, for what
    the reader rejects by its header.
    """
    parsed = Reference.parse(reference)
    path = resolve(root, parsed)
    if path.is_dir():
        return _dicom(source_files(root, reference), parsed, reading)
    match content_of(path):
        case Content.DICOM:
            return _dicom([path], parsed, reading)
        case Content.NIFTI:
            return _nifti(path, parsed, reading)
        case Content.PICTURE:
            return _picture(path)
        case Content.ARCHIVE:
            return _row(path, parsed)


def _row(path: Path, parsed: Reference) -> ScanSize | None:
    from medcnn.io.archive import members

    shape = members(path).get(f"{parsed.row[0]}_images", ()) if parsed.row else ()
    if len(shape) < 3:
        return None
    sides, in_colour = shape[1:], len(shape) == 4 and shape[-1] == 3
    plane = sides[:-1] if in_colour else sides
    return ScanSize(plane, 3 if in_colour else 1, path.stat().st_size, math.prod(sides))


def _picture(path: Path) -> ScanSize:
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pillow's own about size; the reader decides
        with Image.open(path, formats=("PNG", "JPEG", "TIFF")) as picture:
            width, height = picture.size
            grey = picture.mode.startswith(("1", "L", "I", "F"))
            turned = picture.format != "TIFF" and picture.getexif().get(_ORIENTATION) in _ON_ITS_SIDE
            sixteen = ";16" in picture.mode or picture.mode == "I"
    channels = 1 if grey else 3
    stored = width * height * channels * (2 if sixteen else 1)
    return ScanSize((width, height) if turned else (height, width), channels, path.stat().st_size, stored)


def _nifti(path: Path, parsed: Reference, reading: Reading) -> ScanSize | None:
    from medcnn.io.nifti.file_bytes import Source
    from medcnn.io.nifti.header import checked_header
    from medcnn.io.nifti.layout import read_fields
    from medcnn.io.nifti.place import place_of as place_of_fields

    with Source(path) as source:
        fields = read_fields(source)
        pair = voxel_file(path) if fields.paired else path
        if pair == path:
            header = checked_header(fields, source)
        else:
            with Source(pair) as voxels:
                header = checked_header(fields, voxels)
    shape = header.shape
    if len(shape) > 4 or (len(shape) == 4 and parsed.frame is None):
        return None
    place = place_of_fields(fields, shape, reading.nifti_form)
    file_bytes = sum(one.stat().st_size for one in {path, pair})
    spacing_mm = place.spacing_mm
    if len(shape) == 2:  # read as rows by columns
        shape, spacing_mm = shape[::-1], spacing_mm and spacing_mm[::-1]
    return ScanSize(shape[:3], 1, file_bytes, header.data_bytes, spacing_mm, place.geometry)


def _dicom(files: Sequence[Path], parsed: Reference, reading: Reading) -> ScanSize | None:
    """As io.read takes them: several files, or frames of a scanner's volumes, are a volume; the rest are pictures."""
    first = open_image(files[0])
    rows, columns = integer(first.header, "Rows"), integer(first.header, "Columns")
    frames = max(1, integer(first.header, "NumberOfFrames", 1))
    of_volumes = text(first.header, "Modality").upper() in SERIES_MODALITIES
    bits = integer(first.header, "SamplesPerPixel", 1) * integer(first.header, "BitsAllocated", 16)
    plane_bytes, file_bytes = math.ceil(rows * columns * bits / 8), sum(path.stat().st_size for path in files)
    is_volume = len(files) > 1 or (parsed.frame is None and of_volumes and frames > 1)
    if is_mosaic(first.header) and of_volumes and parsed.frame is None:
        if reading.mosaic != "detile":
            return None
        is_volume = True
    if not is_volume:
        if parsed.frame is None and frames > 1:
            return None
        edges_mm, _ = spacing_of(frame_header(first.header, parsed.frame or 0), magnified=reading.magnification)
        return ScanSize((rows, columns), 1, file_bytes, plane_bytes * frames, edges_mm)
    if parsed.chosen or frames > 1 or is_mosaic(first.header):
        shape, geometry = _by_every_slice(files, parsed, reading)
    else:
        shape, geometry = _by_places(first, files, (columns, rows))
    spacing_mm = None if geometry is None else tuple(float(edge) for edge in geometry.spacing_mm())
    return ScanSize(shape, 1, file_bytes, plane_bytes * frames, spacing_mm, geometry)


def _by_every_slice(
    files: Sequence[Path], parsed: Reference, reading: Reading
) -> tuple[tuple[int, ...], Geometry | None]:
    """Where frames and tiles lie, and which of a series' volumes is meant, takes their whole headers."""
    slices: list[Slice] = [
        one for path in files for one in slices_of(open_image(path), detile=reading.mosaic == "detile")
    ]
    if parsed.chosen:
        slices = select(slices, dict(parsed.chosen))
    slices = in_order(slices if len(files) == 1 else without_copies(slices))
    rows, columns = slices[0].size
    if len(slices) == 1:
        return (rows, columns), None
    return _grid((columns, rows, len(slices)), affine_of_slices(slices))


def _by_places(
    first: DicomFile, files: Sequence[Path], plane: tuple[int, int]
) -> tuple[tuple[int, ...], Geometry | None]:
    """One file a slice: orientation and edges from the first, the third edge from where the outermost two lie."""
    kept = {header.uid or str(header.path): header.path for header in map(header_of, files)}
    shape = (*plane, len(kept))
    place, edges_mm = place_of(first.header), numbers(first.header, "PixelSpacing", 2)
    positions = [numbers(_place(path).header, "ImagePositionPatient", 3) for path in kept.values()]
    if place is None or edges_mm is None or not all(positions) or len(kept) < 2:
        return shape, None
    _, row, column = place
    positions_mm = np.array(positions)
    along_mm = positions_mm @ np.cross(row, column)
    lowest, highest = positions_mm[np.argmin(along_mm)], positions_mm[np.argmax(along_mm)]
    lps = np.eye(4)
    lps[:3, :3] = np.stack([row * edges_mm[1], column * edges_mm[0], (highest - lowest) / (len(kept) - 1)], axis=1)
    lps[:3, 3] = lowest
    return _grid(shape, LPS_TO_RAS @ lps)


def _place(path: Path) -> DicomFile:
    return read_file(path, tags=_PLACE_TAGS, stop=_BEHIND_THE_PLACE)


def _grid(shape: tuple[int, int, int], affine: np.ndarray) -> tuple[tuple[int, ...], Geometry | None]:
    """No geometry where slices lie on each other: the reader says why that is no volume."""
    try:
        return shape, Geometry(affine, shape)
    except ValueError:
        return shape, None
