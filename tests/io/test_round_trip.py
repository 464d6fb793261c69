"""From a scan's file to a written NIfTI: every mark where it was in the patient, as other programs see it.

The marks are single voxels of distinct values at positions known in mm; no mirror image and no exchange of axes leaves
one of them where it was. Patient coordinates are LPS+ here, as in DICOM and ITK; nothing of medcnn's own conversion is
used to make what is expected.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from scipy.spatial.transform import Rotation

from medcnn.geometry import Geometry
from medcnn.io.nifti.reader import read_nifti
from medcnn.io.nifti.writer import write_nifti
from medcnn.scan import Scan

Series = Callable[..., Path]
Marks = dict[int, tuple[int, int, int]]

SIDE = 8  # the same along every axis, so that exchanged axes change no shape
MARKS: Marks = {1000: (1, 2, 3), 2000: (6, 2, 4), 3000: (5, 7, 3), 4000: (1, 4, 0)}
ITK_FROM_RAS = np.array([-1.0, -1.0, 1.0])
ORIENTATIONS = [
    np.array(list(zip(axes, flips, strict=True)))
    for axes in itertools.permutations(range(3))
    for flips in itertools.product([1, -1], repeat=3)
]


def phantom() -> np.ndarray:
    """(I, J, K) int16, marks on a ground of noise."""
    voxels = np.random.default_rng(0).integers(0, 500, (SIDE, SIDE, SIDE)).astype(np.int16)
    for value, place in MARKS.items():
        voxels[place] = value
    return voxels


def test_no_orientation_of_the_phantom_resembles_another() -> None:
    as_images = [nibabel.apply_orientation(phantom(), orientation) for orientation in ORIENTATIONS]
    apart = [sum(one[place] != value for value, place in MARKS.items()) for one in as_images]
    assert sorted(apart)[:2] == [0, len(MARKS)]
    assert len({image.tobytes() for image in as_images}) == 48


def seen_by_nibabel(path: Path) -> dict[int, np.ndarray]:
    """Value of a mark -> LPS mm."""
    image = nibabel.load(path)
    voxels = image.get_fdata()
    return {value: (image.affine @ [*only(voxels == value), 1])[:3] * ITK_FROM_RAS for value in MARKS}


def seen_by_itk(image: Any) -> dict[int, np.ndarray]:
    voxels = SimpleITK.GetArrayFromImage(image).transpose()
    return {value: np.array(image.TransformIndexToPhysicalPoint(only(voxels == value))) for value in MARKS}


def only(found: np.ndarray) -> list[int]:
    places = np.argwhere(found)
    assert len(places) == 1
    return [int(number) for number in places[0]]


def assert_marked(path: Path, expected_mm: dict[int, np.ndarray], *, but_for_mm: float = 1e-3) -> None:
    for seen in (seen_by_nibabel(path), seen_by_itk(SimpleITK.ReadImage(str(path)))):
        for value, place_mm in expected_mm.items():
            assert np.abs(seen[value] - place_mm).max() < but_for_mm, f"{value}: {seen[value]}, not {place_mm}"


def write_scan(scan: Scan, path: Path) -> Path:
    write_nifti(path, scan.voxels[0], scan.geometry)
    return path


@pytest.mark.case("N03")
def test_48_orientations_keep_every_mark(tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec([0.1, -0.2, 0.15]).as_matrix() * [2.0, 3.0, 4.5]
    affine[:3, 3] = [-11, 22, 33]
    expected = {value: (affine @ [*place, 1])[:3] * ITK_FROM_RAS for value, place in MARKS.items()}
    for orientation in ORIENTATIONS:
        nibabel.Nifti1Image(phantom(), affine).as_reoriented(orientation).to_filename(tmp_path / "in.nii.gz")
        scan = read_nifti(tmp_path / "in.nii.gz")
        assert_marked(write_scan(scan, tmp_path / "out.nii.gz"), expected)
        one, other = (nibabel.load(tmp_path / name) for name in ("in.nii.gz", "out.nii.gz"))
        assert one.affine.tobytes() == other.affine.tobytes()
        assert np.array_equal(one.get_fdata(), other.get_fdata())


TURN = Rotation.from_euler("xz", [30, 20], degrees=True).as_matrix()
SPACING_MM = (0.7, 0.5)  # between rows, between columns
PLANES = {  # orientation of rows and columns, step from slice to slice
    "axial": ((1, 0, 0, 0, 1, 0), (0, 0, 2.5)),
    "descending": ((1, 0, 0, 0, 1, 0), (0, 0, -2.5)),
    "sagittal": ((0, 1, 0, 0, 0, -1), (-3, 0, 0)),
    "coronal": ((1, 0, 0, 0, 0, -1), (0, 1.5, 0)),
    "oblique": ((*TURN[:, 0], *TURN[:, 1]), tuple(TURN[:, 2] * 2)),
    "oblique, descending": ((*TURN[:, 0], *TURN[:, 1]), tuple(TURN[:, 2] * -2)),
}
START_MM = (-10.0, -20.0, 30.0)


def make_series(write_series: Series, plane: str) -> tuple[Path, dict[int, np.ndarray]]:
    """A folder of slices, and where PS3.3 C.7.6.2.1.1 puts each mark."""
    orientation, step_mm = PLANES[plane]

    def complete(number: int, data: Any) -> None:
        """What other readers ask for."""
        data.StudyInstanceUID, data.FrameOfReferenceUID = "1.2.4", "1.2.5"
        data.SliceThickness = str(np.linalg.norm(step_mm))
        data.SeriesNumber, data.PatientID, data.PatientName = 1, "0", "Phantom"
        data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.Manufacturer = "medcnn"

    folder = write_series(
        phantom(), orientation=orientation, step_mm=step_mm, start_mm=START_MM, spacing_mm=SPACING_MM, change=complete
    )
    along_row, along_column = np.reshape(orientation, (2, 3))
    expected = {
        value: START_MM
        + along_row * column * SPACING_MM[1]
        + along_column * row * SPACING_MM[0]
        + np.array(step_mm) * number
        for value, (column, row, number) in MARKS.items()
    }
    return folder, expected


def itk_of_series(folder: Path) -> Any:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def dcm2niix(folder: Path, target: Path) -> Path:
    """Convert by the program of that name; skips where the package is not installed."""
    package = pytest.importorskip("dcm2niix", reason="the package dcm2niix is not installed")
    target.mkdir()
    command = [package.bin, "-z", "n", "-b", "n", "-f", "by_dcm2niix", "-o", str(target), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return target / "by_dcm2niix.nii"


@pytest.mark.case("V16", "V23")
@pytest.mark.parametrize("plane", PLANES)
def test_dicom_to_nifti_keeps_every_mark(read: Any, write_series: Series, tmp_path: Path, plane: str) -> None:
    folder, expected = make_series(write_series, plane)
    scan = read(folder)
    assert_marked(write_scan(scan, tmp_path / "out.nii.gz"), expected)
    itk = itk_of_series(folder)
    by_itk = seen_by_itk(itk)
    assert all(np.abs(by_itk[value] - expected[value]).max() < 1e-3 for value in MARKS)
    # every voxel, by its place: ours, and what ITK has there
    assert scan.geometry is not None
    lps = (scan.geometry.affine[:3, :3] @ np.indices((SIDE,) * 3).reshape(3, -1)).T + scan.geometry.affine[:3, 3]
    there = [itk.GetPixel(itk.TransformPhysicalPointToIndex((place * ITK_FROM_RAS).tolist())) for place in lps]
    assert np.array_equal(scan.voxels.reshape(-1), there)


@pytest.mark.case("V16", "V23")
@pytest.mark.parametrize("plane", PLANES)
def test_dcm2niix_makes_the_same_volume(read: Any, write_series: Series, tmp_path: Path, plane: str) -> None:
    folder, expected = make_series(write_series, plane)
    theirs = dcm2niix(folder, tmp_path / "theirs")
    assert_marked(theirs, expected)
    assert_same_volume(write_scan(read(folder), tmp_path / "ours.nii"), theirs)


@pytest.mark.case("V01")
def test_V01_affine_as_highdicom_simpleitk_and_dcm2niix(read: Any, series_folder: Path, tmp_path: Path) -> None:
    import highdicom
    import pydicom

    folder = series_folder / "98892001" / "CT5N"
    ours = write_scan(read(folder), tmp_path / "ours.nii")
    volume = highdicom.get_volume_from_series([pydicom.dcmread(path) for path in folder.iterdir()])
    to_ras = np.diag([*ITK_FROM_RAS, 1.0])
    nibabel.Nifti1Image(volume.array.astype(np.float32), to_ras @ volume.affine).to_filename(tmp_path / "hd.nii")
    SimpleITK.WriteImage(itk_of_series(folder), str(tmp_path / "itk.nii"))
    for theirs in (tmp_path / "hd.nii", tmp_path / "itk.nii", dcm2niix(folder, tmp_path / "theirs")):
        assert_same_volume(ours, theirs)


def assert_same_volume(one: Path, other: Path) -> None:
    """The same voxels in the same places, whichever axis each file stores first, and from which end."""
    ours, theirs = (nibabel.as_closest_canonical(nibabel.load(path)) for path in (one, other))
    assert np.array_equal(ours.get_fdata(), theirs.get_fdata())
    shape = ours.shape
    assert Geometry(ours.affine, shape).corner_distance_mm(Geometry(theirs.affine, shape)) < 1e-3


def without_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    """LPS taken for RAS, wherever medcnn converts."""
    homes = [module for name, module in sys.modules.items() if name.startswith("medcnn.")]
    homes = [module for module in homes if hasattr(module, "LPS_TO_RAS")]
    assert len(homes) > 1
    for module in homes:
        monkeypatch.setattr(module, "LPS_TO_RAS", np.eye(4))


def written_as(monkeypatch: pytest.MonkeyPatch, change: Callable[[np.ndarray], np.ndarray]) -> None:
    from medcnn.io.nifti import writer as nifti_writer

    write = nifti_writer._write
    monkeypatch.setattr(
        nifti_writer, "_write", lambda stream, header, voxels, dtype: write(stream, header, change(voxels), dtype)
    )


BUGS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "LPS taken for RAS": without_conversion,
    "rows and columns exchanged": lambda patch: written_as(patch, lambda voxels: voxels.swapaxes(0, 1)),
    "first and last axis exchanged": lambda patch: written_as(patch, np.transpose),
    "third axis the other way round": lambda patch: written_as(patch, lambda voxels: voxels[:, :, ::-1]),
    "left and right exchanged": lambda patch: written_as(patch, lambda voxels: voxels[::-1]),
}


@pytest.mark.parametrize("bug", BUGS)
@pytest.mark.parametrize("plane", PLANES)
def test_a_seeded_bug_moves_a_mark(
    read: Any, write_series: Series, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bug: str, plane: str
) -> None:
    folder, expected = make_series(write_series, plane)
    assert_marked(write_scan(read(folder), tmp_path / "out.nii"), expected)
    BUGS[bug](monkeypatch)
    with pytest.raises(AssertionError, match=r"^\d000: "):
        assert_marked(write_scan(read(folder), tmp_path / "out.nii"), expected)


@pytest.mark.parametrize("bug", [name for name in BUGS if name != "LPS taken for RAS"])
def test_a_seeded_bug_of_the_writer_is_caught_from_nifti_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bug: str
) -> None:
    BUGS[bug](monkeypatch)
    with pytest.raises(AssertionError, match=r"^\d000: "):
        test_48_orientations_keep_every_mark(tmp_path)
