"""predictions.csv of a classification, read back: case_id, patient_key, split, label, p.<class> ... ."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medcnn.errors import DataError
from medcnn.evaluation.arrays import Floats, Ints

_WHO = ("case_id", "patient_key", "split", "label")
_PROBABILITY = "p."


@dataclass(frozen=True, eq=False)
class ClassifiedCases:
    """probability (n, k), truth (n,) class index; one entry per case in the other columns."""

    class_names: tuple[str, ...]
    case_ids: tuple[str, ...]
    patient_keys: tuple[str, ...]
    splits: tuple[str, ...]
    probability: Floats
    truth: Ints

    def taken(self, places: Sequence[int]) -> ClassifiedCases:
        """Some cases, in this order."""
        return ClassifiedCases(
            self.class_names,
            tuple(self.case_ids[p] for p in places),
            tuple(self.patient_keys[p] for p in places),
            tuple(self.splits[p] for p in places),
            self.probability[list(places)],
            self.truth[list(places)],
        )

    def of_split(self, split: str) -> ClassifiedCases:
        return self.taken([place for place, one in enumerate(self.splits) if one == split])


def is_classified(header: Sequence[str]) -> bool:
    """Whether a table with these columns holds classified cases."""
    return set(_WHO) <= set(header) and any(column.startswith(_PROBABILITY) for column in header)


def read_classified(path: Path) -> ClassifiedCases:
    """The table of a binary or multi-class run. Raises DataError for any other; it names no case.

    A multi-label table does not tell a label that is not known from one that is absent, so it cannot be compared.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if not is_classified(reader.fieldnames or []):
            raise DataError(f"{path.name} is no table of classified cases: it lacks label or p.<class>")
        columns = [column for column in reader.fieldnames or [] if column.startswith(_PROBABILITY)]
        rows = list(reader)
    names = tuple(column.removeprefix(_PROBABILITY) for column in columns)
    try:
        probability = np.array([[float(row[column]) for column in columns] for row in rows]).reshape(-1, len(names))
    except ValueError:
        raise DataError(f"{path.name}: a probability is not a number") from None
    if len(names) < 2 or np.abs(probability.sum(axis=1) - 1).max(initial=0) > 1e-2:
        raise DataError(
            f"{path.name} is of a multi-label run, which cannot be compared: it does not tell labels that are not "
            "known from those that are absent"
        )
    if unknown := sorted({row["label"] for row in rows} - set(names)):
        raise DataError(f"{path.name}: {len(unknown)} labels are none of its classes {', '.join(names)}")
    return ClassifiedCases(
        names,
        tuple(row["case_id"] for row in rows),
        tuple(row["patient_key"] for row in rows),
        tuple(row["split"] for row in rows),
        probability,
        np.array([names.index(row["label"]) for row in rows], dtype=np.int64),
    )
