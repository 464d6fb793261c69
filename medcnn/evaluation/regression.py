"""A predicted quantity (age, volume) against the true one, with intervals over patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from medcnn.evaluation.arrays import Floats, ratio
from medcnn.evaluation.intervals import NUM_RESAMPLES, Estimate, Resamples, bootstrap, estimate
from medcnn.evaluation.patients import Unit, group_patients
from medcnn.evaluation.segmentation.result import LIMITS

THIRDS = ("lower third", "middle third", "upper third")


@dataclass(frozen=True, eq=False)
class RegressionResult:
    """What was measured on one split, in the quantity's own unit where a metric has one.

    estimates    mae, rmse, r2 (1 - squared error over that of the truth's mean; below 0 is worse than the mean),
                 concordance (Lin 1989: correlation that also punishes offset and scale), correlation (Pearson),
                 error (mean of prediction - truth), agreement_low and _high (Bland and Altman's limits: error -/+ 1.96
                 standard deviations), range_coverage (share of truths within the ranges, where there are any); and of
                 each third of the cases by truth, `mae.lower third` ..., mae, error and range_coverage
    edges        the two truths between the thirds
    quantity_unit  years, ml ...; "" for none
    """

    estimates: dict[str, Estimate]
    quantity_unit: str
    num_cases: int
    num_patients: int
    unit: Unit
    notes: tuple[str, ...]
    edges: tuple[float, float] = (nan, nan)
    half_width: float | None = None

    def as_json(self) -> dict[str, dict[str, float | int | str | None]]:
        """One split's part of metrics.json."""
        return {name: one.as_json() for name, one in self.estimates.items()}


def evaluate_regression(
    predicted: Floats,
    truth: Floats,
    *,
    quantity_unit: str = "",
    half_width: float | None = None,
    patient: Sequence[str | None] | None = None,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> RegressionResult:
    """predicted, truth (n,); cases whose truth is nan are left out, and counted in the notes.

    half_width  of the range around each value, as the model makes them; None: it makes none

    Raises ValueError for a prediction that is not finite, or where no truth is known.
    """
    given, wanted = np.asarray(predicted, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if given.shape != wanted.shape or given.ndim != 1:
        raise ValueError(f"regression: expected one number per case, got shapes {given.shape} and {wanted.shape}")
    known = ~np.isnan(wanted)
    if not known.any() or not np.isfinite(wanted[known]).all() or not np.isfinite(given[known]).all():
        raise ValueError("regression: expected finite numbers, and a known truth at least. Leave failed cases out.")
    p, t = given[known], wanted[known]
    whose = None if patient is None else [one for one, there in zip(patient, known, strict=True) if there]
    patients = group_patients(whose, len(t))
    strata = np.zeros(patients.count, dtype=np.int64)
    edges = np.quantile(t, [1 / 3, 2 / 3])
    third = np.searchsorted(edges, t, side="left")

    def statistic(weights: Floats) -> dict[str, Floats]:
        parts = [_of_part(p, t, half_width, weights * (third == n), name) for n, name in enumerate(THIRDS)]
        held = {} if half_width is None else {"range_coverage": _held(p, t, half_width, weights)}
        return {**measures(p, t, weights), **held, **{k: v for part in parts for k, v in part.items()}}

    found = bootstrap(statistic, Resamples(patients, strata, seed, num_resamples))
    counts = {name: int((third == n).sum()) for n, name in enumerate(THIRDS)}
    estimates = {
        name: estimate(
            float(value), found.sample[name], n=counts.get(name.partition(".")[2], len(t)), unit=patients.unit
        )
        for name, value in found.value.items()
    }
    notes = [f"{int((~known).sum())} cases without a known value were left out"] if not known.all() else []
    if patients.unit == "case":
        notes.append("no patient_id: intervals are per case, and too narrow if patients have several cases")
    return RegressionResult(
        estimates, quantity_unit, len(t), patients.count, patients.unit, tuple(notes),
        (float(edges[0]), float(edges[1])), half_width,
    )  # fmt: skip


def _of_part(p: Floats, t: Floats, half_width: float | None, weights: Floats, name: str) -> dict[str, Floats]:
    """What is said of some of the cases: the others have no weight."""
    total = weights.sum(axis=1)
    found = {f"mae.{name}": ratio(weights @ np.abs(p - t), total), f"error.{name}": ratio(weights @ (p - t), total)}
    return found if half_width is None else found | {f"range_coverage.{name}": _held(p, t, half_width, weights)}


def _held(p: Floats, t: Floats, half_width: float, weights: Floats) -> Floats:
    return ratio(weights @ (np.abs(p - t) <= half_width).astype(np.float64), weights.sum(axis=1))


def measures(predicted: Floats, truth: Floats, weights: Floats) -> dict[str, Floats]:
    """Every metric (r,) for weights (r, n); nan where a spread of 0 leaves one undefined."""
    total = weights.sum(axis=1)
    centre = truth.mean()  # moments are taken about it, so that no digits are lost
    p, t, error = predicted - centre, truth - centre, predicted - truth

    def mean(values: Floats) -> Floats:
        return ratio(weights @ values, total)

    mean_p, mean_t, bias, squared = mean(p), mean(t), mean(error), mean(error**2)
    of_p, of_t = np.maximum(mean(p**2) - mean_p**2, 0), np.maximum(mean(t**2) - mean_t**2, 0)
    together = mean(p * t) - mean_p * mean_t
    spread = np.sqrt(np.maximum(squared - bias**2, 0) * ratio(total, total - 1))
    return {
        "mae": mean(np.abs(error)),
        "rmse": np.sqrt(squared),
        "r2": 1 - ratio(squared, of_t),
        "concordance": ratio(2 * together, of_p + of_t + (mean_p - mean_t) ** 2),
        "correlation": ratio(together, np.sqrt(of_p * of_t)),
        "error": bias,
        "agreement_low": bias - LIMITS * spread,
        "agreement_high": bias + LIMITS * spread,
    }
