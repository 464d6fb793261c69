"""Split-conformal prediction sets: sets of classes that hold the truth with a stated chance (Vovk et al. 2005).

Calibration cases say how strange the truth may look: a score of each class for a case, and the quantile
ceil((n + 1)(1 - error)) / n of the true class's score. A set holds every class whose score is no greater. For one scan
of a new patient who is exchangeable with the n calibration patients, it holds the truth with a chance of at least
1 - error, whatever the network; averaged over calibrations and patients, not for each patient.

Patients with several rows: one row each is drawn, since only one row per patient is exchangeable (subsampling once:
Dunn, Wasserman and Ramdas 2023). The promise is then about a scan drawn from those of a new patient.

The probabilities should be those before any calibration that was fitted on the same cases: it has seen their answers.
A temperature costs nothing that can be measured, but vector scaling does: made for 0.90 with four classes, sets held
the truth in 0.86 with 40 calibration cases and 0.88 with 100. Sets without any calibration are as small.

Where the site's prevalence is another one, marginal coverage is lost; per_class keeps its promise (see prior_shift.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite
from typing import Any, Literal, get_args

import numpy as np

from medcnn.evaluation.arrays import Bools, Floats, Ints, Kind
from medcnn.evaluation.checks import checked_truth
from medcnn.evaluation.patients import group_patients

#: lac: 1 - p (Sadinle et al. 2019), the smallest sets on average.
#: aps: the probability of all classes at least as probable (Romano et al. 2020), deterministic: where the network is
#:      sure, sets may be empty. aps_randomised: less a random part of the class's own probability, as published.
Method = Literal["lac", "aps", "aps_randomised"]
Coverage = Literal["marginal", "per_class"]

#: Splits that did not choose the model: only there a coverage may be claimed.
CLAIMABLE = ("calib", "out_of_fold")


@dataclass(frozen=True)
class ConformalRule:
    """What makes prediction sets of probabilities.

    kind         multilabel: each class is a question of its own, with the answers no and yes
    error        share of the truths that the sets may miss, above 0 and below 1
    coverage     marginal: over all cases; per_class: for the cases of each class (Mondrian; multilabel: each answer)
    quantiles    (questions, 1), or (questions, answers) for per_class: the greatest score that is let in; inf, which
                 lets every class in, where calibration cases were too few
    counts       as quantiles: the patients (or cases) that each rests on
    fitted_on    the split the calibration cases are from
    seed         of the drawn rows, and of the random part of aps_randomised
    """

    kind: Kind
    method: Method
    error: float
    coverage: Coverage
    quantiles: tuple[tuple[float, ...], ...]
    counts: tuple[tuple[int, ...], ...]
    fitted_on: str
    seed: int = 0

    @property
    def claims_coverage(self) -> bool:
        """False where the calibration cases also chose the model: the sets are then a guide, without a promise."""
        return self.fitted_on in CLAIMABLE

    def sets(self, probability: Floats) -> Bools:
        """(n, k): which classes are in each case's set; multi-label (n, k, 2): which of no and yes for each class.

        A set may be empty (nothing looks like the calibration cases) or hold every class.
        """
        scores = scores_of(answers_of(probability, self.kind), self.method, self.seed)
        limits = np.array(self.quantiles)[:, None, :]  # (questions, 1, 1 or answers)
        inside = scores <= limits
        return inside.transpose(1, 0, 2) if self.kind == "multilabel" else inside[0]

    def abstains(self, probability: Floats) -> Bools:
        """(n,), multi-label (n, k): the set is not a single answer, so the decision belongs to a person."""
        return np.asarray(self.sets(probability).sum(axis=-1) != 1)

    def notes(self) -> list[str]:
        """What a reader must know: too few calibration cases, a split that promises nothing."""
        found = []
        needed = least_cases(self.error)
        few = sorted({n for row in self.counts for n in row if n < needed})
        if few:
            what = "every class is in the set" if self.coverage == "marginal" else "the class is in every set"
            found.append(
                f"prediction sets with an error of {self.error:g} need {needed} calibration patients"
                f"{' of each class' if self.coverage == 'per_class' else ''}, got {few[0]}: {what}"
            )
        if not self.claims_coverage:
            found.append(
                f"prediction sets were fitted on {self.fitted_on}, which chose the model: no coverage is claimed"
            )
        return found

    def as_json(self) -> dict[str, Any]:
        """For model.json; an unlimited quantile is null."""
        return {
            "kind": self.kind,
            "method": self.method,
            "error": self.error,
            "coverage": self.coverage,
            "quantiles": [[q if isfinite(q) else None for q in row] for row in self.quantiles],
            "counts": [list(row) for row in self.counts],
            "fitted_on": self.fitted_on,
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> ConformalRule:
        """Back from model.json. Raises ValueError for a method or coverage that this version does not know."""
        _check_choices(found["method"], found["coverage"], found["error"])
        return cls(
            kind=found["kind"],
            method=found["method"],
            error=float(found["error"]),
            coverage=found["coverage"],
            quantiles=tuple(tuple(inf if q is None else float(q) for q in row) for row in found["quantiles"]),
            counts=tuple(tuple(map(int, row)) for row in found["counts"]),
            fitted_on=found["fitted_on"],
            seed=int(found["seed"]),
        )


def fit_conformal(
    probability: Floats,
    truth: Floats | Ints,
    *,
    kind: Kind,
    error: float,
    fitted_on: str,
    method: Method = "lac",
    coverage: Coverage = "marginal",
    patient: Sequence[str | None] | None = None,
    seed: int = 0,
) -> ConformalRule:
    """The rule from held-out cases: probability (n, k), truth (n,) or (n, k) of 0, 1 and nan, as everywhere here.

    per_class draws one row per patient and class: a patient with scans of two classes speaks for both.
    """
    _check_choices(method, coverage, error)
    probability = np.asarray(probability, dtype=np.float64)
    answers = checked_truth(truth, kind, probability)
    of_questions = answers.T if kind == "multilabel" else np.asarray(answers, dtype=np.float64)[None]
    of_case = group_patients(patient, len(probability)).of_case
    scores = scores_of(answers_of(probability, kind), method, seed)  # (questions, n, answers)
    random = np.random.default_rng(seed)
    quantiles, counts = [], []
    for scored, answer in zip(scores, of_questions, strict=True):
        groups = [~np.isnan(answer)] if coverage == "marginal" else [answer == a for a in range(scored.shape[1])]
        drawn = [_one_per_patient(np.flatnonzero(group), of_case, random) for group in groups]
        quantiles.append(tuple(quantile(scored[rows, answer[rows].astype(np.int64)], error) for rows in drawn))
        counts.append(tuple(len(rows) for rows in drawn))
    return ConformalRule(kind, method, float(error), coverage, tuple(quantiles), tuple(counts), fitted_on, seed)


def quantile(scores: Floats, error: float) -> float:
    """The ceil((n + 1)(1 - error))-th smallest of n scores; inf where there are not so many."""
    rank = _rank(len(scores), error)
    return inf if rank > len(scores) else float(np.sort(scores)[rank - 1])


def least_cases(error: float) -> int:
    """The fewest calibration cases with which a set can leave anything out: 1 / error - 1, rounded up."""
    return ceil(1 / error - 1 - 1e-9)


def _rank(num: int, error: float) -> int:
    return max(1, ceil((num + 1) * (1 - error) - 1e-9))  # (19 + 1) * 0.95 is 19, whatever its last bit


def answers_of(probability: Floats, kind: Kind) -> Floats:
    """(questions, n, answers): one question with k answers, or for multi-label k questions with no and yes."""
    given = np.asarray(probability, dtype=np.float64)
    return np.stack([1 - given.T, given.T], axis=-1) if kind == "multilabel" else given[None]


def scores_of(probability: Floats, method: Method, seed: int) -> Floats:
    """How strange each answer would be, as shaped as the probability (questions, n, answers); the sum of ranks above.

    Equals in probability are ranked in the order of the classes.
    """
    if method == "lac":
        return np.asarray(1 - probability)
    order = np.argsort(-probability, axis=-1, kind="stable")
    descending = np.take_along_axis(probability, order, axis=-1)
    summed = np.empty_like(probability)
    np.put_along_axis(summed, order, np.cumsum(descending, axis=-1), axis=-1)
    if method == "aps":
        return summed
    return np.asarray(summed - _uniform(probability, seed)[..., None] * probability)


def _uniform(probability: Floats, seed: int) -> Floats:
    """(questions, n) in 0 to 1: a fixed function of what a case was given, so that it always gets the same set.

    Scores stay exchangeable, since each is a function of its own case alone. Probabilities enter to six decimals.
    """
    digits = np.rint(probability * 1e6).astype(np.uint64)
    mixed = np.full(digits.shape[:-1], np.uint64(seed % 2**63) + np.uint64(1), dtype=np.uint64)
    for column in range(digits.shape[-1]):
        mixed = _mix(mixed + digits[..., column])
    return np.asarray((mixed >> np.uint64(11)).astype(np.float64) / 2.0**53)


def _mix(number: np.ndarray[Any, np.dtype[np.uint64]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """SplitMix64 (Steele et al. 2014): 64 bits that look random; sums and products wrap around."""
    z = number + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _one_per_patient(rows: Ints, of_case: Ints, random: np.random.Generator) -> Ints:
    """One of the rows of each patient, each as likely."""
    shuffled = random.permutation(rows)
    _, first = np.unique(of_case[shuffled], return_index=True)
    return np.asarray(np.sort(shuffled[first]), dtype=np.int64)


def _check_choices(method: str, coverage: str, error: float) -> None:
    for name, given, known in (("method", method, get_args(Method)), ("coverage", coverage, get_args(Coverage))):
        if given not in known:
            raise ValueError(f"prediction sets: {name} is one of {', '.join(known)}, got {given!r}")
    if not 0 < error < 1:
        raise ValueError(f"prediction sets: error must lie above 0 and below 1, got {error}")
