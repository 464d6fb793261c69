"""What prediction sets are worth on labelled cases: how often they hold the truth, and how large they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medcnn.evaluation.arrays import Bools, Floats, Ints, ratio
from medcnn.evaluation.checks import checked_probability, checked_truth
from medcnn.evaluation.conformal import ConformalRule, answers_of
from medcnn.evaluation.intervals import NUM_RESAMPLES, Estimate, Resamples, bootstrap, estimate
from medcnn.evaluation.patients import Unit, group_patients, patient_class


@dataclass(frozen=True, eq=False)
class PredictionSets:
    """Measured on one split. Multi-label: over the known labels, each with its set of no and yes.

    estimates   coverage (and coverage.<class>: of the cases that have it), set_size, abstained (share of sets that are
                not one answer), empty_set, accuracy_answered (of the sets of one answer, share that are right)
    wanted      1 - error
    sizes       (answers + 1,) how many sets hold 0, 1, 2 ... answers
    """

    class_names: tuple[str, ...]
    estimates: dict[str, Estimate]
    wanted: float
    sizes: Ints
    unit: Unit
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, dict[str, float | int | str | None]]:
        """For metrics.json, beside the split's other metrics."""
        return {name: one.as_json() for name, one in self.estimates.items()}


def evaluate_sets(
    rule: ConformalRule,
    probability: Floats,
    truth: Floats | Ints,
    *,
    class_names: Sequence[str],
    patient: Sequence[str | None] | None = None,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> PredictionSets:
    """Measure on cases that the rule was not fitted on. Arrays as for evaluate_classification."""
    probability = checked_probability(probability, rule.kind, class_names)
    answers = checked_truth(truth, rule.kind, probability)
    sets = rule.sets(probability)
    inside = sets.transpose(1, 0, 2) if rule.kind == "multilabel" else sets[None]  # (questions, n, answers)
    true = answers.T if rule.kind == "multilabel" else np.asarray(answers, dtype=np.float64)[None]  # (questions, n)
    known = ~np.isnan(true)
    index = np.where(known, true, 0).astype(np.int64)
    right = np.take_along_axis(inside, index[..., None], axis=-1)[..., 0] & known
    size = inside.sum(axis=-1)
    patients = group_patients(patient, len(probability))
    measures = _measures(right, size, known) | _per_class(right, known, index, rule, class_names)

    def statistic(weights: Floats) -> dict[str, Floats]:
        return {name: ratio(weights @ above, weights @ below) for name, (above, below) in measures.items()}

    strata = patient_class(answers, patients, rule.kind)
    found = bootstrap(statistic, Resamples(patients, strata, seed, num_resamples))
    estimates = {
        name: estimate(float(value), found.sample[name], n=int(measures[name][1].sum()), unit=patients.unit)
        for name, value in found.value.items()
    }
    sizes = np.bincount(size[known], minlength=answers_of(probability[:1], rule.kind).shape[-1] + 1)
    names = tuple(str(name) for name in class_names)
    return PredictionSets(
        names, estimates, 1 - rule.error, sizes.astype(np.int64), patients.unit, tuple(_notes(rule, estimates))
    )


def _measures(right: Bools, size: Ints, known: Bools) -> dict[str, tuple[Floats, Floats]]:
    """name -> what is counted and out of what, per case (n,), over the questions."""
    alone = (size == 1) & known

    def per_case(counted: Bools | Ints) -> Floats:
        return np.asarray(counted.sum(axis=0), dtype=np.float64)

    return {
        "coverage": (per_case(right), per_case(known)),
        "set_size": (per_case(size * known), per_case(known)),
        "abstained": (per_case(known & ~alone), per_case(known)),
        "empty_set": (per_case(known & (size == 0)), per_case(known)),
        "accuracy_answered": (per_case(alone & right), per_case(alone)),
    }


def _per_class(
    right: Bools, known: Bools, index: Ints, rule: ConformalRule, class_names: Sequence[str]
) -> dict[str, tuple[Floats, Floats]]:
    """coverage.<class> of the cases that have it; multi-label of those that have it, too."""
    found = {}
    for k, name in enumerate(class_names):
        question, answer = (k, 1) if rule.kind == "multilabel" else (0, k)
        having = known[question] & (index[question] == answer)
        found[f"coverage.{name}"] = ((right[question] & having).astype(np.float64), having.astype(np.float64))
    return found


def _notes(rule: ConformalRule, estimates: dict[str, Estimate]) -> list[str]:
    found = rule.notes()
    coverage = estimates["coverage"]
    if rule.claims_coverage and coverage.high < 1 - rule.error:
        found.append(
            f"prediction sets hold the truth in {coverage}, less than the {1 - rule.error:g} they were made for: these "
            "cases are not like the calibration cases"
        )
    if rule.coverage == "marginal":
        low = [name for name, one in estimates.items() if name.startswith("coverage.") and one.high < 1 - rule.error]
        found += [
            f"{name.partition('.')[2]}: sets hold it in {estimates[name]} of its cases only; "
            "coverage per class would promise it for each"
            for name in low
        ]
    return found
