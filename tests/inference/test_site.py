"""A prevalence that the user states, against Bayes by hand; what cannot be stated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medcnn.config.errors import ConfigError
from medcnn.errors import PackageError
from medcnn.inference.classifier import OutputRule
from medcnn.inference.site import Site, stated_site

BINARY = OutputRule("binary", ("well", "ill"), thresholds={"ill": 0.3}, prevalence=(0.6, 0.4))
THREE = OutputRule("multiclass", ("a", "b", "c"), prevalence=(0.5, 0.3, 0.2))
FINDINGS = OutputRule("multilabel", ("mass", "oedema"), thresholds={"mass": 0.2}, prevalence=(0.25, 0.5))


def stated(rule: OutputRule, follow: str = "same_decisions", **shares: float) -> OutputRule:
    return replace(rule, site=stated_site(rule, shares, follow))


def logits(count: int, classes: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 2, (count, classes))


def test_two_classes_by_bayes() -> None:
    """p = 0.5 at 40 % ill: the scan itself says odds of 1.5; at 5 % ill the odds are 1.5 * 0.05 / 0.95."""
    found = stated(BINARY, ill=0.05).probability(np.zeros((1, 2)))
    odds = 1.5 * 0.05 / 0.95
    np.testing.assert_allclose(found, [[1 / (1 + odds), odds / (1 + odds)]], rtol=1e-12)


def test_the_share_of_either_class_says_the_same() -> None:
    both = (stated(BINARY, ill=0.05), stated(BINARY, well=0.95), stated(BINARY, ill=0.05, well=0.95))
    first, *others = (rule.probability(logits(5, 2)) for rule in both)
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-12)


def test_several_classes_are_weighted_by_stated_over_fitted() -> None:
    given = THREE.probability(logits(20, 3))
    weighted = given * np.array([0.1 / 0.5, 0.1 / 0.3, 0.8 / 0.2])
    np.testing.assert_allclose(
        stated(THREE, a=0.1, b=0.1, c=0.8).probability(logits(20, 3)),
        weighted / weighted.sum(axis=1, keepdims=True),
        rtol=1e-12,
    )


def test_a_finding_that_is_not_named_keeps_its_prevalence() -> None:
    given, found = FINDINGS.probability(logits(20, 2)), stated(FINDINGS, mass=0.5).probability(logits(20, 2))
    odds = given[:, 0] / (1 - given[:, 0]) * 3  # odds of 1 where they were one third
    np.testing.assert_allclose(found[:, 0], odds / (1 + odds), rtol=1e-9)
    np.testing.assert_allclose(found[:, 1], given[:, 1], rtol=1e-12)


@pytest.mark.parametrize(("rule", "shares"), [(BINARY, {"ill": 0.02}), (FINDINGS, {"mass": 0.02, "oedema": 0.9})])
def test_what_follows_a_prevalence(rule: OutputRule, shares: dict[str, float]) -> None:
    asked = logits(500, 2)
    usual = rule.decisions(rule.probability(asked))
    same = stated(rule, **shares)
    assert same.decisions(same.probability(asked)) == usual
    assert same.limits() != rule.limits()
    assert [same.threshold(name) for name in rule.asked] == same.limits()
    kept = stated(rule, "same_thresholds", **shares)
    assert kept.limits() == rule.limits()
    assert kept.decisions(kept.probability(asked)) != usual


def test_nothing_stated_changes_nothing() -> None:
    assert stated_site(BINARY, {}, "same_decisions") == Site()
    same = stated(BINARY, ill=0.4)
    np.testing.assert_allclose(same.probability(logits(9, 2)), BINARY.probability(logits(9, 2)), rtol=1e-12)


@pytest.mark.parametrize(
    ("rule", "shares", "said"),
    [
        (BINARY, {"il": 0.1}, "has no 'il', it has well, ill. Did you mean ill"),
        (BINARY, {"ill": 0.1, "well": 0.1}, "must sum to 1"),
        (BINARY, {"ill": 1.0}, "above 0 and below 1"),
        (THREE, {"a": 0.5}, "missing are b, c"),
        (FINDINGS, {"mass": 0.0}, "above 0 and below 1"),
    ],
)
def test_what_cannot_be_is_said(rule: OutputRule, shares: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        stated_site(rule, shares, "same_decisions")


def test_a_package_that_does_not_carry_what_is_needed() -> None:
    with pytest.raises(PackageError, match="does not say at which prevalence"):
        stated_site(replace(BINARY, prevalence=()), {"ill": 0.1}, "same_decisions")
    with pytest.raises(PackageError, match="had none of, or nothing but, mass"):
        stated_site(replace(FINDINGS, prevalence=(float("nan"), 0.5)), {"oedema": 0.1}, "same_decisions")
    with pytest.raises(PackageError, match="abstain: this model makes no prediction sets"):
        stated_site(BINARY, {}, "same_decisions", abstain=True)
    with pytest.raises(ConfigError, match="follow: 'neither' is not one of"):
        stated_site(BINARY, {}, "neither")
