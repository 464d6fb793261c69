"""A hot spot of the network's grid must lie in the patient where preprocessing took that spot from.

The oracle is preprocessing itself, over a scan whose three channels hold each voxel's own place in mm.
"""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from medcnn.batch.masks import Grid
from medcnn.batch.results import Results
from medcnn.batch.saliency import on_scan, write_saliency
from medcnn.geometry import Geometry
from medcnn.io.options import Reading
from medcnn.scan import Scan
from medcnn.transforms.preprocessing import Preprocessing

RANGE_MM = (-500.0, 500.0)
Size = tuple[int, ...]


def steps(size_px: Size, spacing_mm: tuple[float, ...] = (), *, keep_aspect: bool = True, channels: int = 3):
    return Preprocessing(size_px, spacing_mm, keep_aspect, "range", 0.5, 99.5, Reading(), channels)


def rotation(degrees: float, axis: tuple[float, float, float]) -> np.ndarray:
    """Rodrigues."""
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def geometry(directions: np.ndarray, edges_mm: tuple[float, ...], shape: Size) -> Geometry:
    affine = np.eye(4)
    affine[:3, :3] = directions * np.array(edges_mm)
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) / 2) + (7, -11, 23)
    return Geometry(affine, shape)


def places_mm(grid: Geometry) -> np.ndarray:
    """(3, *shape): where each voxel lies."""
    index = np.stack(np.meshgrid(*(np.arange(side) for side in grid.shape_vox), indexing="ij"))
    return np.einsum("ab,bijk->aijk", grid.affine[:3, :3], index) + grid.affine[:3, 3, None, None, None]


def seen_mm(scan_geometry: Geometry, preprocessing: Preprocessing) -> np.ndarray:
    """(3, *size_px): where in the patient each voxel of the network's grid was taken from."""
    scan = Scan(places_mm(scan_geometry).astype(np.float32), scan_geometry, value_range=RANGE_MM)
    low, high = RANGE_MM
    return (preprocessing.apply(scan) + 1) / 2 * (high - low) + low


def blob(size: Size, at: Size, sigma: float) -> np.ndarray:
    axes = np.meshgrid(*(np.arange(side) for side in size), indexing="ij")
    squared = sum((axis - centre) ** 2 for axis, centre in zip(axes, at, strict=True))
    return np.exp(-squared / (2 * sigma**2)).astype(np.float32)


def centre(values: np.ndarray, field: np.ndarray) -> float:
    """The mean of a field, weighed by the values."""
    return float((field * values).sum() / values.sum())


def centre_mm(values: np.ndarray, places: np.ndarray) -> list[float]:
    return [centre(values, field) for field in places]


def grid_of(scan_geometry: Geometry) -> Grid:
    spacing = tuple(float(edge) for edge in scan_geometry.spacing_mm())
    return Grid(scan_geometry.shape_vox, scan_geometry, spacing)


TURNS = [np.eye(3)[:, list(order)] * signs for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


@pytest.mark.parametrize(("spacing_mm", "turns", "off_mm"), [((), TURNS[::7], 0.3), ((2.0, 1.5, 2.5), TURNS, 0.1)])
def test_a_hot_spot_lies_in_the_patient_where_the_network_saw_it_however_the_scan_is_stored(
    spacing_mm, turns, off_mm
) -> None:
    preprocessing, at = steps((28, 30, 26), spacing_mm), (12, 17, 10)
    for directions in turns:
        place = geometry(directions, (1.5, 2.0, 1.2), (30, 26, 34))
        heat = blob(preprocessing.size_px, at, 1.5)
        expected = centre_mm(heat, seen_mm(place, preprocessing))
        found = on_scan(heat, grid_of(place), preprocessing)
        assert centre_mm(found, places_mm(place)) == pytest.approx(expected, abs=off_mm), directions


SHEAR = np.array([[1, 0, 0], [0, 1, 0.3], [0, 0, 1]])
CASES = {
    "oblique, resampled, cropped and padded": (rotation(25, (1, 2, 3)), (1.0, 1.0, 1.0), (2.0, 2.0, 1.0), (20, 32, 24)),
    "oblique, thick slices": (rotation(40, (0, 1, 0.2)), (0.8, 0.8, 4.0), (1.0, 1.0, 2.0), (32, 32, 32)),
    "oblique, resized by one factor": (rotation(-30, (1, 0.3, 0)), (0.8, 1.6, 3.0), (), (24, 24, 24)),
    "sheared": (
        rotation(10, (1, 1, 1)) @ [[1, 0, 0], [0, 1, 0.3], [0, 0, 1]],
        (1.0, 1.0, 2.0),
        (1.5, 1.5, 1.5),
        (30, 30, 30),
    ),
    "sides come out at a half": (np.eye(3), (1.0, 1.0, 1.0), (2.0, 2.0, 1.0), (22, 20, 22)),
    "turned over, far off axis": (TURNS[29] @ rotation(44, (0, 0, 1)), (1.0, 1.3, 1.7), (1.5, 1.5, 1.5), (26, 26, 26)),
}


@pytest.mark.parametrize(("directions", "edges_mm", "spacing_mm", "size_px"), CASES.values(), ids=CASES)
def test_in_the_file_too(tmp_path: Path, directions, edges_mm, spacing_mm, size_px) -> None:
    place, preprocessing = geometry(directions, edges_mm, (40, 36, 20)), steps(size_px, spacing_mm)
    at = tuple(side // 2 + move for side, move in zip(size_px, (-2, 3, 1), strict=True))
    heat = blob(size_px, at, 1.5)
    expected = centre_mm(heat, seen_mm(place, preprocessing))
    file = write_saliency(Results(tmp_path / "out"), "ward__a", heat, grid_of(place), preprocessing)
    assert file == "saliency/ward__a.nii.gz"
    stored = nibabel.load(tmp_path / "out" / file)
    assert (stored.shape, stored.get_data_dtype()) == (place.shape_vox, np.float32)
    assert stored.affine == pytest.approx(place.affine, abs=1e-4)
    values = np.asarray(stored.dataobj)
    assert 0.7 < values.max() <= 1
    assert centre_mm(values, places_mm(place)) == pytest.approx(expected, abs=0.3 if not spacing_mm else 0.1)


def test_what_was_cropped_away_is_zero_and_the_rest_is_covered() -> None:
    place = geometry(rotation(20, (1, 1, 0)), (1.0, 1.0, 2.0), (40, 36, 20))
    preprocessing = steps((16, 64, 12), (2.0, 1.0, 2.0))  # 32 of 40 mm, all of 36 mm, 24 of 40 mm
    found = on_scan(np.ones((16, 64, 12), np.float32), grid_of(place), preprocessing)
    assert set(np.unique(found)) == {0.0, 1.0}
    covered = [np.flatnonzero(found.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    assert [len(run) for run in covered] == pytest.approx([32, 36, 12], abs=1)
    assert found.sum() == np.prod([len(run) for run in covered])  # a box
    assert [run.mean() for run in covered] == pytest.approx([19.5, 17.5, 9.5], abs=1)


def test_heat_in_the_padding_is_nowhere_in_the_scan() -> None:
    place = geometry(np.eye(3), (1.0, 1.0, 1.0), (20, 20, 20))
    heat = np.ones((32, 32, 32), np.float32)
    heat[5:27, 5:27, 5:27] = 0  # the scan lies in 6 to 25
    assert not on_scan(heat, grid_of(place), steps((32, 32, 32), (1.0, 1.0, 1.0))).any()


def test_a_volume_that_does_not_say_how_it_lies_keeps_its_axes(tmp_path: Path) -> None:
    heat, grid = blob((10, 10, 10), (2, 5, 8), 1.0), Grid((20, 10, 30), None, (1.0, 2.0, 0.7))
    file = write_saliency(Results(tmp_path / "out"), "a", heat, grid, steps((10, 10, 10), keep_aspect=False))
    values = np.asarray(nibabel.load(tmp_path / "out" / file).dataobj)
    assert np.unravel_index(values.argmax(), values.shape) in [(4, 5, 25), (5, 5, 25)]


@pytest.mark.parametrize(
    ("preprocessing", "spacing_mm"),
    [
        (steps((32, 32), channels=1), None),
        (steps((32, 32), channels=1), (1.0, 2.0)),
        (steps((40, 32), keep_aspect=False, channels=1), (1.0, 2.0)),
        (steps((32, 48), (2.0, 2.0), channels=1), (1.0, 1.0)),
        (steps((128, 128), (1.5, 1.5), channels=1), (2.0, 1.0)),
    ],
)
def test_pictures_are_16_bit_and_hot_where_they_were_seen(tmp_path: Path, preprocessing, spacing_mm) -> None:
    rows, columns = np.meshgrid(np.arange(64.0), np.arange(80.0), indexing="ij")
    at = tuple(side // 2 + move for side, move in zip(preprocessing.size_px, (1, -4), strict=True))
    heat, expected = blob(preprocessing.size_px, at, 1.2), []
    for field in (rows, columns):
        scan = Scan(field[None].astype(np.float32), spacing_mm=spacing_mm, value_range=(0.0, 100.0))
        expected.append((preprocessing.apply(scan)[(0, *at)] + 1) * 50)
    grid = Grid((64, 80), None, spacing_mm)
    file = write_saliency(Results(tmp_path / "out"), "a", heat, grid, preprocessing)
    assert file == "saliency/a.png"
    with Image.open(tmp_path / "out" / file) as picture:
        assert picture.mode.startswith("I;16")
        values = np.asarray(picture, np.float64)
    assert values.shape == (64, 80)
    assert 0.8 * 65535 < values.max() <= 65535
    assert [centre(values, field) for field in (rows, columns)] == pytest.approx(expected, abs=0.3)


def test_heat_on_another_grid_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="network's grid"):
        on_scan(np.zeros((8, 8), np.float32), Grid((9, 9), None, None), steps((8, 9), channels=1))
