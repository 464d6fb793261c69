"""From a Scan to the grid of a segmentation network, against numbers computed by hand and independent tools."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from medcnn.config.transforms import TransformsConf
from medcnn.errors import DataError
from medcnn.geometry import Geometry
from medcnn.io.options import Reading
from medcnn.scan import Reason, Scan, ScanRejected
from medcnn.transforms.scaling import Statistics
from medcnn.transforms.whole_grid import WholeGrid

EDGES_MM = (0.8, 1.5, 2.0)
SHAPE = (20, 14, 11)


def steps(
    dims: int = 3, *, scale: str = "range", spacing_mm: tuple[float, ...] = (), channels: int = 1, **conf: Any
) -> WholeGrid:
    settings = TransformsConf(size_px=[], **conf)
    settings.intensity.scale = scale
    return WholeGrid.of(settings, reading=Reading(), num_channels=channels, spatial_dims=dims, spacing_mm=spacing_mm)


def volume(voxels: np.ndarray, edges_mm: tuple[float, ...] = EDGES_MM, turn: np.ndarray | None = None) -> Scan:
    """voxels (I, J, K) or (C, I, J, K), the affine's columns turned."""
    image = np.asarray(voxels if voxels.ndim == 4 else voxels[None], np.float32)
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if turn is None else turn) * np.array(edges_mm)
    return Scan(image, geometry=Geometry(affine, image.shape[1:]))


def picture(values: Any, **facts: Any) -> Scan:
    voxels = np.asarray(values, np.float32)
    return Scan(voxels if voxels.ndim == 3 else voxels[None], **facts)


def phantom(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal(shape)
    return np.asarray(ndimage.gaussian_filter(noise, 1.5), np.float32)


def brain() -> np.ndarray:
    """A stripped head: zeros around it and a hole in it."""
    place = np.stack(np.meshgrid(*[np.arange(side) for side in SHAPE], indexing="ij"), -1) - np.array([9, 6, 5])
    radius = np.linalg.norm(place / np.array([6, 4, 3]), axis=-1)
    values = np.random.default_rng(2).uniform(100, 200, SHAPE)
    values[(radius > 1) | (radius < 0.3)] = 0
    return np.asarray(values, np.float32)


# Intensities


def test_zscore() -> None:
    done = steps(2, scale="zscore").apply(picture([[1000001, 1000001, 1000003, 1000003]]))
    np.testing.assert_allclose(done.image, [[[-1, -1, 1, 1]]], atol=1e-6)


def test_the_range_of_the_format_becomes_minus_one_and_one() -> None:
    done = steps(2).apply(picture([[0, 51, 255]], value_range=(0.0, 255.0)))
    np.testing.assert_allclose(done.image, [[[-1, -0.6, 1]]], atol=1e-6)


def test_percentiles_as_in_classification() -> None:
    from medcnn.transforms.preprocessing import Preprocessing

    scan, conf = picture(phantom((32, 32))), TransformsConf(size_px=[32, 32])
    theirs = Preprocessing.of(conf, reading=Reading(), num_channels=1).apply(scan)
    np.testing.assert_allclose(steps(2, scale="percentiles").apply(scan).image, theirs, atol=1e-6)


def test_by_the_statistics_of_the_training_foreground() -> None:
    known = Statistics(low=(-100.0, 0.0), high=(300.0, 10.0), mean=(100.0, 5.0), std=(50.0, 2.0))
    grid = replace(steps(2, scale="dataset", channels=2), statistics=known)
    done = grid.apply(picture([[[-1000, 100, 3000]], [[0, 7, 5]]]))
    np.testing.assert_allclose(done.image, [[[-4, 0, 4]], [[-2.5, 1, 0]]], atol=1e-6)


@pytest.mark.parametrize("scale", ["percentiles", "range", "zscore", "dataset"])
@pytest.mark.parametrize("crop", ["none", "nonzero"])
@pytest.mark.parametrize("value", [0.0, 1000.1, -3e7])
def test_a_constant_scan_becomes_zeros(scale: str, crop: str, value: float) -> None:
    known = Statistics((-1.0,), (1.0,), (0.5,), (0.2,))
    grid = replace(steps(scale=scale, crop=crop, spacing_mm=(1.0, 1.0, 1.0)), statistics=known)
    done = grid.apply(volume(np.full(SHAPE, value)))
    assert not done.image.any()
    assert done.image.shape == (1, 16, 21, 22)


def test_a_grey_scan_meets_a_colour_network_and_the_other_way_round() -> None:
    assert steps(2, channels=3).apply(picture(phantom((8, 8)))).image.shape == (3, 8, 8)
    assert steps(2, channels=1).apply(picture(np.zeros((3, 8, 8)))).image.shape == (1, 8, 8)


# The empty surround


def test_the_surround_is_cut_and_no_statistic_counts_it() -> None:
    values = brain()
    done = steps(scale="zscore", crop="nonzero").apply(volume(values))
    used = [(int(n.min()), int(n.max()) + 1) for n in np.nonzero(values)]
    assert done.placement.box == tuple(used)
    kept = values[tuple(slice(*pair) for pair in used)]
    body = ndimage.binary_fill_holes(kept != 0)
    assert (body & (kept == 0)).any()  # there is a hole
    expected = np.where(body, (kept - kept[body].mean()) / kept[body].std(), 0)
    np.testing.assert_allclose(done.image[0], expected, atol=1e-5)


def test_a_voxel_counts_where_any_channel_has_it() -> None:
    one, other = np.zeros((5, 6)), np.zeros((5, 6))
    one[1, 2], other[3, 4] = 1, 1
    done = steps(2, channels=2, crop="nonzero").apply(picture([one, other]))
    assert done.placement.box == ((1, 4), (2, 5))


def test_without_crop_zeros_count() -> None:
    values = brain()
    done = steps(scale="zscore").apply(volume(values))
    np.testing.assert_allclose(done.image[0], (values - values.mean()) / values.std(), atol=1e-5)


# Axes


@pytest.mark.parametrize("crop", ["none", "nonzero"])
@pytest.mark.parametrize("number", [0, 3, 10, 21, 33, 46])
def test_the_files_axes_change_nothing(number: int, crop: str) -> None:
    """The same head under other orders and directions of the file's axes: the same numbers, bit for bit."""
    order = list(permutations(range(3)))[number // 8]
    signs = list(product((1, -1), repeat=3))[number % 8]
    values, mask = brain(), (brain() > 150).astype(np.uint8)
    turn = np.zeros((3, 3))
    for axis, (ras, sign) in enumerate(zip(order, signs, strict=True)):
        turn[ras, axis] = sign

    def stored(array: np.ndarray) -> np.ndarray:
        return np.flip(array.transpose(order), [axis for axis in range(3) if signs[axis] < 0])

    grid = steps(scale="zscore", crop=crop, spacing_mm=(1.0, 1.0, 1.5))
    straight = grid.apply(volume(values))
    edges_mm = tuple(EDGES_MM[axis] for axis in order)
    turned = grid.apply(volume(stored(values), edges_mm, turn))
    np.testing.assert_array_equal(turned.image, straight.image)
    masks = [
        grid.apply_mask(straight_or_stored[None], done.placement)
        for straight_or_stored, done in ((mask, straight), (stored(mask), turned))
    ]
    assert masks[0].any()
    np.testing.assert_array_equal(masks[0], masks[1])


def test_without_a_geometry_axes_stay() -> None:
    scan = Scan(phantom()[None], spacing_mm=EDGES_MM)
    done = steps(spacing_mm=(1.6, 1.5, 2.0)).apply(scan)
    assert done.placement.axes == (0, 1, 2)
    assert done.image.shape == (1, 10, 14, 11)


# Millimetres


def test_the_size_is_the_nearest_to_the_spacing_and_the_spacing_is_what_it_is() -> None:
    done = steps(spacing_mm=(1.0, 1.0, 1.0)).apply(volume(phantom()))
    assert done.placement.size == (16, 21, 22)
    assert done.spacing_mm == (1.0, 1.0, 1.0)
    coarse = steps(spacing_mm=(1.0, 1.0, 3.0)).apply(volume(phantom()))
    assert coarse.placement.size[2] == 7
    assert coarse.spacing_mm[2] == pytest.approx(22 / 7)
    assert coarse.image.shape[1:] == coarse.placement.size


@pytest.mark.parametrize("spacing_mm", [(), EDGES_MM, (0.807, 1.488, 2.01)], ids=str)
def test_the_same_spacing_is_exact(spacing_mm: tuple[float, ...]) -> None:
    values = phantom() * 1000
    grid = steps(spacing_mm=spacing_mm, scale="zscore")
    done = grid.apply(volume(values))
    np.testing.assert_array_equal(done.image, steps(scale="zscore").apply(Scan(values[None])).image)
    assert done.spacing_mm == pytest.approx(EDGES_MM)
    mask = (values > 0).astype(np.uint8)[None]
    np.testing.assert_array_equal(grid.apply_mask(mask, done.placement), mask)


def test_a_place_in_the_patient_keeps_its_place() -> None:
    """A linear ramp in mm is a linear ramp afterwards, read off at the prepared voxels' positions."""
    axis = np.arange(40, dtype=np.float32) * 0.8
    values = np.broadcast_to(axis[:, None, None], (40, 14, 11))
    placement = (done := steps(spacing_mm=(1.3, 1.5, 2.0)).apply(volume(values))).placement
    length, size = placement.box_shape[0], placement.size[0]
    index = (np.arange(size) + 0.5) * length / size - 0.5
    expected = index * 0.8 / axis[-1] * 2 - 1  # scaled by its range
    np.testing.assert_allclose(done.image[0, 4:-4, 5, 5], expected[4:-4], atol=2e-3)


def test_thick_slices_are_not_rung_through() -> None:
    values = np.zeros((12, 12, 6), np.float32)
    values[:, :, 3:] = 1
    done = steps(spacing_mm=(1.0, 1.0, 2.0)).apply(volume(values, (1.0, 1.0, 6.0)))
    assert done.image.shape == (1, 12, 12, 18)
    assert done.image.min() >= -1 - 1e-6
    assert done.image.max() <= 1 + 1e-6


def test_millimetres_asked_for_and_unknown_reject_the_scan() -> None:
    with pytest.raises(ScanRejected) as caught:
        steps(2, spacing_mm=(1.0, 1.0)).apply(picture(phantom((8, 8))))
    assert caught.value.rejection.code is Reason.SPACING_UNKNOWN


def test_a_picture_without_spacing_is_taken_as_it_is() -> None:
    done = steps(2).apply(picture(phantom((8, 9))))
    assert done.image.shape == (1, 8, 9)
    assert done.spacing_mm == ()


# Masks


def test_a_mask_follows_its_scan() -> None:
    values = brain()
    grid = steps(crop="nonzero", spacing_mm=(0.4, 0.5, 0.6))
    done = grid.apply(volume(values))
    target = np.stack([values > 150, values > 0]).astype(np.uint8)
    target[1, 8:10, 6, 5] = 255
    placed = grid.apply_mask(target, done.placement)
    assert placed.shape == (2, *done.placement.size)
    assert placed.dtype == np.uint8
    assert set(np.unique(placed[0])) == {0, 1}
    assert set(np.unique(placed[1])) == {0, 1, 255}
    before_mm3, after_mm3 = (
        (plane[1] == 1).sum() * np.prod(edges) for plane, edges in ((target, EDGES_MM), (placed, done.spacing_mm))
    )
    assert after_mm3 == pytest.approx(before_mm3, rel=0.05)


def test_a_mask_of_another_shape_is_refused() -> None:
    grid = steps()
    placement = grid.apply(volume(phantom())).placement
    with pytest.raises(DataError, match="mask"):
        grid.apply_mask(np.zeros((1, 5, 5, 5), np.uint8), placement)


# Slices, and what travels


def test_slices_lie_across_an_axis_and_may_keep_their_distance() -> None:
    grid = steps(slices="coronal", spacing_mm=(1.0, 1.0))
    assert (grid.across, grid.network_dims) == (1, 2)
    done = grid.apply(volume(phantom()))
    assert done.image.shape == (1, 16, 14, 22)
    assert done.spacing_mm == (1.0, 1.5, 1.0)
    named = steps(slices="axial", spacing_mm=(1.0, 1.0, 1.0))
    assert named.apply(volume(phantom())).image.shape == (1, 16, 21, 22)
    assert (steps().across, steps().network_dims) == (None, 3)


def test_a_picture_is_no_volume() -> None:
    with pytest.raises(DataError, match="a picture and the network takes a volume"):
        steps(3).apply(picture(phantom((8, 8))))


def test_statistics_that_are_missing_are_named() -> None:
    with pytest.raises(DataError, match="statistics"):
        steps(2, scale="dataset").apply(picture(phantom((8, 8))))


def test_it_comes_back_from_json() -> None:
    grid = replace(
        steps(scale="dataset", spacing_mm=(1.0, 0.5, 0.7), crop="nonzero", slices="sagittal"),
        statistics=Statistics((1.0,), (2.0,), (1.5,), (0.2,)),
    )
    assert WholeGrid.from_json(json.loads(json.dumps(grid.as_json()))) == grid


def test_the_scan_is_not_changed() -> None:
    values = brain()
    scan = volume(values.copy())
    done = steps(scale="zscore", crop="nonzero").apply(scan)
    done.image[:] = 7
    np.testing.assert_array_equal(scan.voxels[0], values)


def test_the_configs_spacing_serves_where_the_plan_has_none() -> None:
    settings = TransformsConf(size_px=[], spacing_mm=[1.0, 2.0, 3.0])
    made = {"reading": Reading(), "num_channels": 1, "spatial_dims": 3}
    assert WholeGrid.of(settings, **made).spacing_mm == (1.0, 2.0, 3.0)
    assert WholeGrid.of(settings, **made, spacing_mm=(0.5, 0.5, 0.5)).spacing_mm == (0.5, 0.5, 0.5)
