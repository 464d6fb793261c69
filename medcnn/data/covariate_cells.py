"""What a cell of a covariate's column says: nothing, a number, an age, a sex, or another word."""

from __future__ import annotations

import re
from math import isfinite

from medcnn.evaluation.age_bands import age_years, is_age

__all__ = ["is_age", "is_empty", "is_sex", "number_of", "word_of"]

_EMPTY = frozenset(("", "nan", "na", "n/a", "none", "null"))
_SEX_COLUMNS = ("sex", "gender", "patientsex")
_SEXES = {"m": "M", "male": "M", "f": "F", "female": "F", "o": "O", "other": "O"}  # to DICOM's letters


def is_empty(text: str) -> bool:
    """Whether a cell says nothing."""
    return text.strip().lower() in _EMPTY


def is_sex(name: str) -> bool:
    """Whether a column is the one that DICOM calls PatientSex."""
    return re.sub(r"[^a-z]", "", name.lower()) in _SEX_COLUMNS


def word_of(name: str, text: str) -> str:
    """A cell's word; of a sex DICOM's letter, however it is written."""
    word = " ".join(text.split())
    return _SEXES.get(word.lower(), word) if is_sex(name) else word


def number_of(name: str, text: str) -> float | None:
    """A cell's number, of ages years (045Y, 018M too); None where it is none."""
    if is_age(name):
        return age_years(text.strip())
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None
