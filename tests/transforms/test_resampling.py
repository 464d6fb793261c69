"""Resampling with outer edges kept: beside scipy and SimpleITK, and by closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  as everybody writes it
from scipy import ndimage

from medcnn.transforms import resampling
from medcnn.transforms.resampling import axis_matrix, coarse_axis, resampled_image, resampled_labels

SHAPE = (24, 31, 18)


def smooth(shape: tuple[int, ...] = SHAPE, sigma: float = 2.0) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(shape)
    found = ndimage.gaussian_filter(noise, sigma)
    return np.asarray(found / found.std(), np.float32)


def labels(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Three smooth structures, background and a corner to ignore."""
    value = smooth(shape, 3.0)
    found = np.digitize(value, [0.3, 0.9, 1.4]).astype(np.uint8)
    found[tuple(slice(0, side // 3) for side in shape)] = 255
    return found


@pytest.mark.parametrize("size", [(36, 40, 27), (20, 31, 29), (24, 17, 18), (13, 62, 18)], ids=str)
def test_the_cubic_is_scipys(size: tuple[int, ...]) -> None:
    image = smooth()
    zoom = [new / old for new, old in zip(size, SHAPE, strict=True)]
    theirs = ndimage.zoom(image, zoom, order=3, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(resampled_image(image[None], size)[0], theirs, atol=1e-5)


@pytest.mark.parametrize("order", [1, 3])
def test_it_is_simpleitks_on_a_smooth_phantom(order: int) -> None:
    image, size = smooth(sigma=3.0), (36, 40, 27)
    source = sitk.GetImageFromArray(image)
    target = [old / new for old, new in zip(SHAPE, size, strict=True)]
    resample = sitk.ResampleImageFilter()
    resample.SetInterpolator(sitk.sitkBSpline3 if order == 3 else sitk.sitkLinear)
    resample.SetSize([int(side) for side in reversed(size)])
    resample.SetOutputSpacing(target[::-1])
    resample.SetOutputOrigin([(edge - 1) / 2 for edge in reversed(target)])  # the outer edges stay where they are
    theirs = sitk.GetArrayFromImage(resample.Execute(source))
    if order == 3:
        ours = resampled_image(image[None], size)[0]
    else:
        ours = image
        for axis in range(3):
            matrix = axis_matrix(SHAPE[axis], size[axis], 1)
            assert matrix is not None
            ours = np.moveaxis(np.tensordot(matrix, ours, axes=(1, axis)), 0, axis)
    inside = tuple(slice(4, -4) for _ in size)  # beyond the last centre SimpleITK has no value
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=5e-3)  # of a standard deviation


def test_a_picture_too() -> None:
    image = smooth((20, 33))
    theirs = ndimage.zoom(image, (30 / 20, 25 / 33), order=3, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(resampled_image(image[None], (30, 25))[0], theirs, atol=1e-5)


def test_across_the_coarse_axis_it_is_linear() -> None:
    image = np.zeros((1, 6, 7, 5), np.float32)
    image[:, :, :, 2] = 1
    done = resampled_image(image, (6, 7, 20), coarse=2)
    place = (np.arange(20) + 0.5) * 5 / 20 - 0.5
    np.testing.assert_allclose(done[0, 3, 3], np.clip(1 - np.abs(place - 2), 0, None), atol=1e-6)
    assert resampled_image(image, (6, 7, 20)).min() < -0.01  # a spline rings


def test_shrinking_much_averages() -> None:
    image = np.random.default_rng(0).random((1, 12, 12, 7), np.float32)
    done = resampled_image(image, (6, 3, 7))
    boxes = image[0].reshape(6, 2, 3, 4, 7).mean(axis=(1, 3))
    np.testing.assert_allclose(done[0], boxes, atol=1e-6)
    uneven = resampled_image(image, (5, 12, 7))  # 2.4 voxels each
    assert uneven.mean() == pytest.approx(image.mean(), abs=1e-6)


@pytest.mark.parametrize(("old", "new"), [(1, 4), (2, 3), (7, 1), (5, 5), (3, 100)])
def test_constants_stay_constant_however_few_voxels(old: int, new: int) -> None:
    for order in (1, 3):
        matrix = axis_matrix(old, new, order)
        if matrix is None:
            assert old == new
        else:
            assert matrix.shape == (new, old)
            np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("size", [(36, 40, 27), (18, 44, 20), (10, 10, 30)], ids=str)
def test_labels_go_to_the_largest_interpolated_indicator(size: tuple[int, ...]) -> None:
    found = labels()
    values = np.unique(found)
    assert set(values) == {0, 1, 2, 3, 255}
    shares = []
    for value in values:
        share = (found == value).astype(float)
        for axis, (old, new) in enumerate(zip(SHAPE, size, strict=True)):
            if old >= 2 * new:
                fine = np.repeat(share, new, axis=axis)  # each cell is a whole number of these
                parts = np.split(fine, new, axis=axis)
                share = np.concatenate([part.mean(axis=axis, keepdims=True) for part in parts], axis=axis)
            else:
                zoom = [new / old if n == axis else 1 for n in range(3)]
                share = ndimage.zoom(share, zoom, order=1, mode="nearest", grid_mode=True)
        shares.append(share)
    ranked = np.sort(np.stack(shares), axis=0)
    clear = ranked[-1] - ranked[-2] > 1e-5
    assert clear.mean() > 0.9
    expected = values[np.argmax(np.stack(shares), axis=0)]
    assert np.array_equal(resampled_labels(found[None], size)[0][clear], expected[clear])


def test_up_and_down_again_gives_the_labels_back() -> None:
    found = labels()
    back = resampled_labels(resampled_labels(found[None], (72, 93, 54)), SHAPE)[0]
    assert (back != found).mean() < 0.003  # single voxels between three values


def test_planes_are_resampled_each_by_itself() -> None:
    planes = np.stack([labels() == 1, labels() == 2]).astype(np.uint8)
    both = resampled_labels(planes, (30, 30, 30))
    assert np.array_equal(both, np.stack([resampled_labels(plane[None], (30, 30, 30))[0] for plane in planes]))


@pytest.mark.parametrize("size", [(36, 40, 27), (24, 40, 27), (9, 31, 18)], ids=str)
def test_slabs_are_the_whole(size: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    image, found = smooth()[None], labels()[None]
    whole, classes = resampled_image(image, size), resampled_labels(found, size)
    monkeypatch.setattr(resampling, "_SLAB_VOX", 3000)
    np.testing.assert_allclose(resampled_image(image, size), whole, atol=1e-5)
    assert np.array_equal(resampled_labels(found, size), classes)


def test_coarse_is_one_axis_of_more_than_three_times_the_finest() -> None:
    assert coarse_axis((1.0, 1.0, 3.5)) == 2
    assert coarse_axis((5.0, 0.5, 0.6)) == 0
    assert coarse_axis((1.0, 1.0, 3.0)) is None
    assert coarse_axis((0.2, 1.0, 1.0)) is None  # two thick axes: no plane is finer than the volume
    assert coarse_axis((0.2, 1.0)) is None
    assert coarse_axis(()) is None
