"""Which files of a folder are one DICOM series, and what the others are."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from threading import Lock

from pydicom.tag import Tag

from medcnn.io.content import DICOM_SUFFIXES
from medcnn.io.dicom.header import DicomFile, check_is_image, promises_an_image, read_file, uid_of
from medcnn.io.dicom.slices import READ_TAGS, open_image
from medcnn.io.files import FileStart
from medcnn.scan import SKIPPED_IN_A_FOLDER, Reason, ScanRejected

SERIES_MODALITIES = frozenset({"MR", "CT", "PT"})
SERIES_TAGS = frozenset(
    int(Tag(keyword))
    for keyword in (
        *("SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "Modality"),
        *("Manufacturer", "ManufacturerModelName", "MagneticFieldStrength", "ViewPosition"),
        *("PatientID", "PatientSex", "PatientAge", "BodyPartExamined"),
        *("StudyInstanceUID", "SeriesInstanceUID", "SeriesDescription", "NumberOfFrames", "Rows"),
    )
)
_STOP = 0x00280011  # just behind Rows
_KEPT = 100_000


@dataclass(frozen=True, slots=True)
class Header:
    """What grouping needs to know of one DICOM image file.

    facts        of the scanner and the person, for columns of a manifest: scanner, sex, age_years, view
    frames       1 where the file does not say; 0 for a mosaic, whose slices only its pixels' own header counts
    description  of the series, as somebody typed it: never logged, never written
    """

    path: Path
    series: str
    study: str
    uid: str
    modality: str
    body_part: str
    patient_id: str = field(repr=False)
    is_localizer: bool
    facts: tuple[tuple[str, str], ...]
    frames: int = 1
    description: str = field(default="", repr=False)

    @property
    def belongs_to_a_series(self) -> bool:
        """Whether the file is one slice of many, not a case by itself."""
        return self.modality in SERIES_MODALITIES and bool(self.series)


def header_of(path: Path, start: FileStart | None = None) -> Header:
    """Raises ScanRejected where the file is no DICOM image. Remembered while the file stays as it is.

    A folder that holds hundreds of series is asked for each of them: its files are looked into once.
    """
    mark = start.mark if start else _mark(path)
    with _lock:
        known = _headers.get(path)
        if known is not None and known[0] == mark:
            _headers.move_to_end(path)
            return known[1]
    header = _read(path, start)
    with _lock:
        _headers[path] = mark, header
        if len(_headers) > _KEPT:
            _headers.popitem(last=False)
    return header


_headers: OrderedDict[Path, tuple[tuple[int, int, int], Header]] = OrderedDict()
_lock = Lock()


def _mark(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def _read(path: Path, start: FileStart | None) -> Header:
    file = read_file(path, tags=SERIES_TAGS, stop=_STOP, start=start)
    if file.has("Rows"):
        check_is_image(file, pixels_unknown=True)
    else:
        check_is_image(read_file(path, start=start))
    return _header(file)


def _header(file: DicomFile) -> Header:
    kinds = file.text("ImageType").upper().split("\\")
    return Header(
        path=file.path,
        series=intern(uid_of(file, "SeriesInstanceUID")),
        study=intern(uid_of(file, "StudyInstanceUID")),
        uid=uid_of(file, "SOPInstanceUID"),
        modality=intern(file.text("Modality").upper()),
        body_part=intern(file.text("BodyPartExamined").upper()),
        patient_id=intern(file.text("PatientID")),
        is_localizer="LOCALIZER" in kinds,
        facts=tuple(_facts(file)),
        frames=0 if "MOSAIC" in kinds else _frames(file),
        description=_description(file),
    )


def _frames(file: DicomFile) -> int:
    """As the header claims; whether they are there shows when the scan is read."""
    claimed = file.text("NumberOfFrames")
    return max(1, int(claimed)) if claimed.isascii() and claimed.isdecimal() and len(claimed) < 10 else 1


def _description(file: DicomFile) -> str:
    """Only to be searched in, so one that cannot be read is none."""
    try:
        return intern(file.text("SeriesDescription"))
    except ScanRejected:
        return ""


def _facts(file: DicomFile) -> list[tuple[str, str]]:
    scanner = " ".join(file.text(keyword) for keyword in ("Manufacturer", "ManufacturerModelName")).strip()
    field_t = file.text("MagneticFieldStrength")
    found = {
        "scanner": f"{scanner} {field_t} T".strip() if field_t and scanner else scanner,
        "sex": file.text("PatientSex").upper()[:1],
        "age_years": age_years(file.text("PatientAge")),
        "view": file.text("ViewPosition").upper()[:16],
    }
    return [(name, intern(value[:64])) for name, value in found.items() if value]


def age_years(written: str) -> str:
    """Whole years of an age string (064Y, 018M, 003W, 011D); 90 for all above 89, who could be recognised by it."""
    number, unit = written[:-1], written[-1:]
    years_of = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
    if not number.isdecimal() or unit not in years_of:
        return ""
    return str(min(int(int(number) * years_of[unit]), 90))


def files_of_series(paths: Iterable[Path], series: str | None) -> list[Path]:
    """The image files of the one series asked for, or of the only one there is; sorted."""
    return [header.path for header in _one_series(paths, series, header_of)]


def open_series(paths: Iterable[Path], series: str | None) -> list[DicomFile]:
    """The same files, ready to be read. Where a folder is one series, each is walked only once."""
    if series is not None:
        return [open_image(path) for path in files_of_series(paths, series)]
    opened: dict[Path, DicomFile] = {}

    def look(path: Path) -> Header:
        file = opened[path] = read_file(path, tags=READ_TAGS | SERIES_TAGS)
        check_is_image(file)
        return _header(file)

    return [opened[header.path] for header in _one_series(paths, None, look)]


def _one_series(paths: Iterable[Path], series: str | None, look: Callable[[Path], Header]) -> list[Header]:
    """A file that is damaged beyond recognition could be a slice.

    In a folder that is one series it rejects the whole, for without its first or last slice a volume looks whole.
    Where several series share a folder it cannot be known whose it was; discovery lists it by itself.
    """
    headers: list[Header] = []
    damaged: list[tuple[Path, ScanRejected]] = []
    for path in sorted(paths):
        try:
            headers.append(look(path))
        except ScanRejected as rejected:
            if rejected.rejection.code not in SKIPPED_IN_A_FOLDER or _may_have_been_dicom(path, rejected):
                damaged.append((path, rejected))
    suffixes = {header.path.suffix for header in headers}
    for path, reason in damaged:
        if series is None and (path.suffix in suffixes or reason.rejection.code not in SKIPPED_IN_A_FOLDER):
            raise reason
    wanted = [header for header in headers if series is None or header.series == series]
    if any(not header.is_localizer for header in wanted):
        wanted = [header for header in wanted if not header.is_localizer]
    found = {header.series for header in wanted}
    if not wanted:
        raise ScanRejected(
            Reason.NOT_DICOM if series is None else Reason.READ_ERROR,
            "the folder holds no DICOM image" if series is None else "the folder does not hold the series asked for",
            "Name a file, or a folder with one DICOM series",
        )
    if len(found) > 1:
        raise ScanRejected(
            Reason.NOT_A_VOLUME,
            f"the folder holds {len(found)} series",
            "Name one of them with #series=<UID>; medcnn prepare lists them",
        )
    return wanted


def _may_have_been_dicom(path: Path, rejected: ScanRejected) -> bool:
    """Whether a file without an image may have lost it: it names an image class, is empty, or no text."""
    with path.open("rb") as file:
        head = file.read(512)
    if rejected.rejection.code is not Reason.NOT_DICOM:
        return rejected.rejection.code is Reason.NOT_AN_IMAGE and promises_an_image(head)
    return not head or path.suffix.lower() in DICOM_SUFFIXES or b"\0" in head
