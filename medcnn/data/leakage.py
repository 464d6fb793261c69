"""Identical or nearly identical pixels in two splits: a model tested on what it was trained on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from medcnn.data.audit.near import near_duplicate_pairs
from medcnn.data.cache import Facts
from medcnn.data.manifest import Case
from medcnn.data.prepared import Prepared
from medcnn.errors import LeakageError

_MOST_COMPARED = 20_000  # about half a minute and a gigabyte; prepare looks at any number


def duplicate_train_cases(cases: Sequence[Case], facts: Sequence[Facts], *, duplicates: str) -> set[str]:
    """case_ids of training cases whose pixels also stand in another split, to be dropped.

    duplicates  stop: raises LeakageError instead; drop_from_train: train copies go, never one of another split
    Constant images are exempt. Copies between val, calib and test always raise.
    """
    groups: dict[str, list[Case]] = defaultdict(list)
    for case, fact in zip(cases, facts, strict=True):
        if not fact.constant:
            groups[fact.pixels].append(case)
    crossing = [group for group in groups.values() if len({case.split for case in group}) > 1]
    if not crossing:
        return set()
    for group in crossing:
        held_out = sorted({case.split for case in group} - {"train"})
        if duplicates == "stop" or len(held_out) > 1:
            one, two = _from_two_splits(group)
            remedy = (
                "take one of each pair out of the manifest"
                if len(held_out) > 1
                else "take the copies out, or let medcnn do it with data.duplicates=drop_from_train"
            )
            raise LeakageError(
                f"LEAKAGE: {len(crossing)} pictures stand in more than one split with identical pixels "
                f"(for example {one.case_id} in {one.split} and {two.case_id} in {two.split}). "
                f"Results would be too good: {remedy}"
            )
    return {case.case_id for group in crossing for case in group if case.split == "train"}


def _from_two_splits(group: Sequence[Case]) -> tuple[Case, Case]:
    first = group[0]
    return first, next(case for case in group if case.split != first.split)


def near_copies(prepared: Prepared) -> list[tuple[Case, Case]]:
    """Pairs of cases in different splits that look nearly the same and are not identical; the likest first.

    They may be one person's neighbouring pictures, or copies saved in another way. Compared on the network's grid.
    """
    if not 2 <= len(prepared) <= _MOST_COMPARED:
        return []
    images = (prepared.images[[index]][0] for index in range(len(prepared)))
    cases, facts = prepared.cases, prepared.facts
    return [
        (cases[one], cases[other])
        for one, other, _ in near_duplicate_pairs(images)
        if cases[one].split != cases[other].split and facts[one].pixels != facts[other].pixels
    ]
