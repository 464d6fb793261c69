"""One thing that was found in a data set, and how much it matters."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

EXAMPLES = 12


class Severity(StrEnum):
    """stop: training refuses; warning: results may mislead; note: good to know."""

    STOP = "stop"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """What is wrong, how often, and what to do.

    code      stable name, for filters and tests
    text      a sentence with counts; knows cases by case_id only
    examples  case_ids, those that belong together (a pair of copies) in one tuple
    count     how many cases, pairs or groups there are in all
    """

    severity: Severity
    code: str
    title: str
    text: str
    remedy: str
    examples: tuple[tuple[str, ...], ...] = ()
    count: int = 0

    @property
    def case_ids(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(case_id for group in self.examples for case_id in group))

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "severity": self.severity.value}


def singles(case_ids: list[str]) -> tuple[tuple[str, ...], ...]:
    """The first of them, each for itself."""
    return tuple((case_id,) for case_id in case_ids[:EXAMPLES])
