"""Operating points of every class, and that what they promise for unseen patients is what unseen patients get."""

import json

import numpy as np
import pytest
from scipy.special import expit, ndtr, ndtri

from medcnn.evaluation.operating_point import Goal, OperatingPoint, operating_points
from medcnn.evaluation.thresholds import balanced_threshold, rechosen, threshold_for_sensitivity

NAMES = ["normal", "ill"]


def drawn(n=300, seed=0, shift=2.0):
    random = np.random.default_rng(seed)
    positive = random.random(n) < 0.4
    ill = expit(random.normal(size=n) + shift * (positive - 0.5))
    return np.c_[1 - ill, ill], positive.astype(int)


def test_the_goal_is_reached_on_the_cases_themselves_with_an_interval_around_the_cut():
    probability, truth = drawn()
    (point,) = operating_points(
        probability, truth, Goal("sensitivity", 0.9), kind="binary", class_names=NAMES, num_resamples=300
    )
    plain = threshold_for_sensitivity(0.9, probability[:, 1], truth, num_resamples=300)
    assert (point.class_name, point.threshold) == ("ill", plain.threshold)
    assert point.estimates["sensitivity"].value >= 0.9
    assert point.low < point.threshold < point.high
    assert point.note == ""


def test_balanced_is_the_existing_rule():
    probability, truth = drawn()
    (point,) = operating_points(probability, truth, Goal(), kind="binary", class_names=NAMES, num_resamples=100)
    assert point.threshold == balanced_threshold(probability[:, 1], truth, num_resamples=100).threshold
    assert point.unseen == {}


@pytest.mark.parametrize(("side", "wanted"), [("sensitivity", 0.95), ("specificity", 0.9)])
def test_what_new_patients_get_is_foretold(side, wanted):
    """Normal log-odds: of each cut the true sensitivity and specificity are known. Over 60 samples of 120 cases."""
    promised, given = [], []
    for seed in range(60):
        probability, truth = drawn(n=120, seed=seed)
        (point,) = operating_points(
            probability, truth, Goal(side, wanted), kind="binary", class_names=NAMES, num_resamples=100
        )
        cut = np.log(point.threshold / (1 - point.threshold))
        given.append([ndtr(1 - cut), ndtr(cut + 1)])
        promised.append([point.unseen["sensitivity"], point.unseen["specificity"]])
    assert np.mean(promised, axis=0) == pytest.approx(np.mean(given, axis=0), abs=0.025)
    kept = ["sensitivity", "specificity"].index(side)
    assert np.mean(promised, axis=0)[kept] <= np.mean(given, axis=0)[kept] + 0.005  # careful, never boasting


def test_the_interval_of_the_cut_holds_the_cut_of_the_population():
    place = 1 - ndtri(0.9)  # of the log-odds that 90 % of the positives exceed
    held = 0
    for seed in range(100):
        probability, truth = drawn(n=200, seed=seed)
        cuts, _ = rechosen("sensitivity", 0.9, probability[:, 1], truth, num_resamples=200, seed=seed)
        low, high = np.percentile(cuts, [2.5, 97.5])
        held += low <= expit(place) <= high
    assert held >= 86


def test_chosen_again_on_a_resample_is_chosen_on_its_cases():
    probability, truth = drawn(n=80)
    for side in ("sensitivity", "specificity"):
        cuts, left_out = rechosen(side, 0.8, probability[:, 1], truth, num_resamples=120)
        assert cuts.shape == (120,)
        assert left_out.shape == (120, 80)
        assert left_out.mean() == pytest.approx(np.exp(-1), abs=0.03)


def test_a_patients_cases_are_left_out_together():
    probability, truth = drawn(n=60)
    patient = [f"p{n // 3}" for n in range(60)]
    _, left_out = rechosen("sensitivity", 0.8, probability[:, 1], truth, patient=patient, num_resamples=40)
    together = left_out.reshape(40, 20, 3)
    assert (together.all(axis=2) == together.any(axis=2)).all()


def test_every_label_gets_its_own_point_but_one_that_nobody_has():
    random = np.random.default_rng(0)
    truth = (random.random((200, 3)) < [0.3, 0.5, 0.0]).astype(float)
    probability = expit(random.normal(size=(200, 3)) + 2 * truth - 1)
    truth[random.random((200, 3)) < 0.2] = np.nan
    points = operating_points(
        probability, truth, Goal("specificity", 0.8), kind="multilabel", class_names=["a", "b", "c"], num_resamples=50
    )
    assert [point.class_name for point in points] == ["a", "b"]
    for k, point in enumerate(points):
        negatives = truth[:, k] == 0
        assert (probability[negatives, k] < point.threshold).mean() >= 0.8
        assert point.estimates["specificity"].n == negatives.sum()


def test_too_few_cases_for_the_wanted_share_are_said():
    probability, truth = drawn(n=60)
    num = int(truth.sum())
    (point,) = operating_points(
        probability, truth, Goal("sensitivity", 0.99), kind="binary", class_names=NAMES, num_resamples=50
    )
    assert point.note.startswith(f"{num} positive cases cannot show a sensitivity of 0.99")


def test_a_point_travels_as_json():
    probability, truth = drawn(n=60)
    (point,) = operating_points(
        probability, truth, Goal("sensitivity", 0.9), kind="binary", class_names=NAMES, num_resamples=50
    )
    back = OperatingPoint.from_json(json.loads(json.dumps(point.as_json(), allow_nan=False)))
    assert back.as_json() == point.as_json()
    assert (back.goal, back.threshold) == (point.goal, point.threshold)


@pytest.mark.parametrize(
    ("goal", "message"),
    [(("recall", 0.9), "one of balanced, sensitivity, specificity, got 'recall'"), (("sensitivity", None), "got None"),
     (("specificity", 1.5), "at most 1, got 1.5"), (("balanced", 0.9), "takes no wanted share")],
)  # fmt: skip
def test_goals_that_cannot_be_meant_are_refused(goal, message):
    with pytest.raises(ValueError, match=message):
        Goal(*goal)


@pytest.mark.parametrize("kind", ["multiclass", "ordinal"])
def test_several_exclusive_classes_have_no_threshold(kind):
    with pytest.raises(ValueError, match="several classes that exclude each other have no threshold"):
        operating_points(np.eye(3), np.arange(3), Goal(), kind=kind, class_names=["a", "b", "c"])
