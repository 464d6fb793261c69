"""Thresholds on hand-made scores, and that the default varies less than a single best cut."""

import numpy as np
import pytest
from scipy.special import expit, ndtr, ndtri

from medcnn.evaluation.thresholds import (
    balanced_threshold,
    plateau_threshold,
    threshold_for_sensitivity,
    threshold_for_specificity,
)

SCORE = np.array([0.1, 0.2, 0.3, 0.6, 0.4, 0.7, 0.8, 0.9])
POSITIVE = np.array([0, 0, 0, 0, 1, 1, 1, 1])


def logit(p):
    return np.log(p / (1 - p))


def test_plateau_is_centred_between_the_classes_in_log_odds():
    score = np.array([0.1, 0.2, 0.8, 0.95])
    found = plateau_threshold(score, [0, 0, 1, 1], num_resamples=100)
    assert found.threshold == pytest.approx(0.5)
    assert {k: v.value for k, v in found.estimates.items()} == {
        "sensitivity": 1,
        "specificity": 1,
        "balanced_accuracy": 1,
    }


def test_of_two_equally_good_cuts_the_longer_plateau_wins():
    # cutting from 0.3 to 0.4 gives 1 and 3/4, from 0.6 to 0.7 gives 3/4 and 1; each in turn is made the longer one
    for index, value, expected in ((2, 0.25, (0.25, 0.4)), (3, 0.5, (0.5, 0.7))):
        score = SCORE.copy()
        score[index] = value
        found = plateau_threshold(score, POSITIVE, num_resamples=100).threshold
        assert logit(found) == pytest.approx(np.mean([logit(edge) for edge in expected]))


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
    found = plateau_threshold(np.array([0.0, 0.0, 1.0, 1.0]), [0, 0, 1, 1], num_resamples=50)
    assert found.threshold == pytest.approx(0.5)


def test_the_same_seed_gives_the_same_threshold():
    one, again, other = (balanced_threshold(SCORE, POSITIVE, seed=s, num_resamples=99).threshold for s in (0, 0, 5))
    assert one == again
    assert one != other


def test_the_default_beats_the_plateau_on_fresh_cases():
    """470 cases, prevalence 74 %, AUROC 0.985: balanced accuracy on the population, over 40 samples."""
    shift, num_positive = np.sqrt(2) * ndtri(0.985), 348
    positive = np.arange(470) < num_positive
    fresh = {balanced_threshold: [], plateau_threshold: []}
    for seed in range(40):
        score = expit(2 * (np.random.default_rng(seed).normal(size=470) + shift * (positive - 0.5)))
        for rule, values in fresh.items():
            cut = logit(rule(score, positive, num_resamples=100).threshold) / 2
            values.append((ndtr(shift / 2 - cut) + ndtr(cut + shift / 2)) / 2)
    averaged, single = (np.array(v) for v in fresh.values())
    assert averaged.mean() > single.mean()
    assert averaged.std() < 0.75 * single.std()


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
