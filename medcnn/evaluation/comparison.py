"""Is one model's AUROC better than another's, on the same cases?

DeLong's test (DeLong et al. 1988, with midranks after Sun and Xu 2014) assumes independent cases, so it serves where
each patient has one; else the paired bootstrap over patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medcnn.evaluation import metrics
from medcnn.evaluation.arrays import Bools, Floats, Ints
from medcnn.evaluation.intervals import LEVEL, NUM_RESAMPLES, Estimate, Resamples, Statistic, bootstrap, estimate
from medcnn.evaluation.patients import Unit, group_patients, patient_class


@dataclass(frozen=True)
class Comparison:
    """How much greater a's value is than b's, on the same cases.

    p_value  two-sided, of no difference
    method   "delong" or "paired bootstrap"
    """

    a: float
    b: float
    difference: Estimate
    p_value: float
    method: str


def compare_auroc(
    score_a: Floats,
    score_b: Floats,
    positive: Bools | Ints,
    *,
    patient: Sequence[str | None] | None = None,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> Comparison:
    """DeLong's test where every patient has one case; the paired patient bootstrap where one has several."""
    answer = np.asarray(positive).astype(bool)
    patients = group_patients(patient, len(answer))
    if patients.one_case_each:
        return delong_test(score_a, score_b, answer, unit=patients.unit)
    resamples = Resamples(patients, patient_class(answer.astype(np.int64), patients, "binary"), seed, num_resamples)
    return paired_bootstrap(
        lambda weights: {
            "a": metrics.auroc(score_a, answer, weights),
            "b": metrics.auroc(score_b, answer, weights),
        },
        resamples,
    )


def paired_bootstrap(statistic: Statistic, resamples: Resamples) -> Comparison:
    """Compare the entries "a" and "b" of a statistic on the same resamples of the same patients."""
    found = bootstrap(statistic, resamples)
    a, b = float(found.value["a"]), float(found.value["b"])
    sample = found.sample["a"] - found.sample["b"]
    known = sample[np.isfinite(sample)]
    tail = min(int((known <= 0).sum()), int((known >= 0).sum()))
    p_value = min(1.0, 2 * (tail + 1) / (len(known) + 1)) if np.isfinite(a - b) else float("nan")  # never 0 of 2,000
    patients = resamples.patients
    difference = estimate(a - b, sample, n=len(patients.of_case), unit=patients.unit)
    return Comparison(a, b, difference, p_value, "paired bootstrap")


def delong_test(score_a: Floats, score_b: Floats, positive: Bools | Ints, *, unit: Unit = "case") -> Comparison:
    """Paired comparison of two AUROCs by their covariance; one case per patient."""
    from scipy.special import ndtr

    answer = np.asarray(positive).astype(bool)
    auroc, covariance = delong_covariance(np.stack([score_a, score_b]), answer)
    gap = float(auroc[0] - auroc[1])
    spread = float(np.sqrt(max(0.0, covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])))
    half = _normal_quantile() * spread
    p_value = 1.0 if gap == 0 else float("nan")  # where nothing varies the test has nothing to say
    if spread > 0:
        p_value = float(2 * ndtr(-abs(gap) / spread))
    difference = Estimate(gap, gap - half, gap + half, len(answer), unit)
    return Comparison(float(auroc[0]), float(auroc[1]), difference, p_value, "delong")


def delong_interval(score: Floats, positive: Bools | Ints, *, unit: Unit = "case") -> Estimate:
    """AUROC with DeLong's interval, built in log-odds so that it stays within 0 and 1. One case per patient.

    At an AUROC of 0 or 1 the variance is 0, and the interval has no width.
    """
    answer = np.asarray(positive).astype(bool)
    auroc, covariance = delong_covariance(score[None], answer)
    value, variance = float(auroc[0]), float(covariance[0, 0])
    if not 0 < value < 1:
        return Estimate(value, value, value, len(answer), unit)
    half = _normal_quantile() * np.sqrt(variance) / (value * (1 - value))
    logit = np.log(value / (1 - value))
    low, high = (float(1 / (1 + np.exp(-x))) for x in (logit - half, logit + half))
    return Estimate(value, low, high, len(answer), unit)


def delong_covariance(scores: Floats, positive: Bools) -> tuple[Floats, Floats]:
    """AUROCs (m,) of m models' scores (m, n) on the same cases, and their covariance (m, m); nan with one class."""
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    if min(num_positive, num_negative) < 2:
        return np.full(len(scores), np.nan), np.full((len(scores), len(scores)), np.nan)
    # placements: for each positive the share of negatives below it, for each negative the share of positives above it
    in_all = np.stack([_midranks(s) for s in scores])
    among_positives = np.stack([_midranks(s[positive]) for s in scores])
    among_negatives = np.stack([_midranks(s[~positive]) for s in scores])
    of_positives = (in_all[:, positive] - among_positives) / num_negative
    of_negatives = 1 - (in_all[:, ~positive] - among_negatives) / num_positive
    covariance = np.atleast_2d(np.cov(of_positives)) / num_positive + np.atleast_2d(np.cov(of_negatives)) / num_negative
    return of_positives.mean(axis=1), covariance


def _midranks(values: Floats) -> Floats:
    """Ranks from 1; equals share the mean of theirs."""
    _, group, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[group], dtype=np.float64)


def _normal_quantile() -> float:
    from scipy.special import ndtri

    return float(ndtri((1 + LEVEL) / 2))
