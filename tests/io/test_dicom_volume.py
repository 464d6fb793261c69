"""Conformance 5.2, the cases of series and volumes; each test is named after its case."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from medcnn.geometry import LPS_TO_RAS
from medcnn.io.dicom.slices import open_image
from medcnn.io.dicom.volume import read_volume
from medcnn.io.discover import Found, Skipped, discover
from medcnn.io.read import source_files
from medcnn.scan import Reason, ScanRejected

Read = Callable[..., Any]
Write = Callable[..., Path]
Bundled = Callable[[str], Path]


def copy_of(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


def edit(folder: Path, change: Callable[[int, Dataset], None]) -> Path:
    for number, path in enumerate(sorted(folder.iterdir())):
        dataset = pydicom.dcmread(path)
        change(number, dataset)
        dataset.save_as(path)
    return folder


def digest(scan: Any) -> str:
    return hashlib.sha256(scan.voxels.tobytes() + scan.geometry.affine.tobytes()).hexdigest()


def assert_same(scan: Any, array: np.ndarray, affine: np.ndarray) -> None:
    """Equal to highdicom's volume, which counts (slice, row, column), may run down the slices, and speaks LPS+."""
    ours, lps = scan.voxels[0].transpose(2, 1, 0), LPS_TO_RAS @ scan.geometry.affine
    ours_in_its_order = lps[:, [2, 1, 0, 3]]
    if affine[:3, 0] @ ours_in_its_order[:3, 0] < 0:
        ours, last = ours[::-1], len(ours) - 1
        ours_in_its_order[:3, 3] += last * ours_in_its_order[:3, 0]
        ours_in_its_order[:3, 0] *= -1
    assert np.array_equal(ours, array)
    assert ours_in_its_order == pytest.approx(affine, abs=1e-6)


@pytest.mark.case("V01")
def test_V01_affine_and_voxels_as_highdicom_and_simpleitk(read: Read, series_folder: Path) -> None:
    import highdicom
    import SimpleITK

    folder = series_folder / "98892001" / "CT5N"
    scan = read(folder)
    assert scan.voxels.shape == (1, 16, 16, 5)
    assert scan.geometry.spacing_mm() == pytest.approx([0.488281, 0.488281, 2.5])
    volume = highdicom.get_volume_from_series([pydicom.dcmread(path) for path in folder.iterdir()])
    assert_same(scan, volume.array, volume.affine)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    assert np.array_equal(scan.voxels[0], SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0))
    for corner, place in zip([(0, 0, 0), (15, 0, 0), (0, 15, 0), (0, 0, 4)], range(4), strict=True):
        lps = np.array([*image.TransformIndexToPhysicalPoint(corner), 1.0])
        assert scan.geometry.affine @ [*corner, 1] == pytest.approx(LPS_TO_RAS @ lps, abs=1e-3), place


@pytest.mark.case("V02")
def test_V02_file_names_do_not_matter(read: Read, series_folder: Path, tmp_path: Path) -> None:
    folder = series_folder / "98892001" / "CT5N"
    (tmp_path / "shuffled").mkdir()
    for path, name in zip(sorted(folder.iterdir()), "dbeac", strict=True):
        shutil.copy(path, tmp_path / "shuffled" / name)
    assert digest(read(tmp_path / "shuffled")) == digest(read(folder))


@pytest.mark.case("V03")
@pytest.mark.parametrize("numbers", [[3, 1, 5, 2, 4], None, [1, 1, 1, 1, 1]])
def test_V03_instance_numbers_do_not_matter(
    read: Read, series_folder: Path, tmp_path: Path, numbers: list[int] | None
) -> None:
    folder = series_folder / "98892001" / "CT5N"

    def change(at: int, data: Dataset) -> None:
        if numbers is None:
            del data.InstanceNumber
        else:
            data.InstanceNumber = numbers[at]

    assert digest(read(edit(copy_of(folder, tmp_path / "x"), change))) == digest(read(folder))


@pytest.mark.case("V04")
def test_V04_a_missing_slice(rejected: Read, write_series: Write, phantom: np.ndarray) -> None:
    folder = write_series(phantom)
    (folder / "003.dcm").unlink()
    found = rejected(folder)
    assert found.code is Reason.SLICE_MISSING
    assert "slices 2 and 3 lie 5.00 mm apart, the others 2.50 mm" in found.found


@pytest.mark.case("V05")
def test_V05_a_copied_file_counts_once(read: Read, write_series: Write, phantom: np.ndarray) -> None:
    folder = write_series(phantom)
    plain = digest(read(folder))
    shutil.copy(folder / "002.dcm", folder / "copy.dcm")
    scan = read(folder)
    assert digest(scan) == plain
    assert scan.facts["copies_ignored"] == "1"


@pytest.mark.case("V06")
def test_V06_one_position_with_two_images(rejected: Read, write_series: Write, phantom: np.ndarray) -> None:
    folder = write_series(phantom)
    other = pydicom.dcmread(folder / "002.dcm")
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.99"
    other.PixelData = bytes(len(other.PixelData))
    other.save_as(folder / "other.dcm")
    found = rejected(folder)
    assert found.code is Reason.SLICE_DUPLICATE
    assert "position 2 of 8" in found.found


@pytest.mark.case("V07")
def test_V07_an_irregular_series(rejected: Read, series_folder: Path) -> None:
    assert rejected(series_folder / "77654033" / "CT2").code is Reason.SLICE_SPACING_IRREGULAR


@pytest.mark.case("V08")
@pytest.mark.parametrize("name", ["98892001/CT2N", "98892003/MR700"])
def test_V08_several_orientations(rejected: Read, series_folder: Path, name: str) -> None:
    assert rejected(series_folder / name).code is Reason.ORIENTATION_INCONSISTENT


@pytest.mark.case("V09")
def test_V09_a_case_is_a_series_or_an_xray(rejected: Read, series_folder: Path) -> None:
    for name, count in (("98892003/MR1", 3), ("98892003/MR2", 3), ("77654033/CR1", 1), ("77654033/CR2", 1)):
        cases = [case for case in discover(series_folder / name) if isinstance(case, Found)]
        assert len(cases) == count, name
        assert len({case.identity for case in cases}) == count
    codes = [
        rejected(series_folder / "98892003" / "MR2", case.reference.removeprefix(".")).code
        for case in discover(series_folder / "98892003" / "MR2")
        if isinstance(case, Found) and "#series=" in case.reference
    ]
    assert codes == [Reason.ORIENTATION_INCONSISTENT] * 2


@pytest.mark.case("V10")
def test_V10_other_files_beside_a_series_are_skipped(
    read: Read, series_folder: Path, bundled: Bundled, tmp_path: Path
) -> None:
    folder = copy_of(series_folder / "98892001" / "CT5N", tmp_path / "x")
    shutil.copy(series_folder / "98892001" / "CT2N" / "6293", folder / "localizer")
    shutil.copy(bundled("test-SR"), folder / "report.dcm")
    shutil.copy(series_folder / "DICOMDIR", folder / "DICOMDIR")
    (folder / "note.txt").write_text("a note")
    outcomes = list(discover(tmp_path))
    (case,) = (one for one in outcomes if isinstance(one, Found))
    skipped = {one.reference: one.rejection.code for one in outcomes if isinstance(one, Skipped)}
    assert case.reference == "x"
    assert skipped == {
        "x/localizer": Reason.LOCALIZER,
        "x/report.dcm": Reason.NOT_AN_IMAGE,
        "x/DICOMDIR": Reason.NOT_AN_IMAGE,
        "x/note.txt": Reason.NOT_DICOM,
    }
    assert digest(read(tmp_path / "x")) == digest(read(series_folder / "98892001" / "CT5N"))
    assert len(source_files(tmp_path, "x")) == 5
    assert case.identity == read(tmp_path / "x").identity


def tilted(degrees: float) -> tuple[float, float, float]:
    return 0.0, 2.5 * float(np.tan(np.radians(degrees))), 2.5


@pytest.mark.case("V11")
def test_V11_gantry_tilt(rejected: Read, write_series: Write, phantom: np.ndarray) -> None:
    found = rejected(write_series(phantom, step_mm=tilted(15)))
    assert found.code is Reason.GANTRY_TILT
    assert "drifts 4.69 mm sideways (at most 0.10 mm)" in found.found  # 7 x 2.5 x tan 15°


@pytest.mark.case("V11b")
def test_V11b_a_small_tilt_is_a_tilt_and_a_tolerated_drift_stays_in_the_affine(
    read: Read, rejected: Read, write_series: Write
) -> None:
    ten = np.zeros((4, 4, 10), dtype=np.int16)
    assert rejected(write_series(ten, step_mm=tilted(1.5), spacing_mm=(0.7, 0.7))).code is Reason.GANTRY_TILT
    scan = read(write_series(ten, folder="drift", step_mm=(0, 0.01, 2.5)))
    assert scan.geometry.affine[:3, 2] == pytest.approx([0, -0.01, 2.5], abs=1e-9)


@pytest.mark.case("V12")
def test_V12_too_few_and_another_series_in_the_folder(rejected: Read, write_series: Write, phantom: np.ndarray) -> None:
    assert rejected(write_series(phantom[:, :, :3])).code is Reason.TOO_FEW_SLICES
    folder = write_series(phantom, folder="two")
    edit(folder, lambda number, data: setattr(data, "SeriesInstanceUID", f"1.2.{number % 2}"))
    found = rejected(folder)
    assert found.code is Reason.NOT_A_VOLUME
    assert "holds 2 series" in found.found


@pytest.mark.case("V13")
def test_V13_voxels_lie_as_column_row_slice(read: Read, write_series: Write, phantom: np.ndarray) -> None:
    scan = read(write_series(phantom))
    assert np.array_equal(scan.voxels[0], phantom)
    assert scan.geometry.affine == pytest.approx(
        np.array([[-0.5, 0, 0, 10], [0, -0.7, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]])  # by hand, LPS to RAS
    )
    assert scan.spacing_mm == pytest.approx((0.5, 0.7, 2.5))
    assert scan.modality == "CT"
    assert scan.identity == tuple(f"1.2.3.{number}" for number in range(1, 9))


@pytest.mark.case("V15")
def test_V15_enhanced_frames_take_their_place_from_the_functional_groups(
    read: Read, rejected: Read, bundled: Bundled
) -> None:
    import highdicom

    path = bundled("eCT_Supplemental")
    assert rejected(path).code is Reason.TOO_FEW_SLICES
    scan = read(path, min_slices=2)
    image = highdicom.imread(path)
    assert scan.geometry.spacing_mm()[2] == pytest.approx(10)
    assert_same(scan, image.get_volume().array, image.get_volume().affine)
    stored = pydicom.dcmread(path).pixel_array
    assert scan.voxels.sum(dtype=np.float64) == stored.sum(dtype=np.float64) - 1024 * stored.size


def rotation(*degrees: float) -> np.ndarray:
    x, y = np.radians(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    return about_y @ about_x


@pytest.mark.case("V16")
@pytest.mark.parametrize("name", ["oblique", "sagittal", "coronal"])
@pytest.mark.parametrize("direction", [1, -1])
def test_V16_corners_of_any_orientation(
    read: Read, write_series: Write, phantom: np.ndarray, name: str, direction: int
) -> None:
    turn = rotation(30, 20)
    row, column = {
        "oblique": (turn[:, 0], turn[:, 1]),
        "sagittal": (np.array([0.0, 1, 0]), np.array([0.0, 0, -1])),
        "coronal": (np.array([1.0, 0, 0]), np.array([0.0, 0, -1])),
    }[name]
    step, start = direction * 3.1 * np.cross(row, column), np.array([11.0, -7, 5])
    scan = read(write_series(phantom, orientation=[*row, *column], step_mm=step, start_mm=start, decimals=8))
    for i, j, k in np.ndindex(2, 2, 2):
        at = np.array([i * 5, j * 4, k * 7])
        number = at[2] if direction == 1 else 7 - at[2]  # sorted along the normal
        lps = start + row * 0.5 * at[0] + column * 0.7 * at[1] + step * number
        ras = lps * [-1, -1, 1]
        assert (scan.geometry.affine @ [*at, 1])[:3] == pytest.approx(ras, abs=1e-3)
        assert scan.voxels[0][tuple(at)] == phantom[at[0], at[1], number]


@pytest.mark.case("V17")
def test_V17_time_points_at_one_place_are_listed(rejected: Read, write_series: Write, phantom: np.ndarray) -> None:
    def change(number: int, data: Dataset) -> None:
        data.TemporalPositionIdentifier = str(number // 4 + 1)
        data.ImagePositionPatient = ["0", "0", str(2.5 * (number % 4))]

    found = rejected(write_series(phantom, change=change))
    assert found.code is Reason.FOUR_D_AMBIGUOUS
    assert "time: 1, 2" in found.found


@pytest.mark.case("V18")
@pytest.mark.parametrize(
    ("keyword", "value", "code"),
    [
        ("PixelSpacing", ["0.9", "0.5"], Reason.SLICE_INCONSISTENT),
        ("Rows", 4, Reason.SLICE_INCONSISTENT),
    ],
)
def test_V18_slices_that_differ(
    rejected: Read, write_series: Write, phantom: np.ndarray, keyword: str, value: Any, code: Reason
) -> None:
    folder = write_series(phantom, change=lambda number, data: setattr(data, keyword, value) if number == 2 else None)
    assert rejected(folder).code is code


@pytest.mark.case("V18")
def test_V18_each_slice_has_its_own_rescale(read: Read, write_series: Write, phantom: np.ndarray) -> None:
    folder = write_series(phantom, change=lambda number, data: setattr(data, "RescaleSlope", str(number + 1)))
    assert np.array_equal(read(folder).voxels[0], phantom * np.arange(1, 9))


@pytest.mark.case("V19")
@pytest.mark.parametrize(("jitter", "fine"), [(0.005, True), (0.05, False)])
def test_V19_jitter_of_the_positions(
    read: Read, rejected: Read, write_series: Write, phantom: np.ndarray, jitter: float, fine: bool
) -> None:
    def change(number: int, data: Dataset) -> None:
        data.ImagePositionPatient = ["0", "0", f"{2.5 * (number + jitter * (number % 2)):.4f}"]

    folder = write_series(phantom, change=change)
    if fine:
        assert read(folder).voxels.shape == (1, 6, 5, 8)
    else:
        assert rejected(folder).code is Reason.SLICE_SPACING_IRREGULAR


@pytest.mark.case("V19")
def test_V19_rounding_in_the_file_is_no_irregularity(read: Read, write_series: Write, phantom: np.ndarray) -> None:
    assert read(write_series(phantom, step_mm=(0, 0, 3.3333), decimals=1)).geometry.spacing_mm()[2] == pytest.approx(
        3.3333, abs=0.02
    )


@pytest.mark.case("V20")
@pytest.mark.parametrize(
    "orientation",
    [["1", "0", "0", "0", "0.9", "0"], ["1", "0", "0", "0.5", "0.8", "0"], ["nan", "0", "0", "0", "1", "0"], None],
    ids=["not unit", "not orthogonal", "nan", "missing"],
)
def test_V20_a_geometry_that_cannot_be(
    rejected: Read, write_series: Write, phantom: np.ndarray, orientation: list[str] | None
) -> None:
    def change(_: int, data: Dataset) -> None:
        if orientation is None:
            del data.ImageOrientationPatient
        else:
            data.ImageOrientationPatient = orientation

    assert rejected(write_series(phantom, change=change)).code is Reason.GEOMETRY_INVALID


@pytest.mark.case("V21")
@pytest.mark.parametrize(
    ("series", "code", "listed"),
    [
        ("dcm_qa_nih/In/20180918GE/mr_0004", Reason.FOUR_D_AMBIGUOUS, "time: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10"),
        ("dcm_qa_nih/In/20180918Si/mr_0003", Reason.MOSAIC, ""),
        ("dcm_qa_ts/In", Reason.MOSAIC, ""),
        ("dcm_qa_enh/In/Philips", Reason.FOUR_D_AMBIGUOUS, "image_type"),
        ("dcm_qa_enh/In/Siemens/XA10", Reason.FOUR_D_AMBIGUOUS, "time"),
    ],
)
def test_V21_scanner_series_are_refused_by_default(
    rejected: Read, medcnn_data: Path, series: str, code: Reason, listed: str
) -> None:
    found = rejected(medcnn_data / "dicom" / series)
    assert found.code is code
    assert listed in found.found


@pytest.mark.case("V21")
def test_V21_one_time_point_of_a_scanner_equals_its_reference(read: Read, medcnn_data: Path) -> None:
    import nibabel

    folder = medcnn_data / "dicom"
    reference = nibabel.load(folder / "dcm_qa_nih" / "Ref" / "DCM2NIIX_regression_test_4.nii")
    files = sorted((folder / "dcm_qa_nih" / "In" / "20180918GE" / "mr_0004").glob("*.dcm"))
    first = [path for path in files if pydicom.dcmread(path, specific_tags=["InstanceNumber"]).InstanceNumber <= 15]
    scan = read_volume([open_image(path) for path in first])
    by_world = nibabel.as_closest_canonical(nibabel.Nifti1Image(scan.voxels[0], scan.geometry.affine))
    expected = nibabel.as_closest_canonical(reference.slicer[..., 0])
    assert np.array_equal(by_world.get_fdata(), expected.get_fdata())
    assert by_world.affine == pytest.approx(expected.affine, abs=1e-3)


@pytest.mark.case("V21")
def test_V21_enhanced_siemens_equals_its_reference(read: Read, medcnn_data: Path) -> None:
    import nibabel

    folder = medcnn_data / "dicom" / "dcm_qa_enh"
    reference = nibabel.load(folder / "Ref" / "Siemens_REST1_w_SMS_PF7-8_6.nii")
    total = 0.0
    for number in range(1, 5):
        scan = read(folder / "In" / "Siemens" / "XA10" / f"6_{number}.dcm")
        ours = nibabel.as_closest_canonical(nibabel.Nifti1Image(scan.voxels[0], scan.geometry.affine))
        expected = nibabel.as_closest_canonical(reference.slicer[..., number - 1])
        assert np.array_equal(ours.get_fdata(), expected.get_fdata())
        assert ours.affine == pytest.approx(expected.affine, abs=1e-3)
        total += scan.voxels.sum(dtype=np.float64)
    assert total == 10_001_649


@pytest.mark.case("V21")
def test_V21_nine_encodings_of_a_mosaic_decode_alike(read: Read, medcnn_data: Path) -> None:
    folder = medcnn_data / "dicom" / "dcm_qa_ts" / "In"
    pixels = [read(folder / f"{number}.dcm").voxels for number in range(1, 10)]
    assert all(np.array_equal(pixels[0], other) for other in pixels)
    assert pixels[0].sum(dtype=np.float64) == 38_036_663


@pytest.mark.case("V24")
def test_V24_a_single_slice_is_no_volume(rejected: Read, read: Read, write_series: Write, phantom: np.ndarray) -> None:
    folder = write_series(phantom[:, :, :1])
    assert rejected(folder).code is Reason.TOO_FEW_SLICES
    assert read(folder / "000.dcm").voxels.shape == (1, 5, 6)
    (case,) = discover(folder)
    assert case.reference == "000.dcm"


def test_two_slices_with_one_uid_are_refused(rejected: Read, write_series: Write, phantom: np.ndarray) -> None:
    folder = write_series(phantom, change=lambda _, data: setattr(data, "SOPInstanceUID", "1.2.3.4"))
    assert rejected(folder).code is Reason.META_INVALID


def test_a_damaged_slice_spoils_its_series(rejected: Read, write_series: Write, phantom: np.ndarray) -> None:
    folder = write_series(phantom)
    content = (folder / "004.dcm").read_bytes()
    (folder / "004.dcm").write_bytes(content[:-20])
    assert rejected(folder).code is Reason.PIXEL_DATA_TRUNCATED


def test_no_message_tells_a_patient_or_a_uid(write_series: Write, phantom: np.ndarray) -> None:
    def change(number: int, data: Dataset) -> None:
        data.PatientName, data.PatientID = "Canary^Name", "canary-id"
        data.ImagePositionPatient = ["0", "0", str(number**2)]

    with pytest.raises(ScanRejected) as caught:
        read_volume([open_image(path) for path in write_series(phantom, change=change).iterdir()])
    assert "anary" not in str(caught.value)
    assert "1.2.3" not in str(caught.value)


def test_a_slice_that_lost_everything_but_its_start_rejects_its_series(
    write_series: Callable[..., Path], phantom: np.ndarray, rejected: Callable[..., Any]
) -> None:
    """Cut so early that it is no image any more: without its last slice the volume would look whole."""

    def change(number: int, data: Dataset) -> None:
        data.ImageType = ["ORIGINAL", "PRIMARY"]

    folder = write_series(phantom, change=change)
    last = max(folder.iterdir())
    content = last.read_bytes()
    last.write_bytes(content[: content.index(b"\x08\x00\x16\x00UI")])
    assert rejected(folder).code is Reason.NOT_AN_IMAGE
    last.write_bytes(b"")
    assert rejected(folder).code is Reason.NOT_DICOM
