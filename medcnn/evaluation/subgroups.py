"""Does a classifier serve all alike? Every metric by a free column (sex, age band, site, scanner), and tested gaps.

A gap is the best group's value less the worst one's, tested by permutation (gaps.py). All tests of a report are one
family, adjusted after Holm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from medcnn.evaluation.age_bands import AGE_EDGES, banded, is_age
from medcnn.evaluation.arrays import Floats, Ints, Kind
from medcnn.evaluation.checks import checked_probability, checked_truth
from medcnn.evaluation.gaps import AnsweredCases, Gap, find_gaps
from medcnn.evaluation.intervals import NUM_RESAMPLES, Estimate
from medcnn.evaluation.paired import holm

LEAST_PATIENTS = 20
MOST_GROUPS = 12


@dataclass(frozen=True, eq=False)
class Group:
    """One value of a column. estimates as of evaluate_classification."""

    column: str
    group: str
    num_cases: int
    num_patients: int
    estimates: dict[str, Estimate]


@dataclass(frozen=True, eq=False)
class SubgroupResult:
    """notes: what was left out and why; warnings: one sentence per significant gap. Both hold values of the columns."""

    groups: tuple[Group, ...]
    gaps: tuple[Gap, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def rows(self) -> list[dict[str, object]]:
        """One per group and metric: for a table, and the figure's CSV."""
        return [
            {"column": g.column, "group": g.group, "cases": g.num_cases, "patients": g.num_patients,
             "metric": name, "value": one.value, "low": one.low, "high": one.high, "n": one.n}
            for g in self.groups
            for name, one in g.estimates.items()
        ]  # fmt: skip

    def as_json(self) -> dict[str, object]:
        """For metrics.json: groups by column and value, gaps, notes, warnings."""
        groups: dict[str, dict[str, object]] = {}
        for g in self.groups:
            found = {name: one.as_json() for name, one in g.estimates.items()}
            groups.setdefault(g.column, {})[g.group] = {"cases": g.num_cases, "patients": g.num_patients, **found}
        gaps = [
            {"column": gap.column, "metric": gap.metric, "best": gap.best, "worst": gap.worst,
             "difference": gap.difference.as_json(), "p_value": gap.p_value, "p_holm": gap.p_holm}
            for gap in self.gaps
        ]  # fmt: skip
        return {"groups": groups, "gaps": gaps, "notes": list(self.notes), "warnings": list(self.warnings)}


def evaluate_subgroups(
    probability: Floats,
    truth: Floats | Ints,
    columns: Mapping[str, Sequence[str]],
    *,
    kind: Kind,
    class_names: Sequence[str],
    thresholds: Sequence[float] | float | None = None,
    patient: Sequence[str | None] | None = None,
    least_patients: int = LEAST_PATIENTS,
    age_edges: Sequence[float] = AGE_EDGES,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> SubgroupResult:
    """Measure each group of each column; arrays as for evaluate_classification.

    columns  name -> value of each case (n,), "" where it is not known; ages (a column named age...) are banded at
             age_edges, in years. Groups of fewer than least_patients patients are named and not measured
    """
    probability = checked_probability(probability, kind, class_names)
    answers = checked_truth(truth, kind, probability)
    whose = list(patient) if patient is not None else None
    notes: list[str] = []
    groups: list[Group] = []
    gaps: list[Gap] = []
    cases = AnsweredCases(probability, answers, kind, tuple(class_names), thresholds, whose)
    for column, given in columns.items():
        if len(given) != len(probability):
            raise ValueError(f"subgroup column {column}: {len(given)} values for {len(probability)} cases")
        values = np.array(banded(given, age_edges) if is_age(column) else [str(v).strip() for v in given])
        kept = _measurable(column, values, cases, least_patients, notes)
        for name in kept:
            of_group = np.flatnonzero(values == name)
            estimates = cases.estimates(of_group, seed, num_resamples)
            groups.append(Group(column, name, len(of_group), cases.num_patients(of_group), estimates))
        if len(kept) > 1:
            gaps += find_gaps(column, values, kept, cases, seed, num_resamples, notes)
    adjusted = holm([gap.p_value for gap in gaps])
    gaps = [replace(gap, p_holm=p) for gap, p in zip(gaps, adjusted, strict=True)]
    return SubgroupResult(tuple(groups), tuple(gaps), tuple(notes), tuple(_warning(g) for g in gaps if g.significant))


def _measurable(column: str, values: np.ndarray, cases: AnsweredCases, least: int, notes: list[str]) -> list[str]:
    """The groups large enough, largest name order kept; says in the notes what is not."""
    if num := int((values == "").sum()):
        notes.append(f"{column}: not known for {num} cases, which are in no group")
    names = sorted(set(values.tolist()) - {""}, key=_by_first_number)
    if len(names) > MOST_GROUPS:
        notes.append(f"{column}: {len(names)} different values, more than {MOST_GROUPS}: not taken as groups")
        return []
    sizes = {name: cases.num_patients(np.flatnonzero(values == name)) for name in names}
    if small := [f"{name} ({size})" for name, size in sizes.items() if size < least]:
        notes.append(f"{column}: too few patients to measure, {least} are needed: {', '.join(small)}")
    return [name for name in names if sizes[name] >= least]


def _by_first_number(name: str) -> tuple[int, float, str]:
    """Bands in the order of their ages; "under 18" first; words after, by the alphabet."""
    first = name.split()[1] if name.startswith("under ") else name.split()[0]
    number = float(first) if first.replace(".", "", 1).isdigit() else None
    return (1, 0.0, name) if number is None else (0, number - 0.5 * name.startswith("under "), name)


def _warning(gap: Gap) -> str:
    return (
        f"{gap.column}: {gap.metric} is lower for {gap.worst} than for {gap.best}, by {gap.difference} "
        f"(p = {gap.p_holm:.2g} after Holm): look at these cases before the model is used for both"
    )
