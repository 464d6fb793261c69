"""A data set that grows: nobody moves, and the new ones keep the proportions."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medcnn.config.data import SplitConf
from medcnn.data.frozen import frozen_splits
from medcnn.data.manifest import Case, Manifest
from medcnn.data.split import require_split_by_patient, split_digest, with_splits
from medcnn.errors import DataError, LeakageError


def case(patient: int, scan: int, label: str) -> Case:
    return Case(f"c{patient:03d}-{scan}", {"": f"{patient}-{scan}.png"}, {"": label}, f"p{patient:03d}")


def divided(patients: int, scans: int = 1, **conf: int) -> Manifest:
    cases = [case(p, n, "ab"[p % 2]) for p in range(patients) for n in range(scans)]
    return with_splits(Manifest(Path(), tuple(cases)), SplitConf(**conf))[0]


def unsaid(manifest: Manifest) -> list[Case]:
    """As a new look at the folder finds them."""
    return [replace(one, split="", fold="") for one in manifest.cases]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 3)), unique=True, max_size=60),
    st.randoms(use_true_random=False),
)
def test_whoever_was_divided_never_moves(more: list[tuple[int, int]], shuffle: object) -> None:
    old = divided(60, folds=4)
    cases = {one.case_id: one for one in unsaid(old)} | {
        one.case_id: one for one in (case(p, n, "ab"[p % 2]) for p, n in more)
    }
    grown = list(cases.values())
    shuffle.shuffle(grown)  # type: ignore[attr-defined]
    new = frozen_splits(Manifest(Path(), tuple(grown)), old)
    require_split_by_patient(new.cases)
    place = {one.patient_id: (one.split, one.fold) for one in old.cases}
    for one in new.cases:
        assert one.split
        assert (one.split, one.fold) == place.get(one.patient_id, (one.split, one.fold))
        assert bool(one.fold) == (one.split in ("train", "val"))
    assert [one.case_id for one in new.cases] == [one.case_id for one in grown]
    again = frozen_splits(Manifest(Path(), tuple(sorted(grown, key=lambda one: one.case_id))), old)
    assert split_digest(again.cases) == split_digest(new.cases)


def test_patients_whose_scans_are_all_new_stay_too() -> None:
    old = divided(60, folds=4)
    retaken = [replace(one, case_id=f"{one.case_id}-again") for one in unsaid(old)]
    new = frozen_splits(Manifest(Path(), tuple(retaken)), old)
    assert [(one.split, one.fold) for one in new.cases] == [(one.split, one.fold) for one in old.cases]


def test_new_patients_keep_the_proportions() -> None:
    old = divided(100)
    grown = [*unsaid(old), *(case(p, 0, "ab"[p % 2]) for p in range(100, 300))]
    new = frozen_splits(Manifest(Path(), tuple(grown)), old)
    before = Counter((one.split, one.labels[""]) for one in old.cases)
    after = Counter((one.split, one.labels[""]) for one in new.cases)
    for key, count in before.items():
        assert after[key] == pytest.approx(3 * count, abs=2), key


def test_new_patients_fill_the_folds_evenly() -> None:
    old = divided(100, folds=5)
    grown = [*unsaid(old), *(case(p, 0, "ab"[p % 2]) for p in range(100, 200))]
    new = frozen_splits(Manifest(Path(), tuple(grown)), old)
    counts = Counter((one.fold, one.labels[""]) for one in new.cases if one.fold)
    assert max(counts.values()) - min(counts.values()) <= 2


def test_one_new_patient_of_an_unknown_class_is_trained_on() -> None:
    old = divided(40)
    new = frozen_splits(Manifest(Path(), (*unsaid(old), case(99, 0, "rare"))), old)
    assert new.cases[-1].split == "train"


def test_cases_without_patients_are_known_by_themselves() -> None:
    old = with_splits(
        Manifest(Path(), tuple(replace(case(p, 0, "ab"[p % 2]), patient_id="") for p in range(40))), SplitConf()
    )[0]
    new = frozen_splits(Manifest(Path(), tuple(unsaid(old)[::-1])), old)
    assert split_digest(new.cases) == split_digest(old.cases)


def test_patients_who_turn_out_to_be_one() -> None:
    """Two who were divided, and now bear one name."""
    old = divided(40)
    splits = {one.split: one.case_id for one in old.cases}
    joined = [
        replace(one, patient_id="canary-9") if one.case_id in (splits["train"], splits["test"]) else one
        for one in unsaid(old)
    ]
    with pytest.raises(LeakageError) as caught:
        frozen_splits(Manifest(Path(), tuple(joined)), old)
    assert "canary" not in str(caught.value)


def test_manifests_that_cannot_be_kept() -> None:
    old = divided(40)
    with pytest.raises(DataError, match="the old manifest names no splits"):
        frozen_splits(old, old.with_cases(unsaid(old)))
    strangers = tuple(case(p, 0, "a") for p in range(500, 510))
    with pytest.raises(DataError, match="no case and no patient of the old manifest is in the new one"):
        frozen_splits(Manifest(Path(), strangers), old)
