"""Identical pixels in two splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medcnn.data.cache import Facts
from medcnn.data.leakage import duplicate_train_cases, near_copies
from medcnn.data.manifest import Case
from medcnn.data.prepared import Prepared
from medcnn.errors import LeakageError

Make = Callable[..., list[Case]]


def facts(*pixels: str, constant: bool = False) -> list[Facts]:
    return [Facts(word, constant, 0.0, 1.0) for word in pixels]


def test_different_pictures_are_no_leak(cases: Make) -> None:
    rows = cases(("a", "1", "train"), ("a", "2", "val"), ("b", "3", "test"))
    assert duplicate_train_cases(rows, facts("x", "y", "z"), duplicates="stop") == set()


def test_copies_within_one_split_are_no_leak(cases: Make) -> None:
    rows = cases(("a", "1", "train"), ("a", "2", "train"), ("b", "3", "test"))
    assert duplicate_train_cases(rows, facts("x", "x", "z"), duplicates="stop") == set()


def test_a_copy_in_another_split_stops(cases: Make) -> None:
    rows = cases(("a", "canary-1", "train"), ("a", "canary-2", "val"), ("b", "canary-3", "test"))
    with pytest.raises(LeakageError) as caught:
        duplicate_train_cases(rows, facts("x", "y", "x"), duplicates="stop")
    said = str(caught.value)
    assert "LEAKAGE: 1 pictures" in said
    assert "c000 in train and c002 in test" in said
    assert "data.duplicates=drop_from_train" in said
    assert "canary" not in said


def test_on_request_the_training_copies_go_and_no_others(cases: Make) -> None:
    rows = cases(("a", "1", "train"), ("a", "2", "train"), ("a", "3", "val"), ("b", "4", "train"), ("b", "5", "test"))
    found = duplicate_train_cases(rows, facts("x", "x", "x", "y", "z"), duplicates="drop_from_train")
    assert found == {"c000", "c001"}


@pytest.mark.parametrize("duplicates", ["stop", "drop_from_train"])
@pytest.mark.parametrize("pair", [("val", "test"), ("val", "calib"), ("calib", "test")])
def test_copies_among_held_out_splits_always_stop(cases: Make, duplicates: str, pair: tuple[str, str]) -> None:
    rows = cases(("a", "1", pair[0]), ("a", "2", pair[1]), ("a", "3", "train"))
    for pixels in (("x", "x", "y"), ("x", "x", "x")):
        with pytest.raises(LeakageError, match="take one of each pair out of the manifest"):
            duplicate_train_cases(rows, facts(*pixels), duplicates=duplicates)


def test_constant_images_say_nothing(cases: Make) -> None:
    rows = cases(("a", "1", "train"), ("a", "2", "test"))
    assert duplicate_train_cases(rows, facts("x", "x", constant=True), duplicates="stop") == set()


class _Held:
    """Prepared images that lie in memory."""

    def __init__(self, images: np.ndarray) -> None:
        self._images = images

    def __getitem__(self, indices: Sequence[int]) -> np.ndarray:
        return self._images[list(indices)]

    def __len__(self) -> int:
        return len(self._images)


def prepared_of(cases: list[Case], images: np.ndarray) -> Prepared:
    return Prepared(cases, _Held(images), [Facts(image.tobytes().hex()[:64], False, 0.0, 1.0) for image in images])


def test_nearly_the_same_picture_in_two_splits_is_named(cases: Make) -> None:
    generator = np.random.default_rng(0)
    images = gaussian_filter(generator.normal(size=(12, 1, 80, 80)), (0, 0, 1, 1)).astype(np.float32)
    images[7] = 1.2 * images[2] + 0.1 + generator.normal(0, 0.01, (1, 80, 80)).astype(np.float32)
    images[9] = images[3] * 0.9
    rows = cases(*((("a", "b")[k % 2], str(k), ("train", "test")[k in (7, 8)]) for k in range(12)))
    assert near_copies(prepared_of(rows, images)) == [(rows[2], rows[7])], "3 and 9 share a split, the rest is noise"
    images[7] = images[2]
    assert near_copies(prepared_of(rows, images)) == [], "identical ones stop a training elsewhere"
