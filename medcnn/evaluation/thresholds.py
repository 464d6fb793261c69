"""Where to cut a probability: thresholds chosen on held-out cases, for a decision score >= threshold.

The estimates that come along describe the very cases the threshold was chosen on, so they flatter it a little; quote
the test split's instead. Cuts are placed between two neighbouring scores half-way in log-odds, where 0.999 is as far
from 0.99 as 0.99 from 0.91; a cut below or above all scores goes half-way to 0 or to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medcnn.evaluation import metrics
from medcnn.evaluation.arrays import Bools, Floats, Ints, ratio
from medcnn.evaluation.intervals import NUM_RESAMPLES, Estimate, Resamples, bootstrap, estimate
from medcnn.evaluation.patients import Patients, group_patients, patient_class

BANDWIDTH = 0.2  # of the distance between the classes' mean log-odds; 0.2 to 0.3 did equally well
NUM_CUTS = 2000
_LARGEST_LOGIT = 30.0  # a probability of 1 - 1e-13: keeps saturated scores finite


@dataclass(frozen=True)
class Threshold:
    """A cut and what it does on the cases it was chosen on: sensitivity, specificity, balanced_accuracy."""

    threshold: float
    estimates: dict[str, Estimate]


@dataclass(frozen=True, eq=False)
class _Cuts:
    """All cuts that differ in effect, from above every score to below every score.

    edge          (g + 2,) the scores in log-odds, descending, between an end above and one below them: every place
                  between two neighbours is the same cut
    of_positives, of_negatives   (r, g) weights between one cut and the next
    """

    edge: Floats
    of_positives: Floats
    of_negatives: Floats

    @property
    def logit(self) -> Floats:
        """(g + 1,) the cuts' places, half-way between their edges."""
        return (self.edge[1:] + self.edge[:-1]) / 2

    def sensitivity(self) -> Floats:
        return _from_zero(ratio(np.cumsum(self.of_positives, axis=1), self.of_positives.sum(axis=1, keepdims=True)))

    def specificity(self) -> Floats:
        return 1 - _from_zero(ratio(np.cumsum(self.of_negatives, axis=1), self.of_negatives.sum(axis=1, keepdims=True)))


def balanced_threshold(
    score: Floats,
    positive: Bools | Ints,
    *,
    patient: Sequence[str | None] | None = None,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> Threshold:
    """The cut of greatest balanced accuracy, the classes' distributions smoothed first.

    The best cut of the bare counts hangs on the two or three cases nearest to it. Each score is taken as a normal
    distribution in log-odds instead (a kernel estimate of the ROC curve: Lloyd and Yong 1999), BANDWIDTH of the
    distance between the classes' means wide. The seed and the resamples are for the estimates alone.
    """
    answer, resamples = _prepared(score, positive, patient, seed, num_resamples)
    logit = np.clip(_logit(score), -_LARGEST_LOGIT, _LARGEST_LOGIT)
    return _described(_probability(_smoothed_best(logit, answer)), score, answer, resamples)


def _smoothed_best(logit: Floats, positive: Bools) -> float:
    from scipy.special import ndtr  # 0.1 s to import

    above, below = logit[positive], logit[~positive]
    width = max(
        BANDWIDTH * float(above.mean() - below.mean()), 1e-3
    )  # a model worse than chance has no width of its own
    cuts = np.linspace(logit.min() - width, logit.max() + width, NUM_CUTS)
    found = np.array([ndtr((above - cut) / width).mean() + ndtr((cut - below) / width).mean() for cut in cuts])
    best = np.flatnonzero(found >= found.max() - 1e-12)
    return float(cuts[best].mean())


def threshold_for_sensitivity(
    wanted: float,
    score: Floats,
    positive: Bools | Ints,
    *,
    patient: Sequence[str | None] | None = None,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> Threshold:
    """The highest cut that still finds the wanted share of the positives: the most specific one that does."""
    answer, resamples = _prepared(score, positive, patient, seed, num_resamples, wanted)
    cuts = _cuts(score, answer, np.ones((1, len(score))))
    reached = int(np.argmax(cuts.sensitivity()[0] >= wanted - 1e-9))
    return _described(_probability(float(cuts.logit[reached])), score, answer, resamples)


def threshold_for_specificity(
    wanted: float,
    score: Floats,
    positive: Bools | Ints,
    *,
    patient: Sequence[str | None] | None = None,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> Threshold:
    """The lowest cut that still clears the wanted share of the negatives: the most sensitive one that does."""
    answer, resamples = _prepared(score, positive, patient, seed, num_resamples, wanted)
    cuts = _cuts(score, answer, np.ones((1, len(score))))
    reached = np.flatnonzero(cuts.specificity()[0] >= wanted - 1e-9)[-1]
    return _described(_probability(float(cuts.logit[reached])), score, answer, resamples)


def rechosen(
    side: str,
    wanted: float,
    score: Floats,
    positive: Bools | Ints,
    *,
    patient: Sequence[str | None] | None = None,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> tuple[Floats, Bools]:
    """The cut for a wanted "sensitivity" or "specificity", chosen again on every resample of the patients.

    Returns the cuts as probabilities (r,), and (r, n) which cases belong to patients that were not drawn.
    """
    answer, resamples = _prepared(score, positive, patient, seed, num_resamples, wanted)
    chosen, left_out = [], []
    for weights in resamples.blocks():
        cuts = _cuts(score, answer, weights)
        if side == "sensitivity":
            place = (cuts.sensitivity() >= wanted - 1e-9).argmax(axis=1)
        else:  # the last one that clears enough
            place = len(cuts.logit) - 1 - (cuts.specificity()[:, ::-1] >= wanted - 1e-9).argmax(axis=1)
        chosen.append(np.array([_probability(float(logit)) for logit in cuts.logit[place]]))
        left_out.append(weights == 0)
    return np.concatenate(chosen), np.concatenate(left_out)


def _prepared(
    score: Floats,
    positive: Bools | Ints,
    patient: Sequence[str | None] | None,
    seed: int,
    num_resamples: int,
    wanted: float = 1.0,
) -> tuple[Bools, Resamples]:
    answer = np.asarray(positive).astype(bool)
    if not 0 < wanted <= 1:
        raise ValueError(f"the wanted share must lie in 0 to 1, above 0, got {wanted}")
    if not (np.isfinite(score).all() and len(score) and score.min() >= 0 and score.max() <= 1):
        raise ValueError("a threshold needs scores that are probabilities: finite, within 0 to 1, one at least")
    if answer.all() or not answer.any():
        raise ValueError(
            f"a threshold needs positive and negative cases, got {int(answer.sum())} positive of {len(answer)}. "
            "Add the missing class to the cases that thresholds are chosen on."
        )
    patients: Patients = group_patients(patient, len(score))
    return answer, Resamples(patients, patient_class(answer.astype(np.int64), patients, "binary"), seed, num_resamples)


def _cuts(score: Floats, positive: Bools, weights: Floats) -> _Cuts:
    logit = np.clip(_logit(score), -_LARGEST_LOGIT, _LARGEST_LOGIT)
    edge = np.r_[_LARGEST_LOGIT + 1, np.unique(logit)[::-1], -_LARGEST_LOGIT - 1]
    return _Cuts(edge, *metrics.weight_per_score(logit, positive, weights))


def _described(threshold: float, score: Floats, positive: Bools, resamples: Resamples) -> Threshold:
    decided = score >= threshold

    def statistic(weights: Floats) -> dict[str, Floats]:
        found = metrics.sensitivity(decided, positive, weights), metrics.specificity(decided, positive, weights)
        return {"sensitivity": found[0], "specificity": found[1], "balanced_accuracy": (found[0] + found[1]) / 2}

    found = bootstrap(statistic, resamples)
    n = {"sensitivity": int(positive.sum()), "specificity": int((~positive).sum()), "balanced_accuracy": len(score)}
    unit = resamples.patients.unit
    return Threshold(
        threshold, {k: estimate(float(v), found.sample[k], n=n[k], unit=unit) for k, v in found.value.items()}
    )


def _logit(probability: Floats) -> Floats:
    smallest = np.finfo(np.float64).tiny
    return np.asarray(np.log(np.maximum(probability, smallest)) - np.log(np.maximum(1 - probability, smallest)))


def _probability(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


def _from_zero(rates: Floats) -> Floats:
    return np.asarray(np.c_[np.zeros((len(rates), 1)), rates])
