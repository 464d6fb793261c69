"""Functions that make truth: small DICOM files and series, NIfTI files, with known content."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from medcnn.io.options import Reading
from medcnn.io.read import read_scan
from medcnn.scan import Rejection, ScanRejected

CR, CT, MR = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


@pytest.fixture
def bundled() -> Callable[[str], Path]:
    """A file of pydicom or pydicom-data, never fetched."""

    def find(name: str) -> Path:
        path = get_testdata_file(name if "." in name else f"{name}.dcm", download=False)
        assert path is not None, f"{name} is in neither package"
        return Path(str(path))

    return find


@pytest.fixture
def series_folder() -> Path:
    """The small series that come with pydicom."""
    return Path(str(get_testdata_file("DICOMDIR"))).parent


@pytest.fixture
def rejected() -> Callable[..., Rejection]:
    """Read, and return why it was not read."""

    def read(path: Path, selector: str = "", **options: Any) -> Rejection:
        with pytest.raises(ScanRejected) as caught:
            read_scan(path.parent, path.name + selector, Reading(**options))
        return caught.value.rejection

    return read


@pytest.fixture
def read() -> Callable[..., Any]:
    def read_one(path: Path, selector: str = "", **options: Any) -> Any:
        return read_scan(path.parent, path.name + selector, Reading(**options))

    return read_one


def _image(pixels: np.ndarray, **elements: Any) -> Dataset:
    """A CR of the given stored values; elements override or, with None, remove."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID, data.SeriesInstanceUID = CR, pydicom.uid.generate_uid(), "1.2.3"
    data.Modality = "CR"
    data.Rows, data.Columns = pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = pixels.dtype.itemsize * 8
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    for keyword, value in elements.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = (
        data.SOPClassUID,
        data.SOPInstanceUID,
    )
    return data


@pytest.fixture
def write_image(tmp_path: Path) -> Callable[..., Path]:
    def write(pixels: np.ndarray, name: str = "one.dcm", **elements: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pydicom.dcmwrite(path, _image(pixels, **elements), enforce_file_format=True)
        return path

    return write


@pytest.fixture
def image() -> Callable[..., Dataset]:
    """The data set of a CR with given stored values, and elements overridden."""
    return _image


@pytest.fixture
def phantom() -> np.ndarray:
    """(columns, rows, slices) of different whole numbers."""
    return np.random.default_rng(0).permutation(6 * 5 * 8).reshape(6, 5, 8).astype(np.int16)


@pytest.fixture
def write_series(tmp_path: Path) -> Callable[..., Path]:
    """A folder with one CT series: voxels (columns, rows, slices), each slice placed along step_mm."""

    def write(
        voxels: np.ndarray,
        *,
        folder: str = "series",
        orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
        step_mm: Sequence[float] = (0, 0, 2.5),
        start_mm: Sequence[float] = (-10, -20, 30),
        spacing_mm: Sequence[float] = (0.7, 0.5),
        decimals: int = 6,
        change: Callable[[int, Dataset], None] = lambda number, data: None,
    ) -> Path:
        target = tmp_path / folder
        target.mkdir(parents=True, exist_ok=True)
        for number in range(voxels.shape[2]):
            data = _image(np.ascontiguousarray(voxels[:, :, number].T), SOPClassUID=CT, Modality="CT")
            data.SOPInstanceUID = f"1.2.3.{number + 1}"
            data.InstanceNumber = number + 1
            position = np.array(start_mm, float) + number * np.array(step_mm, float)
            data.ImagePositionPatient = [f"{value:.{decimals}f}" for value in position]
            data.ImageOrientationPatient = [f"{value:.10f}"[:16] for value in orientation]
            data.PixelSpacing = [str(value) for value in spacing_mm]
            data.RescaleSlope, data.RescaleIntercept = "1", "0"
            change(number, data)
            data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
            data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
            pydicom.dcmwrite(target / f"{number:03d}.dcm", data, enforce_file_format=True)
        return target

    return write


@pytest.fixture
def write_nifti(tmp_path: Path) -> Callable[..., Path]:
    """A NIfTI-1 file by nibabel, with header fields forced afterwards, however wrong; gzip by its name."""

    def write(voxels: np.ndarray, name: str = "one.nii", **fields: Any) -> Path:
        content = bytes(_nifti(voxels, **fields))
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return write


def _nifti(voxels: np.ndarray, **fields: Any) -> bytearray:
    import nibabel

    image = nibabel.Nifti1Image(voxels, fields.pop("affine", np.diag([2.0, 3.0, 4.0, 1.0])))
    image.header.set_xyzt_units("mm")
    content = bytearray(image.to_bytes())
    places = {"dim": (40, "8h"), "datatype": (70, "h"), "bitpix": (72, "h"), "pixdim": (76, "8f")}
    places |= {"vox_offset": (108, "f"), "scl_slope": (112, "f"), "scl_inter": (116, "f")}
    places |= {"qform_code": (252, "h"), "sform_code": (254, "h"), "quatern": (256, "3f"), "qoffset": (268, "3f")}
    places |= {"srow_x": (280, "4f"), "srow_y": (296, "4f"), "srow_z": (312, "4f")}
    for name, value in fields.items():
        at, layout = places[name]
        struct.pack_into(f"<{layout}", content, at, *np.atleast_1d(value).tolist())
    return content
