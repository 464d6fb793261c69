"""Which files of a folder are one DICOM series, and what the others are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from medcnn.io.dicom_header import check_is_image, read_header, text
from medcnn.scan import SKIPPED_IN_A_FOLDER, Reason, ScanRejected

SERIES_TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "BodyPartExamined", "PatientID"),
    *("ImageType", "NumberOfFrames", "Rows"),
]
SERIES_MODALITIES = frozenset({"MR", "CT", "PT"})


@dataclass(frozen=True)
class Header:
    """What grouping needs to know of one DICOM image file."""

    path: Path
    series: str
    uid: str
    modality: str
    body_part: str
    patient_id: str
    is_localizer: bool
    frames: int

    @property
    def belongs_to_a_series(self) -> bool:
        """Whether the file is one slice of many, not a case by itself."""
        return self.modality in SERIES_MODALITIES and bool(self.series)


def header_of(path: Path) -> Header:
    """Raises ScanRejected where the file is no DICOM image."""
    dataset = read_header(path, tags=SERIES_TAGS, pixels=False)
    if "Rows" in dataset:
        dataset.PixelData = b""  # not read, but promised: whether they are there shows when the scan is read
        check_is_image(dataset)
    else:
        check_is_image(read_header(path))
    frames = text(dataset, "NumberOfFrames")
    return Header(
        path=path,
        series=text(dataset, "SeriesInstanceUID"),
        uid=text(dataset, "SOPInstanceUID"),
        modality=text(dataset, "Modality").upper(),
        body_part=text(dataset, "BodyPartExamined").upper(),
        patient_id=text(dataset, "PatientID"),
        is_localizer="LOCALIZER" in text(dataset, "ImageType").upper().split("\\"),
        frames=int(frames) if frames.isdecimal() else 1,
    )


def files_of_series(paths: Iterable[Path], series: str | None) -> list[Path]:
    """The image files of the one series asked for, or of the only one there is; sorted."""
    headers: list[Header] = []
    for path in sorted(paths):
        try:
            headers.append(header_of(path))
        except ScanRejected as rejected:
            if rejected.rejection.code not in SKIPPED_IN_A_FOLDER:
                raise
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
    return [header.path for header in wanted]
