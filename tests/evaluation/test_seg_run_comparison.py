"""Two segmentation runs: which cases are compared, what is refused, and what is adjusted."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from medcnn.evaluation.run_auroc import compare_aurocs
from medcnn.evaluation.segmentation.run_comparison import ALL, common_cases, compare_runs
from medcnn.evaluation.segmentation.scores import CaseScores, StructureScores
from medcnn.evaluation.segmentation.units import PICTURE, VOLUME


def run(dice, *, hd95=2.0, names=("left", "right"), first=0, truth=7.0, units=VOLUME, tolerance=1.0):
    """One case per value of dice, the same in all structures."""
    return [
        CaseScores(
            f"c{first + i}",
            {n: StructureScores("both", d, d, d, hd95, hd95, hd95, truth, 7.0 * d, tolerance) for n in names},
            units,
            f"p{first + i}",
        )
        for i, d in enumerate(dice)
    ]


DICE = np.random.default_rng(0).uniform(0.6, 0.8, 20)


def test_a_shift_is_found_in_every_structure_and_adjusted_over_them():
    rows = compare_runs(run(DICE + 0.1, hd95=1.0), run(DICE))
    of = {(row.structure, row.metric): row for row in rows}
    assert {metric for _, metric in of} == {"dice", "nsd", "hd95_mm", "assd_mm", "volume_abs_error_pct"}
    assert of["left", "dice"].paired.difference.value == pytest.approx(0.1)
    assert of["left", "dice"].paired.wilcoxon_p == pytest.approx(2 / 2**20)
    assert of["left", "dice"].wilcoxon_p_holm == pytest.approx(2 * 2 / 2**20)  # two structures
    assert of[ALL, "dice"].wilcoxon_p_holm == of[ALL, "dice"].paired.wilcoxon_p
    assert of["right", "hd95_mm"].paired.wins == 20
    assert of["right", "volume_abs_error_pct"].paired.wins == 20


def test_a_single_structure_has_no_row_of_all():
    rows = compare_runs(run(DICE, names=["lung"]), run(DICE, names=["lung"]))
    assert {row.structure for row in rows} == {"lung"}


def test_common_cases_are_matched_by_id_and_the_others_counted():
    a, b = run(DICE), run(DICE[5:], first=5)[::-1]
    mine, partners, num_left_out = common_cases(a, b)
    assert [c.case_id for c in mine] == [c.case_id for c in partners] == [f"c{i}" for i in range(5, 20)]
    assert num_left_out == 5
    assert all(row.paired.ties == 15 for row in compare_runs(mine, partners))


def test_runs_that_do_not_fit_together_are_refused():
    a = run(DICE)
    with pytest.raises(ValueError, match=r"no case in common \(A has 20, B has 20\).*privacy.key_file"):
        common_cases(a, run(DICE, first=100))
    with pytest.raises(ValueError, match="different structures: A left, right; B lung"):
        common_cases(a, run(DICE, names=["lung"]))
    with pytest.raises(ValueError, match="20 of 20 common cases have another true volume in B than in A"):
        common_cases(a, run(DICE, truth=7.1))
    with pytest.raises(ValueError, match="another true area"):
        common_cases(run(DICE, units=PICTURE), run(DICE, units=PICTURE, truth=8.0))
    assert common_cases(a, run(DICE, truth=7.0 * (1 + 1e-9)))[2] == 0  # a text file rounds


def test_nsd_of_different_tolerances_is_not_compared():
    rows = compare_runs(run(DICE), run(DICE, tolerance=2.0))
    assert "nsd" not in {row.metric for row in rows}
    assert "dice" in {row.metric for row in rows}


def test_the_row_of_all_uses_what_both_runs_have():
    a, b = run([0.8, 0.8]), run([0.7, 0.7])
    missed = StructureScores("missed", 0.0, 0.0, 0.0, *[math.nan] * 3, 7.0, 0.0)
    b[0] = replace(b[0], structures={"left": missed, "right": b[0].structures["right"]})
    of = {(row.structure, row.metric): row.paired for row in compare_runs(a, b)}
    assert of[ALL, "dice"].difference.value == pytest.approx(np.mean([(0.8 + 0.1) / 2, 0.1]))
    assert of[ALL, "hd95_mm"].num_pairs == 2
    assert of["left", "hd95_mm"].num_undefined == 1


def test_classes_are_asked_one_by_one():
    random = np.random.default_rng(3)
    truth = random.integers(0, 3, 90)
    score = random.random((90, 3)) + 0.7 * np.eye(3)[truth]
    good, poor = score / score.sum(axis=1, keepdims=True), np.full((90, 3), 1 / 3)
    found = compare_aurocs(good, poor, truth, ["a", "b", "c"])
    assert [one.class_name for one in found] == ["a", "b", "c"]
    assert all(one.comparison.a > 0.85 and one.comparison.b == 0.5 for one in found)
    assert found[0].p_holm >= found[0].comparison.p_value
    binary = compare_aurocs(good[:, :2], poor[:, :2], (truth == 1).astype(int), ["no", "yes"])
    assert [one.class_name for one in binary] == ["yes"]
    assert binary[0].p_holm == binary[0].comparison.p_value
