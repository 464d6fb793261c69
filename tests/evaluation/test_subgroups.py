"""Groups that are served alike give few warnings, one that is not is found; values are those of the group alone."""

import json

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binom

from medcnn.evaluation.age_bands import age_years, banded, is_age
from medcnn.evaluation.classification import estimate_metrics, evaluate_classification
from medcnn.evaluation.gaps import compared_metrics
from medcnn.evaluation.subgroups import evaluate_subgroups

NAMES = ["normal", "ill"]


def drawn(n=400, seed=0, *, shift=None):
    """Binary probabilities; shift (n,) says how well each case is seen."""
    random = np.random.default_rng(seed)
    truth = (random.random(n) < 0.4).astype(int)
    apart = 2.0 if shift is None else shift
    ill = expit(random.normal(size=n) + apart * (truth - 0.5))
    return np.c_[1 - ill, ill], truth


def measured(probability, truth, columns, **options):
    options = {"kind": "binary", "class_names": NAMES, "num_resamples": 199, **options}
    return evaluate_subgroups(probability, truth, columns, **options)


def test_metrics_without_curves_are_those_of_the_whole_evaluation():
    probability, truth = drawn(80)
    options = {
        "kind": "binary",
        "class_names": NAMES,
        "num_resamples": 60,
        "patient": [f"p{n // 2}" for n in range(80)],
    }
    whole = evaluate_classification(probability, truth, **options)
    assert estimate_metrics(probability, truth, **options) == whole.estimates


def test_a_groups_values_are_those_of_its_cases_alone():
    probability, truth = drawn()
    sex = np.where(np.arange(400) % 3 == 0, "F", "M")
    found = measured(probability, truth, {"sex": sex})
    women = evaluate_classification(
        probability[sex == "F"], truth[sex == "F"], kind="binary", class_names=NAMES, num_resamples=199
    )
    assert [(g.group, g.num_cases) for g in found.groups] == [("F", 134), ("M", 266)]
    assert found.groups[0].estimates == women.estimates
    assert len(found.rows()) == 2 * len(women.estimates)


def test_a_group_that_is_served_worse_is_found_and_named():
    sites = np.array(["A", "B", "C"])[np.arange(600) % 3]
    probability, truth = drawn(600, shift=np.where(sites == "B", 0.5, 3.0))
    found = measured(probability, truth, {"site": sites, "half": np.where(np.arange(600) < 300, "x", "y")})
    gap = next(g for g in found.gaps if (g.column, g.metric) == ("site", "auroc"))
    assert gap.worst == "B"
    assert gap.significant
    assert gap.difference.low > 0.1
    values = {g.group: g.estimates["auroc"].value for g in found.groups if g.column == "site"}
    assert gap.difference.value == pytest.approx(max(values.values()) - values["B"])
    assert any(w.startswith("site: auroc is lower for B than for") for w in found.warnings)
    assert not any(w.startswith("half") for w in found.warnings)
    assert all(g.p_holm >= g.p_value for g in found.gaps)
    json.dumps(found.as_json(), allow_nan=False)


def test_without_a_difference_a_report_rarely_warns():
    """Three tests a report, adjusted: a warning in at most 5 % of the reports, by the binomial bounds."""
    warned = 0
    for seed in range(60):
        probability, truth = drawn(120, seed=seed)
        group = np.array(["a", "b"])[np.random.default_rng(1000 + seed).integers(2, size=120)]
        warned += bool(measured(probability, truth, {"g": group}, num_resamples=99).warnings)
    assert warned <= binom.ppf(0.999, 60, 0.05)


def test_another_prevalence_alone_is_no_gap():
    """B sees few ill patients, each as well as A does: sensitivity and specificity are no different."""
    warned = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        group = np.repeat(["A", "B"], 150)
        truth = (random.random(300) < np.where(group == "A", 0.7, 0.3)).astype(int)
        ill = expit(random.normal(size=300) + 2.0 * (truth - 0.5))
        found = measured(np.c_[1 - ill, ill], truth, {"site": group}, num_resamples=99)
        warned += bool(found.warnings)
    assert warned <= binom.ppf(0.999, 40, 0.05)


def test_patients_with_many_scans_do_not_make_a_gap():
    """Ten alike scans of each patient: taken for 400 independent cases, most of these reports would warn."""
    warned = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        of_case = np.repeat(np.arange(40), 10)
        truth = (np.arange(40) % 2)[of_case]
        ill = expit(random.normal(size=40)[of_case] + 0.1 * random.normal(size=400) + truth - 0.5)
        group = np.array(["a", "b"])[random.permutation(40) % 2][of_case]
        patient = [f"p{n}" for n in of_case]
        options = {"patient": patient, "least_patients": 10, "num_resamples": 99}
        warned += bool(measured(np.c_[1 - ill, ill], truth, {"g": group}, **options).warnings)
    assert warned <= binom.ppf(0.999, 40, 0.05)


def test_small_groups_unknown_values_and_too_many_values_are_named_not_tested():
    probability, truth = drawn(200)
    site = np.array(["A"] * 90 + ["B"] * 90 + ["C"] * 15 + [""] * 5)
    found = measured(probability, truth, {"site": site, "kvp": [str(n) for n in range(200)]})
    assert {g.group for g in found.groups} == {"A", "B"}
    assert found.notes == (
        "site: not known for 5 cases, which are in no group",
        "site: too few patients to measure, 20 are needed: C (15)",
        "kvp: 200 different values, more than 12: not taken as groups",
    )


def test_a_group_without_a_class_is_not_compared_by_what_needs_it():
    probability, truth = drawn(200)
    site = np.array(["A"] * 80 + ["B"] * 80 + ["C"] * 40)
    truth[site == "C"] = 0
    found = measured(probability, truth, {"site": site})
    assert {(g.metric, g.best, g.worst) for g in found.gaps if "C" in (g.best, g.worst)} <= {
        (g.metric, g.best, g.worst) for g in found.gaps if g.metric == "specificity"
    }
    assert "site: auroc is not defined for C (a class is missing), which is not compared" in found.notes


def test_ages_become_bands():
    random = np.random.default_rng(0)
    age = [f"{n:03d}Y" for n in random.integers(20, 80, 300)]
    probability, truth = drawn(300)
    found = measured(probability, truth, {"patient_age": age}, age_edges=(40, 60))
    assert [g.group for g in found.groups] == ["under 40", "40 to 60", "60 and over"]


def test_bands_and_ages_by_hand():
    assert banded(["17.9", "18", "006M", "045Y", "80", "", "nan", "adult"]) == [
        "under 18", "18 to 40", "under 18", "40 to 60", "80 and over", "", "", "adult",
    ]  # fmt: skip
    assert (age_years("018M"), age_years("12"), age_years("old")) == (1.5, 12, None)
    assert [is_age(name) for name in ("age", "Age_years", "patient_age", "image", "stage")] == [True] * 3 + [False] * 2
    with pytest.raises(ValueError, match="edges must rise"):
        banded(["5"], (40, 18))


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_several_classes_are_compared_by_their_means(kind):
    random = np.random.default_rng(0)
    truth = random.integers(3, size=240)
    logits = random.normal(size=(240, 3)) + 2 * np.eye(3)[truth]
    probability = expit(logits)
    answers = np.eye(3)[truth]
    if kind == "multiclass":
        probability, answers = probability / probability.sum(axis=1, keepdims=True), truth
    else:
        answers[random.random((240, 3)) < 0.1] = np.nan
    group = np.repeat(["x", "y"], 120)
    found = measured(probability, answers, {"g": group}, kind=kind, class_names=["a", "b", "c"])
    assert {g.metric for g in found.gaps} == {"auroc", "sensitivity", "specificity"}
    for gap in found.gaps:
        values = sorted(g.estimates[gap.metric].value for g in found.groups)
        assert gap.difference.value == pytest.approx(values[1] - values[0])


def test_metrics_of_weights_are_those_of_the_cases_they_choose():
    from medcnn.evaluation.decisions import decide
    from medcnn.evaluation.questions import questions_of

    probability, truth = drawn(60)
    questions = questions_of(probability, truth, decide(probability, "binary"), "binary", NAMES)
    chosen = np.arange(60) < 25
    (part,) = questions_of(probability[:25], truth[:25], decide(probability[:25], "binary"), "binary", NAMES)
    alone = part.measure(np.ones((1, 25)))
    for name, value in compared_metrics(chosen[None].astype(float), questions).items():
        assert value == pytest.approx(alone[name])


def test_columns_of_another_length_are_refused():
    probability, truth = drawn(30)
    with pytest.raises(ValueError, match="subgroup column sex: 3 values for 30 cases"):
        measured(probability, truth, {"sex": ["F", "M", "F"]})
