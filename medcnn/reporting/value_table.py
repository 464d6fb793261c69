"""predictions.csv of a regression, read back: case_id, patient_key, split, label, value, low, high."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medcnn.errors import DataError
from medcnn.evaluation.arrays import Floats

_COLUMNS = ("case_id", "patient_key", "split", "label", "value")


@dataclass(frozen=True, eq=False)
class ValuedCases:
    """predicted, truth (n,); one entry per case in the other columns."""

    case_ids: tuple[str, ...]
    patient_keys: tuple[str, ...]
    splits: tuple[str, ...]
    predicted: Floats
    truth: Floats

    def taken(self, places: Sequence[int]) -> ValuedCases:
        """Some cases, in this order."""
        chosen = list(places)
        case_ids, keys, splits = (
            tuple(column[p] for p in chosen) for column in (self.case_ids, self.patient_keys, self.splits)
        )
        return ValuedCases(case_ids, keys, splits, self.predicted[chosen], self.truth[chosen])

    def of_split(self, split: str) -> ValuedCases:
        return self.taken([place for place, one in enumerate(self.splits) if one == split])


def is_valued(header: Sequence[str]) -> bool:
    """Whether a table with these columns holds predicted numbers beside true ones."""
    return set(_COLUMNS) <= set(header)


def read_valued(path: Path) -> ValuedCases:
    """Raises DataError where it is no such table, or a number is none; it names no case."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if not is_valued(reader.fieldnames or []):
            raise DataError(f"{path.name} is no table of predicted numbers: it lacks label or value")
        rows = list(reader)
    try:
        predicted, truth = (np.array([float(row[name]) for row in rows]) for name in ("value", "label"))
    except ValueError:
        raise DataError(f"{path.name}: a value or label is not a number") from None
    case_ids, keys, splits = (tuple(row[name] for row in rows) for name in ("case_id", "patient_key", "split"))
    return ValuedCases(case_ids, keys, splits, predicted, truth)
