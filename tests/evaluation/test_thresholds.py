"""Thresholds on hand-made scores, and that the default varies less than a single best cut."""

import numpy as np
import pytest
from scipy.special import expit, ndtr, ndtri

from medcnn.evaluation.thresholds import (
    balanced_threshold,
    threshold_for_sensitivity,
    threshold_for_specificity,
)

SCORE = np.array([0.1, 0.2, 0.3, 0.6, 0.4, 0.7, 0.8, 0.9])
POSITIVE = np.array([0, 0, 0, 0, 1, 1, 1, 1])


def logit(p):
    return np.log(p / (1 - p))


def test_separated_classes_are_cut_in_the_middle_in_log_odds():
    score = expit(np.array([-3.0, -2.0, 2.0, 3.0]))
    found = balanced_threshold(score, [0, 0, 1, 1], num_resamples=100)
    assert found.threshold == pytest.approx(0.5, abs=1e-3)
    assert {k: v.value for k, v in found.estimates.items()} == {
        "sensitivity": 1,
        "specificity": 1,
        "balanced_accuracy": 1,
    }


def test_a_rare_class_counts_as_much_as_a_common_one():
    """Two normals, one unit wide, at -1 and 1: the best cut lies at 0 whatever the prevalence."""
    random = np.random.default_rng(0)
    positive = random.random(20_000) < 0.05
    score = expit(random.normal(size=20_000) + np.where(positive, 1, -1))
    assert logit(balanced_threshold(score, positive, num_resamples=20).threshold) == pytest.approx(0, abs=0.1)


def test_one_odd_case_moves_the_cut_little():
    random = np.random.default_rng(1)
    positive = np.arange(200) < 100
    logits = random.normal(size=200) + np.where(positive, 3, -3)
    before = logit(balanced_threshold(expit(logits), positive, num_resamples=20).threshold)
    logits[-1] = 2.5  # one negative deep among the positives
    after = logit(balanced_threshold(expit(logits), positive, num_resamples=20).threshold)
    assert abs(after - before) < 0.15


def test_sensitivity_wanted_is_reached_at_the_greatest_specificity():
    found = threshold_for_sensitivity(0.75, SCORE, POSITIVE, num_resamples=100)
    assert 0.6 < found.threshold <= 0.7
    assert (found.estimates["sensitivity"].value, found.estimates["specificity"].value) == (0.75, 1.0)
    everything = threshold_for_sensitivity(1.0, SCORE, POSITIVE, num_resamples=100)
    assert 0.3 < everything.threshold <= 0.4
    assert (everything.estimates["sensitivity"].value, everything.estimates["specificity"].value) == (1.0, 0.75)


def test_specificity_wanted_is_reached_at_the_greatest_sensitivity():
    found = threshold_for_specificity(0.75, SCORE, POSITIVE, num_resamples=100)
    assert 0.3 < found.threshold <= 0.4
    assert (found.estimates["specificity"].value, found.estimates["sensitivity"].value) == (0.75, 1.0)
    assert threshold_for_specificity(1.0, SCORE, POSITIVE, num_resamples=100).threshold == pytest.approx(
        expit((logit(0.6) + logit(0.7)) / 2)
    )


@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.95, 0.99, 1.0])
def test_what_is_wanted_is_always_kept_even_with_ties(wanted):
    random = np.random.default_rng(3)
    positive = random.random(300) < 0.3
    score = np.round(expit(random.normal(size=300) + positive), 2)
    for rule, side in ((threshold_for_sensitivity, "sensitivity"), (threshold_for_specificity, "specificity")):
        assert rule(wanted, score, positive, num_resamples=50).estimates[side].value >= wanted - 1e-9


def test_saturated_scores_of_0_and_1_are_cut_in_between():
    found = balanced_threshold(np.array([0.0, 0.0, 1.0, 1.0]), [0, 0, 1, 1], num_resamples=50)
    assert found.threshold == pytest.approx(0.5)


def best_cut_of_the_counts(score, positive):
    """The plain rule that the smoothed one is measured against."""
    cuts = np.sort(np.unique(score))
    merit = [(score[positive] >= cut).mean() + (score[~positive] < cut).mean() for cut in cuts]
    return cuts[int(np.argmax(merit))]


def test_the_smoothed_cut_beats_the_best_cut_of_the_counts_on_fresh_cases():
    """470 cases, prevalence 74 %, AUROC 0.985: balanced accuracy on the population, over 100 samples."""
    shift, num_positive = np.sqrt(2) * ndtri(0.985), 348
    positive = np.arange(470) < num_positive
    fresh = {"smoothed": [], "counts": []}
    for seed in range(100):
        score = expit(2 * (np.random.default_rng(seed).normal(size=470) + shift * (positive - 0.5)))
        cuts = {
            "smoothed": balanced_threshold(score, positive, num_resamples=2).threshold,
            "counts": best_cut_of_the_counts(score, positive),
        }
        for rule, cut in cuts.items():
            place = logit(cut) / 2
            fresh[rule].append((ndtr(shift / 2 - place) + ndtr(place + shift / 2)) / 2)
    smoothed, counts = (np.array(values) for values in fresh.values())
    assert smoothed.mean() > counts.mean() + 0.002
    assert smoothed.std() < 0.5 * counts.std()


@pytest.mark.parametrize(
    ("score", "positive", "message"),
    [
        ([0.2, 0.4], [1, 1], "2 positive of 2"),
        ([0.2, 3.0], [0, 1], "within 0 to 1"),
        ([0.2, np.nan], [0, 1], "finite"),
    ],
)
def test_what_cannot_be_cut_is_refused(score, positive, message):
    with pytest.raises(ValueError, match=message):
        balanced_threshold(np.array(score), np.array(positive))


def test_an_impossible_wish_is_refused():
    with pytest.raises(ValueError, match=r"above 0, got 1\.2"):
        threshold_for_sensitivity(1.2, SCORE, POSITIVE)
