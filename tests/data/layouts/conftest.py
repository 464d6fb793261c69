"""Functions that lay out small data sets as others do: headers are real, pixels are next to nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from medcnn.data.layouts.listing import Listing
from medcnn.data.layouts.read import read_layout
from medcnn.data.privacy import Keyring
from medcnn.errors import DataError

Write = Callable[..., Path]
JUNK = ("Thumbs.db", ".DS_Store", "README.md", "SHA256SUMS")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder that is read; beside it lies what a hostile path would reach."""
    folder = tmp_path / "set"
    folder.mkdir()
    (tmp_path / "secret.nii.gz").write_bytes(b"secret")
    (tmp_path / "secret.png").write_bytes(b"secret")
    return folder


@pytest.fixture
def keyring() -> Keyring:
    return Keyring(b"k" * 32)


@pytest.fixture
def listed(root: Path, keyring: Keyring) -> Callable[..., Listing]:
    def read(**options: Any) -> Listing:
        return read_layout(root, keyring=keyring, **options)

    return read


@pytest.fixture
def refused(listed: Callable[..., Listing]) -> Callable[..., str]:
    """What is said where the set cannot be used."""

    def read(**options: Any) -> str:
        with pytest.raises(DataError) as caught:
            listed(**options)
        return str(caught.value)

    return read


@pytest.fixture
def volume(root: Path) -> Write:
    """A NIfTI file of ones, 3D or with several volumes."""

    def write(name: str, volumes: int = 1) -> Path:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (4, 5, 6) if volumes == 1 else (4, 5, 6, volumes)
        nibabel.save(nibabel.Nifti1Image(np.ones(shape, np.uint8), np.eye(4)), path)
        return path

    return write


@pytest.fixture
def picture(root: Path) -> Write:
    """A grey PNG or JPEG of the given width and height."""

    def write(name: str, width: int = 40, height: int = 20) -> Path:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((height, width), np.uint8)).save(path)
        return path

    return write


@pytest.fixture
def dicom(root: Path) -> Write:
    """A radiograph with a patient who must not be told."""

    def write(name: str, number: int = 1, patient: str = "canary-1", **elements: Any) -> Path:
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", f"1.2.826.0.1.{number}.3"
        data.SeriesInstanceUID, data.StudyInstanceUID = f"1.2.826.0.1.{number}.2", f"1.2.826.0.1.{number}.1"
        data.Modality, data.PatientID, data.PatientName, data.PatientSex = "CR", patient, "Canary^Anna", "F"
        data.Rows = data.Columns = 8
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
        data.BitsAllocated = data.BitsStored = 8
        data.HighBit, data.PixelData = 7, bytes(64)
        for keyword, value in elements.items():
            setattr(data, keyword, value)
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pydicom.dcmwrite(path, data, enforce_file_format=True)
        return path

    return write


@pytest.fixture
def text(root: Path) -> Write:
    """A file of text; what is no text is written as JSON."""

    def write(name: str, content: Any = "") -> Path:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


@pytest.fixture
def junk(text: Write) -> Callable[[], None]:
    """What lies about in folders that people copied."""

    def write() -> None:
        for name in JUNK:
            text(name, "nothing")

    return write
