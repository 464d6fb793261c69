"""A data set that grew: who was divided stays where they are, only new patients are given a place."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from medcnn.config.data import SPLITS
from medcnn.data.folds import IN_FOLDS
from medcnn.data.manifest import Case, Manifest
from medcnn.data.split import require_split_by_patient
from medcnn.data.strata import patient_of, stratum
from medcnn.errors import DataError


@dataclass(frozen=True)
class _Place:
    split: str
    fold: str


def frozen_splits(new: Manifest, old: Manifest) -> Manifest:
    """The new manifest, divided as the old one was.

    A patient or a case that the old manifest knows keeps split and fold, so does a known patient's new scan. New
    patients go where their kind lacks most of the old proportions, folds likewise. Raises DataError where the old
    manifest has no splits or shares nothing with the new one, LeakageError where the new one joins patients whom the
    old one had in different splits.
    """
    if not all(case.split for case in old.cases):
        raise DataError("the old manifest names no splits, so nothing can be kept. Divide it first")
    require_split_by_patient(old.cases)
    known = _Known.of(old.cases)
    placed = {case.case_id: place for case in new.cases if (place := known.place(case)) is not None}
    if not placed:
        raise DataError(
            "no case and no patient of the old manifest is in the new one. Give the manifest of the same data; names "
            "made with another privacy key do not meet"
        )
    strangers: dict[str, list[Case]] = defaultdict(list)
    familiar = {patient_of(case): placed[case.case_id] for case in new.cases if case.case_id in placed}
    for case in new.cases:
        if patient_of(case) not in familiar:
            strangers[patient_of(case)].append(case)
    familiar |= dict(_newcomers(strangers, old.cases))
    cases = [_at(case, placed.get(case.case_id, familiar[patient_of(case)])) for case in new.cases]
    require_split_by_patient(cases)
    return new.with_cases(cases)


def _at(case: Case, place: _Place) -> Case:
    return replace(case, split=place.split, fold=place.fold)


@dataclass(frozen=True)
class _Known:
    of_case: dict[str, _Place]
    of_patient: dict[str, _Place]

    @classmethod
    def of(cls, cases: Sequence[Case]) -> _Known:
        places = {case.case_id: _Place(case.split, case.fold) for case in cases}
        return cls(places, {case.patient_id: places[case.case_id] for case in cases if case.patient_id})

    def place(self, case: Case) -> _Place | None:
        return self.of_case.get(case.case_id) or self.of_patient.get(case.patient_id)


def _newcomers(strangers: dict[str, list[Case]], old: Sequence[Case]) -> Iterator[tuple[str, _Place]]:
    """Each in an order that only their names decide, to the place that is furthest behind its share."""
    own: dict[str, list[Case]] = defaultdict(list)
    for case in old:
        own[patient_of(case)].append(case)
    shares = Counter(cases[0].split for cases in own.values())
    split_counts: dict[Hashable, Counter[str]] = defaultdict(Counter)
    fold_counts: dict[Hashable, Counter[str]] = defaultdict(Counter)
    for cases in own.values():
        split_counts[stratum(cases)][cases[0].split] += 1
        fold_counts[stratum(cases)][cases[0].fold] += 1
    folds = sorted({case.fold for case in old if case.fold}, key=int)
    for patient in sorted(strangers, key=lambda name: sha256(name.encode()).digest()):
        kind = stratum(strangers[patient])
        split = _furthest_behind(split_counts[kind], shares)
        split_counts[kind][split] += 1
        fold = ""
        if folds and split in IN_FOLDS:
            fold = min(folds, key=lambda name: (fold_counts[kind][name], int(name)))
            fold_counts[kind][fold] += 1
        yield patient, _Place(split, fold)


def _furthest_behind(there: Counter[str], shares: Counter[str]) -> str:
    total = there.total() + 1
    lack = {split: shares[split] / shares.total() * total - there[split] for split in SPLITS if shares[split]}
    return max(lack, key=lambda split: lack[split])
