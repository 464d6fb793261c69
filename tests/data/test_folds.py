"""Folds: nobody in two, every class in each, whatever the order of the rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medcnn.config.data import SplitConf
from medcnn.config.fields import all_problems
from medcnn.data.manifest import Case, Manifest
from medcnn.data.split import require_split_by_patient, split_digest, with_splits
from medcnn.errors import DataError, LeakageError


def cohort(scans: list[tuple[str, int]], split: str = "") -> Manifest:
    """(label, scans) of each patient."""
    cases = [
        Case(f"c{p:03d}-{n}", {"": f"{p}-{n}.png"}, {"": label}, f"p{p:03d}", split)
        for p, (label, count) in enumerate(scans)
        for n in range(count)
    ]
    return Manifest(Path(), tuple(cases))


PEOPLE = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5)), min_size=5, max_size=60)


@settings(max_examples=60, deadline=None)
@given(PEOPLE, st.integers(2, 5), st.integers(0, 3), st.randoms(use_true_random=False))
def test_folds_of_any_cohort(people: list[tuple[str, int]], count: int, seed: int, shuffle: object) -> None:
    whole = cohort(people, "train")
    conf = SplitConf(calib=0, folds=count, seed=seed)
    divided, _ = with_splits(whole, conf)
    require_split_by_patient(divided.cases)
    folds_of_class: dict[str, Counter[str]] = defaultdict(Counter)
    for patient in {case.patient_id: case for case in divided.cases}.values():
        folds_of_class[patient.labels[""]][patient.fold] += 1
    for counts in folds_of_class.values():  # at most one patient of a class more or less
        there = [counts[str(fold)] for fold in range(count)]
        assert max(there) - min(there) <= 1
    mixed = list(whole.cases)
    shuffle.shuffle(mixed)  # type: ignore[attr-defined]
    again, _ = with_splits(whole.with_cases(mixed), conf)
    assert split_digest(again.cases) == split_digest(divided.cases)
    assert [case.case_id for case in again.cases] == [case.case_id for case in mixed]


def test_folds_are_of_one_size_in_cases_too() -> None:
    divided, remarks = with_splits(cohort([("a", 1 + p % 4) for p in range(40)], "train"), SplitConf(calib=0, folds=5))
    counts = Counter(case.fold for case in divided.cases)
    assert max(counts.values()) - min(counts.values()) <= 2
    assert sum(counts.values()) == 100
    assert remarks == ["40 patients of train and val were divided into 5 folds"]


def test_what_is_left_over_of_each_class_does_not_gather_in_one_fold() -> None:
    people = [(label, 1) for label in "abcdefghij" for _ in range(6)]  # six of each class, for five folds
    divided, _ = with_splits(cohort(people, "train"), SplitConf(calib=0, folds=5))
    assert Counter(case.fold for case in divided.cases) == dict.fromkeys("01234", 12)


def test_calib_and_test_take_no_turn() -> None:
    divided, _ = with_splits(cohort([("ab"[p % 2], 2) for p in range(60)]), SplitConf(folds=4))
    assert {bool(case.fold) for case in divided.cases if case.split in ("train", "val")} == {True}
    assert {case.fold for case in divided.cases if case.split in ("calib", "test")} == {""}
    assert {case.fold for case in divided.cases if case.split == "train"} == {"0", "1", "2", "3"}


def test_folds_of_the_manifest_are_kept_but_for_the_held_out() -> None:
    whole = cohort([("ab"[p % 2], 1) for p in range(40)])
    given_folds = whole.with_cases(
        [Case(c.case_id, c.images, c.labels, c.patient_id, fold=str(n % 5)) for n, c in enumerate(whole.cases)]
    )
    divided, remarks = with_splits(given_folds, SplitConf(folds=3))
    for before, after in zip(given_folds.cases, divided.cases, strict=True):
        assert after.fold == (before.fold if after.split in ("train", "val") else "")
    held_out = sum(case.split in ("calib", "test") for case in divided.cases)
    assert f"{held_out} cases of calib and test left their fold: they are held out of every turn" in remarks
    assert "the manifest's own 5 folds are kept; data.splits.folds=3 was not used" in remarks


def test_the_digest_covers_folds() -> None:
    whole = cohort([("ab"[p % 2], 1) for p in range(40)], "train")
    digests = {split_digest(with_splits(whole, SplitConf(calib=0, folds=k))[0].cases) for k in (0, 2, 3)}
    assert len(digests) == 3
    assert split_digest(whole.cases) in digests


def test_one_patient_in_two_folds_stops() -> None:
    cases = [Case(f"c{n}", {"": f"{n}.png"}, {"": "a"}, "canary-1", "train", fold=str(n)) for n in range(2)]
    with pytest.raises(LeakageError, match=r"more than one fold \(the patient of c0 is in 0 and 1\)") as caught:
        require_split_by_patient(cases)
    assert "canary" not in str(caught.value)


def test_too_few_patients_and_one_fold() -> None:
    with pytest.raises(DataError, match=r"data\.splits\.folds: 4 patients of train and val make no 5 folds"):
        with_splits(cohort([("a", 3)] * 4, "train"), SplitConf(calib=0, folds=5))
    assert list(all_problems(SplitConf(folds=1))) == [
        "folds: must be 0, or at least 2: one fold leaves nobody to train on"
    ]
    assert list(all_problems(SplitConf(folds=5))) == []


def test_masks_alone_and_boxes_alone_are_divided() -> None:
    masks = [Case(f"c{n}", {"": f"{n}.nii"}, {}, masks={"": "m.nii"}) for n in range(20)]
    divided, _ = with_splits(Manifest(Path(), tuple(masks)), SplitConf(folds=2))
    assert Counter(case.split for case in divided.cases) == {"train": 12, "val": 3, "calib": 2, "test": 3}
    boxed = [
        Case(f"c{n}", {"": f"{n}.png"}, {}, boxes='[{"box":[0,0,1,1],"class":"a"}]' if n % 2 else "[]")
        for n in range(40)
    ]
    divided, _ = with_splits(Manifest(Path(), tuple(boxed)), SplitConf(folds=5))
    counts = Counter((case.split, case.boxes == "[]") for case in divided.cases)
    assert counts["val", True] == counts["val", False] == 3


def test_public_sets_with_train_and_test_give_val_and_calib() -> None:
    train = [Case(f"c{n}", {"": f"{n}.png"}, {"": "ab"[n % 2]}, f"p{n}", "train") for n in range(40)]
    test = [Case(f"t{n}", {"": f"t{n}.png"}, {"": "ab"[n % 2]}, f"q{n}", "test") for n in range(10)]
    divided, remarks = with_splits(Manifest(Path(), (*train, *test)), SplitConf())
    assert Counter(case.split for case in divided.cases) == {"train": 30, "val": 6, "calib": 4, "test": 10}
    assert remarks == [
        "no val split: 15% of the training patients were set aside for choosing the model",
        "no calib split: 10% of the training patients were set aside for thresholds",
    ]
