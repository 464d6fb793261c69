"""From a Scan to what a network sees, against numbers computed by hand."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import numpy as np
import pytest

from medcnn.config.transforms import IntensityConf, TransformsConf
from medcnn.errors import DataError
from medcnn.geometry import Geometry
from medcnn.io.options import Reading
from medcnn.scan import Reason, Scan, ScanRejected
from medcnn.transforms.preprocessing import Preprocessing


def steps(
    size_px: tuple[int, ...],
    *,
    num_channels: int = 1,
    keep_aspect: bool = True,
    spacing_mm: tuple[float, ...] = (),
    **intensity: Any,
) -> Preprocessing:
    conf = TransformsConf(
        size_px=list(size_px),
        spacing_mm=list(spacing_mm),
        keep_aspect=keep_aspect,
        intensity=IntensityConf(**{"scale": "range", **intensity}),
    )
    return Preprocessing.of(conf, reading=Reading(), num_channels=num_channels)


def picture(values: Any, **facts: Any) -> Scan:
    voxels = np.asarray(values, np.float32)
    return Scan(voxels if voxels.ndim == 3 else voxels[None], **facts)


# Intensities


def test_percentiles_become_minus_one_and_one_and_clip_a_little_outside() -> None:
    scan = picture([[0, 1, 2, 3, 4]])
    done = steps((1, 5), scale="percentiles", low_percentile=25, high_percentile=75).apply(scan)
    assert done.tolist() == [[[-1.5, -1, 0, 1, 1.5]]]  # 1 and 3 are the percentiles; 0 and 4 would be -2 and 2


def test_the_range_of_the_format_becomes_minus_one_and_one() -> None:
    done = steps((1, 3)).apply(picture([[0, 51, 255]], value_range=(0.0, 255.0)))
    np.testing.assert_allclose(done, [[[-1, -0.6, 1]]], atol=1e-6)


def test_without_a_range_of_the_format_the_scans_own() -> None:
    np.testing.assert_allclose(steps((1, 3)).apply(picture([[10, 20, 50]])), [[[-1, -0.5, 1]]], atol=1e-6)


def test_zscore() -> None:
    done = steps((1, 4), scale="zscore").apply(picture([[1000001, 1000001, 1000003, 1000003]]))
    np.testing.assert_allclose(done, [[[-1, -1, 1, 1]]], atol=1e-6)


@pytest.mark.parametrize("scale", ["percentiles", "range", "zscore"])
@pytest.mark.parametrize("value", [0.0, 1000.1, -3e7])
def test_a_constant_image_says_nothing(scale: str, value: float) -> None:
    scan = picture(np.full((33, 31), value))
    done = steps((33, 31), scale=scale, low_percentile=0.5, high_percentile=99.5).apply(scan)
    assert not done.any()


@pytest.mark.parametrize("scale", ["percentiles", "range", "zscore"])
def test_another_gain_and_offset_are_another_detector_and_nothing_else(scale: str) -> None:
    values = np.random.default_rng(0).normal(size=(16, 16))
    settings: dict[str, Any] = {"scale": scale, "low_percentile": 0.5, "high_percentile": 99.5}
    one = steps((16, 16), **settings).apply(picture(values))
    other = steps((16, 16), **settings).apply(picture(3000 * values + 500))
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_channels_are_scaled_each_by_itself() -> None:
    done = steps((1, 2), num_channels=2).apply(picture([[[0, 4]], [[10, 20]]]))
    assert done.tolist() == [[[-1, 1]], [[-1, 1]]]


# Channels


def test_grey_from_colour_is_luma() -> None:
    scan = picture(np.array([[[255, 0, 0, 255]], [[0, 255, 0, 255]], [[0, 0, 255, 255]]]), value_range=(0.0, 255.0))
    done = steps((1, 4)).apply(scan)
    np.testing.assert_allclose(done, [[[2 * 0.299 - 1, 2 * 0.587 - 1, 2 * 0.114 - 1, 1]]], atol=1e-6)


def test_a_grey_scan_is_repeated_for_a_colour_network() -> None:
    done = steps((1, 2), num_channels=3).apply(picture([[0, 1]]))
    assert done.tolist() == [[[-1, 1]]] * 3


def test_other_numbers_of_channels_do_not_fit() -> None:
    with pytest.raises(DataError, match="has 2 channels and the network takes 3"):
        steps((1, 2), num_channels=3).apply(picture([[[0, 1]], [[0, 1]]]))


# The grid of pictures


def test_a_wide_picture_keeps_its_aspect_and_is_padded_as_dark_as_its_darkest() -> None:
    scan = picture(np.tile(np.arange(8.0), (4, 1)))
    done = steps((8, 8)).apply(scan)
    row = np.arange(8) / 3.5 - 1
    expected = np.full((1, 8, 8), -1.0)
    expected[0, 2:6] = row
    np.testing.assert_allclose(done, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("spacing_mm", "filled"), [((1.0, 1.0), 4), ((2.0, 1.0), 8), ((1.0, 2.0), 2), ((0.3, 0.15), 8), (None, 4)]
)
def test_aspect_counts_in_millimetres(spacing_mm: tuple[float, float] | None, filled: int) -> None:
    """4 x 8 pixels; filled rows of 8: the others are padding."""
    scan = picture(np.random.default_rng(0).random((4, 8)) + 1, spacing_mm=spacing_mm)
    done = steps((8, 8)).apply(scan)
    rows = [row for row in done[0] if len(set(row.tolist())) > 1]
    assert len(rows) == filled


def test_aspect_in_millimetres_counts_when_the_pixels_would_fit_as_they_are() -> None:
    scan = picture(np.random.default_rng(0).random((8, 8)), spacing_mm=(0.5, 1.0))
    done = steps((8, 8)).apply(scan)
    assert [len(set(row.tolist())) > 1 for row in done[0]] == [False] * 2 + [True] * 4 + [False] * 2


def test_without_aspect_it_is_stretched() -> None:
    done = steps((8, 8), keep_aspect=False).apply(picture(np.random.default_rng(0).random((4, 8))))
    assert all(len(set(row.tolist())) > 1 for row in done[0])


def test_shrinking_averages_areas() -> None:
    values = np.array([[1, 3, 0, 0], [5, 7, 0, 0], [0, 0, 2, 2], [0, 8, 2, 2]], np.float32)
    done = steps((2, 2)).apply(picture(values, value_range=(0.0, 8.0)))
    np.testing.assert_allclose(done, np.array([[[4, 0], [2, 2]]]) / 4 - 1, atol=1e-6)


def test_shrinking_one_side_and_stretching_the_other_loses_no_detail_either() -> None:
    """Stripes of 1 and 3 down a tall picture: their mean is 2 everywhere, which sampling every tenth row would miss."""
    values = np.tile(np.array([[1.0], [3.0]]), (40, 4))
    done = steps((8, 16), keep_aspect=False).apply(picture(values, value_range=(0.0, 4.0)))
    np.testing.assert_allclose(done, np.zeros((1, 8, 16)), atol=1e-6)


def test_a_picture_on_the_grid_already_is_left_alone() -> None:
    values = np.random.default_rng(0).random((7, 9)).astype(np.float32)
    values[0, :2] = 0, 1
    np.testing.assert_allclose(steps((7, 9)).apply(picture(values)), 2 * values[None] - 1, atol=1e-6)


def test_a_given_spacing_fixes_the_scale_and_crops_or_pads_around_the_centre() -> None:
    """A bright square of 8 mm, seen by two detectors, comes out as large; 4 px at 2 mm."""
    for edge_mm, side in ((0.5, 80), (1.0, 40), (2.0, 20)):
        values = np.zeros((side, side))
        half, centre = round(4 / edge_mm), side // 2
        values[centre - half : centre + half, centre - half : centre + half] = 1
        done = steps((16, 24), spacing_mm=(2.0, 2.0)).apply(picture(values, spacing_mm=(edge_mm, edge_mm)))
        assert done.shape == (1, 16, 24)
        bright = np.argwhere(done[0] > 0)
        assert (bright.min(axis=0).tolist(), bright.max(axis=0).tolist()) == ([6, 10], [9, 13])


def test_a_picture_smaller_than_one_wanted_pixel_is_one_pixel() -> None:
    done = steps((8, 8), spacing_mm=(50.0, 50.0)).apply(picture(np.eye(4), spacing_mm=(1.0, 1.0)))
    assert done.shape == (1, 8, 8)


def test_no_spacing_is_guessed() -> None:
    with pytest.raises(ScanRejected, match="SPACING_UNKNOWN") as caught:
        steps((8, 8), spacing_mm=(1.0, 1.0)).apply(picture(np.eye(8)))
    assert caught.value.rejection.code is Reason.SPACING_UNKNOWN


@pytest.mark.parametrize(
    ("shape", "size_px", "words"),
    [
        ((1, 4, 4), (4, 4, 4), "is a picture and the network takes a volume"),
        ((1, 4, 4, 4), (4, 4), "is a volume and the network takes a picture"),
    ],
)
def test_pictures_and_volumes_do_not_mix(shape: tuple[int, ...], size_px: tuple[int, ...], words: str) -> None:
    with pytest.raises(DataError, match=words):
        steps(size_px).apply(Scan(np.zeros(shape, np.float32)))


# Volumes


def stored(volume: np.ndarray, affine: np.ndarray, order: tuple[int, ...], flips: tuple[bool, ...]) -> Scan:
    """The same volume as another scanner would store it: axes in another order, some running backwards."""
    voxels, matrix = volume.transpose(order), affine.copy()
    matrix[:3, :3] = affine[:3, list(order)]
    for axis, turned in enumerate(flips):
        if turned:
            matrix[:3, 3] += matrix[:3, axis] * (voxels.shape[axis] - 1)
            matrix[:3, axis] *= -1
            voxels = np.flip(voxels, axis)
    shape = (voxels.shape[0], voxels.shape[1], voxels.shape[2])
    return Scan(np.ascontiguousarray(voxels, np.float32)[None], Geometry(matrix, shape))


def phantom() -> tuple[np.ndarray, np.ndarray]:
    """No two directions alike: (10, 12, 7) voxels of 1, 1.5 and 2.5 mm."""
    i, j, k = np.indices((10, 12, 7)).astype(np.float32)
    volume = np.exp(-((i - 3) ** 2 / 8 + (j - 8) ** 2 / 10 + (k - 2) ** 2 / 3)) + 0.02 * i + 0.01 * j
    affine = np.diag([1.0, 1.5, 2.5, 1.0])
    affine[:3, 3] = [-20, 5, 60]
    return volume, affine


@pytest.mark.parametrize(
    "preprocessing",
    [steps((10, 12, 7), keep_aspect=False), steps((16, 12, 16)), steps((12, 12, 12), spacing_mm=(1.0, 1.0, 1.0))],
    ids=["as it is", "aspect", "spacing"],
)
def test_every_way_of_storing_gives_one_array(preprocessing: Preprocessing) -> None:
    volume, affine = phantom()
    first = preprocessing.apply(stored(volume, affine, (0, 1, 2), (False, False, False)))
    ways = list(product(permutations(range(3)), product([False, True], repeat=3)))
    assert len(ways) == 48
    for order, flips in ways:
        np.testing.assert_allclose(preprocessing.apply(stored(volume, affine, order, flips)), first, atol=1e-5)


def test_a_volume_in_ras_is_left_as_it_lies() -> None:
    volume, affine = phantom()
    done = steps((10, 12, 7), keep_aspect=False).apply(stored(volume, affine, (0, 1, 2), (False, False, False)))
    scaled = 2 * (volume - volume.min()) / (volume.max() - volume.min()) - 1
    np.testing.assert_allclose(done[0], scaled, atol=1e-5)


def test_axes_of_the_network_run_to_the_right_the_front_and_up() -> None:
    """One bright voxel to the patient's left, front and foot, in an LPS file."""
    voxels = np.zeros((6, 6, 6), np.float32)
    voxels[5, 0, 0] = 1  # LPS: first axis to the Left, second to the Posterior
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    done = steps((6, 6, 6)).apply(Scan(voxels[None], Geometry(affine, (6, 6, 6))))
    assert np.argwhere(done[0] > 0).tolist() == [[0, 5, 0]]


def test_aspect_of_a_volume_counts_in_millimetres() -> None:
    """8 x 8 x 4 voxels of 1, 1 and 2 mm are a cube: nothing is padded."""
    values = np.random.default_rng(0).random((8, 8, 4)).astype(np.float32)
    scan = Scan(values[None], Geometry(np.diag([1.0, 1, 2, 1]), (8, 8, 4)))
    done = steps((8, 8, 8)).apply(scan)
    assert all(len(np.unique(done[0, :, :, k])) > 1 for k in range(8))


def test_resampling_keeps_a_ramp_in_millimetres() -> None:
    ramp = np.broadcast_to(np.arange(24, dtype=np.float32)[:, None, None], (24, 8, 8))
    scan = Scan(np.ascontiguousarray(ramp)[None], Geometry(np.eye(4), (24, 8, 8)))
    done = steps((12, 8, 8), spacing_mm=(2.0, 1.0, 1.0)).apply(scan)
    np.testing.assert_allclose(np.diff(done[0, 1:-1, 4, 4]), np.diff(done[0, 1:-1, 4, 4])[0], rtol=1e-3)


def test_an_archives_volume_has_no_geometry_and_stays_as_it_is() -> None:
    values = np.random.default_rng(0).random((1, 8, 8, 8)).astype(np.float32)
    done = steps((8, 8, 8)).apply(Scan(values, value_range=(0.0, 1.0)))
    np.testing.assert_allclose(done, 2 * values - 1, atol=1e-6)


# As it travels


def test_the_steps_survive_json() -> None:
    one = steps((96, 80), spacing_mm=(0.5, 0.5), scale="percentiles")
    again = Preprocessing.from_json(one.as_json())
    assert again == one
    assert isinstance(again.size_px, tuple)


def test_the_result_is_contiguous_float32_and_the_scan_untouched() -> None:
    values = np.random.default_rng(0).random((1, 12, 9)).astype(np.float32)
    scan = Scan(values.copy())
    done = steps((10, 10)).apply(scan)
    assert done.dtype == np.float32
    assert done.flags.c_contiguous
    assert np.array_equal(scan.voxels, values)
