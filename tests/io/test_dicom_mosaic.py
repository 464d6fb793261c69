"""Mosaics: refused, or taken apart by what the scanner's own header says of them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from medcnn.io.discover import Found, discover
from medcnn.io.options import Reading
from medcnn.io.read import read_scan
from medcnn.scan import Reason, Rejection

TILE_ROWS, TILE_COLUMNS, COUNT = 5, 6, 7
ROW_MM, COLUMN_MM, STEP_MM = 0.7, 0.5, 3.0
DETILE = Reading(mosaic="detile")


def csa(values: dict[str, Sequence[str]]) -> bytes:
    """A Siemens image header in its second format."""
    content = b"SV10\4\3\2\1" + struct.pack("<2I", len(values), 77)
    for name, items in values.items():
        content += struct.pack("<64si4s3i", name.encode(), len(items), b"FD", 4, len(items), 77)
        for item in items:
            raw = item.encode() + b"\0"
            content += struct.pack("<4i", len(raw), len(raw), 77, len(raw)) + raw + b"\0" * (-len(raw) % 4)
    return content


@pytest.fixture
def write_mosaics(image: Callable[..., Dataset], tmp_path: Path) -> Callable[..., Path]:
    """Mosaic files of 3 x 3 tiles, seven used: volumes (columns, rows, slices) that lie around the same centre."""

    def write(volumes: Sequence[np.ndarray], normal: Sequence[float] = (0, 0, 1), **elements: object) -> Path:
        folder = tmp_path / "mosaics"
        folder.mkdir()
        for turn, volume in enumerate(volumes):
            picture = np.zeros((3 * TILE_ROWS, 3 * TILE_COLUMNS), np.int16)
            for number in range(COUNT):
                down, across = divmod(number, 3)
                rows = slice(down * TILE_ROWS, (down + 1) * TILE_ROWS)
                picture[rows, across * TILE_COLUMNS : (across + 1) * TILE_COLUMNS] = volume[:, :, number].T
            data = image(picture, SOPClassUID="1.2.840.10008.5.1.4.1.1.4", Modality="MR")
            data.ImageType = ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]
            data.SOPInstanceUID, data.InstanceNumber, data.AcquisitionNumber = f"1.2.3.{turn + 1}", turn + 1, turn + 1
            data.ImageOrientationPatient, data.PixelSpacing = [1, 0, 0, 0, 1, 0], [ROW_MM, COLUMN_MM]
            data.ImagePositionPatient = [-TILE_COLUMNS * COLUMN_MM, -TILE_ROWS * ROW_MM, 12.5]
            data.SpacingBetweenSlices = STEP_MM
            block = data.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
            told = {"NumberOfImagesInMosaic": [str(COUNT)], "SliceNormalVector": [str(value) for value in normal]}
            block.add_new(0x10, "OB", csa(told))
            for keyword, value in elements.items():
                setattr(data, keyword, value)
            data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
            data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
            pydicom.dcmwrite(folder / f"{turn}.dcm", data, enforce_file_format=True)
        return folder

    return write


@pytest.fixture
def volume() -> np.ndarray:
    return np.arange(TILE_COLUMNS * TILE_ROWS * COUNT, dtype=np.int16).reshape(TILE_COLUMNS, TILE_ROWS, COUNT)


@pytest.mark.case("V21")
def test_a_mosaic_is_refused_by_default(
    write_mosaics: Callable[..., Path], volume: np.ndarray, rejected: Callable[..., Rejection]
) -> None:
    refused = rejected(write_mosaics([volume]))
    assert refused.code is Reason.MOSAIC
    assert "data.mosaic=detile" in refused.remedy


@pytest.mark.case("V21")
@pytest.mark.parametrize("upwards", [True, False])
def test_a_mosaic_taken_apart(upwards: bool, write_mosaics: Callable[..., Path], volume: np.ndarray) -> None:
    folder = write_mosaics([volume], normal=(0, 0, 1 if upwards else -1))
    scan = read_scan(folder, "0.dcm", DETILE)
    assert np.array_equal(scan.voxels[0], volume if upwards else volume[:, :, ::-1])
    assert scan.geometry is not None
    assert scan.geometry.spacing_mm() == pytest.approx([COLUMN_MM, ROW_MM, STEP_MM])
    lowest = 12.5 if upwards else 12.5 - STEP_MM * (COUNT - 1)
    # the mosaic begins one tile too far out on both sides; LPS to RAS turns the first two signs
    assert scan.geometry.affine[:3, 3] == pytest.approx([0, 0, lowest])


@pytest.mark.case("V21")
def test_several_mosaics_are_several_times(
    write_mosaics: Callable[..., Path], volume: np.ndarray, rejected: Callable[..., Rejection]
) -> None:
    folder = write_mosaics([volume, volume + 1000])
    assert rejected(folder, mosaic="detile").code is Reason.FOUR_D_AMBIGUOUS
    found = [item for item in discover(folder, split_by=["time"], reading=DETILE) if isinstance(item, Found)]
    assert [item.reference for item in found] == [".#time=1", ".#time=2"]
    scans = [read_scan(folder, item.reference, DETILE) for item in found]
    assert np.array_equal(scans[0].voxels[0], volume)
    assert np.array_equal(scans[1].voxels[0], volume + 1000)


def test_a_mosaic_without_its_scanner_header_stays_refused(
    write_mosaics: Callable[..., Path], volume: np.ndarray, rejected: Callable[..., Rejection]
) -> None:
    folder = write_mosaics([volume])
    data = pydicom.dcmread(folder / "0.dcm")
    data.remove_private_tags()
    data.save_as(folder / "0.dcm")
    refused = rejected(folder, mosaic="detile")
    assert refused.code is Reason.MOSAIC
    assert "does not say how many" in refused.found


def test_a_mosaic_that_cannot_be_divided(
    write_mosaics: Callable[..., Path], volume: np.ndarray, rejected: Callable[..., Rejection]
) -> None:
    folder = write_mosaics([volume])
    data = pydicom.dcmread(folder / "0.dcm")
    told = {"NumberOfImagesInMosaic": ["20"], "SliceNormalVector": ["0", "0", "1"]}  # five tiles a side: 15 rows do go
    data[0x0029, 0x1010].value = csa(told)
    data.save_as(folder / "0.dcm")
    assert rejected(folder, mosaic="detile").code is Reason.MOSAIC
