"""DICOM files as bytes, for the hostile folder: every number in them is given, so they are the same each time."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian

CR, MR = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.4"
LEAVE_OUT = object()  # as an element's value

Change = Callable[[int, Dataset], None]


def picture(number: int, grey: np.ndarray, **elements: Any) -> Dataset:
    """A radiograph of a chest with these stored values; its UIDs follow from its number."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    uid = f"1.2.826.0.1.3680043.8.498.{number}"
    data.SOPClassUID, data.SOPInstanceUID = CR, f"{uid}.1"
    data.StudyInstanceUID, data.SeriesInstanceUID = f"{uid}.2", f"{uid}.3"
    data.Modality, data.BodyPartExamined, data.StudyDate = "CR", "CHEST", "20200102"
    data.Rows, data.Columns = grey.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = grey.dtype.itemsize * 8
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = int(grey.dtype.kind == "i")
    data.PixelData = grey.tobytes() + b"\0" * (grey.nbytes % 2)
    change(data, **elements)
    return data


def change(data: Dataset, **elements: Any) -> None:
    """Set these elements, or take them out."""
    for keyword, value in elements.items():
        if value is LEAVE_OUT:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)


def compressed(data: Dataset, code: bytes, syntax: UID) -> Dataset:
    """With this as the only compressed frame."""
    data.file_meta.TransferSyntaxUID = syntax
    data.PixelData = encapsulate([code])
    data["PixelData"].VR = "OB"
    return data


def as_bytes(data: Dataset) -> bytes:
    """The file."""
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, data, enforce_file_format=True)
    return stream.getvalue()


def as_series(number: int, voxels: np.ndarray, alter: Change = lambda at, data: None, **elements: Any) -> list[bytes]:
    """An axial MR series of whole numbers (columns, rows, slices), 1.5 x 0.75 mm, a slice every 2.5 mm, a file each.

    alter  called with each slice's place and its data set before it is written
    """
    files = []
    for at in range(voxels.shape[2]):
        data = picture(number, np.ascontiguousarray(voxels[:, :, at].T.astype(np.uint16)), SOPClassUID=MR)
        data.SOPInstanceUID, data.InstanceNumber = f"{data.SOPInstanceUID}.{at + 1}", at + 1
        data.FrameOfReferenceUID = f"{data.StudyInstanceUID}.9"
        data.Modality, data.BodyPartExamined, data.ImageType = "MR", "BRAIN", ["ORIGINAL", "PRIMARY", "M"]
        data.PixelSpacing, data.SliceThickness = [1.5, 0.75], 2.5
        data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-7, 12, 3 + 2.5 * at]
        change(data, **elements)
        alter(at, data)
        files.append(as_bytes(data))
    return files


def nested(plain: bytes, depth: int) -> bytes:
    """A file with sequences so deep in each other, before its pixel data (7FE0,0010)."""
    item = struct.pack("<2HI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    end = struct.pack("<2HI", 0xFFFE, 0xE00D, 0) + struct.pack("<2HI", 0xFFFE, 0xE0DD, 0)
    begin = struct.pack("<2H", 0x0040, 0xA730) + b"SQ\0\0" + struct.pack("<I", 0xFFFFFFFF)
    at = plain.index(struct.pack("<2H", 0x7FE0, 0x0010))
    return plain[:at] + (begin + item) * depth + end * depth + plain[at:]
