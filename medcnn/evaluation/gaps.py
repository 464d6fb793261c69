"""Gaps between groups of cases: the best one's metric less the worst one's, tested by permutation.

Is so large a gap usual when group membership is dealt out anew among the patients of a class? Dealing within the
classes keeps each group's mix of them, so a gap that is a matter of prevalence alone is not called one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from medcnn.evaluation import metrics
from medcnn.evaluation.arrays import Bools, Floats, Ints, Kind
from medcnn.evaluation.classification import estimate_metrics
from medcnn.evaluation.comparison import paired_bootstrap
from medcnn.evaluation.decisions import decide
from medcnn.evaluation.intervals import Estimate, Resamples
from medcnn.evaluation.patients import group_patients, patient_class
from medcnn.evaluation.questions import Question, questions_of

SIGNIFICANT = 0.05
#: Metrics that are tested; each more would cost the others power.
TESTED = ("auroc", "sensitivity", "specificity")
_BLOCK = 50  # permutations at a time


@dataclass(frozen=True)
class Gap:
    """Best less worst group of a column by one metric.

    difference  with the interval of the paired patient bootstrap of these two groups; flattering the gap, since the two
                were picked for it
    p_value     of the permutation test over all groups of the column; p_holm over all tests of the report
    """

    column: str
    metric: str
    best: str
    worst: str
    difference: Estimate
    p_value: float
    p_holm: float

    @property
    def significant(self) -> bool:
        return self.p_holm < SIGNIFICANT


@dataclass(frozen=True, eq=False)
class AnsweredCases:
    """What was predicted and what is true, and whose it is."""

    probability: Floats
    truth: Floats | Ints
    kind: Kind
    class_names: tuple[str, ...]
    thresholds: Sequence[float] | float | None
    patient: list[str | None] | None

    def of_patient(self) -> Ints:
        return group_patients(self.patient, len(self.probability)).of_case

    def num_patients(self, cases: Ints) -> int:
        return len(np.unique(self.of_patient()[cases]))

    def estimates(self, cases: Ints, seed: int, num_resamples: int) -> dict[str, Estimate]:
        return estimate_metrics(
            self.probability[cases],
            self.truth[cases],
            kind=self.kind,
            class_names=self.class_names,
            thresholds=self.thresholds,
            patient=None if self.patient is None else [self.patient[c] for c in cases],
            seed=seed,
            num_resamples=num_resamples,
        )

    def questions(self) -> list[Question]:
        decision = decide(self.probability, self.kind, self.thresholds)
        return questions_of(self.probability, self.truth, decision, self.kind, self.class_names)


def find_gaps(
    column: str,
    values: np.ndarray,
    names: list[str],
    cases: AnsweredCases,
    seed: int,
    num_resamples: int,
    notes: list[str],
) -> list[Gap]:
    questions = cases.questions()
    member = np.array([values == name for name in names])  # (groups, n)
    measured = compared_metrics(member.astype(np.float64), questions)
    gaps = []
    for metric, value in measured.items():
        there = np.flatnonzero(np.isfinite(value))
        if len(there) < len(names):
            lacking = ", ".join(names[g] for g in range(len(names)) if g not in there)
            notes.append(f"{column}: {metric} is not defined for {lacking} (a class is missing), which is not compared")
        if len(there) < 2:
            continue
        best, worst = there[np.argmax(value[there])], there[np.argmin(value[there])]
        p_value = _permutation_p(metric, member[there], questions, cases, seed, num_resamples)
        difference = _difference(metric, member[best], member[worst], questions, cases, seed, num_resamples)
        gaps.append(Gap(column, metric, names[best], names[worst], difference, p_value, float("nan")))
    return gaps


def compared_metrics(weights: Floats, questions: list[Question]) -> dict[str, Floats]:
    """TESTED over the questions, means over classes, (r,) for weights (r, n); nan where one class is undefined."""
    found: dict[str, list[Floats]] = {name: [] for name in TESTED}
    for q in questions:
        weight = q.weights(weights)
        found["auroc"].append(metrics.auroc(q.score, q.positive, weight))
        found["sensitivity"].append(metrics.sensitivity(q.decided, q.positive, weight))
        found["specificity"].append(metrics.specificity(q.decided, q.positive, weight))
    return {name: np.mean(values, axis=0) for name, values in found.items()}


def _permutation_p(
    metric: str, member: Bools, questions: list[Question], cases: AnsweredCases, seed: int, num_permutations: int
) -> float:
    """Share of the deals with as great a gap, never 0. member (groups, n).

    What is dealt are patients; one with cases in several groups is dealt group by group, which if anything makes the
    test too careful, since such a patient's cases resemble each other across groups.
    """
    inside = np.flatnonzero(member.any(axis=0))
    group_of = member[:, inside].argmax(axis=0)
    _, unit = np.unique(np.stack([cases.of_patient()[inside], group_of]), axis=1, return_inverse=True)
    unit = unit.ravel()
    group_of_unit = np.zeros(unit.max() + 1, dtype=np.int64)
    group_of_unit[unit] = group_of
    units = group_patients([f"u{u}" for u in unit], len(unit))
    stratum_of_unit = np.zeros(units.count, dtype=np.int64)
    stratum = patient_class(cases.truth[inside], units, cases.kind)
    stratum_of_unit[unit] = stratum[units.of_case]
    members = [np.flatnonzero(stratum_of_unit == s) for s in np.unique(stratum_of_unit)]
    random = np.random.default_rng(seed)
    observed = _gap_of(metric, group_of_unit[unit][None], len(member), inside, cases, questions)[0]
    as_great, dealt = 0, 0
    for start in range(0, num_permutations, _BLOCK):
        rows = min(_BLOCK, num_permutations - start)
        groups = np.repeat(group_of_unit[None], rows, axis=0)
        for one in members:
            groups[:, one] = random.permuted(groups[:, one], axis=1)
        gap = _gap_of(metric, groups[:, unit], len(member), inside, cases, questions)
        as_great += int((gap >= observed - 1e-12).sum())
        dealt += int(np.isfinite(gap).sum())
    return (as_great + 1) / (dealt + 1)


def _gap_of(
    metric: str, group: Ints, num_groups: int, inside: Ints, cases: AnsweredCases, questions: list[Question]
) -> Floats:
    """(r,) best less worst of the groups; group (r, m) of the cases inside (m,)."""
    per_group = []
    for g in range(num_groups):
        weights = np.zeros((len(group), len(cases.probability)))
        weights[:, inside] = group == g
        per_group.append(compared_metrics(weights, questions)[metric])
    return np.asarray(np.max(per_group, axis=0) - np.min(per_group, axis=0))


def _difference(
    metric: str,
    best: Bools,
    worst: Bools,
    questions: list[Question],
    cases: AnsweredCases,
    seed: int,
    num_resamples: int,
) -> Estimate:
    """Both groups' patients resampled together; one who has cases in both stays one patient."""
    patients = group_patients(cases.patient, len(best))
    of_class = patient_class(cases.truth, patients, cases.kind)
    which = np.zeros(patients.count, dtype=np.int64)  # 0: in neither; 1, 2, 3: in best, worst, both
    np.bitwise_or.at(which, patients.of_case, best + 2 * worst)
    resamples = Resamples(patients, 4 * of_class + which, seed, num_resamples)

    def both(weights: Floats) -> dict[str, Floats]:
        return {
            "a": compared_metrics(weights * best, questions)[metric],
            "b": compared_metrics(weights * worst, questions)[metric],
        }

    difference = paired_bootstrap(both, resamples).difference
    return replace(difference, n=int((best | worst).sum()))
