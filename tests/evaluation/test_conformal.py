"""Prediction sets: the quantile by hand, mapie's sets, and coverage over many simulated calibrations."""

import numpy as np
import pytest
from scipy.special import expit, softmax
from scipy.stats import binom

from medcnn.evaluation.calibration import apply_temperature, fit_temperature
from medcnn.evaluation.conformal import ConformalRule, fit_conformal, least_cases, quantile
from medcnn.evaluation.prediction_sets import evaluate_sets

METHODS = ["lac", "aps", "aps_randomised"]


def drawn(n, k=4, seed=0, wrong=1.5):
    """Overconfident probabilities: the truth is drawn from flatter ones."""
    random = np.random.default_rng(seed)
    logits = 1.5 * random.normal(size=(n, k))
    truth = (softmax(logits, axis=1).cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    return softmax(wrong * logits, axis=1), truth


@pytest.mark.parametrize(
    ("num", "error", "rank"), [(9, 0.1, 9), (19, 0.1, 18), (19, 0.05, 19), (100, 0.1, 91), (99, 0.01, 99)]
)
def test_the_quantile_is_the_rank_of_one_more_case(num, error, rank):
    scores = np.random.default_rng(0).permutation(np.arange(1.0, num + 1))
    assert quantile(scores, error) == rank


@pytest.mark.parametrize(("error", "least"), [(0.1, 9), (0.05, 19), (0.01, 99), (0.3, 3), (0.5, 1)])
def test_with_too_few_cases_everything_is_in_the_set(error, least):
    assert least_cases(error) == least
    assert quantile(np.arange(least - 1.0), error) == np.inf
    assert quantile(np.arange(float(least)), error) == least - 1


def test_too_few_cases_are_said_and_give_every_class():
    probability, truth = drawn(8)
    rule = fit_conformal(probability, truth, kind="multiclass", error=0.1, fitted_on="calib")
    assert rule.sets(probability).all()
    assert rule.abstains(probability).all()
    assert rule.notes() == [
        "prediction sets with an error of 0.1 need 9 calibration patients, got 8: every class is in the set"
    ]


@pytest.mark.parametrize("method", METHODS)
def test_coverage_over_many_calibrations_lies_within_the_binomial_bounds(method):
    """One test case per calibration, so that the hits are independent: 1,500 draws of a chance of at least 0.8."""
    num, each = 1500, 40
    probability, truth = drawn(num * each, seed=3)
    hits = 0
    for start in range(0, num * each, each):
        rows = slice(start, start + each - 1)
        rule = fit_conformal(
            probability[rows], truth[rows], kind="multiclass", error=0.2, method=method, fitted_on="calib"
        )
        last = start + each - 1
        hits += rule.sets(probability[last : last + 1])[0, truth[last]]
    low, high = binom.ppf([0.001, 0.999], num, 32 / 40)  # ceil(40 * 0.8) / 40, exact where scores have no ties
    assert low <= hits <= high


def test_per_class_covers_each_class_and_marginal_need_not():
    """A rare class that the network hardly knows: the sets of all forget it, those per class do not."""
    hits = {"marginal": np.zeros(2), "per_class": np.zeros(2)}
    cases = np.zeros(2)
    for seed in range(300):
        random = np.random.default_rng(seed)
        truth = (random.random(260) < 0.15).astype(int)
        ill = expit(random.normal(size=260) + 1.0 * truth - 3)
        probability = np.c_[1 - ill, ill]
        test = slice(200, 260)
        cases += np.bincount(truth[test], minlength=2)
        for coverage, found in hits.items():
            rule = fit_conformal(
                probability[:200], truth[:200], kind="binary", error=0.1, coverage=coverage, fitted_on="calib"
            )
            inside = rule.sets(probability[test])[np.arange(60), truth[test]]
            found += np.bincount(truth[test], inside, minlength=2)
    covered = {coverage: found / cases for coverage, found in hits.items()}
    assert (covered["per_class"] >= 0.88).all()
    assert covered["marginal"][1] < 0.5
    assert hits["marginal"].sum() / cases.sum() == pytest.approx(0.9, abs=0.015)


def test_multilabel_covers_every_label_and_ignores_the_missing_ones():
    random = np.random.default_rng(0)
    logits = random.normal(size=(6000, 3)) * [1, 2, 3]
    truth = (random.random((6000, 3)) < expit(logits)).astype(float)
    probability = expit(1.7 * logits)
    truth[random.random((6000, 3)) < 0.3] = np.nan
    rule = fit_conformal(probability[:3000], truth[:3000], kind="multilabel", error=0.1, fitted_on="calib")
    assert [row[0] for row in rule.counts] == (~np.isnan(truth[:3000])).sum(axis=0).tolist()
    sets = rule.sets(probability[3000:])
    assert sets.shape == (3000, 3, 2)
    for k in range(3):
        known = ~np.isnan(truth[3000:, k])
        inside = sets[known, k, truth[3000:][known, k].astype(int)]
        assert inside.mean() == pytest.approx(0.9, abs=0.025)
    assert rule.abstains(probability).shape == (6000, 3)


def test_a_patient_with_many_scans_counts_once():
    """One patient of 2,000 odd scans among 100 others: the quantile is that of 101 patients."""
    probability, truth = drawn(100, k=2, seed=5)
    odd = np.tile([[0.99, 0.01]], (2000, 1))
    patient = [f"p{n}" for n in range(100)] + ["many"] * 2000
    together = fit_conformal(
        np.r_[probability, odd],
        np.r_[truth, np.ones(2000, int)],
        kind="binary",
        error=0.1,
        fitted_on="calib",
        patient=patient,
    )
    alone = fit_conformal(np.r_[probability, odd[:1]], np.r_[truth, 1], kind="binary", error=0.1, fitted_on="calib")
    assert together.counts == ((101,),)
    assert together.quantiles == alone.quantiles


def test_scans_of_new_patients_are_covered_although_those_of_one_patient_are_alike():
    """Patients' scans share most of their difficulty; hits are counted on one scan of one new patient each."""
    hits, num = 0, 1000
    for seed in range(num):
        random = np.random.default_rng(seed)
        of_case = np.repeat(np.arange(20), random.integers(1, 8, 20))
        ease = random.normal(size=20)[of_case] + 0.3 * random.normal(size=len(of_case))
        probability = np.c_[1 - expit(ease), expit(ease)]  # the truth is always 1
        calib = of_case < 19
        rule = fit_conformal(
            probability[calib],
            np.ones(calib.sum(), int),
            kind="binary",
            error=0.2,
            fitted_on="calib",
            patient=[f"p{n}" for n in of_case[calib]],
            seed=seed,
        )
        hits += rule.sets(probability[~calib][:1])[0, 1]
    low, high = binom.ppf([0.001, 0.999], num, 16 / 20)
    assert low <= hits <= high


def test_lac_with_two_classes_is_the_same_at_any_temperature_fitted_on_the_same_cases():
    random = np.random.default_rng(2)
    logits = np.c_[np.zeros(300), 3 * random.normal(size=300)]
    truth = (random.random(300) < expit(logits[:, 1] / 3)).astype(int)
    temperature = fit_temperature(logits[:200], truth[:200], kind="binary").temperature
    sets = []
    for used in (1.0, temperature):
        probability = apply_temperature(logits, used, kind="binary")
        rule = fit_conformal(probability[:200], truth[:200], kind="binary", error=0.1, fitted_on="calib")
        sets.append(rule.sets(probability[200:]))
    assert temperature > 1.5
    assert (sets[0] == sets[1]).all()


def test_aps_scores_by_hand():
    rule = ConformalRule("multiclass", "aps", 0.1, "marginal", ((0.85,),), ((50,),), "calib")
    probability = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [0.9, 0.05, 0.05]])
    assert rule.sets(probability).tolist() == [
        [True, True, False],  # 0.5, 0.8, 1.0
        [True, False, True],  # 0.6, then 0.8 for the first of equals
        [False, False, False],  # 0.9 is already too much: nothing looks like the calibration cases
    ]
    assert rule.abstains(probability).tolist() == [True, True, True]


def test_randomised_sets_are_the_same_for_the_same_scan_and_lie_within_the_plain_score():
    probability, truth = drawn(400)
    rule = fit_conformal(
        probability, truth, kind="multiclass", error=0.1, method="aps_randomised", fitted_on="calib", seed=7
    )
    together = rule.sets(probability)
    assert (together == np.concatenate([rule.sets(row[None]) for row in probability])).all()
    plain = fit_conformal(probability, truth, kind="multiclass", error=0.1, method="aps", fitted_on="calib")
    assert together.sum() < plain.sets(probability).sum()
    assert (
        together.sum(axis=1).mean()
        != ConformalRule("multiclass", "aps_randomised", 0.1, "marginal", rule.quantiles, rule.counts, "calib", 8)
        .sets(probability)
        .sum(axis=1)
        .mean()
    )


@pytest.mark.parametrize("coverage", ["marginal", "per_class"])
def test_a_rule_travels_as_json(coverage):
    probability, truth = drawn(30)
    truth[truth == 3] = 2  # a class without calibration cases: no limit per class
    rule = fit_conformal(
        probability, truth, kind="multiclass", error=0.1, coverage=coverage, method="aps", fitted_on="out_of_fold"
    )
    assert ConformalRule.from_json(rule.as_json()) == rule
    if coverage == "per_class":
        assert rule.as_json()["quantiles"][0][3] is None
        assert rule.sets(probability)[:, 3].all()


def test_no_coverage_is_claimed_on_data_that_chose_the_model():
    probability, truth = drawn(50)
    rule = fit_conformal(probability, truth, kind="multiclass", error=0.1, fitted_on="val")
    assert not rule.claims_coverage
    assert rule.notes() == ["prediction sets were fitted on val, which chose the model: no coverage is claimed"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"error": 1.0}, "above 0 and below 1, got 1"),
        ({"method": "raps"}, "one of lac, aps, aps_randomised, got 'raps'"),
        ({"coverage": "all"}, "one of marginal, per_class, got 'all'"),
    ],
)
def test_what_does_not_exist_is_refused(wrong, message):
    probability, truth = drawn(20)
    with pytest.raises(ValueError, match=message):
        fit_conformal(probability, truth, **{"kind": "multiclass", "error": 0.1, "fitted_on": "calib", **wrong})


def mapie_sets(method, calib, truth, fresh, level, **options):
    """(n, k) of mapie, with the probabilities themselves as the input of its estimator."""
    pytest.importorskip("mapie", reason="mapie is only an oracle of these tests")
    from mapie.classification import SplitConformalClassifier
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Given(ClassifierMixin, BaseEstimator):
        classes_, n_features_in_, fitted_ = np.arange(calib.shape[1]), calib.shape[1], True

        def fit(self, x, y):
            return self

        def predict_proba(self, x):
            return np.asarray(x)

        def predict(self, x):
            return np.asarray(x).argmax(axis=1)

        def __sklearn_is_fitted__(self):
            return True

    theirs = SplitConformalClassifier(
        Given(), confidence_level=level, conformity_score=method, prefit=True, random_state=0
    )
    theirs.conformalize(calib, truth)
    return theirs.predict_set(fresh, **options)[1][:, :, 0]


def test_lac_sets_equal_those_of_mapie():
    probability, truth = drawn(500, seed=9)
    expected = mapie_sets("lac", probability[:200], truth[:200], probability[200:], 0.85)
    rule = fit_conformal(probability[:200], truth[:200], kind="multiclass", error=0.15, fitted_on="calib")
    assert (rule.sets(probability[200:]) == expected).all()


def test_randomised_aps_sets_are_as_large_as_those_of_mapie_and_hold_the_truth_as_often():
    """Other random numbers, so no set by set comparison."""
    probability, truth = drawn(8000, seed=9)
    calib, fresh = probability[:4000], probability[4000:]
    randomised = {"conformity_score_params": {"include_last_label": "randomized"}}
    expected = mapie_sets("aps", calib, truth[:4000], fresh, 0.85, **randomised)
    rule = fit_conformal(calib, truth[:4000], kind="multiclass", error=0.15, method="aps_randomised", fitted_on="calib")
    ours = rule.sets(fresh)
    assert ours.sum(axis=1).mean() == pytest.approx(expected.sum(axis=1).mean(), abs=0.06)
    rows = np.arange(4000)
    assert ours[rows, truth[4000:]].mean() == pytest.approx(expected[rows, truth[4000:]].mean(), abs=0.02)


@pytest.mark.parametrize("coverage", ["marginal", "per_class"])
def test_plain_aps_equals_the_definition_case_by_case(coverage):
    probability, truth = drawn(160, seed=4)

    def score(row, k):
        return sum(p for p in row if p >= row[k])  # no ties in drawn numbers

    limits = []
    for of_class in [range(4)] if coverage == "marginal" else [[0], [1], [2], [3]]:
        scores = sorted(score(probability[i], truth[i]) for i in range(100) if truth[i] in of_class)
        limits.append(scores[int(np.ceil((len(scores) + 1) * 0.8)) - 1])
    rule = fit_conformal(
        probability[:100], truth[:100], kind="multiclass", error=0.2, method="aps", coverage=coverage, fitted_on="calib"
    )
    expected = [
        [score(row, k) <= limits[k if coverage == "per_class" else 0] + 1e-12 for k in range(4)]
        for row in probability[100:]
    ]
    assert rule.quantiles[0] == pytest.approx(limits)
    assert rule.sets(probability[100:]).tolist() == expected


def test_measured_coverage_size_and_abstention_by_hand():
    rule = ConformalRule("binary", "lac", 0.2, "marginal", ((0.6,),), ((50,),), "calib")
    ill = np.array([0.9, 0.5, 0.1, 0.5, 0.95])
    truth = np.array([1, 1, 1, 0, 0])  # sets: ill; both; normal; both; ill
    found = evaluate_sets(rule, np.c_[1 - ill, ill], truth, class_names=["normal", "ill"], num_resamples=50)
    values = {name: one.value for name, one in found.estimates.items()}
    assert values == pytest.approx(
        {
            "coverage": 3 / 5,
            "set_size": 7 / 5,
            "abstained": 2 / 5,
            "empty_set": 0,
            "accuracy_answered": 1 / 3,
            "coverage.normal": 1 / 2,
            "coverage.ill": 2 / 3,
        }
    )
    assert found.sizes.tolist() == [0, 3, 2]
    assert found.as_json()["accuracy_answered"]["n"] == 3


def test_cases_unlike_the_calibration_cases_are_said():
    probability, truth = drawn(400, seed=1)
    rule = fit_conformal(probability, truth, kind="multiclass", error=0.1, fitted_on="calib")
    fresh, _ = drawn(400, seed=2)
    names = [f"grade {k}" for k in range(4)]
    found = evaluate_sets(
        rule, fresh, np.random.default_rng(0).integers(4, size=400), class_names=names, num_resamples=100
    )
    assert any("not like the calibration cases" in note for note in found.notes)


def test_multilabel_sets_are_measured_on_the_known_labels():
    rule = ConformalRule("multilabel", "lac", 0.2, "marginal", ((0.3,), (0.6,)), ((50,), (50,)), "calib")
    probability = np.array([[0.8, 0.5], [0.5, 0.9]])  # yes, both; none, yes
    truth = np.array([[1.0, 0.0], [0.0, np.nan]])
    found = evaluate_sets(rule, probability, truth, class_names=["a", "b"], num_resamples=20)
    assert found.estimates["coverage"].value == pytest.approx(2 / 3)
    assert found.sizes.tolist() == [1, 1, 1]
    assert found.estimates["coverage"].n == 3


def test_coverage_per_class_survives_another_prevalence_and_marginal_coverage_does_not():
    random = np.random.default_rng(0)

    def cases(num, share):
        truth = (random.random(num) < share).astype(int)
        ill = expit(random.normal(size=num) + 1.0 * truth - 2)
        return np.c_[1 - ill, ill], truth

    (calib, answers), (fresh, truth) = cases(4000, 0.1), cases(4000, 0.6)
    covered = {}
    for coverage in ("marginal", "per_class"):
        rule = fit_conformal(calib, answers, kind="binary", error=0.1, coverage=coverage, fitted_on="calib")
        covered[coverage] = rule.sets(fresh)[np.arange(4000), truth].mean()
    assert covered["per_class"] == pytest.approx(0.9, abs=0.03)
    assert covered["marginal"] < 0.75
