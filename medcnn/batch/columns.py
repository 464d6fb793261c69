"""What predictions.* say of a case: the columns in their order, and a case's values, typed.

Built without the model: by the leading process, from rows and the names of classes or structures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import isfinite

from medcnn.batch.about import Kind
from medcnn.batch.ledger import Row

Value = str | float | None

PARTS = ("read", "compute", "restore", "write")  # of seconds
EMPTY_SET = "(empty)"  # a set that holds no class; without a word where the model makes no sets
_BETWEEN = " | "  # files, flags, classes of a set


@dataclass(frozen=True)
class Column:
    """decimals: of a number in text; None where the column holds words."""

    name: str
    decimals: int | None = None

    @property
    def is_number(self) -> bool:
        return self.decimals is not None


def columns(kind: Kind, names: Sequence[str]) -> list[Column]:
    """Of a model's predictions; names of its classes or structures, in its order."""
    return list(_columns(kind, tuple(names)))


@cache  # asked for each of many rows
def _columns(kind: Kind, names: tuple[str, ...]) -> list[Column]:
    start = [Column("case_id"), Column("reference"), Column("series")]
    why = [Column("flags"), Column("reason_code"), Column("reason")]
    times = [Column("seconds", 3), *(Column(f"seconds_{part}", 3) for part in PARTS), Column("peak_mb", 1)]
    if kind == "classification":
        chances = [Column(f"p.{name}", 6) for name in names]
        decided = [Column("decision"), Column("confidence", 6), Column("set")]
        return [*start, *chances, *decided, *why, Column("status"), *times]
    if kind == "regression":
        measured = [Column("value", 6), Column("low", 6), Column("high", 6), Column("unit")]
        return [*start, *measured, *why, Column("status"), *times]
    measures = [Column(f"{what}.{name}", 4) for what in ("volume_ml", "expected_dice") for name in names]
    return [*start, Column("status"), Column("mask"), *measures, Column("disagreement", 4), *why, *times]


def values(row: Row, kind: Kind, names: Sequence[str]) -> dict[str, Value]:
    """A case's, by column and in their order; None where there is nothing to say, numbers that are none included."""
    said = _said(row)
    if kind == "classification":
        said |= {f"p.{name}": row.probability.get(name) for name in names}
    elif kind == "segmentation":
        said |= {f"volume_ml.{name}": row.volume_ml.get(name) for name in names}
        said |= {f"expected_dice.{name}": row.expected_dice.get(name) for name in names}
    return {column.name: _some(said[column.name]) for column in _columns(kind, tuple(names))}


def _said(row: Row) -> dict[str, Value]:
    """What has one column, of either kind of model."""
    return {
        "case_id": row.case_id,
        "reference": row.reference,
        "series": row.series,
        "status": row.status,
        "mask": _BETWEEN.join(row.masks),
        "decision": row.decision,
        "confidence": row.confidence,
        "set": set_words(row.conformal_set),
        "disagreement": row.disagreement,
        "value": row.value,
        "low": row.low,
        "high": row.high,
        "unit": row.unit,
        "flags": _BETWEEN.join(row.flags),
        "reason_code": row.reason_code,
        "reason": row.in_words(),
        "seconds": row.seconds,
        **{f"seconds_{part}": row.seconds_of.get(part) for part in PARTS},
        "peak_mb": row.peak_mb,
    }


def _some(value: Value) -> Value:
    if isinstance(value, float | int):
        return float(value) if isfinite(value) else None
    return value or None


def set_words(conformal_set: Sequence[str] | None) -> str | None:
    """The classes of a prediction set in one cell; None where the model makes no sets."""
    return None if conformal_set is None else _BETWEEN.join(conformal_set) or EMPTY_SET
