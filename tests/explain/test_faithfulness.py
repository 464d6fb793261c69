"""Deletion and insertion: a map of what decides is told from one of what does not."""

from __future__ import annotations

import numpy as np
import pytest

from medcnn.explain.faithfulness import Curve, faithfulness, mean_faithfulness


def lesion(dims: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright cube in noise, (1, *size), and where it lies."""
    image = np.random.default_rng(0).normal(0, 0.1, (1, *[24] * dims)).astype(np.float32)
    where = np.zeros([24] * dims, np.float32)
    where[(slice(3, 8),) * dims] = 1
    return image + 3 * where, where


def score_of(where: np.ndarray):
    """How bright the lesion is, from 0 to 1."""

    def score(images: np.ndarray) -> np.ndarray:
        return np.clip(images[:, 0][:, where > 0].mean(axis=1) / 3, 0, 1).astype(np.float64)

    return score


@pytest.mark.parametrize("dims", [2, 3])
def test_the_map_of_what_decides_beats_chance_and_its_opposite_does_not(dims: int) -> None:
    image, where = lesion(dims)
    right = faithfulness(score_of(where), image, where)
    assert right.deletion.area < 0.2
    assert right.insertion.area > 0.8
    assert right.better_deletion > 0.2
    assert right.better_insertion > 0.1
    assert right.words().startswith("The map marks what decides")
    wrong = faithfulness(score_of(where), image, 1 - where)
    assert wrong.better_deletion < 0
    assert wrong.better_insertion < 0
    assert wrong.words().startswith("The map marks no more of what decides than a random one")


def test_the_curve_by_hand() -> None:
    """One pixel of four decides: the hottest is deleted after a quarter, and inserted so."""
    image = np.array([[[1.0, 0.0], [0.0, 0.0]]], np.float32)
    heat = np.array([[1.0, 0.3], [0.2, 0.1]], np.float32)
    found = faithfulness(lambda images: images[:, 0, 0, 0].astype(np.float64), image, heat, steps=4)
    assert found.deletion.share.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert found.deletion.score.tolist() == [1, 0.25, 0.25, 0.25, 0.25]  # the mean stands in its place
    assert found.deletion.area == pytest.approx(0.25 * (1 + 0.25) / 2 + 0.75 * 0.25)
    assert found.insertion.score[1:].tolist() == [1, 1, 1, 1]


def test_all_begins_and_ends_alike_and_the_same_seed_gives_the_same_curves() -> None:
    image, where = lesion(2)
    first, second = (faithfulness(score_of(where), image, where, seed=3) for _ in range(2))
    other = faithfulness(score_of(where), image, where, seed=4)
    assert first.random_deletion.score.tolist() == second.random_deletion.score.tolist()
    assert first.random_deletion.score.tolist() != other.random_deletion.score.tolist()
    assert first.deletion.score[0] == pytest.approx(score_of(where)(image[None])[0])
    assert first.insertion.score[-1] == pytest.approx(first.deletion.score[0])
    assert first.deletion.score[-1] == pytest.approx(first.random_deletion.score[-1])


def test_a_map_without_an_order_is_random() -> None:
    image, where = lesion(2)
    found = faithfulness(score_of(where), image, np.zeros_like(where))
    assert abs(found.better_deletion) < 0.1
    assert abs(found.better_insertion) < 0.1


def test_few_scans_are_asked_about_at_once() -> None:
    asked: list[int] = []

    def score(images: np.ndarray) -> np.ndarray:
        asked.append(len(images))
        return np.zeros(len(images))

    faithfulness(score, np.ones((1, 16, 16), np.float32), np.ones((16, 16), np.float32), steps=20)
    assert max(asked) <= 8
    assert sum(asked) == 10 * 21
    asked.clear()
    faithfulness(score, np.ones((1, 48, 48, 48), np.float32), np.ones((48, 48, 48), np.float32), steps=3)
    assert set(asked) == {1}


def test_the_mean_of_cases() -> None:
    image, where = lesion(2)
    cases = [faithfulness(score_of(where), image, one) for one in (where, 1 - where)]
    mean = mean_faithfulness(cases)
    assert mean.deletion.area == pytest.approx(np.mean([case.deletion.area for case in cases]))
    assert mean.random_insertion.area == pytest.approx(np.mean([case.random_insertion.area for case in cases]))
    assert Curve(np.array([0.0, 1.0]), np.array([1.0, 0.0])).area == 0.5
