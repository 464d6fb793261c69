"""Ages as bands of years, so that they can be groups."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

#: Children, then the ages at which much imaging of the chest and the head changes its pretest odds.
AGE_EDGES = (18.0, 40.0, 60.0, 80.0)
#: DICOM's age string (PS3.5, AS): three digits and days, weeks, months or years.
_PER_YEAR = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}


def is_age(column: str) -> bool:
    """age, age_years, patient_age ...: the word stands by itself in the column's name."""
    return "age" in re.split(r"[^a-z]+", column.lower())


def banded(values: Sequence[str], edges: Sequence[float] = AGE_EDGES) -> list[str]:
    """`under 18`, `18 to 40` (40 not included), `80 and over`; "" where an age is not known.

    A value that is no age, such as a band that somebody has made already, stays as it is.
    Raises ValueError for edges that do not rise.
    """
    if not edges or any(a >= b for a, b in pairwise(edges)):
        raise ValueError(f"age bands: the edges must rise, got {list(edges)}")
    return [_band(str(value).strip(), edges) for value in values]


def age_years(text: str) -> float | None:
    """`45`, `45.5`, `045Y`, `018M` -> years; None for anything else."""
    found = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)\s*([DWMY]?)", text.upper())
    return float(found[1]) / _PER_YEAR[found[2] or "Y"] if found else None


def _band(text: str, edges: Sequence[float]) -> str:
    years = age_years(text)
    if years is None:
        return "" if text.lower() in ("nan", "none") else text
    below = sum(years >= edge for edge in edges)
    if below == 0:
        return f"under {edges[0]:g}"
    return f"{edges[-1]:g} and over" if below == len(edges) else f"{edges[below - 1]:g} to {edges[below]:g}"
