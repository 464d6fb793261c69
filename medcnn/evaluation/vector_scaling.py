"""Vector scaling (Guo et al. 2017): a scale and an offset for each class's logit, beside the one temperature for all.

An offset can undo what class weights, or another prevalence than the training's, did to the probabilities; a
temperature cannot. It costs 2 numbers per class, so it wants some tens of calibration cases of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from medcnn.evaluation.arrays import ONE_OF_SEVERAL, Floats, Ints, Kind
from medcnn.evaluation.calibration import HIGHEST, LOWEST, apply_temperature, check_calibration_cases

#: How strongly the fit is held to leaving the logits as they are, in cases: without it, classes that the calibration
#: cases separate, and directions that no probability depends on, have no optimum.
PULL_CASES = 1.0


@dataclass(frozen=True)
class VectorScaling:
    """logit_k * scale_k + offset_k, (k,) each.

    nll_before, nll_after   mean negative log-likelihood (nats) on the cases (multi-label: labels) it was fitted on
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    nll_before: float
    nll_after: float
    n: int
    note: str = ""

    def probability(self, logits: Floats, *, kind: Kind) -> Floats:
        """(n, k) logits -> (n, k) probabilities, rows of sum 1 but for multi-label."""
        return apply_temperature(
            np.asarray(logits, dtype=np.float64) * self.scale + np.array(self.offset), 1, kind=kind
        )

    def as_json(self) -> dict[str, Any]:
        """For model.json."""
        return {"scale": list(self.scale), "offset": list(self.offset), "n": self.n, "note": self.note,
                "nll_before": self.nll_before, "nll_after": self.nll_after}  # fmt: skip

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> VectorScaling:
        """Back from model.json."""
        scale, offset = (tuple(map(float, found[key])) for key in ("scale", "offset"))
        return cls(scale, offset, float(found["nll_before"]), float(found["nll_after"]), int(found["n"]), found["note"])


def fit_vector_scaling(logits: Floats, truth: Floats | Ints, *, kind: Kind) -> VectorScaling:
    """Scales (0.05 to 20) and offsets of greatest likelihood on held-out cases, held to 1 and 0 by PULL_CASES.

    logits (n, k); truth (n,) class index, or (n, k) of 0, 1 and nan
    binary       one scale for both logits, one offset on the positive class (Platt 1999): the ranking stays
    multiclass   a scale and an offset per class; which class is the most probable may change; so for ordinal
    multilabel   a scale and an offset per class, from its known labels; the ranking within each class stays
    """
    logits, answers = check_calibration_cases(logits, truth, kind)
    num_classes = logits.shape[1]
    parts = 1 if kind == "binary" else num_classes

    def spread(numbers: Floats) -> tuple[Floats, Floats]:
        """Of the free numbers (2 * parts,) the scales and offsets of all classes."""
        scale, offset = np.exp(numbers[:parts]), numbers[parts:]
        return (np.repeat(scale, 2), np.array([0.0, offset[0]])) if kind == "binary" else (scale, offset)

    def cost(numbers: Floats) -> tuple[float, Floats]:
        scale, offset = spread(numbers)
        nll, of_logit, count = _nll_and_slope(logits * scale + offset, answers, kind)
        of_scale, of_offset = (of_logit * logits).sum(axis=0) * scale, of_logit.sum(axis=0)
        if kind == "binary":
            of_scale, of_offset = of_scale.sum(keepdims=True), of_offset[1:]
        slope = np.r_[of_scale, of_offset] + PULL_CASES * numbers
        return (nll + PULL_CASES * float(numbers @ numbers) / 2) / count, slope / count

    from scipy.optimize import minimize  # 0.1 s to import

    bounds = [tuple(np.log([LOWEST, HIGHEST]))] * parts + [(None, None)] * parts
    found = minimize(cost, np.zeros(2 * parts), jac=True, method="L-BFGS-B", bounds=bounds)
    scale, offset = spread(np.asarray(found.x, dtype=np.float64))
    if kind in ONE_OF_SEVERAL:
        offset = offset - offset.mean()  # a number added to all logits changes nothing
    before, _, count = _nll_and_slope(logits, answers, kind)
    after, _, _ = _nll_and_slope(logits * scale + offset, answers, kind)
    note = "" if found.success else f"the fit of the vector scaling stopped early: {found.message}"
    return VectorScaling(tuple(scale.tolist()), tuple(offset.tolist()), before / count, after / count, count, note)


def _nll_and_slope(logits: Floats, truth: Floats, kind: Kind) -> tuple[float, Floats, int]:
    """Sum of -ln p of what is true, its slope by each logit (n, k), and how many cases or known labels that is."""
    probability = apply_temperature(logits, 1.0, kind=kind)
    if kind == "multilabel":
        known = ~np.isnan(truth)
        target = np.where(known, truth, 0.0)
        each = np.logaddexp(0.0, np.where(target == 1, -logits, logits))
        return float(each[known].sum()), (probability - target) * known, int(known.sum())
    target = np.eye(logits.shape[1])[truth.astype(np.int64)]
    highest = logits.max(axis=1, keepdims=True)
    log_sum = highest[:, 0] + np.log(np.exp(logits - highest).sum(axis=1))
    return float((log_sum - (logits * target).sum(axis=1)).sum()), probability - target, len(logits)
