"""How large a scan is, by its header, beside what reading it gives."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from medcnn.io.discover import Found, discover
from medcnn.io.options import Reading
from medcnn.io.read import read_scan
from medcnn.io.size import ScanSize, scan_size
from medcnn.scan import Reason, ScanRejected

Write = Callable[..., Path]


def check(root: Path, reference: str, reading: Reading | None = None) -> ScanSize:
    """The size, after a look at the scan itself."""
    reading = reading or Reading()
    size, scan = scan_size(root, reference, reading), read_scan(root, reference, reading)
    assert size is not None
    assert (size.channels, *size.shape_vox) == scan.voxels.shape
    assert (size.spacing_mm is None) == (scan.spacing_mm is None)
    assert size.spacing_mm is None or np.allclose(size.spacing_mm, scan.spacing_mm or ())
    assert (size.geometry is None) == (scan.geometry is None)
    if size.geometry is not None and scan.geometry is not None:
        assert size.geometry.corner_distance_mm(scan.geometry) < 1e-3
    return size


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti(tmp_path: Path, write_nifti: Write, phantom: np.ndarray, name: str) -> None:
    path = write_nifti(phantom, name)
    size = check(tmp_path, name)
    assert (size.shape_vox, size.file_bytes, size.stored_bytes) == ((6, 5, 8), path.stat().st_size, 2 * 240)
    assert size.spacing_mm == (2, 3, 4)
    write_nifti(phantom[:, :, 0].astype("f4"), name)
    assert check(tmp_path, name).stored_bytes == 4 * 30


def test_one_volume_of_a_nifti_that_holds_several(tmp_path: Path, write_nifti: Write, phantom: np.ndarray) -> None:
    write_nifti(np.stack([phantom, phantom + 1, phantom], axis=3), "a.nii")
    assert check(tmp_path, "a.nii#frame=1").stored_bytes == 3 * 2 * 240
    assert scan_size(tmp_path, "a.nii") is None, "which of them nobody says"


def test_a_nifti_pair(tmp_path: Path) -> None:
    import nibabel

    nibabel.Nifti1Pair(np.zeros((3, 4, 5), np.int16) + 1, np.eye(4)).to_filename(tmp_path / "pair.img")
    size = check(tmp_path, "pair.hdr")
    assert size.file_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_only_the_beginning_of_a_packed_file_is_read(tmp_path: Path, write_nifti: Write) -> None:
    path = write_nifti(np.random.default_rng(0).integers(0, 999, (64, 64, 64)).astype(np.int16), "a.nii.gz")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    size = scan_size(tmp_path, "a.nii.gz")
    assert size is not None
    assert size.shape_vox == (64, 64, 64)


ORIENTATIONS: list[tuple[tuple[float, ...], tuple[float, ...]]] = [
    ((1, 0, 0, 0, 1, 0), (0, 0, 2.5)),
    ((1, 0, 0, 0, 1, 0), (0, 0, -2.5)),  # files from the last slice to the first
    ((0, 1, 0, 0, 0, -1), (3, 0, 0)),
    ((0.8, 0.6, 0, 0, 0, -1), (-0.6 * 4, 0.8 * 4, 0)),  # oblique
]


@pytest.mark.parametrize(("orientation", "step_mm"), ORIENTATIONS)
def test_a_series(
    tmp_path: Path,
    write_series: Write,
    phantom: np.ndarray,
    orientation: Sequence[float],
    step_mm: Sequence[float],
) -> None:
    folder = write_series(phantom, orientation=orientation, step_mm=step_mm)
    size = check(tmp_path, "series")
    assert size.shape_vox == (6, 5, 8)
    assert size.stored_bytes == 2 * 30, "one slice at a time"
    assert size.file_bytes == sum(path.stat().st_size for path in folder.iterdir())
    shutil.copy(folder / "003.dcm", folder / "again.dcm")
    assert check(tmp_path, "series").shape_vox == (6, 5, 8), "a copied file is one slice"


def test_one_of_a_series_volumes(tmp_path: Path, write_series: Write, phantom: np.ndarray) -> None:
    def echo(number: int, data: Dataset) -> None:
        data.EchoTime = "10" if number % 2 else "20"
        data.ImagePositionPatient = [0, 0, 2.5 * (number // 2)]

    write_series(phantom, change=echo)
    assert check(tmp_path, "series#echo=20").shape_vox == (6, 5, 4)


def test_pictures(tmp_path: Path, write_image: Write) -> None:
    write_image(np.ones((7, 9), "u2"), ImagerPixelSpacing=[0.2, 0.1])
    size = check(tmp_path, "one.dcm")
    assert (size.shape_vox, size.spacing_mm, size.stored_bytes) == ((7, 9), (0.2, 0.1), 126)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (7, 9), np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(rng.integers(0, 2**16, (7, 9), np.uint16)).save(tmp_path / "deep.png")
    colour = Image.fromarray(rng.integers(0, 255, (7, 9, 3), np.uint8))
    colour.save(tmp_path / "colour.tif")
    colour.convert("RGBA").save(tmp_path / "glass.png")
    colour.convert("P").save(tmp_path / "palette.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    colour.save(tmp_path / "side.jpg", exif=exif)
    colour.save(tmp_path / "side.tif", exif=exif)
    for name, stored in {"grey.png": 63, "deep.png": 126, "colour.tif": 189, "glass.png": 189}.items():
        assert check(tmp_path, name).stored_bytes == stored
    for name in ("palette.png", "side.jpg", "side.tif"):
        check(tmp_path, name)


def test_frames_that_are_no_volume_are_counted_when_one_is_named(tmp_path: Path, write_image: Write) -> None:
    write_image(np.ones((3, 7, 9), "u2"), NumberOfFrames=3)
    assert scan_size(tmp_path, "one.dcm") is None
    assert check(tmp_path, "one.dcm#frame=2").shape_vox == (7, 9)


def test_rows_of_an_archive(tmp_path: Path) -> None:
    shapes = {"train_images": (4, 7, 9), "val_images": (4, 7, 9, 3), "test_images": (4, 5, 7, 9)}
    np.savez_compressed(tmp_path / "a.npz", **{name: np.zeros(shape, np.uint8) for name, shape in shapes.items()})
    assert check(tmp_path, "a.npz#row=train/0").stored_bytes == 63
    assert check(tmp_path, "a.npz#row=val/1").channels == 3
    assert check(tmp_path, "a.npz#row=test/3").shape_vox == (5, 7, 9)
    assert scan_size(tmp_path, "a.npz") is None


def test_what_is_no_scan_is_rejected_as_the_reader_would(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(b"no header" * 99))
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    for reference, code in {"a.nii.gz": Reason.NOT_NIFTI, "../a": Reason.PATH_ESCAPE, "no": Reason.READ_ERROR}.items():
        with pytest.raises(ScanRejected) as caught:
            scan_size(tmp_path, reference)
        assert caught.value.rejection.code is code
    with pytest.raises(ScanRejected):
        scan_size(tmp_path, "b.png")


def test_every_series_that_can_be_read_is_as_large_as_discovered(series_folder: Path) -> None:
    """pydicom's own: enhanced objects, several orientations in a series, single slices."""
    looked = 0
    for case in discover(series_folder):
        if not isinstance(case, Found):
            continue
        try:
            scan = read_scan(series_folder, case.reference)
        except ScanRejected:
            continue
        looked += 1
        check(series_folder, case.reference)
        assert case.spatial_dims == scan.spatial_dims
        assert case.slices == (scan.voxels.shape[3] if scan.spatial_dims == 3 else 1)
    assert looked >= 4


def test_a_mosaic_is_as_large_as_its_tiles(medcnn_data: Path) -> None:
    root, taken_apart = medcnn_data / "dicom" / "dcm_qa_nih" / "In" / "20180918Si", Reading(mosaic="detile")
    mosaics = [case for case in discover(root) if isinstance(case, Found) and not case.slices]
    assert mosaics
    for case in mosaics:
        assert case.spatial_dims is None
        assert scan_size(root, case.reference) is None, "as it is, it is rejected"
    parted = {
        case.series: case for case in discover(root, split_by=["time"], reading=taken_apart) if isinstance(case, Found)
    }
    for mosaic in mosaics[:2]:
        case = parted[mosaic.series]
        assert check(root, case.reference, taken_apart).shape_vox[2] == case.slices > 1


def test_pydicom_reads_the_same_size(tmp_path: Path, bundled: Callable[[str], Path]) -> None:
    """An oracle that shares nothing with this reader but the file."""
    path = Path(shutil.copy(bundled("CT_small"), tmp_path / "ct.dcm"))
    data = pydicom.dcmread(path)
    size = scan_size(tmp_path, "ct.dcm")
    assert size is not None
    assert (size.shape_vox, size.stored_bytes) == ((data.Rows, data.Columns), len(data.PixelData))
