"""How a trained classifier's logits become decisions: fitted once, on cases that neither trained nor chose it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from medcnn.config.decisions import DecisionsConf
from medcnn.config.errors import ConfigError
from medcnn.evaluation.arrays import ONE_OF_SEVERAL, Kind
from medcnn.evaluation.calibration import apply_temperature, fit_temperature
from medcnn.evaluation.conformal import CLAIMABLE, Coverage, Method, fit_conformal
from medcnn.evaluation.operating_point import Goal, OperatingPoint, Side, operating_points
from medcnn.evaluation.prediction_sets import PredictionSets, evaluate_sets
from medcnn.evaluation.prior_shift import observed_shares
from medcnn.evaluation.vector_scaling import fit_vector_scaling
from medcnn.inference.classifier import OutputRule


@dataclass(frozen=True, eq=False)
class FitCases:
    """Labelled cases that a rule is fitted on.

    logits (n, K); answers (n,) class index, or (n, K) of 0, 1 and nan; patient (n,) or None where not all are known
    split  where they are from
    """

    logits: npt.NDArray[np.float64]
    answers: npt.NDArray[Any]
    patient: Sequence[str] | None
    split: str


def check_decisions(conf: DecisionsConf, kind: Kind) -> None:
    """Raise ConfigError where these classes have no such decisions, before anything is trained."""
    if kind in ONE_OF_SEVERAL and conf.operating_point.side != "balanced":
        decided = "the median grade" if kind == "ordinal" else "the most probable one"
        raise ConfigError(
            [
                f"decisions.operating_point: of several classes that exclude each other {decided} is decided, "
                "without a threshold. Leave it out"
            ]
        )


def fitted_rule(rule: OutputRule, cases: FitCases, conf: DecisionsConf, *, seed: int) -> tuple[OutputRule, list[str]]:
    """Calibration, thresholds and prediction sets, in this order; and what a reader must know of them."""
    shares = observed_shares(cases.answers, kind=rule.kind, num_classes=len(rule.class_names))
    fresh = OutputRule(rule.kind, rule.class_names, prevalence=shares)
    calibrated, remarks = _calibrated(fresh, cases, conf)
    decided, more = _decided(calibrated, cases, conf, seed)
    remarks += more
    decided, more = _with_sets(decided, cases, conf, seed)
    return decided, remarks + more


def _calibrated(rule: OutputRule, cases: FitCases, conf: DecisionsConf) -> tuple[OutputRule, list[str]]:
    if conf.calibration == "none":
        return rule, []
    if conf.calibration == "vector":
        vector = fit_vector_scaling(cases.logits, cases.answers, kind=rule.kind)
        return replace(rule, vector=vector), [vector.note] if vector.note else []
    fitted = fit_temperature(cases.logits, cases.answers, kind=rule.kind)
    return replace(rule, temperature=fitted.temperature), [fitted.note] if fitted.note else []


def _decided(rule: OutputRule, cases: FitCases, conf: DecisionsConf, seed: int) -> tuple[OutputRule, list[str]]:
    if rule.kind in ONE_OF_SEVERAL:
        return rule, []
    goal = Goal(cast(Side, conf.operating_point.side), conf.operating_point.wanted)
    points = operating_points(
        rule.probability(cases.logits),
        cases.answers,
        goal,
        kind=rule.kind,
        class_names=rule.class_names,
        patient=cases.patient,
        seed=seed,
    )
    # A wanted share may need a cut that six decimals round to 0
    cuts = {p.class_name: round(p.threshold, 6) if goal.side == "balanced" else p.threshold for p in points}
    remarks = [line for point in points for line in _words(point)]
    return replace(rule, thresholds=cuts, operating_points=tuple(points)), remarks


def _words(point: OperatingPoint) -> list[str]:
    """Nothing of a balanced one, which the figures describe."""
    if point.goal.side == "balanced":
        return []
    expected = ", ".join(f"{name} {value:.3f}" for name, value in point.unseen.items() if np.isfinite(value))
    said = f"{point.class_name} is decided from {point.threshold:.4g} ({point.low:.4g} to {point.high:.4g}) on, for "
    said += f"{point.goal}" + (f"; of new patients expect {expected}" if expected else "")
    return [said, f"{point.class_name}: {point.note}"] if point.note else [said]


def _with_sets(rule: OutputRule, cases: FitCases, conf: DecisionsConf, seed: int) -> tuple[OutputRule, list[str]]:
    """On the probabilities before calibration, which was fitted on the same cases and has seen their answers.

    No rule where it could not leave anything out, or where its cases chose the model and coverage would be a guess.
    """
    if conf.sets.method == "none":
        return rule, []
    if cases.split not in CLAIMABLE:
        return rule, [f"there are no prediction sets: cases of {cases.split} chose the model, so no coverage holds"]
    fitted = fit_conformal(
        apply_temperature(cases.logits, 1.0, kind=rule.kind),
        cases.answers,
        kind=rule.kind,
        error=conf.sets.error,
        fitted_on=cases.split,
        method=cast(Method, conf.sets.method),
        coverage=cast(Coverage, conf.sets.coverage),
        patient=cases.patient,
        seed=seed,
    )
    if not np.isfinite(fitted.quantiles).all():
        return rule, [f"there are no prediction sets: {'; '.join(fitted.notes())}"]
    return replace(rule, conformal=fitted), fitted.notes()


def measured_sets(
    rule: OutputRule,
    logits: npt.NDArray[np.float64],
    answers: npt.NDArray[Any],
    split: str,
    *,
    patient: Sequence[str | None] | None,
    seed: int,
    resamples: int,
) -> PredictionSets | None:
    """What the sets are worth on a split's cases; None where there are none, and on those that they were fitted on."""
    if rule.conformal is None or split == rule.conformal.fitted_on:
        return None
    return evaluate_sets(
        rule.conformal,
        apply_temperature(logits, 1.0, kind=rule.kind),
        answers,
        class_names=rule.class_names,
        patient=patient,
        seed=seed,
        num_resamples=resamples,
    )
