"""Cases that are learnt from by a number each (age, volume): whose is known, and how patients are divided by it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
import numpy.typing as npt

from medcnn.config.data import QuantityConf
from medcnn.config.fields import nearest
from medcnn.data.manifest import Case, Manifest
from medcnn.data.strata import StratumOf, patient_of
from medcnn.errors import DataError

_UNKNOWN = ("", "nan", "na", "n/a")
_SHOWN = 5  # rows that are named in an error
_MOST_BINS = 5
_PATIENTS_A_BIN = 8  # enough for each split to get one, and some to train on


@dataclass(frozen=True)
class ValueDataset:
    """Cases with a split each and a number, in labels[""] as text. The other fields as in data.dataset.Dataset."""

    manifest: Manifest
    quantity: QuantityConf
    digest: str
    split_digest: str
    remarks: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """split -> cases."""
        return dict(Counter(case.split for case in self.manifest.cases))

    def targets(self, cases: Sequence[Case]) -> npt.NDArray[np.float32]:
        """(n, 1) of these cases."""
        return values_of(cases).astype(np.float32)[:, None]

    def values(self, split: str) -> npt.NDArray[np.float64]:
        """(n,) of the cases of a split."""
        return values_of(self.manifest.of_split(split))


def values_of(cases: Sequence[Case]) -> npt.NDArray[np.float64]:
    """(n,) numbers of cases that with_values let through."""
    return np.array([float(case.labels[""]) for case in cases], np.float64)


def with_values(manifest: Manifest, quantity: QuantityConf) -> tuple[Manifest, list[str]]:
    """The cases whose number is known, and a remark on the others. Raises DataError naming rows that hold no number."""
    words = _words(manifest, quantity.column)
    odd = [(case, word) for case, word in zip(manifest.cases, words, strict=True) if not _is_sound(word)]
    if odd:
        raise DataError(_not_numbers(odd, quantity))
    known = [word.strip().lower() not in _UNKNOWN for word in words]
    kept = [
        replace(case, labels={"": word.strip()})
        for case, word, there in zip(manifest.cases, words, known, strict=True)
        if there
    ]
    if not kept:
        raise DataError(
            f"no case has a number for {quantity.name}: the column {quantity.column!r} is empty. Fill it in"
        )
    without = len(manifest) - len(kept)
    return manifest.with_cases(kept), [f"{without} cases have no {quantity.name} and were left out"] if without else []


def _words(manifest: Manifest, column: str) -> list[str]:
    """What the column holds, case by case."""
    if column == "label" and manifest.label_names == [""]:
        return [case.labels[""] for case in manifest.cases]
    if column.startswith("label.") and (name := column.removeprefix("label.")) in manifest.label_names:
        return [case.labels[name] for case in manifest.cases]
    there = list(dict.fromkeys(name for case in manifest.cases for name in case.free))
    if column in there:
        return [case.free.get(column, "") for case in manifest.cases]
    labels = [f"label.{name}" if name else "label" for name in manifest.label_names]
    known = ", ".join([*labels, *there]) or "none that could hold a number"
    raise DataError(
        f"data.quantity.column: the manifest has no column {column!r} (there: {known}). A regression learns one number "
        f"per case: add the column, or name another.{nearest(column, [*labels, *there])}"
    )


def _is_sound(word: str) -> bool:
    """A finite number, or nothing."""
    if word.strip().lower() in _UNKNOWN:
        return True
    try:
        return isfinite(float(word)) and "_" not in word  # Python takes 1_000, tables do not
    except ValueError:
        return False


def _not_numbers(odd: Sequence[tuple[Case, str]], quantity: QuantityConf) -> str:
    shown = ", ".join(f"{word!r} in {case.case_id}" for case, word in odd[:_SHOWN])
    more = f" and {len(odd) - _SHOWN} more" if len(odd) > _SHOWN else ""
    comma = any("," in word for _, word in odd)
    hint = "Write decimals with a point, as 63.5" if comma else "Write a number, or nothing where it is not known"
    return f"{quantity.column}: {len(odd)} cases have no number for {quantity.name}: {shown}{more}. {hint}"


def require_spread(dataset: ValueDataset) -> None:
    """Raise DataError where training cannot mean anything: a split is not there, or all numbers are one."""
    counts = dataset.counts()
    for split in ("train", "val"):
        if not counts.get(split):
            there = ", ".join(counts)
            raise DataError(f"no case is in the split {split!r} (there: {there}). Name some, or leave the column out")
    if np.ptp(dataset.values("train")) == 0:
        raise DataError(
            f"every training case has the same {dataset.quantity.name}, so there is nothing to learn. Check the column "
            f"{dataset.quantity.column!r}"
        )


def number_stratum(cases: Sequence[Case]) -> StratumOf:
    """From a patient's cases to the part of the range that their mean lies in: parts of equally many patients."""
    of_patient: dict[str, list[Case]] = {}
    for case in cases:
        if case.split in ("", "train"):
            of_patient.setdefault(patient_of(case), []).append(case)
    means = [float(values_of(own).mean()) for own in of_patient.values()]
    bins = min(_MOST_BINS, len(means) // _PATIENTS_A_BIN)
    edges = np.quantile(means, np.arange(1, bins) / bins) if bins > 1 else np.zeros(0)

    def stratum(own: Sequence[Case]) -> Hashable:
        return f"part {int(np.searchsorted(edges, values_of(own).mean(), side='right')) + 1} of {max(1, bins)}"

    return stratum
