"""Folders of small scans and what a run over them is asked, for the tests of prediction."""

from __future__ import annotations

import csv
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medcnn.config.predict import PredictConf

CR = "1.2.840.10008.5.1.4.1.1.1"


def pixels(seed: int, side: int = 16) -> np.ndarray:
    """Random grey values from 0 to 255."""
    return np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)


def write_png(path: Path, seed: int, side: int = 16) -> Path:
    """A grey picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed, side)).save(path)
    return path


def write_dicom(path: Path, grey: np.ndarray, **elements: Any) -> Path:
    """A computed radiograph of a chest with these stored values."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID, data.SeriesInstanceUID = CR, generate_uid(), generate_uid()
    data.StudyInstanceUID = generate_uid()
    data.Modality, data.BodyPartExamined = "CR", "CHEST"
    data.Rows, data.Columns = grey.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    bits = grey.dtype.itemsize * 8
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelData = grey.tobytes()
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def asked(model: Path, source: Path, output: Path, **settings: Any) -> PredictConf:
    """What the command line would say."""
    conf = PredictConf(package=str(model), input=str(source), output=str(output), explain="none", engine="here")
    conf.inference.accelerator = "cpu"
    for name, value in settings.items():
        target = conf.inference if hasattr(conf.inference, name) else conf
        setattr(target, name, value)
    return conf


def table(output: Path) -> list[dict[str, str]]:
    """predictions.csv."""
    with (output / "predictions.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def answers(output: Path) -> dict[str, dict[str, str]]:
    """predictions.csv by reference, without what every run takes anew."""
    fixed = [name for name in table(output)[0] if not name.startswith(("seconds", "peak_mb"))] if table(output) else []
    return {row["reference"]: {name: row[name] for name in fixed} for row in table(output)}


def digests(folder: Path) -> dict[str, str]:
    """Of every file below."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


MR = "1.2.840.10008.5.1.4.1.1.4"


def write_series(folder: Path, voxels: np.ndarray, *, step_mm: float = 2.5, **elements: Any) -> Path:
    """An axial MR series of whole numbers (columns, rows, slices), 1.5 mm between rows and 0.75 mm between columns."""
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    for number in range(voxels.shape[2]):
        place = {
            "SOPClassUID": MR, "SOPInstanceUID": generate_uid(), "SeriesInstanceUID": series, "StudyInstanceUID": study,
            "FrameOfReferenceUID": frame, "Modality": "MR", "InstanceNumber": number + 1, "PixelSpacing": [1.5, 0.75],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [-7, 12, 3 + number * step_mm],
            "SliceThickness": step_mm, "ImageType": ["ORIGINAL", "PRIMARY", "M"],
        }  # fmt: skip
        pixels = np.ascontiguousarray(voxels[:, :, number].T.astype(np.uint16))
        write_dicom(folder / f"{(number * 5) % 97:02}.dcm", pixels, **{**place, **elements})
    return folder
