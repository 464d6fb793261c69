"""Two segmentation runs on the same cases, structure by structure and measure by measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from medcnn.evaluation.arrays import Floats
from medcnn.evaluation.intervals import NUM_RESAMPLES
from medcnn.evaluation.paired import Paired, compare_paired, holm
from medcnn.evaluation.segmentation.scores import CaseScores

ALL = "all"
MEASURES = ("dice", "nsd", "hd95", "assd", "abs_error_pct")
LOWER_IS_BETTER = frozenset({"hd95", "assd", "abs_error_pct"})
_SAME_SIZE = 1e-6  # relative; the sizes went through a text file


@dataclass(frozen=True)
class Compared:
    """One measure of one structure; p-values adjusted by Holm over the structures of the measure.

    structure  a name, or "all": the mean of each case over the structures where both runs have the measure, tested
               by itself and not part of the family
    metric     with its unit: dice, hd95_mm ...
    """

    structure: str
    metric: str
    paired: Paired
    bootstrap_p_holm: float
    wilcoxon_p_holm: float


def common_cases(a: Sequence[CaseScores], b: Sequence[CaseScores]) -> tuple[list[CaseScores], list[CaseScores], int]:
    """The cases of both runs in the order of a, and how many were left out because one run has them alone.

    Raises ValueError where the two cannot be compared.
    """
    of_b = {case.case_id: case for case in b}
    shared = [case for case in a if case.case_id in of_b]
    if not shared:
        raise ValueError(
            f"the runs have no case in common (A has {len(a)}, B has {len(b)}). case_id is made with a key: both runs "
            "must have used the same privacy.key_file, and the same data"
        )
    partners = [of_b[case.case_id] for case in shared]
    _check_alike(shared, partners)
    return shared, partners, len(a) + len(b) - 2 * len(shared)


def _check_alike(a: Sequence[CaseScores], b: Sequence[CaseScores]) -> None:
    names = [sorted(cases[0].structures) for cases in (a, b)]
    if names[0] != names[1]:
        raise ValueError(f"the runs segment different structures: A {', '.join(names[0])}; B {', '.join(names[1])}")
    if a[0].units != b[0].units:
        raise ValueError(f"the runs were measured in different units: A {a[0].units.length}, B {b[0].units.length}")
    different = [
        one
        for one, other in zip(a, b, strict=True)
        if not all(
            np.isclose(found.truth_size, other.structures[s].truth_size, rtol=_SAME_SIZE, atol=0)
            for s, found in one.structures.items()
        )
    ]
    if different:
        raise ValueError(
            f"{len(different)} of {len(a)} common cases have another true {a[0].units.extent} in B than in A: "
            "the runs were measured against different masks. Evaluate both on the same data"
        )


def compare_runs(
    a: Sequence[CaseScores],
    b: Sequence[CaseScores],
    *,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> list[Compared]:
    """Every measure of every structure; a and b hold the same cases in the same order (common_cases).

    NSD is left out for a structure whose tolerance differs between the runs.
    """
    names = list(a[0].structures)
    patient = [case.patient_key or None for case in a]
    units = a[0].units
    rows = []
    for measure in MEASURES:
        columns = {name: tuple(_column(cases, name, measure) for cases in (a, b)) for name in names}
        if measure == "nsd":
            columns = {n: c for n, c in columns.items() if _tolerance(a, n) == _tolerance(b, n)}
        if len(columns) > 1:
            columns[ALL] = _over_structures(list(columns.values()))
        found = {
            name: compare_paired(
                *pair,
                lower_is_better=measure in LOWER_IS_BETTER,
                patient=patient if any(patient) else None,
                seed=seed,
                num_resamples=num_resamples,
            )
            for name, pair in columns.items()
        }
        rows += adjusted(
            [Compared(name, units.name(measure), p, p.bootstrap_p, p.wilcoxon_p) for name, p in found.items()]
        )
    return rows


def adjusted(rows: Sequence[Compared]) -> list[Compared]:
    """The p-values of one family with Holm's adjustment; a row of all structures keeps its own."""
    family = [row for row in rows if row.structure != ALL]
    bootstrap = holm([row.paired.bootstrap_p for row in family])
    wilcoxon = holm([row.paired.wilcoxon_p for row in family])
    done = [
        replace(row, bootstrap_p_holm=p, wilcoxon_p_holm=q)
        for row, p, q in zip(family, bootstrap, wilcoxon, strict=True)
    ]
    return done + [row for row in rows if row.structure == ALL]


def _column(cases: Sequence[CaseScores], structure: str, measure: str) -> Floats:
    return np.array([getattr(case.structures[structure], measure) for case in cases], dtype=np.float64)


def _tolerance(cases: Sequence[CaseScores], structure: str) -> float:
    return cases[0].structures[structure].tolerance


def _over_structures(pairs: Sequence[tuple[Floats, ...]]) -> tuple[Floats, Floats]:
    """(n,) of each run: the mean over the structures that both runs have; nan where they share none."""
    a, b = (np.stack(column) for column in zip(*pairs, strict=True))
    both = np.isfinite(a) & np.isfinite(b)
    count = np.maximum(both.sum(axis=0), 1)
    a, b = (np.where(both.any(axis=0), np.where(both, x, 0).sum(axis=0) / count, np.nan) for x in (a, b))
    return a, b
