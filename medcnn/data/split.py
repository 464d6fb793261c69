"""Who is trained on, who chooses, who calibrates, who is tested: by patient, seeded, with a digest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence, Set
from dataclasses import replace
from hashlib import sha256

import numpy as np

from medcnn.config.data import SplitConf
from medcnn.data.folds import with_folds, without_folds_of_the_held_out
from medcnn.data.manifest import Case, Manifest
from medcnn.data.strata import patient_of, stratum
from medcnn.errors import DataError, LeakageError

_MOST_STRATA = 50  # more combinations of labels than this cannot each keep their proportion


def with_splits(manifest: Manifest, conf: SplitConf) -> tuple[Manifest, list[str]]:
    """Every case with a split, and remarks on what was done.

    A manifest with splits keeps them. Without any, patients are divided by the shares of conf; with train but no
    calib, training patients give that share, so that thresholds come from data that chose nothing; with train and test
    alone, as public data sets come, they give val too. With conf.folds,
    the patients of train and val are also divided into folds, unless the manifest names some.
    """
    present = {case.split for case in manifest.cases}
    if present == {""}:
        shares = {"val": conf.val, "calib": conf.calib, "test": conf.test}
        cases = _divided(manifest.cases, shares, conf.seed)
        remarks = ["the manifest names no splits: patients were divided by data.splits"]
    elif "train" in present and (wanted := _missing(present, conf)):
        rest = [case for case in manifest.cases if case.split != "train"]
        train = [replace(case, split="") for case in manifest.cases if case.split == "train"]
        divided = {case.case_id: case for case in [*rest, *_divided(train, wanted, conf.seed)]}
        cases = [divided[case.case_id] for case in manifest.cases]
        purpose = {"val": "choosing the model", "calib": "thresholds"}
        remarks = [
            f"no {split} split: {share:.0%} of the training patients were set aside for {purpose[split]}"
            for split, share in wanted.items()
        ]
    else:
        cases, remarks = list(manifest.cases), []
    cases, said = without_folds_of_the_held_out(cases)
    remarks += said
    if conf.folds:
        cases, said = with_folds(cases, conf.folds, conf.seed)
        remarks += said
    return manifest.with_cases(cases), remarks


def _missing(present: Set[str], conf: SplitConf) -> dict[str, float]:
    """The shares that training patients give to splits that are not there."""
    shares = {"val": conf.val} if present == {"train", "test"} else {}
    if "calib" not in present:
        shares["calib"] = conf.calib
    return {split: share for split, share in shares.items() if share > 0}


def require_split_by_patient(cases: Sequence[Case]) -> None:
    """Raise LeakageError where one patient is in two splits, or in two folds."""
    for what, remedy in (
        ("split", "remove the split column to have medcnn divide by patient"),
        ("fold", "remove the fold column and set data.splits.folds"),
    ):
        parts: dict[str, set[str]] = defaultdict(set)
        for case in cases:
            if case.patient_id:
                parts[case.patient_id].add(getattr(case, what))
        leaking = {patient for patient, found in parts.items() if len(found) > 1}
        if leaking:
            first = min((case for case in cases if case.patient_id in leaking), key=lambda case: case.case_id)
            together = " and ".join(sorted(part or "none" for part in parts[first.patient_id]))
            raise LeakageError(
                f"LEAKAGE: {len(leaking)} patients are in more than one {what} (the patient of {first.case_id} is in "
                f"{together}). A model would be tested on people it knows. Give each patient one {what}, or {remedy}"
            )


def split_digest(cases: Sequence[Case]) -> str:
    """Names the division, folds included: equal digests, equal splits."""
    lines = sorted(f"{case.case_id}\t{case.split}" + (f"\t{case.fold}" if case.fold else "") for case in cases)
    return sha256("\n".join(lines).encode()).hexdigest()[:16]


def _divided(cases: Sequence[Case], shares: Mapping[str, float], seed: int) -> list[Case]:
    """Each patient to one split, each class in its proportion."""
    of_patient: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        of_patient[patient_of(case)].append(case)
    strata: dict[Hashable, list[str]] = defaultdict(list)
    for patient, own in of_patient.items():
        strata[stratum(own)].append(patient)
    wanted = {split: share for split, share in shares.items() if share > 0}
    if len(cases[0].labels) != 1 or len(strata) > _MOST_STRATA:
        strata = _pooled(strata, 1 + len(wanted))
    _require_enough(strata, list(wanted))
    split_of: dict[str, str] = {}
    generator = np.random.Generator(np.random.PCG64(seed))
    for one in sorted(strata, key=str):
        patients = sorted(strata[one])
        order = [patients[index] for index in generator.permutation(len(patients))]
        taken = 0
        for later, (split, share) in zip(range(len(wanted), 0, -1), wanted.items(), strict=True):
            room = len(order) - taken - later  # one patient for each later split, and one to train on
            count = min(max(1, round(share * len(order))), room)
            split_of.update(dict.fromkeys(order[taken : taken + count], split))
            taken += count
        split_of.update(dict.fromkeys(order[taken:], "train"))
    return [replace(case, split=split_of[patient_of(case)]) for case in cases]


def _pooled(strata: Mapping[Hashable, list[str]], needed: int) -> dict[Hashable, list[str]]:
    """Rare combinations of labels, too few for a proportion of their own, together as one stratum."""
    kept = {one: patients for one, patients in strata.items() if len(patients) >= needed}
    rare = [patient for one, patients in strata.items() if one not in kept for patient in patients]
    if rare and len(rare) < needed and kept:
        rare += kept.pop(max(kept, key=lambda one: (len(kept[one]), str(one))))
    return {**kept, "rare combinations": rare} if rare else kept


def _require_enough(strata: Mapping[Hashable, list[str]], splits: Sequence[str]) -> None:
    needed = 1 + len(splits)
    for one, patients in sorted(strata.items(), key=str):
        name = "/".join(str(part) for part in one) if isinstance(one, tuple) else str(one)
        if len(patients) < needed:
            remedy = (
                "set data.splits.calib=0, and thresholds come from val"
                if list(splits) == ["calib"]
                else "give the manifest a split column"
            )
            raise DataError(
                f"class {name!r} has {len(patients)} patient(s) to divide; train and {', '.join(splits)} need at least "
                f"{needed}. Add scans of this class, leave it out, or {remedy}"
            )
