"""Folds of a cross-validation: by patient, each class in each fold as far as it goes, held-out patients in none."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from medcnn.data.manifest import Case
from medcnn.data.strata import StratumOf, patient_of, stratum
from medcnn.errors import DataError

#: Splits whose patients take turns. A val split chooses in one training; in a cross-validation every fold does.
IN_FOLDS = ("train", "val")


def with_folds(
    cases: Sequence[Case],
    count: int,
    seed: int,
    stratum_of: StratumOf = stratum,
    *,
    unit_of: Mapping[str, str] | None = None,
    unit: str = "patient",
) -> tuple[list[Case], list[str]]:
    """Every case of train and val in one of `count` folds, and remarks. Folds that are there are kept.

    unit_of: case_id -> what is never divided, called `unit`; None is the patient. Raises DataError where there are
    fewer units than folds. The order of the rows changes nothing.
    """
    present = sorted({int(case.fold) for case in cases if case.fold})
    if present:
        said = f"the manifest's own {len(present)} folds are kept"
        return list(cases), [said if len(present) == count else f"{said}; data.splits.folds={count} was not used"]
    if unit_of is None:
        unit_of = {case.case_id: patient_of(case) for case in cases}
    members: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        if case.split in IN_FOLDS:
            members[unit_of[case.case_id]].append(case)
    if len(members) < count:
        raise DataError(f"data.splits.folds: {len(members)} {unit}s of train and val make no {count} folds")
    fold_of = _dealt(members, count, seed, stratum_of)
    divided = [replace(c, fold=str(fold_of[unit_of[c.case_id]])) if c.split in IN_FOLDS else c for c in cases]
    return divided, [f"{len(members)} {unit}s of train and val were divided into {count} folds"]


def with_turn(cases: Sequence[Case], fold: int) -> list[Case]:
    """One turn of a cross-validation: the cases of this fold are val, all others of train and val train.

    calib and test stay as they are. Raises DataError where no case is in the fold.
    """
    present = sorted({int(case.fold) for case in cases if case.fold})
    if fold not in present:
        there = f"it is one of {', '.join(map(str, present))}" if present else "set data.splits.folds to make some"
        raise DataError(f"data.fold: no case is in fold {fold}; {there}")
    return [
        replace(case, split="val" if case.fold == str(fold) else "train") if case.split in ("", *IN_FOLDS) else case
        for case in cases
    ]


def without_folds_of_the_held_out(cases: Sequence[Case]) -> tuple[list[Case], list[str]]:
    """calib and test rows take no turn: a fold that stands there is emptied, and counted."""
    held_out = [case for case in cases if case.fold and case.split and case.split not in IN_FOLDS]
    if not held_out:
        return list(cases), []
    kept = [replace(case, fold="") if case.split and case.split not in IN_FOLDS else case for case in cases]
    return kept, [f"{len(held_out)} cases of calib and test left their fold: they are held out of every turn"]


def _dealt(of_patient: dict[str, list[Case]], count: int, seed: int, stratum_of: StratumOf) -> dict[str, int]:
    """Stratum by stratum in rounds, one patient to each fold; the fold with the fewest cases is served first.

    So the folds differ by at most one patient of a stratum, and rarely in the number of cases.
    """
    strata: dict[Hashable, list[str]] = defaultdict(list)
    for patient, own in of_patient.items():
        strata[stratum_of(own)].append(patient)
    generator = np.random.Generator(np.random.PCG64(seed))
    load: Counter[int] = Counter(dict.fromkeys(range(count), 0))
    fold_of: dict[str, int] = {}
    for one in sorted(strata, key=str):
        patients = sorted(strata[one])
        order = [patients[index] for index in generator.permutation(len(patients))]
        order.sort(key=lambda patient: -len(of_patient[patient]))  # those with many cases first, while they can be met
        for start in range(0, len(order), count):
            folds = sorted(range(count), key=lambda fold: (load[fold], fold))
            for patient, fold in zip(order[start : start + count], folds, strict=False):
                fold_of[patient] = fold
                load[fold] += len(of_patient[patient])
    return fold_of
