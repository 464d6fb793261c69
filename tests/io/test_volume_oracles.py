"""The geometry of volumes, proven by readers that share no code with medcnn: highdicom, SimpleITK (GDCM), dcm2niix."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from medcnn.geometry import LPS_TO_RAS, Geometry
from medcnn.io.options import Reading
from medcnn.io.read import read_scan
from medcnn.scan import Scan, ScanRejected

Read = Callable[..., Any]
Write = Callable[..., Path]
MOST_MM = 1e-3


@dataclass(frozen=True, eq=False)
class Volume:
    """What another reader made of a series: voxels along its own three axes, affine to RAS+ mm."""

    voxels: np.ndarray
    affine: np.ndarray


def by_highdicom(folder: Path) -> Volume:
    import highdicom

    files = [pydicom.dcmread(path) for path in folder.iterdir()]
    volume = highdicom.get_volume_from_series([file for file in files if "PixelData" in file])
    return Volume(volume.array, LPS_TO_RAS @ volume.affine)


def by_simpleitk(folder: Path) -> Volume:
    import SimpleITK

    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    return Volume(SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0), LPS_TO_RAS @ lps)


def by_dcm2niix(folder: Path, into: Path) -> Volume:
    """Its rows run from below and its slices as it likes; the affine says so."""
    import dcm2niix
    import nibabel

    into.mkdir()
    done = subprocess.run(
        [dcm2niix.bin, "-z", "n", "-b", "n", "-f", "out", "-o", str(into), str(folder)], capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stdout
    (path,) = into.glob("*.nii")
    image = nibabel.load(path)
    return Volume(np.asarray(image.dataobj), np.asarray(image.affine))


def on_axes_of(geometry: Geometry, other: Volume) -> Volume:
    """The same volume with its axes in our order and direction: the affines say which is which, no convention does."""
    between = np.linalg.inv(geometry.affine[:3, :3]) @ other.affine[:3, :3]
    steps = np.rint(between)
    assert np.array_equal(np.abs(steps).sum(axis=0), [1, 1, 1]), "the two grids do not share their axes"
    voxels, affine = other.voxels, other.affine.copy()
    for axis in range(3):
        if steps[:, axis].sum() < 0:
            voxels = np.flip(voxels, axis)
            affine[:3, 3] += (voxels.shape[axis] - 1) * affine[:3, axis]
            affine[:3, axis] *= -1
    order = [int(np.abs(steps[axis]).argmax()) for axis in range(3)]
    return Volume(voxels.transpose(order), affine[:, [*order, 3]])


def assert_same(scan: Scan, other: Volume, *, values: float = 0) -> None:
    """The voxels, and where they are: the eight corners within 1e-3 mm."""
    assert scan.geometry is not None
    turned = on_axes_of(scan.geometry, other)
    assert turned.voxels.shape == scan.voxels.shape[1:]
    assert np.abs(turned.voxels - scan.voxels[0]).max() <= values
    theirs = Geometry(turned.affine, scan.geometry.shape_vox)
    assert scan.geometry.corner_distance_mm(theirs) <= MOST_MM


ORACLES: dict[str, Callable[[Path, Path], Volume]] = {
    "highdicom": lambda folder, _: by_highdicom(folder),
    "simpleitk": lambda folder, _: by_simpleitk(folder),
    "dcm2niix": by_dcm2niix,
}


@pytest.mark.case("V01")
@pytest.mark.parametrize("oracle", ORACLES)
def test_V01_a_real_series_is_where_three_strangers_put_it(
    read: Read, series_folder: Path, tmp_path: Path, oracle: str
) -> None:
    """Its instances are numbered from the top down: who sorts by number mirrors it."""
    folder = series_folder / "98892001" / "CT5N"
    scan = read(folder)
    assert scan.voxels.shape == (1, 16, 16, 5)
    assert_same(scan, ORACLES[oracle](folder, tmp_path / "out"))


def is_refused(read: Callable[[], Any]) -> bool:
    try:
        read()
    except (ScanRejected, ValueError, RuntimeError):
        return True
    return False


@pytest.mark.case("V07", "V08")
@pytest.mark.parametrize(
    "name",
    ["77654033/CT2", "98892001/CT2N", "98892001/CT5N", "98892003/MR1", "98892003/MR2", "98892003/MR700"],
)
def test_medcnn_and_highdicom_refuse_the_same_folders(series_folder: Path, name: str) -> None:
    folder = series_folder / name
    ours = is_refused(lambda: read_scan(folder.parent, folder.name, Reading(min_slices=2)))
    assert ours is is_refused(lambda: by_highdicom(folder))
    assert ours is (name != "98892001/CT5N")


@pytest.mark.case("V02", "V03")
@pytest.mark.parametrize("numbers", ["as they are", "upside down", "mixed up", "none"])
def test_V02_V03_names_and_numbers_move_no_voxel(read: Read, series_folder: Path, tmp_path: Path, numbers: str) -> None:
    """highdicom reads what the scanner wrote, medcnn a copy with other names and numbers."""
    folder = series_folder / "98892001" / "CT5N"
    (tmp_path / "copy").mkdir()
    given = {"upside down": [1, 2, 3, 4, 5], "mixed up": [3, 1, 5, 2, 4]}.get(numbers)
    for at, (path, name) in enumerate(zip(sorted(folder.iterdir()), "dbeac", strict=True)):
        data = pydicom.dcmread(path)
        if given is not None:
            data.InstanceNumber = given[at]
        if numbers == "none":
            del data.InstanceNumber
        data.save_as(tmp_path / "copy" / name)
    assert_same(read(tmp_path / "copy"), by_highdicom(folder))


def turned(about_x: float, about_y: float) -> np.ndarray:
    """Degrees; the columns are the directions of the three axes."""
    x, y = np.radians([about_x, about_y])
    first = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    second = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    return second @ first


OBLIQUE = turned(30, 20)
PHANTOMS: dict[str, dict[str, Any]] = {
    "axial": {},
    "feet first": {"step_mm": (0, 0, -2.5)},
    "sagittal": {"orientation": (0, 1, 0, 0, 0, -1), "step_mm": (-3.1, 0, 0)},
    "sagittal from the right": {"orientation": (0, 1, 0, 0, 0, -1), "step_mm": (3.1, 0, 0)},
    "coronal": {"orientation": (1, 0, 0, 0, 0, -1), "step_mm": (0, 3.1, 0)},
    "oblique": {"orientation": (*OBLIQUE[:, 0], *OBLIQUE[:, 1]), "step_mm": 3.1 * OBLIQUE[:, 2], "decimals": 8},
    "oblique down": {"orientation": (*OBLIQUE[:, 0], *OBLIQUE[:, 1]), "step_mm": -3.1 * OBLIQUE[:, 2], "decimals": 8},
    "anisotropic": {"spacing_mm": (0.31, 1.9), "step_mm": (0, 0, 7.5)},
    "mirrored rows": {"orientation": (-1, 0, 0, 0, 1, 0), "step_mm": (0, 0, 2.5)},
    "four decimals": {
        "orientation": (*OBLIQUE[:, 0], *OBLIQUE[:, 1]),
        "step_mm": 3.3333 * OBLIQUE[:, 2],
        "decimals": 4,
    },
}


def scanner(number: int, data: Dataset) -> None:
    """What the other readers ask of a series beside its geometry."""
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = "1.2.9.1", "1.2.9.2", "1.2.9.3"
    data.PatientID, data.StudyDate, data.StudyTime, data.SeriesNumber = "phantom", "20260101", "120000", 3
    data.SOPInstanceUID, data.InstanceNumber = f"1.2.9.4.{number + 1}", (number * 3) % 8 + 1
    data.SliceThickness, data.ImageType, data.Manufacturer = "2", ["ORIGINAL", "PRIMARY", "AXIAL"], "phantom"
    data.PatientPosition = "HFS"


def large_phantom() -> np.ndarray:
    """(columns, rows, slices) of different whole numbers; dcm2niix refuses pictures of a few pixels."""
    return np.random.default_rng(0).permutation(24 * 20 * 8).reshape(24, 20, 8).astype(np.int16)


def truth(phantom: np.ndarray, options: dict[str, Any]) -> Volume:
    """By DICOM's own equation (PS3.3 C.7.6.2.1.1), from the numbers that the series was made with."""
    orientation = np.array(options.get("orientation", (1, 0, 0, 0, 1, 0)), float)
    between_rows, between_columns = options.get("spacing_mm", (0.7, 0.5))
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1] = orientation[:3] * between_columns, orientation[3:] * between_rows
    lps[:3, 2], lps[:3, 3] = options.get("step_mm", (0, 0, 2.5)), (-10, -20, 30)
    return Volume(phantom, LPS_TO_RAS @ lps)


@pytest.mark.case("V13", "V16")
@pytest.mark.parametrize("name", PHANTOMS)
def test_V13_V16_a_phantom_is_where_it_was_made(read: Read, write_series: Write, name: str) -> None:
    options = PHANTOMS[name]
    assert_same(read(write_series(large_phantom(), change=scanner, **options)), truth(large_phantom(), options))


@pytest.mark.case("V13", "V16")
@pytest.mark.parametrize(("oracle", "name"), list(product(ORACLES, PHANTOMS)))
def test_V13_V16_a_phantom_is_where_three_strangers_put_it(
    read: Read, write_series: Write, tmp_path: Path, oracle: str, name: str
) -> None:
    folder = write_series(large_phantom(), change=scanner, **PHANTOMS[name])
    assert_same(read(folder), ORACLES[oracle](folder, tmp_path / "out"))


UNEVEN_MM: dict[str, np.ndarray] = {
    "tilt of 15 degrees": np.arange(8)[:, None] * [0, 2.5 * np.tan(np.radians(15)), 2.5],
    "a slice missing": np.delete(np.arange(9), 3)[:, None] * [0, 0, 2.5],
    "a wider gap": (np.arange(8) * 2.5 + (np.arange(8) > 5))[:, None] * [0, 0, 1],
    "5 % of jitter": (np.arange(8) * 2.5 + (np.arange(8) % 2) * 0.125)[:, None] * [0, 0, 1],
    "two times at one place": (np.arange(8) % 4)[:, None] * [0, 0, 2.5],
}


def placed(positions_mm: np.ndarray) -> Callable[[int, Dataset], None]:
    def change(number: int, data: Dataset) -> None:
        scanner(number, data)
        data.ImagePositionPatient = [f"{value:.4f}" for value in positions_mm[number]]

    return change


@pytest.mark.case("V04", "V07", "V11", "V17", "V19")
@pytest.mark.parametrize("name", UNEVEN_MM)
def test_what_is_no_volume_is_none_for_highdicom_either(write_series: Write, name: str) -> None:
    """SimpleITK makes one of each of these without a word: its agreement is no proof that there is a volume."""
    folder = write_series(large_phantom(), change=placed(UNEVEN_MM[name]))
    assert is_refused(lambda: read_scan(folder.parent, folder.name))
    assert is_refused(lambda: by_highdicom(folder))
    assert by_simpleitk(folder).voxels.shape == (24, 20, 8)


@pytest.mark.case("V19")
@pytest.mark.parametrize("oracle", ["highdicom", "simpleitk"])
def test_V19_half_a_percent_of_jitter_is_spread_evenly(
    read: Read, write_series: Write, tmp_path: Path, oracle: str
) -> None:
    """From the first to the last position, as both do; dcm2niix takes the first two slices' distance for all."""
    positions_mm = (np.arange(8) * 2.5 + (np.arange(8) % 2) * 0.0125)[:, None] * [0, 0, 1]
    folder = write_series(large_phantom(), change=placed(positions_mm))
    scan = read(folder)
    assert_same(scan, ORACLES[oracle](folder, tmp_path / "out"))
    assert scan.geometry.spacing_mm()[2] == pytest.approx(2.5 + 0.0125 / 7)


def test_the_comparison_itself_can_fail(read: Read, write_series: Write) -> None:
    """A mirrored volume, a swapped spacing, a shift of 2 µm too much: each is found."""
    scan = read(write_series(large_phantom(), change=scanner))
    right = truth(large_phantom(), {})
    assert_same(scan, right)
    shifted, mirrored = right.affine.copy(), right.affine.copy()
    shifted[0, 3] += 2e-3
    mirrored[:3, 2] *= -1
    swapped = truth(large_phantom(), {"spacing_mm": (0.5, 0.7)}).affine
    for affine in (shifted, mirrored, swapped):
        with pytest.raises(AssertionError):
            assert_same(scan, Volume(right.voxels, affine))
    with pytest.raises(AssertionError):
        assert_same(scan, Volume(right.voxels[::-1], right.affine))


def reference(path: Path, time: int | None = None) -> Volume:
    """A NIfTI that dcm2niix's authors published beside its DICOM input."""
    import nibabel

    image = nibabel.load(path)
    return Volume(image.get_fdata() if time is None else image.get_fdata()[..., time - 1], np.asarray(image.affine))


@pytest.mark.case("V21")
def test_V21_each_time_of_the_ge_series_is_its_reference(medcnn_data: Path) -> None:
    folder, total = medcnn_data / "dicom" / "dcm_qa_nih", 0.0
    for time in range(1, 11):
        scan = read_scan(folder, f"In/20180918GE/mr_0004#time={time}")
        assert_same(scan, reference(folder / "Ref" / "DCM2NIIX_regression_test_4.nii", time))
        total += scan.voxels.sum(dtype=np.float64)
    assert total == 348_072_471


@pytest.mark.case("V21")
@pytest.mark.parametrize("oracle", ORACLES)
def test_V21_one_time_of_the_ge_series_is_where_three_strangers_put_it(
    medcnn_data: Path, tmp_path: Path, oracle: str
) -> None:
    """They cannot choose: they are given the files of that time alone."""
    folder = medcnn_data / "dicom" / "dcm_qa_nih" / "In" / "20180918GE" / "mr_0004"
    scan = read_scan(folder.parent, f"{folder.name}#time=3")
    (tmp_path / "time").mkdir()
    for path in folder.glob("*.dcm"):
        if str(pydicom.dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID) in scan.identity:
            (tmp_path / "time" / path.name).symlink_to(path)
    assert_same(scan, ORACLES[oracle](tmp_path / "time", tmp_path / "out"))


@pytest.mark.case("V21")
@pytest.mark.parametrize(("series", "name"), [("3", "AP_3"), ("4", "PA_4"), ("5", "RL_5"), ("6", "LR_6")])
def test_V21_siemens_mosaics_taken_apart_are_their_references(medcnn_data: Path, series: str, name: str) -> None:
    folder = medcnn_data / "dicom" / "dcm_qa_nih"
    for time in (1, 2):
        scan = read_scan(folder, f"In/20180918Si/mr_000{series}#time={time}", Reading(mosaic="detile"))
        assert scan.voxels.shape == (1, 72, 72, 5)
        assert_same(scan, reference(folder / "Ref" / f"EPI_PE={name}.nii", time))


@pytest.mark.case("V21")
@pytest.mark.parametrize("number", range(1, 10))
def test_V21_a_mosaic_in_nine_encodings_is_its_reference(medcnn_data: Path, number: int) -> None:
    folder = medcnn_data / "dicom" / "dcm_qa_ts"
    scan = read_scan(folder, f"In/{number}.dcm", Reading(mosaic="detile"))
    assert_same(scan, reference(folder / "Ref" / f"{number}.nii"))
    assert scan.voxels.sum(dtype=np.float64) == 38_036_663


@pytest.mark.case("V21")
@pytest.mark.parametrize("path", ["In/Philips", "In/Philips/IM_0027_fMAP.dcm"])
def test_V21_both_maps_of_the_philips_file_are_their_references(medcnn_data: Path, path: str) -> None:
    """The magnitude's reference is on Philips' private scale: only its stored values are the file's."""
    folder = medcnn_data / "dicom" / "dcm_qa_enh"
    field = read_scan(folder, f"{path}#image_type=ORIGINAL/PRIMARY/T1/FIELD_MAP")
    assert_same(field, reference(folder / "Ref" / "Philips_WIP_B0_NS_801_e2_fieldmaphz.nii"), values=0.01)
    magnitude = read_scan(folder, f"{path}#image_type=ORIGINAL/PRIMARY/T1/M")
    theirs = reference(folder / "Ref" / "Philips_WIP_B0_NS_801_e1.nii")
    stored = Volume(theirs.voxels * 8.44864e-06 * 1.27985, theirs.affine)
    assert_same(magnitude, stored, values=0.02)


@pytest.mark.case("V21")
def test_V21_each_time_of_the_enhanced_siemens_series_is_its_reference(medcnn_data: Path) -> None:
    import highdicom

    folder, total = medcnn_data / "dicom" / "dcm_qa_enh", 0.0
    for time in range(1, 5):
        scan = read_scan(folder, f"In/Siemens/XA10#time={time}")
        assert_same(scan, reference(folder / "Ref" / "Siemens_REST1_w_SMS_PF7-8_6.nii", time))
        volume = highdicom.imread(folder / "In" / "Siemens" / "XA10" / f"6_{time}.dcm").get_volume()
        assert_same(scan, Volume(volume.array, LPS_TO_RAS @ volume.affine))
        total += scan.voxels.sum(dtype=np.float64)
    assert total == 10_001_649
