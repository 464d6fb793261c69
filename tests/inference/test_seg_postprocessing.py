"""Mending masks, and finding out whether it is worth it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import ndimage

from medcnn.inference.choose_postprocessing import SegmentedCase, choose_postprocessing
from medcnn.inference.mask_rule import MaskRule
from medcnn.inference.postprocessing import Mending, PostProcessing, bounding_box, pieces_of, voxel_ml

ONE, TWO = MaskRule(("organ",)), MaskRule(("organ", "other"))
REGIONS = MaskRule(("whole", "core"), overlapping=True)
CUBE = (1, 24, 24, 24)


def ball(centre: tuple[int, int, int], radius: float) -> np.ndarray:
    away = np.indices(CUBE[1:]) - np.array(centre)[:, None, None, None]
    return np.asarray((away**2).sum(axis=0) <= radius**2)


def labels(**parts: tuple[int, np.ndarray]) -> np.ndarray:
    made = np.zeros(CUBE, np.uint8)
    for value, mask in parts.values():
        made[0][mask] = value
    return made


BIG, SMALL, TINY = ball((8, 8, 8), 6), ball((18, 18, 18), 3), ball((20, 4, 4), 1)


def mended(found: np.ndarray, rule: MaskRule, **mendings: Mending) -> np.ndarray:
    copy = found.copy()
    PostProcessing(mendings).apply(copy, rule, voxel_ml((1, 1, 1)))
    return copy


def test_only_the_largest_piece_stays_and_others_become_background() -> None:
    found = labels(a=(1, BIG), b=(1, SMALL), c=(2, TINY))
    assert_array_equal(mended(found, TWO, organ=Mending(largest=True)), labels(a=(1, BIG), c=(2, TINY)))


def test_pieces_that_touch_at_a_corner_are_one() -> None:
    found = np.zeros(CUBE, np.uint8)
    found[0, 1, 1, 1] = found[0, 2, 2, 2] = 1
    assert_array_equal(mended(found, ONE, organ=Mending(largest=True)), found)


def test_small_pieces_go_by_their_volume() -> None:
    found = labels(a=(1, BIG), b=(1, SMALL), c=(1, TINY))
    limit = SMALL.sum() / 1000
    assert_array_equal(mended(found, ONE, organ=Mending(least_ml=limit)), labels(a=(1, BIG), b=(1, SMALL)))
    assert_array_equal(mended(found, ONE, organ=Mending(least_ml=limit * 1.01)), labels(a=(1, BIG)))
    assert not mended(found, ONE, organ=Mending(least_ml=99)).any()
    voxels = int(SMALL.sum())
    assert_array_equal(mended(found, ONE, organ=Mending(least_voxels=voxels)), labels(a=(1, BIG), b=(1, SMALL)))
    assert_array_equal(mended(found, ONE, organ=Mending(least_voxels=voxels + 1)), labels(a=(1, BIG)))


def test_without_a_spacing_no_piece_is_too_small() -> None:
    found = labels(a=(1, BIG), c=(1, TINY))
    PostProcessing({"organ": Mending(least_ml=99)}).apply(found, ONE, float("inf"))
    assert_array_equal(found, labels(a=(1, BIG), c=(1, TINY)))


def test_holes_are_filled_but_never_with_another_structure_in_them() -> None:
    hollow, core = BIG & ~ball((8, 8, 8), 3), ball((8, 8, 8), 1)
    found = labels(a=(1, hollow), b=(2, core))
    assert_array_equal(mended(found, TWO, organ=Mending(fill_holes=True)), labels(a=(1, BIG), b=(2, core)))


def test_planes_are_mended_each_by_itself() -> None:
    planes = np.stack([BIG | SMALL, SMALL | TINY]).astype(np.uint8)
    found = mended(planes, REGIONS, core=Mending(largest=True))
    assert_array_equal(found, np.stack([BIG | SMALL, SMALL]))


def test_nothing_found_and_nothing_asked_change_nothing() -> None:
    empty, full = np.zeros(CUBE, np.uint8), labels(a=(1, BIG), b=(1, TINY))
    assert not mended(empty, ONE, organ=Mending(True, True, 1.0)).any()
    assert_array_equal(mended(full, ONE), full)


def test_pictures_are_mended_too() -> None:
    picture = np.zeros((1, 12, 12), np.uint8)
    picture[0, 1:6, 1:6] = picture[0, 9, 9] = 1
    picture[0, 3, 3] = 0
    found = mended(picture, ONE, organ=Mending(fill_holes=True, largest=True))
    assert found[0, 3, 3] == 1
    assert found[0, 9, 9] == 0


def test_boxes_and_pieces_equal_scipys() -> None:
    noise = (np.random.default_rng(0).random(CUBE[1:]) > 0.9).astype(np.uint8) * 3
    noise[:2] = noise[:, -3:] = 0
    assert bounding_box(noise, 3) == ndimage.find_objects(noise)[2]
    assert bounding_box(noise, 1) is None
    pieces, sizes = pieces_of(noise == 3)
    assert_array_equal(sizes, ndimage.sum_labels(np.ones(pieces.shape), pieces, range(1, pieces.max() + 1)))


def test_volumes() -> None:
    assert voxel_ml((1, 2, 5)) == pytest.approx(0.01)
    assert voxel_ml((10, 10)) == 1  # cm2


def test_a_round_through_json() -> None:
    steps = PostProcessing({"organ": Mending(True, False, 0.25)})
    assert PostProcessing.from_json(json.loads(json.dumps(steps.as_json()))) == steps


# Choosing


def cases(predicted: np.ndarray, truth: np.ndarray, count: int = 6) -> Iterator[SegmentedCase]:
    """The same, moved about: every case differs a little."""
    for shift in range(count):
        yield np.roll(predicted, shift % 3, axis=1), np.roll(truth, shift % 3, axis=1), (1, 1, 1)


def test_a_spurious_blob_makes_the_largest_piece_worth_it() -> None:
    chosen, table = choose_postprocessing(cases(labels(a=(1, BIG), b=(1, SMALL)), labels(a=(1, BIG))), ONE)
    assert chosen == PostProcessing({"organ": Mending(largest=True)})
    row = next(row for row in table if row.step == "largest")
    assert (row.kept, row.cases_better, row.cases_worse, row.dice_with) == (True, 6, 0, 1.0)
    assert row.dice_without == pytest.approx(2 * BIG.sum() / (2 * BIG.sum() + SMALL.sum()))


def test_a_structure_of_two_parts_keeps_both_and_loses_only_the_specks() -> None:
    truth = labels(a=(1, BIG), b=(1, SMALL))
    chosen, table = choose_postprocessing(cases(labels(a=(1, BIG), b=(1, SMALL), c=(1, TINY)), truth), ONE)
    mending = chosen.mendings["organ"]
    assert not mending.largest
    assert TINY.sum() / 1000 < mending.least_ml <= SMALL.sum() / 1000
    assert not next(row for row in table if row.step == "largest").kept


def test_a_perfect_mask_keeps_nothing() -> None:
    chosen, table = choose_postprocessing(cases(labels(a=(1, BIG)), labels(a=(1, BIG))), TWO)
    assert chosen == PostProcessing()
    assert not any(row.kept for row in table)


def test_a_gain_in_the_mean_is_not_enough_where_more_cases_lose() -> None:
    gains = [(labels(a=(1, BIG), b=(1, SMALL)), labels(a=(1, BIG)), (1, 1, 1))]
    slight = labels(a=(1, BIG), b=(1, TINY))
    losses = [(slight, slight, (1, 1, 1))] * 2
    chosen, _ = choose_postprocessing([*gains, *losses], ONE)
    assert not chosen.mendings.get("organ", Mending()).largest


def test_holes_are_filled_where_that_pays() -> None:
    hollow = BIG & ~ball((8, 8, 8), 3)
    assert choose_postprocessing(cases(labels(a=(1, hollow)), labels(a=(1, BIG))), ONE)[0].mendings["organ"].fill_holes
    assert choose_postprocessing(cases(labels(a=(1, hollow)), labels(a=(1, hollow))), ONE)[0] == PostProcessing()


def test_an_empty_truth_counts_as_one_when_the_mask_is_empty_too() -> None:
    """Specks where there is nothing: taken away by their size, not by taking the largest."""
    with_organ = [(labels(a=(1, BIG)), labels(a=(1, BIG)), (1, 1, 1))] * 2
    without = [(labels(c=(1, TINY)), labels(), (1, 1, 1))] * 3
    chosen, table = choose_postprocessing([*with_organ, *without], ONE)
    assert chosen.mendings["organ"].least_ml > TINY.sum() / 1000
    assert not chosen.mendings["organ"].largest
    assert table[0].dice_without == pytest.approx(2 / 5)


def test_the_choice_predicts_what_applying_it_does() -> None:
    found, truth = labels(a=(1, BIG & ~TINY), b=(1, SMALL), c=(2, TINY)), labels(a=(1, BIG), c=(2, TINY))
    chosen, table = choose_postprocessing(cases(found, truth, 1), TWO)
    PostProcessing(chosen.mendings).apply(found, TWO, voxel_ml((1, 1, 1)))
    mask, true = found[0] == 1, truth[0] == 1
    after = [row.dice_with for row in table if row.structure == "organ" and row.kept][-1]
    assert after == pytest.approx(2 * (mask & true).sum() / (mask.sum() + true.sum()))


def test_ignored_voxels_are_not_judged() -> None:
    truth = labels(a=(1, BIG))
    truth[0][SMALL] = 255
    chosen, _ = choose_postprocessing(cases(labels(a=(1, BIG), b=(1, SMALL)), truth), ONE)
    assert chosen == PostProcessing()


def test_no_cases_choose_nothing() -> None:
    assert choose_postprocessing([], ONE) == (PostProcessing(), [])
