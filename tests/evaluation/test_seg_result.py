"""Means, intervals and counts of segmentations against numbers that were put in."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from medcnn.evaluation.segmentation.ranking import best_median_worst, worst_cases
from medcnn.evaluation.segmentation.result import evaluate_segmentation
from medcnn.evaluation.segmentation.scores import CaseScores, StructureScores
from medcnn.evaluation.segmentation.units import PICTURE_IN_PIXELS, VOLUME

NAN = math.nan


def both(dice, truth=10.0, predicted=10.0, hd95=2.0, tolerance=1.0):
    return StructureScores("both", dice, dice / (2 - dice), dice, hd95, hd95, hd95 / 2, truth, predicted, tolerance)


MISSED = StructureScores("missed", 0.0, 0.0, 0.0, NAN, NAN, NAN, 10.0, 0.0)
FALSE_POSITIVE = StructureScores("false_positive", 0.0, 0.0, 0.0, NAN, NAN, NAN, 0.0, 4.0)
TRUE_NEGATIVE = StructureScores("true_negative", NAN, NAN, NAN, NAN, NAN, NAN, 0.0, 0.0)


def case(number, units=VOLUME, **structures):
    return CaseScores(f"c{number}", structures, units)


def many(n=30, seed=0):
    random = np.random.default_rng(seed)
    return [
        case(i, a=both(random.uniform(0.7, 1), predicted=random.normal(10, 1)), b=both(random.uniform()))
        for i in range(n)
    ]


def test_means_follow_the_rule_of_empty_masks():
    scores = [both(0.9, hd95=1.0), both(0.7, hd95=3.0), MISSED, FALSE_POSITIVE, TRUE_NEGATIVE]
    cases = [case(i, a=one) for i, one in enumerate(scores)]
    result = evaluate_segmentation(cases)
    found = result.estimates
    assert found["dice.a"].value == pytest.approx((0.9 + 0.7 + 0 + 0) / 4)
    assert (found["dice.a"].n, found["nsd.a"].n, found["hd95_mm.a"].n) == (4, 4, 2)
    assert found["hd95_mm.a"].value == pytest.approx(2.0)
    assert found["volume_error_ml.a"].value == pytest.approx((0 + 0 - 10 + 4) / 4)
    assert found["volume_abs_error_pct.a"].value == pytest.approx((0 + 0 + 100) / 3)
    assert result.counts == {"a": {"both": 2, "missed": 1, "false_positive": 1, "true_negative": 1}}
    notes = " ".join(result.notes)
    assert "a: missed in 1 case and predicted where there is none in 1 case; these have Dice and NSD 0" in notes
    assert "a: 1 case without any, in truth and prediction" in notes
    assert "no patient_id" in notes
    assert "within 1 mm" in notes


def test_the_mean_over_structures_is_the_mean_of_their_means():
    cases = [case(0, a=both(0.9), b=both(0.5)), case(1, a=both(0.7), b=TRUE_NEGATIVE)]
    assert evaluate_segmentation(cases).estimates["dice"].value == pytest.approx((0.8 + 0.5) / 2)
    nowhere = [case(0, a=both(0.9), b=TRUE_NEGATIVE), case(1, a=both(0.7), b=TRUE_NEGATIVE)]
    result = evaluate_segmentation(nowhere)
    assert result.estimates["dice"].value == pytest.approx(0.8)
    assert not result.estimates["dice.b"].defined
    assert "b: no case has any" in " ".join(result.notes)


def test_limits_of_agreement_are_bland_and_altmans():
    cases = many()
    error = np.array([c.structures["a"].predicted_size - 10 for c in cases])
    found = evaluate_segmentation(cases).estimates
    assert found["volume_error_ml.a"].value == pytest.approx(error.mean())
    assert found["volume_agreement_low_ml.a"].value == pytest.approx(error.mean() - 1.96 * error.std(ddof=1))
    assert found["volume_agreement_high_ml.a"].value == pytest.approx(error.mean() + 1.96 * error.std(ddof=1))
    assert found["volume_abs_error_pct.a"].value == pytest.approx(10 * np.abs(error).mean())


def test_the_interval_is_that_of_a_mean():
    cases = many(120)
    dice = np.array([c.structures["a"].dice for c in cases])
    found = evaluate_segmentation(cases, patient=[c.case_id for c in cases]).estimates["dice.a"]
    half = 1.96 * dice.std(ddof=1) / math.sqrt(120)
    assert (found.low, found.high) == pytest.approx((dice.mean() - half, dice.mean() + half), abs=0.15 * half)
    assert found.unit == "patient"


def test_cases_of_one_patient_are_drawn_together():
    """Ten patients with twelve equal cases each: the interval is that of ten numbers."""
    random = np.random.default_rng(1)
    value = np.repeat(random.uniform(0.5, 1, 10), 12)
    cases = [case(i, a=both(v)) for i, v in enumerate(value)]
    alone = evaluate_segmentation(cases).estimates["dice.a"]
    result = evaluate_segmentation(cases, patient=[f"p{i // 12}" for i in range(120)])
    together = result.estimates["dice.a"]
    assert (together.high - together.low) > 2.5 * (alone.high - alone.low)
    assert (result.num_patients, result.unit) == (10, "patient")
    assert "only 10 patients" in " ".join(result.notes)


def test_a_rare_structure_is_in_every_resample():
    rare = [case(i, a=both(0.8 + i / 1000), b=both(0.5) if i == 0 else TRUE_NEGATIVE) for i in range(40)]
    found = evaluate_segmentation(rare).estimates
    assert found["dice.b"].num_undefined == 0
    assert found["dice.b"].value == found["dice.b"].low == 0.5
    assert found["dice"].num_undefined == 0


def test_equal_seeds_give_equal_results_and_others_do_not():
    cases = many()
    assert evaluate_segmentation(cases, seed=3).as_json() == evaluate_segmentation(cases, seed=3).as_json()
    assert evaluate_segmentation(cases, seed=3).as_json() != evaluate_segmentation(cases, seed=4).as_json()


def test_json_is_valid_and_holds_the_counts():
    cases = [case(0, a=both(0.9), b=TRUE_NEGATIVE), case(1, a=MISSED, b=TRUE_NEGATIVE)]
    found = json.loads(json.dumps(evaluate_segmentation(cases).as_json(), allow_nan=False))
    assert found["dice.b"]["value"] is None
    assert found["missed.a"] == {"value": 1, "low": None, "high": None, "n": 2, "unit": "case"}
    assert found["true_negative.b"]["value"] == 2
    assert next(iter(found)) == "dice"


def test_pictures_are_named_in_their_units():
    cases = [case(i, units=PICTURE_IN_PIXELS, a=both(0.9)) for i in range(3)]
    result = evaluate_segmentation(cases)
    assert {"hd95_px.a", "assd_px", "area_error_px.a", "area_abs_error_pct.a"} <= result.estimates.keys()
    assert "distances and areas are in pixels" in " ".join(result.notes)


def test_what_cannot_be_averaged_is_refused():
    with pytest.raises(ValueError, match="no scored case"):
        evaluate_segmentation([])
    with pytest.raises(ValueError, match="some in pixels"):
        evaluate_segmentation([case(0, a=both(1.0)), case(1, units=PICTURE_IN_PIXELS, a=both(1.0))])
    with pytest.raises(ValueError, match="different structures; the first one for a"):
        evaluate_segmentation([case(0, a=both(1.0)), case(1, b=both(1.0))])
    with pytest.raises(ValueError, match="different tolerances"):
        evaluate_segmentation([case(0, a=both(1.0)), case(1, a=both(1.0, tolerance=2.0))])


def test_best_median_and_worst_are_what_they_say():
    values = [0.5, 0.9, 0.1, 0.7, 0.3]
    cases = [case(i, a=both(v)) for i, v in enumerate(values)] + [case(9, a=TRUE_NEGATIVE)]
    assert best_median_worst(cases) == {"best": [1], "median": [0], "worst": [2]}
    assert best_median_worst(cases, each=2) == {"best": [1, 3], "median": [0], "worst": [2, 4]}
    assert worst_cases(cases, 3) == [2, 4, 0]
    assert best_median_worst(cases[:1]) == {"best": [], "median": [], "worst": [0]}
    assert best_median_worst(cases[5:]) == {"best": [], "median": [], "worst": []}
