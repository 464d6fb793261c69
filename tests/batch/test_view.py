"""Where the network's grid lies in what is shown: a bright spot must be found where preprocessing took it."""

from __future__ import annotations

import numpy as np
import pytest

from medcnn.batch.planes import panels
from medcnn.batch.seen import placement
from medcnn.batch.view import MOST_PX, View
from medcnn.geometry import Geometry
from medcnn.io.options import Reading
from medcnn.scan import Scan
from medcnn.transforms.preprocessing import Preprocessing


def steps(size_px: tuple[int, ...], *, spacing_mm: tuple[float, ...] = (), keep_aspect: bool = True) -> Preprocessing:
    return Preprocessing(size_px, spacing_mm, keep_aspect, "range", 0.5, 99.5, Reading(), 1)


def blob(shape: tuple[int, ...], at: tuple[float, ...], sigma: float) -> np.ndarray:
    axes = np.meshgrid(*(np.arange(side) for side in shape), indexing="ij")
    squared = sum((axis - centre) ** 2 for axis, centre in zip(axes, at, strict=True))
    return np.exp(-squared / (2 * sigma**2)).astype(np.float32)


def centre_of_mass(values: np.ndarray) -> np.ndarray:
    values = values - values.min()
    values[values < 0.3 * values.max()] = 0
    axes = np.meshgrid(*(np.arange(side) for side in values.shape), indexing="ij")
    return np.array([(axis * values).sum() / values.sum() for axis in axes])


@pytest.mark.parametrize(
    ("preprocessing", "spacing_mm"),
    [
        (steps((32, 32)), None),
        (steps((32, 32)), (1.0, 2.0)),
        (steps((40, 32), keep_aspect=False), (1.0, 2.0)),
        (steps((32, 48), spacing_mm=(2.0, 2.0)), (1.0, 1.0)),
        (steps((128, 128), spacing_mm=(1.5, 1.5)), (2.0, 1.0)),
    ],
)
def test_a_spot_in_a_picture_is_where_the_network_sees_it(
    preprocessing: Preprocessing, spacing_mm: tuple[float, float] | None
) -> None:
    scan = Scan(blob((64, 80), (26.0, 38.0), 5.0)[None], spacing_mm=spacing_mm)
    view = View.of(scan, preprocessing)
    seen = preprocessing.apply(scan)[0]
    expected = [step.to_other(np.array(at)) for step, at in zip(view.steps, (26.0, 38.0), strict=True)]
    assert centre_of_mass(seen) == pytest.approx(np.array(expected), abs=0.35)
    back = view.heat_at(seen - seen.min(), np.ix_(np.arange(64.0), np.arange(80.0)))
    assert centre_of_mass(back) == pytest.approx(np.array([26.0, 38.0]), abs=1.0)


@pytest.mark.parametrize("spacing_mm", [(), (2.0, 2.0, 2.0)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1)])
def test_a_spot_in_a_volume_is_found_in_patient_axes(spacing_mm: tuple[float, ...], flips: tuple[int, ...]) -> None:
    # stored as (z, x, y), so that axes are permuted too; edges 3, 1.5 and 1 mm
    shape, at = (20, 40, 50), (6.0, 28.0, 15.0)
    affine = np.zeros((4, 4))
    affine[2, 0], affine[0, 1], affine[1, 2], affine[3, 3] = 3.0 * flips[2], 1.5 * flips[0], 1.0 * flips[1], 1
    squeezed = blob(shape, at, 1.0) + blob(shape, at, 3.0)
    scan = Scan(squeezed[None], Geometry(affine, shape), (3.0, 1.5, 1.0), modality="MR")
    preprocessing = steps((32, 32, 32), spacing_mm=spacing_mm)
    view = View.of(scan, preprocessing)
    x = at[1] if flips[0] > 0 else shape[1] - 1 - at[1]
    y = at[2] if flips[1] > 0 else shape[2] - 1 - at[2]
    z = at[0] if flips[2] > 0 else shape[0] - 1 - at[0]
    assert view.grey.shape == (40, 50, 20)
    assert view.edges_mm == pytest.approx((1.5, 1.0, 3.0))
    assert centre_of_mass(view.grey.astype(float)) == pytest.approx(np.array([x, y, z]), abs=0.6)  # bright: cut off
    seen = preprocessing.apply(scan)[0]
    assert np.abs(np.array(view.hottest(seen - seen.min())) - (x, y, z)).max() <= 1.5


def test_volumes_hang_with_the_right_side_on_the_left_and_the_face_up() -> None:
    values = np.zeros((20, 24, 28), np.float32)
    values[16:19, 20:23, 24:27] = 1  # right, anterior, superior
    scan = Scan(values[None], Geometry(np.diag([1.0, 2.0, 1.0, 1.0]), values.shape), (1.0, 2.0, 1.0))
    view = View.of(scan, steps((20, 24, 28)))
    heat = preprocessed(values)
    axial, coronal, sagittal = panels(view, view.hottest(heat))
    for panel, letters in ((axial, "RLAP"), (coronal, "RLSI"), (sagittal, "APSI")):
        assert "".join(panel.letters) == letters
        rows, columns = np.nonzero(panel.grey > 200)
        assert rows.mean() < panel.grey.shape[0] / 2  # anterior or superior: up
        assert columns.mean() < panel.grey.shape[1] / 2  # right or anterior: left
        hot_rows, hot_columns = np.nonzero(view.heat_at(heat, panel.places) > 0.5)
        assert hot_rows.mean() == pytest.approx(rows.mean(), abs=8)
        assert hot_columns.mean() == pytest.approx(columns.mean(), abs=8)
    height, width = axial.grey.shape
    assert height / width == pytest.approx(24 * 2 / 20, abs=0.02)  # true mm


def preprocessed(values: np.ndarray) -> np.ndarray:
    """A heat map on the network's grid that is hot where the volume is bright."""
    return (
        steps((20, 24, 28))
        .apply(Scan(values[None], Geometry(np.diag([1.0, 2.0, 1.0, 1.0]), values.shape), (1.0, 2.0, 1.0)))[0]
        .clip(0, 1)
    )


def test_a_large_picture_is_kept_small_and_true() -> None:
    scan = Scan(blob((3000, 1500), (1001.0, 400.0), 90.0)[None], spacing_mm=(0.1, 0.2))
    view = View.of(scan, steps((60, 60)))
    assert max(view.grey.shape) <= MOST_PX
    assert centre_of_mass(view.grey.astype(float)) == pytest.approx(np.array([1000.0, 399.5]) / 3, abs=0.5)
    assert view.edges_mm == pytest.approx((0.3, 0.6))
    full = placement((3000, 1500), (0.1, 0.2), steps((60, 60)), has_geometry=False)
    expected = [scale * at + offset for (scale, offset), at in zip(full, (1001.0, 400.0), strict=True)]
    found = [step.to_other(np.array((at - 1) / 3)) for step, at in zip(view.steps, (1001.0, 400.0), strict=True)]
    assert found == pytest.approx(expected)


def test_a_picture_keeps_its_aspect_in_mm_and_is_never_turned() -> None:
    values = np.zeros((30, 40), np.float32)
    values[:5, 35:] = 1  # top right
    (panel,) = panels(View.of(Scan(values[None], spacing_mm=(2.0, 1.0)), steps((32, 32))))
    assert panel.grey.shape[0] / panel.grey.shape[1] == pytest.approx(60 / 40, abs=0.01)
    rows, columns = np.nonzero(panel.grey > 200)
    assert rows.mean() < panel.grey.shape[0] / 4
    assert columns.mean() > panel.grey.shape[1] * 3 / 4


def test_nothing_is_hot_outside_what_the_network_saw() -> None:
    scan = Scan(np.random.default_rng(0).normal(size=(1, 64, 64)).astype(np.float32), spacing_mm=(1.0, 1.0))
    view = View.of(scan, steps((32, 32), spacing_mm=(1.0, 1.0)))  # the central quarter only
    heat = view.heat_at(np.ones((32, 32), np.float32), np.ix_(np.arange(64.0), np.arange(64.0)))
    assert heat[16:48, 16:48].min() == 1
    assert heat.sum() == 32 * 32


SHEAR = np.array([[1.0, 0, 0, 0], [0, 1, 0.3, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("affine", "spacing_mm", "size_px"),
    [
        (np.eye(4), (2.0, 2.0, 1.0), (22, 20, 22)),  # 40 and 36 sides come out at a half, then padding
        (np.eye(4), (2.0, 2.0, 1.0), (12, 11, 22)),  # and cropping
        (np.diag([1.0, 1.0, 2.0, 1.0]) @ SHEAR, (1.5, 1.5, 1.5), (30, 30, 30)),
        (np.diag([1.0, 1.0, 2.0, 1.0]), (), (20, 20, 20)),
    ],
    ids=["half, padded", "half, cropped", "sheared", "resized"],
)
def test_each_voxel_of_the_network_lies_in_the_view_where_preprocessing_took_it(affine, spacing_mm, size_px) -> None:
    """The scan's channels hold each voxel's own index, so preprocessing itself says where it looked."""
    shape, most = (40, 36, 20), 64.0
    index = np.stack(np.meshgrid(*(np.arange(float(side)) for side in shape), indexing="ij"))
    place = Geometry(affine, shape)
    edges = tuple(float(edge) for edge in place.spacing_mm())
    scan = Scan(index.astype(np.float32), place, edges, value_range=(0.0, most))
    preprocessing = Preprocessing(size_px, spacing_mm, True, "range", 0.5, 99.5, Reading(), 3)
    taken = (preprocessing.apply(scan) + 1) * most / 2  # (3, *size_px): the view's index of each network voxel
    inside = np.all([(at > 1.01) & (at < side - 2.01) for at, side in zip(taken, shape, strict=True)], axis=0)
    wanted = np.argwhere(inside).T.astype(np.float64)
    assert wanted.shape[1] > 300
    view = View.of(scan, preprocessing)
    for axis in range(3):
        field = np.zeros(size_px, np.float32)
        field[...] = np.arange(size_px[axis]).reshape([-1 if n == axis else 1 for n in range(3)])
        found = view.heat_at(field, tuple(taken[n][inside].astype(np.float64) for n in range(3)))
        np.testing.assert_allclose(found, wanted[axis], atol=0.02)
    hot = np.zeros(size_px, np.float32)
    middle = tuple(int(at) for at in wanted[:, wanted.shape[1] // 2])
    hot[middle] = 1
    assert np.abs(np.array(view.hottest(hot)) - taken[(slice(None), *middle)]).max() <= 0.51


def test_heat_of_a_sheared_scan_is_straightened_for_whoever_lays_grids_over_each_other() -> None:
    place = Geometry(np.diag([1.0, 1.0, 2.0, 1.0]) @ SHEAR, (40, 36, 20))
    scan = Scan(blob((40, 36, 20), (20.0, 18.0, 10.0), 6.0)[None], place, (1.0, 1.0, 2.0))
    view = View.of(scan, steps((30, 30, 30), spacing_mm=(1.5, 1.5, 1.5)))
    heat = blob((30, 30, 30), (15.0, 14.0, 20.0), 2.0)
    straight = view.straightened(heat)
    here = [step.to_view(at) for step, at in zip(view.steps, centre_of_mass(straight), strict=True)]
    in_view = view.heat_at(heat, np.ix_(*(np.arange(float(side)) for side in view.grey.shape)))
    assert here == pytest.approx(centre_of_mass(in_view).tolist(), abs=0.2)
    assert centre_of_mass(straight) != pytest.approx(centre_of_mass(heat), abs=0.5)
    unsheared = View.of(Scan(scan.voxels, Geometry(np.eye(4), (40, 36, 20))), steps((30, 30, 30)))
    assert unsheared.straightened(heat) is heat
