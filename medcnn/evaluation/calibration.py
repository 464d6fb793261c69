"""Temperature scaling (Guo et al. 2017): one number divides all logits, so that probabilities mean what they say.

It never changes the order of the cases within a class, nor which class of a case is the most probable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medcnn.evaluation.arrays import Floats, Ints, Kind

LOWEST, HIGHEST = 0.05, 20.0


@dataclass(frozen=True)
class Temperature:
    """The fitted temperature, and the mean negative log-likelihood (nats) on the cases it was fitted on.

    note  why it is not the plain optimum, or ""
    """

    temperature: float
    nll_before: float
    nll_after: float
    n: int
    note: str = ""


def apply_temperature(logits: Floats, temperature: float, *, kind: Kind) -> Floats:
    """Probabilities (n, k) float64: softmax of logits / temperature, or sigmoid for multi-label."""
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature: must be above 0, got {temperature}")
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    if kind == "multilabel":
        return np.asarray(np.exp(-np.logaddexp(0, -scaled)))
    return np.asarray(np.exp(scaled - _log_sum_exp(scaled)))


def fit_temperature(logits: Floats, truth: Floats | Ints, *, kind: Kind) -> Temperature:
    """The temperature of greatest likelihood on held-out cases, between 0.05 and 20.

    logits (n, k); truth (n,) class index, or (n, k) of 0, 1 and nan (multi-label: one temperature for all classes).
    Where no case is wrong the likelihood knows no optimum (the surer the better): the temperature stays 1.
    """
    margins = _margins(*check_calibration_cases(logits, truth, kind), kind)
    if margins.max() < 0:
        before = _nll(margins, 1.0)
        return Temperature(1.0, before, before, len(margins), "no calibration case is wrong: temperature left at 1")
    from scipy.optimize import minimize_scalar  # 0.1 s to import

    found = minimize_scalar(  # convex in 1 / T, so with a single minimum in log T
        lambda log_t: _nll(margins, float(np.exp(log_t))),
        bounds=np.log([LOWEST, HIGHEST]),
        method="bounded",
        options={"xatol": 1e-6},
    )
    temperature = float(np.exp(found.x))
    at_end = min(temperature / LOWEST, HIGHEST / temperature) < 1.001
    note = f"temperature at its bound of {temperature:.3g}: are these logits?" if at_end else ""
    return Temperature(temperature, _nll(margins, 1.0), _nll(margins, temperature), len(margins), note)


def check_calibration_cases(logits: Floats, truth: Floats | Ints, kind: Kind) -> tuple[Floats, Floats]:
    """Both as float64, or ValueError where they do not fit together or no label is known."""
    logits, answers = np.asarray(logits, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if logits.ndim != 2 or not np.isfinite(logits).all():
        raise ValueError(f"logits: expected finite numbers (cases, classes), got shape {logits.shape}")
    if not len(_margins(logits, answers, kind)):
        raise ValueError("calibration is fitted on labelled cases, got none. Give the calib or val split a label.")
    return logits, answers


def _margins(logits: Floats, truth: Floats, kind: Kind) -> Floats:
    """How far each wrong answer lies above the true one: (n, k - 1), or (labels, 1); below 0 everywhere = no error."""
    if kind == "multilabel":
        known = ~np.isnan(truth)
        return np.where(truth[known] == 1, -logits[known], logits[known])[:, None]
    index = truth.astype(np.int64)
    if truth.shape != logits.shape[:1] or (len(index) and not 0 <= index.min() <= index.max() < logits.shape[1]):
        raise ValueError(f"truth: expected ({len(logits)},) class indices below {logits.shape[1]}")
    wrong = np.arange(logits.shape[1]) != index[:, None]
    above = logits - logits[np.arange(len(index)), index][:, None]
    return np.asarray(above[wrong].reshape(len(index), -1))


def _nll(margins: Floats, temperature: float) -> float:
    with_truth = np.c_[np.zeros(len(margins)), margins / temperature]
    return float(_log_sum_exp(with_truth).mean())


def _log_sum_exp(values: Floats) -> Floats:
    """Log of the sum of exponentials along the last axis, kept: (n, 1)."""
    highest = values.max(axis=-1, keepdims=True)
    return np.asarray(highest + np.log(np.exp(values - highest).sum(axis=-1, keepdims=True)))
