"""Near duplicates: what a copy may have gone through and still be found, and what must not be taken for one."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medcnn.data.audit.alignment import aligned, correlation, moved
from medcnn.data.audit.appearance import signature_of
from medcnn.data.audit.near import near_duplicate_pairs, near_pairs

Picture = np.ndarray[Any, np.dtype[Any]]
NUM = 60


def jpeg(picture: Picture, quality: int) -> Picture:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def resized(picture: Picture, times: float) -> Picture:
    rows, columns = (round(side * times) for side in picture.shape)
    return np.asarray(Image.fromarray(picture).resize((columns, rows), Image.Resampling.BICUBIC))


def windowed(picture: Picture) -> Picture:
    low, high = np.percentile(picture, [3, 97])
    return np.clip((picture - low) / (high - low), 0, 1) * 4095


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "jpeg, quality 50": lambda p: jpeg(p, 50),
    "jpeg, quality 90": lambda p: jpeg(p, 90),
    "half the size": lambda p: resized(p, 0.5),
    "twice the size": lambda p: resized(p, 2.0),
    "brighter": lambda p: p * 0.7 + 60,
    "more contrast": lambda p: np.clip(p * 1.2 - 25, 0, 255),
    "noise": lambda p: p + np.random.default_rng(5).normal(0, 4, p.shape),
    "moved by 2 px": lambda p: np.roll(p, (2, 2), (0, 1)),
    "border of 2 % cut": lambda p: p[2:-2, 3:-3],
    "12 bits through a window": windowed,
    "cropped, smaller, jpeg": lambda p: jpeg(resized(p[2:-2, 3:-3], 0.7), 70),
}


def found(originals: list[Picture], copies: list[Picture]) -> set[tuple[int, int]]:
    pictures = [np.asarray(picture, np.float32) for picture in (*originals, *copies)]
    signatures = np.stack([signature_of(picture) for picture in pictures])
    longest = np.array([max(picture.shape) for picture in pictures])
    return {(pair.one, pair.other) for pair in near_pairs(signatures, longest)}


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_is_found_whatever_it_went_through(make_scene, change) -> None:
    originals = [make_scene(seed) for seed in range(NUM)]
    copies = [CHANGES[change](picture) for picture in originals]
    pairs = found(originals, copies)
    true = {(n, n + NUM) for n in range(NUM)}
    assert len(pairs & true) >= 0.95 * NUM
    assert not pairs - true


@pytest.mark.case("T21")
@pytest.mark.parametrize("seed", [0, 1000, 2000])
def test_different_pictures_are_no_near_duplicates(make_scene, seed) -> None:
    assert found([make_scene(seed + n) for n in range(300)], []) == set()


def test_pictures_that_share_their_coarse_shape_are_told_apart(make_scene) -> None:
    """As patients do: the same outline under detail of their own."""
    outline = np.asarray(Image.fromarray(make_scene(1)).resize((12, 12)).resize((132, 120)), np.float32)
    assert found([3 * outline + make_scene(10 + n) for n in range(100)], []) == set()


def test_prepared_pictures_and_volumes(make_scene) -> None:
    pictures = np.stack([make_scene(n, (96, 96)) for n in range(20)]).astype(np.float32)[:, None]
    doubled = np.concatenate([pictures, 0.5 * pictures[7:8] + 3])
    (pair,) = near_duplicate_pairs(doubled)
    assert (pair.one, pair.other) == (7, 20)
    assert pair.likeness > 0.99
    volumes = np.random.default_rng(0).normal(size=(10, 1, 24, 20, 22)).astype(np.float32)
    shifted = np.roll(volumes[3:4], 1, axis=3)
    assert [(p.one, p.other) for p in near_duplicate_pairs(np.concatenate([volumes, shifted]))] == [(3, 10)]


def test_none_among_fewer_than_two_and_among_constant_ones() -> None:
    assert near_duplicate_pairs(np.zeros((0, 1, 8, 8), np.float32)) == []
    assert near_duplicate_pairs(np.ones((1, 1, 8, 8), np.float32)) == []
    assert near_duplicate_pairs(np.ones((4, 1, 8, 8), np.float32)) == []


def test_alignment_finds_the_move_that_was_made(make_scene) -> None:
    from scipy.ndimage import gaussian_filter

    fixed = np.stack([gaussian_filter(make_scene(n, (32, 32)).astype(np.float32), 2) for n in range(8)])
    true = np.tile(np.array([0.7, -1.1, 0.03, -0.02], np.float32), (8, 1))
    moving = moved(fixed, true)
    start = np.zeros((8, 4), np.float32)
    back = aligned(fixed, moving, aligned(fixed, moving, aligned(fixed, moving, start)))
    assert np.abs(back[:, :2] + true[:, :2]).max() < 0.15
    assert np.abs(back[:, 2:] + true[:, 2:]).max() < 0.01
    assert correlation(fixed, moved(moving, back)).min() > 0.99
