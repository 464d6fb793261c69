"""A measured split by the manifest's free columns: which columns may be asked for, and what is written about them."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from medcnn.config.fields import nearest
from medcnn.data.labels import Labels, truth
from medcnn.data.manifest import Case
from medcnn.data.strata import patient_of
from medcnn.errors import DataError
from medcnn.evaluation.age_bands import banded, is_age
from medcnn.evaluation.gaps import SIGNIFICANT
from medcnn.evaluation.subgroups import SubgroupResult, evaluate_subgroups
from medcnn.reporting.figures import save, write_rows
from medcnn.reporting.page import Section
from medcnn.reporting.subgroup_figure import subgroup_figure
from medcnn.reporting.subgroup_tables import group_tables
from medcnn.reporting.tables import aligned
from medcnn.study.classification.review import Measured

log = logging.getLogger("medcnn.evaluate")

TABLE = "subgroups.csv"
_LONGEST = 40  # letters of a value that are shown
_UID = re.compile(r"\d+(\.\d+){4,}")


def require_columns(cases: Sequence[Case], names: Sequence[str], age_edges: Sequence[float]) -> None:
    """Raise DataError for columns that are not there, or whose values name patients rather than groups of them."""
    there = list(dict.fromkeys(name for case in cases for name in case.free))
    if missing := [name for name in names if name not in there]:
        known = f"the manifest's free columns are {', '.join(there)}" if there else "the manifest has no free column"
        raise DataError(f"subgroups: no column {', '.join(missing)}; {known}.{nearest(missing[0], there)}")
    patients = len({patient_of(case) for case in cases})
    for name, values in column_values(cases, names, age_edges).items():
        different = set(values) - {""}
        if 2 * len(different) > patients or any(_UID.fullmatch(value) for value in different):
            raise DataError(
                f"subgroups: {name} has {len(different)} different values for {patients} patients, so it names "
                "patients or scans and no groups of them; its values would stand in the report. Take another column"
            )


def column_values(cases: Sequence[Case], names: Sequence[str], age_edges: Sequence[float]) -> dict[str, list[str]]:
    """Column -> each case's group: clean, short text, ages as bands; "" where it is not known."""
    found = {}
    for name in names:
        values = [_clean(case.free.get(name, "")) for case in cases]
        found[name] = banded(values, age_edges) if is_age(name) else values
    return found


def _clean(value: str) -> str:
    shown = "".join(letter if letter.isprintable() else " " for letter in value)
    return " ".join(shown.split())[:_LONGEST]


def torn_patients(cases: Sequence[Case], columns: Mapping[str, Sequence[str]]) -> list[str]:
    """A sentence per column in which images of one patient are of several groups, where a row is a patient."""
    notes = []
    for name, values in columns.items():
        groups: dict[str, set[str]] = {}
        for case, value in zip(cases, values, strict=True):
            groups.setdefault(case.patient_id, set()).add(value)
        if num := sum(len(of_patient) > 1 for of_patient in groups.values()):
            notes.append(
                f"{name}: {num} patients have images of several groups, and count in that of their first image"
            )
    return notes


def measure_subgroups(
    measured: Measured, labels: Labels, names: Sequence[str], *, age_edges: Sequence[float], seed: int, resamples: int
) -> SubgroupResult:
    """Every metric of every group, by the thresholds of the whole."""
    cases = measured.prepared.cases
    patients = [case.patient_id or None for case in cases]
    found = evaluate_subgroups(
        measured.probability,
        truth(labels.targets(cases), labels.kind),
        column_values(cases, names, age_edges),
        kind=labels.kind,
        class_names=labels.class_names,
        thresholds=measured.result.thresholds or None,
        patient=patients if all(patients) else None,
        age_edges=age_edges,
        seed=seed,
        num_resamples=resamples,
    )
    if len(found.gaps) >= SIGNIFICANT * (resamples + 1):  # the smallest p that so many permutations can give
        note = f"resamples={resamples} are too few for {len(found.gaps)} tests: no gap can be significant. Take more"
        found = replace(found, notes=(note, *found.notes))
    return found


def write_subgroups(output: Path, result: SubgroupResult, split: str) -> list[Section]:
    """subgroups.csv, and the report's section with its figure; [] where no group is large enough to be measured."""
    write_rows(result.rows(), output / TABLE)
    if not result.groups:
        return []
    drawn = save(subgroup_figure(result, split=split), output / "figures", f"{split}_subgroups")
    text = (
        "Each group measured alone, at the same threshold. A difference is called one where the gap between the best "
        "and the worst group would rarely come by chance; a group without a warning may still be too small to show it."
    )
    return [Section("Subgroups", [drawn], text, group_tables(result))]


def say_subgroups(result: SubgroupResult) -> None:
    """The tables on the terminal, then what is left out, then what is significant."""
    sys.stdout.flush()
    for table in group_tables(result):
        sys.stdout.write(f"\n{table.title}\n{aligned(table.header, table.rows)}")
    sys.stdout.write("\n")
    sys.stdout.flush()
    for note in result.notes:
        log.info("note: %s", note)
    for warning in result.warnings:
        log.warning("%s", warning)
