"""Who is trained on, who chooses, who calibrates, who is tested: by patient, seeded, with a digest.

Where nobody knows the patients: by case, or by blocks of neighbouring files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from medcnn.config.data import SplitConf
from medcnn.data.blocks import block_words, blocks_of, spread_order
from medcnn.data.folds import with_folds, without_folds_of_the_held_out
from medcnn.data.manifest import Case, Manifest
from medcnn.data.strata import StratumOf, patient_of, stratum
from medcnn.errors import DataError, LeakageError

_MOST_STRATA = 50  # more combinations of labels than this cannot each keep their proportion


def with_splits(manifest: Manifest, conf: SplitConf, stratum_of: StratumOf = stratum) -> tuple[Manifest, list[str]]:
    """Every case with a split, and remarks on what was done.

    A manifest with splits keeps them. Without any, patients are divided by the shares of conf; with train but no
    calib, training patients give that share, so that thresholds come from data that chose nothing; with train and test
    alone, as public data sets come, they give val too. With conf.folds,
    the patients of train and val are also divided into folds, unless the manifest names some.
    stratum_of: from a patient's cases to what patients are divided evenly by. With conf.block_cases, blocks of
    neighbouring files stand for patients.
    """
    present = {case.split for case in manifest.cases}
    wanted = _missing(present, conf)
    divides = bool(wanted) or present == {""} or conf.folds > 0
    units = _units(manifest.cases, conf, stratum_of) if divides else _Units({}, "patient", "")
    cases, remarks = list(manifest.cases), []
    if wanted or present == {""}:
        to_divide = [case for case in cases if case.split in ("", "train")]
        divided = {case.case_id: case for case in _divided(to_divide, wanted, conf.seed, units, stratum_of)}
        cases = [divided.get(case.case_id, case) for case in cases]
        remarks = _remarks(present, wanted, units)
    cases, said = without_folds_of_the_held_out(cases)
    remarks += said
    if conf.folds:
        cases, said = with_folds(cases, conf.folds, conf.seed, stratum_of, unit_of=units.of, unit=units.name)
        remarks += said
    return manifest.with_cases(cases), remarks


@dataclass(frozen=True)
class _Units:
    """What is never divided: case_id -> its patient or its block; one of them in a word, all of them in words."""

    of: dict[str, str]
    name: str
    words: str


def _units(cases: Sequence[Case], conf: SplitConf, stratum_of: StratumOf) -> _Units:
    if not conf.block_cases:
        return _Units({case.case_id: patient_of(case) for case in cases}, "patient", "patients")
    of = blocks_of(cases, conf.block_cases, stratum_of)
    return _Units(of, "block", block_words(of))


def _remarks(present: Set[str], wanted: Mapping[str, float], units: _Units) -> list[str]:
    if present == {""}:
        return [f"the manifest names no splits: {units.words} were divided by data.splits"]
    purpose = {"val": "choosing the model", "calib": "thresholds"}
    return [
        f"no {split} split: {share:.0%} of the training {units.name}s were set aside for {purpose[split]}"
        for split, share in wanted.items()
    ]


def _missing(present: Set[str], conf: SplitConf) -> dict[str, float]:
    """The shares that are to be given to splits that are not there."""
    if present == {""}:
        shares = {"val": conf.val, "calib": conf.calib, "test": conf.test}
    elif "train" in present:
        shares = {"val": conf.val} if present == {"train", "test"} else {}
        if "calib" not in present:
            shares["calib"] = conf.calib
    else:
        shares = {}
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


def _divided(
    cases: Sequence[Case], wanted: Mapping[str, float], seed: int, units: _Units, stratum_of: StratumOf
) -> list[Case]:
    """Each patient, or block, to one split, each class in its proportion."""
    members: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        members[units.of[case.case_id]].append(case)
    strata: dict[Hashable, list[str]] = defaultdict(list)
    for unit, own in members.items():
        strata[stratum_of(own)].append(unit)
    if len(cases[0].labels) != 1 or len(strata) > _MOST_STRATA:
        strata = _pooled(strata, 1 + len(wanted))
    _require_enough(strata, list(wanted), units.name)
    split_of: dict[str, str] = {}
    generator = np.random.Generator(np.random.PCG64(seed))
    for one in sorted(strata, key=str):
        order = _order(sorted(strata[one]), units, generator)
        taken = 0
        for later, (split, share) in zip(range(len(wanted), 0, -1), wanted.items(), strict=True):
            room = len(order) - taken - later  # one unit for each later split, and one to train on
            count = min(max(1, round(share * len(order))), room)
            split_of.update(dict.fromkeys(order[taken : taken + count], split))
            taken += count
        split_of.update(dict.fromkeys(order[taken:], "train"))
    return [replace(case, split=split_of[units.of[case.case_id]]) for case in cases]


def _order(members: Sequence[str], units: _Units, generator: np.random.Generator) -> list[str]:
    """At random; blocks such that each split has its share of every long run."""
    if units.name == "block":
        return spread_order(members, generator)
    return [members[index] for index in generator.permutation(len(members))]


def _pooled(strata: Mapping[Hashable, list[str]], needed: int) -> dict[Hashable, list[str]]:
    """Rare combinations of labels, too few for a proportion of their own, together as one stratum."""
    kept = {one: patients for one, patients in strata.items() if len(patients) >= needed}
    rare = [patient for one, patients in strata.items() if one not in kept for patient in patients]
    if rare and len(rare) < needed and kept:
        rare += kept.pop(max(kept, key=lambda one: (len(kept[one]), str(one))))
    return {**kept, "rare combinations": rare} if rare else kept


def _require_enough(strata: Mapping[Hashable, list[str]], splits: Sequence[str], unit: str) -> None:
    needed = 1 + len(splits)
    for one, patients in sorted(strata.items(), key=str):
        name = "/".join(str(part) for part in one) if isinstance(one, tuple) else str(one)
        if len(patients) < needed:
            remedy = (
                "set data.splits.calib=0, and thresholds come from val"
                if list(splits) == ["calib"]
                else "give the manifest a split column"
            )
            if unit == "block":
                remedy = f"set a smaller data.splits.block_cases, or {remedy}"
            raise DataError(
                f"class {name!r} has {len(patients)} {unit}(s) to divide; train and {', '.join(splits)} need at least "
                f"{needed}. Add scans of this class, leave it out, or {remedy}"
            )
