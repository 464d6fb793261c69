"""The bootstrap: what it draws, that it is reproducible, and that its intervals cover the truth."""

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import binomtest

from medcnn.evaluation import metrics
from medcnn.evaluation.intervals import Estimate, Resamples, bootstrap, estimate, exact_interval, percentile_interval
from medcnn.evaluation.patients import group_patients, patient_class


def resamples(positive, patient=None, **options):
    patients = group_patients(patient, len(positive))
    return Resamples(patients, patient_class(positive.astype(int), patients, "binary"), **options)


def test_every_resample_keeps_the_classes_and_keeps_patients_together():
    positive = np.array([1, 1, 0, 0, 0, 0, 1, 0], dtype=bool)
    patient = ["a", "a", "b", "b", "c", "c", "d", "e"]  # a, d positive; b, c, e negative
    drawn = np.concatenate(list(resamples(positive, patient, num=120).blocks()))
    assert drawn.shape == (120, 8)
    for first, second in ((0, 1), (2, 3), (4, 5)):
        assert (drawn[:, first] == drawn[:, second]).all()
    per_patient = drawn[:, [0, 2, 4, 6, 7]]
    assert (per_patient[:, [0, 3]].sum(axis=1) == 2).all()
    assert (per_patient[:, [1, 2, 4]].sum(axis=1) == 3).all()
    assert per_patient.mean(axis=0) == pytest.approx(np.ones(5), abs=0.3)


def test_the_same_seed_draws_the_same_and_another_does_not():
    positive = np.arange(20) % 2 == 0
    one, again, other = (np.concatenate(list(resamples(positive, num=70, seed=seed).blocks())) for seed in (0, 0, 1))
    assert (one == again).all()
    assert not (one == other).all()


def test_spread_of_a_mean_is_its_standard_error():
    random = np.random.default_rng(0)
    values = random.normal(size=400)
    patients = group_patients(None, 400)
    plan = Resamples(patients, np.zeros(400, dtype=int), num=2000)
    found = bootstrap(lambda weights: {"mean": metrics.mean(values, weights)}, plan)
    assert found.value["mean"] == pytest.approx(values.mean())
    assert found.sample["mean"].std() == pytest.approx(values.std() / 20, rel=0.06)


def test_cases_of_one_patient_widen_the_interval():
    """Ten equal cases per patient hold as much as one: the standard error is sqrt(10) times that of free cases."""
    random = np.random.default_rng(0)
    right = np.repeat(random.random(60) < 0.7, 10)
    names = [f"p{i // 10}" for i in range(600)]
    spread = []
    for patient in (None, names):
        patients = group_patients(patient, 600)
        plan = Resamples(patients, np.zeros(patients.count, dtype=int))
        spread.append(bootstrap(lambda w: {"share": metrics.share(right, w)}, plan).sample["share"].std())
    assert spread[1] / spread[0] == pytest.approx(np.sqrt(10), rel=0.08)


def test_95_percent_intervals_of_auroc_cover_the_truth():
    """Binormal scores have AUROC Phi(d / sqrt 2): of 200 samples, 91 to 98 % of the intervals must hold it."""
    truth = 0.85
    shift = np.sqrt(2) * ndtri(truth)
    positive = np.arange(150) < 60
    held = 0
    for seed in range(200):
        score = np.random.default_rng(seed).normal(size=150) + shift * positive
        plan = resamples(positive, seed=seed, num=500)
        found = bootstrap(lambda w, s=score: {"auroc": metrics.auroc(s, positive, w)}, plan)
        low, high = percentile_interval(found.sample["auroc"])
        held += low <= truth <= high
    assert 0.91 <= held / 200 <= 0.98


def test_95_percent_intervals_cover_the_truth_when_patients_have_several_correlated_cases():
    """A patient's cases share one error: intervals over patients hold a share of 0.8, intervals over cases do not."""
    held = {"patient": 0, "case": 0}
    names = [f"p{i // 4}" for i in range(320)]
    for seed in range(200):
        random = np.random.default_rng(seed)
        own, common, shared = random.random(320) < 0.8, np.repeat(random.random(80) < 0.8, 4), random.random(320) < 0.8
        right = np.where(shared, common, own)
        for unit, patient in (("patient", names), ("case", None)):
            patients = group_patients(patient, 320)
            plan = Resamples(patients, np.zeros(patients.count, dtype=int), seed=seed, num=400)
            low, high = percentile_interval(bootstrap(lambda w, r=right: {"x": metrics.share(r, w)}, plan).sample["x"])
            held[unit] += low <= 0.8 <= high
    assert 0.91 <= held["patient"] / 200 <= 0.98
    assert held["case"] / 200 < 0.85


def test_undefined_resamples_are_left_out_and_counted():
    sample = np.r_[np.full(50, np.nan), np.linspace(0, 1, 101)]
    found = estimate(0.5, sample, n=7, unit="patient")
    assert found == Estimate(0.5, pytest.approx(0.025), pytest.approx(0.975), 7, "patient", 50)


def test_an_undefined_value_has_no_interval_and_is_null_in_json():
    found = estimate(float("nan"), np.linspace(0, 1, 10), n=3, unit="case")
    assert found.as_json() == {"value": None, "low": None, "high": None, "n": 3, "unit": "case"}
    assert str(found) == "undefined"


def test_percentiles_are_taken_column_by_column():
    sample = np.stack([np.linspace(0, 1, 201), np.linspace(10, 20, 201)], axis=1)
    low, high = percentile_interval(sample)
    assert low == pytest.approx([0.025, 10.25])
    assert high == pytest.approx([0.975, 19.75])


@pytest.mark.parametrize(("count", "of"), [(0, 10), (10, 10), (3, 17), (1, 1)])
def test_exact_interval_equals_scipys(count, of):
    expected = binomtest(count, of).proportion_ci(method="exact")
    assert exact_interval(count, of) == pytest.approx((expected.low, expected.high))
