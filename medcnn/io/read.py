"""One image, whatever it is stored as: read_scan gives a Scan or raises ScanRejected, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from medcnn.io.content import Content, content_of
from medcnn.io.dicom.decode import check_size, pixel_format
from medcnn.io.dicom.header import integer, text
from medcnn.io.dicom.image import PROJECTIONS, image_of
from medcnn.io.dicom.series import SERIES_MODALITIES, files_of_series, open_series
from medcnn.io.dicom.slices import is_mosaic, open_image
from medcnn.io.dicom.volume import read_volume
from medcnn.io.files import files_below
from medcnn.io.nifti.kin import pair_of
from medcnn.io.options import AS_THE_FILE_SAYS, Reading
from medcnn.io.reference import Reference, resolve
from medcnn.scan import Reason, Scan, ScanRejected

P = ParamSpec("P")
R = TypeVar("R")


def rejecting(read: Callable[P, R]) -> Callable[P, R]:
    """Whatever a reader throws leaves as ScanRejected; a codec's panic too, which is no Exception."""

    @wraps(read)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return read(*args, **kwargs)
        except (ScanRejected, KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            raise _rejected(error) from None

    return guarded


def _rejected(error: BaseException) -> ScanRejected:
    name = type(error).__name__
    if isinstance(error, MemoryError):
        return ScanRejected(Reason.MEMORY, "there is not enough memory for this scan", "Give the process more memory")
    if isinstance(error, OSError):
        return ScanRejected(
            Reason.READ_ERROR, f"the file cannot be read ({name})", "Check the disk and that you may read the file"
        )
    if isinstance(error, Exception):
        return ScanRejected(
            Reason.INTERNAL, f"the reader failed ({name})", "Report this file's kind as a bug in medcnn"
        )
    return ScanRejected(Reason.DECODE_FAILED, f"a decoder broke off ({name})", "Export the file again, uncompressed")


@rejecting
def read_scan(root: Path, reference: str, reading: Reading = AS_THE_FILE_SAYS) -> Scan:
    """Read one image reference below root, with the choices of `reading` where the file leaves one."""
    parsed = Reference.parse(reference)
    path = resolve(root, parsed)
    if path.is_dir():
        return _read_folder(root, path, parsed, reading)
    match content_of(path):
        case Content.DICOM:
            return _read_dicom(path, parsed, reading)
        case Content.NIFTI:
            from medcnn.io.nifti.reader import read_nifti

            return read_nifti(path, form=reading.nifti_form, volume=parsed.frame)
        case Content.PICTURE:
            from medcnn.io.picture import read_picture

            return read_picture(path)
        case Content.ARCHIVE:
            from medcnn.io.archive import read_row

            if parsed.row is None:
                raise ScanRejected(
                    Reason.READ_ERROR, "an archive holds many images", "Name one with #row=<part>/<number>"
                )
            return read_row(path, *parsed.row)


def _read_dicom(path: Path, parsed: Reference, reading: Reading) -> Scan:
    """One file: a picture, or a volume where its frames or tiles can be one."""
    file = open_image(path)
    frames = integer(file.header, "NumberOfFrames", 1)
    of_volumes = text(file.header, "Modality").upper() in SERIES_MODALITIES
    detile = reading.mosaic == "detile" and is_mosaic(file.header)
    if parsed.frame is None and of_volumes and (frames > 1 or detile):
        dataset = file.image()
        check_size(dataset, pixel_format(dataset))  # a lying number of frames, before anything is made of them
        return read_volume([file], reading, chosen=dict(parsed.chosen))
    return image_of(file, reading, frame=parsed.frame)


def _read_folder(root: Path, path: Path, parsed: Reference, reading: Reading) -> Scan:
    files = open_series(_candidates(root, path, parsed), parsed.series)
    if len(files) == 1 and text(files[0].header, "Modality").upper() in PROJECTIONS:
        return image_of(files[0], reading, frame=None)
    return read_volume(files, reading, chosen=dict(parsed.chosen))


def _candidates(root: Path, folder: Path, parsed: Reference) -> Iterator[Path]:
    """A series named by its UID may be spread over subfolders; a folder named alone holds its files itself."""
    return files_below(folder, root, deep=parsed.series is not None)


@rejecting
def source_files(root: Path, reference: str) -> list[Path]:
    """The files whose bytes decide what a reference reads, sorted."""
    parsed = Reference.parse(reference)
    path = resolve(root, parsed)
    if path.is_dir():
        return files_of_series(_candidates(root, path, parsed), parsed.series)
    pair = pair_of(path)
    return [path, pair] if pair else [path]
