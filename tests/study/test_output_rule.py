"""The rule that is fitted after training: thresholds, calibration, sets; on simulated logits whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from medcnn.config.decisions import DecisionsConf, OperatingPointConf, SetsConf
from medcnn.config.errors import ConfigError
from medcnn.config.fields import all_problems
from medcnn.evaluation.calibration import apply_temperature, fit_temperature
from medcnn.evaluation.thresholds import balanced_threshold
from medcnn.inference.classifier import OutputRule
from medcnn.study.classification.output_rule import FitCases, check_decisions, fitted_rule, measured_sets

NAMES = ("well", "ill")
BINARY = OutputRule("binary", NAMES)


def binary_cases(count: int, seed: int, *, split: str = "calib") -> FitCases:
    """Logits of the ill lie 2 higher; two scans a patient, alike in what they have."""
    random = np.random.default_rng(seed)
    answers = np.repeat(random.random(count // 2) < 0.4, 2).astype(np.int64)
    logits = np.c_[np.zeros(count), random.normal(2.0 * answers - 1, 1.5)]
    return FitCases(logits, answers, [f"P{n // 2}" for n in range(count)], split)


def three_cases(count: int, seed: int) -> FitCases:
    random = np.random.default_rng(seed)
    answers = random.integers(0, 3, count)
    return FitCases(random.normal(0, 1, (count, 3)) + 1.5 * np.eye(3)[answers], answers, None, "calib")


def test_by_default_temperature_and_the_balanced_threshold_as_fitted_alone() -> None:
    cases = binary_cases(120, 0)
    rule, _ = fitted_rule(BINARY, cases, DecisionsConf(), seed=0)
    temperature = fit_temperature(cases.logits, cases.answers, kind="binary").temperature
    score = apply_temperature(cases.logits, temperature, kind="binary")[:, 1]
    assert rule.temperature == temperature
    assert rule.thresholds == {"ill": round(balanced_threshold(score, cases.answers == 1).threshold, 6)}
    assert rule.prevalence == pytest.approx((1 - cases.answers.mean(), cases.answers.mean()))
    assert rule.vector is None


@pytest.mark.parametrize("side", ["sensitivity", "specificity"])
def test_a_wanted_share_is_reached_on_the_cases_and_told_with_its_interval(side: str) -> None:
    cases = binary_cases(200, 1)
    conf = DecisionsConf(operating_point=OperatingPointConf(side, 0.9))
    rule, remarks = fitted_rule(BINARY, cases, conf, seed=0)
    decided = np.array([name == "ill" for name in rule.decisions(rule.probability(cases.logits))])
    of_those = decided[cases.answers == 1] if side == "sensitivity" else ~decided[cases.answers == 0]
    assert 0.9 <= of_those.mean() < 0.95
    (point,) = rule.operating_points
    assert point.low <= point.threshold <= point.high
    assert any(line.startswith("ill is decided from") and f"for {side} 0.9" in line for line in remarks)


def test_a_share_that_so_few_cases_cannot_show_is_said() -> None:
    conf = DecisionsConf(operating_point=OperatingPointConf("sensitivity", 0.999))
    _, remarks = fitted_rule(BINARY, binary_cases(60, 2), conf, seed=0)
    assert any("cannot show a sensitivity of 0.999" in line for line in remarks)


def test_vector_scaling_undoes_an_offset_and_takes_the_temperatures_place() -> None:
    random = np.random.default_rng(3)
    answers = (random.random(4000) < 0.4).astype(np.int64)
    honest = np.log(0.4 / 0.6) + random.normal(2.0 * answers - 1, np.sqrt(2.0))  # log-odds as they are by Bayes
    cases = FitCases(np.c_[np.zeros(4000), honest - 3], answers, None, "calib")
    rule, _ = fitted_rule(BINARY, cases, DecisionsConf(calibration="vector"), seed=0)
    assert rule.vector is not None
    assert rule.temperature == 1.0
    assert rule.vector.offset[1] == pytest.approx(3, abs=0.3)
    assert rule.probability(cases.logits)[:, 1].mean() == pytest.approx(answers.mean(), abs=0.01)


def test_without_calibration_the_networks_own_probabilities_stay() -> None:
    cases = binary_cases(80, 4)
    rule, _ = fitted_rule(BINARY, cases, DecisionsConf(calibration="none"), seed=0)
    np.testing.assert_allclose(rule.probability(cases.logits), apply_temperature(cases.logits, 1.0, kind="binary"))


@pytest.mark.parametrize("calibration", ["temperature", "vector"])
def test_sets_of_new_cases_hold_the_truth_as_often_as_promised(calibration: str) -> None:
    """Mean over 60 calibrations of 40 cases: the standard error of it is below 0.008."""
    conf, test = DecisionsConf(calibration=calibration), three_cases(2000, 99)
    held = []
    for seed in range(60):
        rule, _ = fitted_rule(OutputRule("multiclass", ("a", "b", "c")), three_cases(40, seed), conf, seed=seed)
        assert rule.conformal is not None
        assert rule.sets(test.logits) is not None
        inside = rule.conformal.sets(apply_temperature(test.logits, 1.0, kind="multiclass"))
        held.append(inside[np.arange(2000), test.answers].mean())
    assert 0.88 < np.mean(held) < 0.95


def test_what_sets_are_worth_is_measured_on_other_cases_only() -> None:
    rule, _ = fitted_rule(BINARY, binary_cases(400, 5), DecisionsConf(), seed=0)
    test = binary_cases(1000, 6)
    asked = {"patient": test.patient, "seed": 0, "resamples": 100}
    found = measured_sets(rule, test.logits, test.answers, "test", **asked)  # type: ignore[arg-type]
    assert found is not None
    assert found.estimates["coverage"].value == pytest.approx(0.9, abs=0.04)
    assert found.estimates["coverage"].unit == "patient"
    assert {"set_size", "abstained", "coverage.ill"} <= set(found.estimates)
    assert measured_sets(rule, test.logits, test.answers, "calib", **asked) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cases", "sets", "said"),
    [
        (binary_cases(200, 7, split="val"), SetsConf(), "cases of val chose the model"),
        (binary_cases(16, 8), SetsConf(), "need 9 calibration patients, got 8"),
        (binary_cases(200, 9), SetsConf(method="none"), ""),
    ],
    ids=["val", "few", "none"],
)
def test_no_sets_where_they_promise_nothing(cases: FitCases, sets: SetsConf, said: str) -> None:
    rule, remarks = fitted_rule(BINARY, cases, DecisionsConf(sets=sets), seed=0)
    assert rule.conformal is None
    assert any("there are no prediction sets" in line and said in line for line in remarks) == bool(said)


def test_several_classes_have_no_operating_point() -> None:
    wanted = DecisionsConf(operating_point=OperatingPointConf("sensitivity", 0.9))
    with pytest.raises(ConfigError, match="the most probable one is decided"):
        check_decisions(wanted, "multiclass")
    check_decisions(wanted, "binary")
    check_decisions(DecisionsConf(), "multiclass")
    rule, _ = fitted_rule(OutputRule("multiclass", ("a", "b", "c")), three_cases(60, 0), DecisionsConf(), seed=0)
    assert (rule.thresholds, rule.operating_points) == ({}, ())


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        (OperatingPointConf("balanced", 0.9), "operating_point.wanted: side=balanced takes none"),
        (OperatingPointConf("sensitivity"), "operating_point.wanted: side=sensitivity needs a share"),
        (OperatingPointConf("sensitivity", 1.5), "operating_point.wanted: must be <= 1"),
    ],
)
def test_an_operating_point_that_cannot_be(conf: OperatingPointConf, said: str) -> None:
    assert any(said in line for line in all_problems(DecisionsConf(operating_point=conf)))


def test_findings_have_a_threshold_each_from_their_known_labels_and_one_without_both_answers_has_none() -> None:
    random = np.random.default_rng(10)
    answers = (random.random((80, 3)) < 0.5).astype(np.float64)
    answers[random.random((80, 3)) < 0.2] = np.nan
    answers[:, 2] = 1.0
    cases = FitCases(random.normal(np.nan_to_num(answers), 1.0), answers, None, "calib")
    rule, _ = fitted_rule(OutputRule("multilabel", ("a", "b", "c")), cases, DecisionsConf(), seed=0)
    score = rule.probability(cases.logits)
    expected = {}
    for column, name in enumerate("ab"):
        known = ~np.isnan(answers[:, column])
        chosen = balanced_threshold(score[known, column], answers[known, column].astype(bool))
        expected[name] = round(chosen.threshold, 6)
    assert rule.thresholds == expected
    assert rule.prevalence[2] == 1.0
    assert rule.conformal is not None
