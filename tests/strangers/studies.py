"""Studies whose every voxel is known, as a hospital would have them: a patient, several series, an X-ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

CR, MR = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.4"
STRUCTURES = ("rim", "core")
CODES = {"rim": "10200004"}  # the other structure has none, and gets a private one
FILE_VALUES = np.array([0, 3, 7], np.uint8)  # in NIfTI masks: background, rim, core
SIZE = (11, 9, 8)  # columns, rows, slices; 99 pixels, so that frames of bits begin inside bytes
BETWEEN_ROWS_MM, BETWEEN_COLUMNS_MM, STEP_MM = 1.5, 0.75, 2.25
TURN = np.array([[0.9396926, 0.1710101, 0.2961981], [0, 0.8660254, -0.5], [-0.3420201, 0.4698463, 0.8137977]])


@dataclass(frozen=True)
class Place:
    """How the slices of a series lie: the directions of rows and columns (LPS+), and of the step along the normal."""

    cosines: Sequence[float]
    direction: int = 1


PLACES = {
    "axial": Place([1, 0, 0, 0, 1, 0]),
    "axial_down": Place([1, 0, 0, 0, 1, 0], -1),
    "feet_first": Place([-1, 0, 0, 0, 1, 0]),
    "sagittal": Place([0, 1, 0, 0, 0, -1]),
    "coronal_back": Place([1, 0, 0, 0, 0, -1], -1),
    "oblique": Place([*TURN[:, 0], *TURN[:, 1]]),
    "oblique_down": Place([*TURN[:, 1], *TURN[:, 2]], -1),
}

PATIENT: Mapping[str, Any] = {
    "PatientName": "Doe^Jane",
    "PatientID": "MRN-0042",
    "PatientBirthDate": "19510607",
    "PatientSex": "F",
    "AccessionNumber": "ACC-77",
    "StudyID": "9",
    "StudyDate": "20250102",
    "StudyTime": "101112",
    "ReferringPhysicianName": "Roe^Richard",
}
LATIN = {**PATIENT, "SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg", "PatientID": "Ü-1"}
JAPANESE = {
    **PATIENT,
    "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
    "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
}
SPARSE = {"PatientName": "", "PatientID": "", "StudyDate": "", "StudyTime": ""}  # as a careful anonymiser leaves it


@dataclass(frozen=True)
class Study:
    """One series, or one X-ray, and what is true of it.

    files   SOP Instance UID -> file
    labels  SOP Instance UID -> (rows, columns), 0 background, 1 rim, 2 core
    """

    folder: Path
    files: Mapping[str, Path] = field(default_factory=dict)
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def first(self) -> Dataset:
        return pydicom.dcmread(next(iter(self.files.values())))


@dataclass(frozen=True)
class Answered:
    """A folder that predict went over.

    studies  by what their outputs are called
    again    the results of the same command into another folder
    """

    output: Path
    again: Path
    studies: dict[str, Study]

    def objects(self, kind: str, name: str = "*") -> list[Path]:
        """The DICOM results of a kind: seg, sr, sc; of one case, or of all."""
        return sorted((self.output / "dicom").glob(f"{name}_{kind}.dcm"))

    def of_case(self, name: str) -> list[Path]:
        """All DICOM results of one case."""
        return sorted(path for kind in ("seg", "sr", "sc") for path in self.objects(kind, name))


def uid(*words: object) -> str:
    return f"2.25.{int.from_bytes(sha256(repr(words).encode()).digest()[:15], 'big')}"


def truth(seed: int, shape: Sequence[int] = SIZE) -> np.ndarray:
    """Random labels 0, 1, 2: no turn, flip or shift of them is the same."""
    return np.random.default_rng(seed).integers(0, 3, shape)


def values(labels: np.ndarray) -> np.ndarray:
    """What a scan of these labels shows: grey values that the tiny model tells apart."""
    noise = np.random.default_rng(9).integers(0, 30, labels.shape)
    return (np.array([40, 130, 215])[labels] + noise).astype(np.uint16)


def write_series(folder: Path, seed: int, place: Place, **elements: Any) -> Study:
    """An MR series of anisotropic voxels; the files' order is neither the instances' nor the slices'."""
    labels = truth(seed)
    grey = values(labels)
    cosines = np.array(place.cosines, float)
    step = place.direction * STEP_MM * np.cross(cosines[:3], cosines[3:])
    study = Study(folder, {}, {})
    for k in range(labels.shape[2]):
        data = _image(np.ascontiguousarray(grey[:, :, k].T), MR, uid(folder.name, seed, "instance", k))
        data.StudyInstanceUID, data.SeriesInstanceUID = uid("study", folder.name), uid("series", folder.name)
        data.FrameOfReferenceUID, data.PositionReferenceIndicator = uid("frame", folder.name), ""
        data.Modality, data.InstanceNumber, data.SeriesNumber = "MR", (k * 3) % 8 + 1, 4
        data.ImageType, data.SliceThickness = ["ORIGINAL", "PRIMARY", "M"], f"{STEP_MM}"
        data.PixelSpacing = [f"{BETWEEN_ROWS_MM}", f"{BETWEEN_COLUMNS_MM}"]
        data.ImageOrientationPatient = [f"{value:.12f}"[:16] for value in cosines]
        data.ImagePositionPatient = [f"{value:.9f}"[:16] for value in np.array([-31.0, 12.5, 7.0]) + k * step]
        _fill(data, elements)
        path = folder / f"{(k * 5) % 8:02}.dcm"
        _write(path, data)
        study.files[str(data.SOPInstanceUID)] = path  # type: ignore[index]
        study.labels[str(data.SOPInstanceUID)] = labels[:, :, k].T  # type: ignore[index]
    return study


def write_xray(path: Path, seed: int, **elements: Any) -> Study:
    """A computed radiograph of a chest: random grey values."""
    grey = np.random.default_rng(seed).integers(0, 4096, (40, 32)).astype(np.uint16)
    data = _image(grey, CR, uid(path.name, seed))
    data.BitsStored, data.HighBit = 12, 11
    data.StudyInstanceUID, data.SeriesInstanceUID = uid("study", path.name), uid("series", path.name)
    data.Modality, data.BodyPartExamined, data.ViewPosition = "CR", "CHEST", "PA"
    data.InstanceNumber, data.SeriesNumber, data.ImageType = 1, 1, ["ORIGINAL", "PRIMARY"]
    data.PatientOrientation, data.Laterality = ["L", "F"], ""
    data.ImagerPixelSpacing = ["0.2", "0.2"]
    _fill(data, elements)
    _write(path, data)
    return Study(path.parent, {str(data.SOPInstanceUID): path})


def _image(grey: np.ndarray, sop_class: str, instance: str) -> Dataset:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = sop_class, instance
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = sop_class, instance
    data.Rows, data.Columns = grey.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit = 15
    data.PixelData = grey.tobytes()
    data.Manufacturer = "Phantom"
    return data


def _fill(data: Dataset, elements: Mapping[str, Any]) -> None:
    for keyword, value in (elements or PATIENT).items():
        setattr(data, keyword, value)


def _write(path: Path, data: Dataset) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, data, enforce_file_format=True)
