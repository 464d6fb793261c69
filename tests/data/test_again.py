"""Prepared again: places that are kept, places that come back, and contradictions that are not passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from medcnn.data.again import can_be_kept, divided_again, require_all_or_none
from medcnn.data.manifest import Case, Manifest
from medcnn.errors import DataError


def case(name: str, patient: str, split: str = "", fold: str = "") -> Case:
    return Case(name, {"": f"{name}.png"}, {"": "sick"}, patient, split, fold=fold)


def manifest(*cases: Case) -> Manifest:
    return Manifest(Path(), cases)


def splits(divided: Manifest) -> dict[str, str]:
    return {one.case_id: one.split for one in divided.cases}


def test_only_a_division_that_could_be_trained_on_is_kept() -> None:
    assert can_be_kept(manifest(case("a", "P", "train"), case("b", "Q", "test")))
    assert not can_be_kept(manifest(case("a", "P", "train"), case("b", "P", "test")))
    assert not can_be_kept(manifest(case("a", "P", "train"), case("b", "Q")))


def test_a_source_with_splits_keeps_what_was_set_aside_and_places_newcomers_itself() -> None:
    earlier = manifest(case("a", "P", "train", "1"), case("b", "Q", "calib"), case("c", "R", "test"))
    new = manifest(case("a", "P", "train"), case("b", "Q", "train"), case("c", "R", "test"), case("d", "S", "test"))
    divided, remarks = divided_again(new, earlier)
    assert splits(divided) == {"a": "train", "b": "calib", "c": "test", "d": "test"}
    assert divided.cases[0].fold == "1"
    assert any("1 of 4 cases are new" in line for line in remarks)


@pytest.mark.parametrize(("then", "now"), [("test", "train"), ("train", "test"), ("val", "test"), ("calib", "val")])
def test_a_source_that_contradicts_is_refused(then: str, now: str) -> None:
    with pytest.raises(DataError, match="into another split"):
        divided_again(manifest(case("a", "P", now)), manifest(case("a", "P", then)))


def test_who_returns_goes_where_they_were_and_takes_new_scans_along() -> None:
    earlier = manifest(*(case(f"t{n}", f"T{n}", "train") for n in range(9)), case("v", "V", "val"))
    away = case("x", "X", "val", "2")
    new = manifest(*(case(one.case_id, one.patient_id) for one in earlier.cases), case("x", "X"), case("x2", "X"))
    divided, _ = divided_again(new, earlier, [away])
    assert {splits(divided)[name] for name in ("x", "x2")} == {"val"}
    assert {one.fold for one in divided.cases if one.patient_id == "X"} == {"2"}


def test_a_patient_who_is_there_decides_over_a_scan_that_returns() -> None:
    earlier = manifest(case("a", "P", "train"), case("b", "Q", "test"))
    new = manifest(case("a", "P"), case("b", "Q"), case("old", "P"))
    divided, _ = divided_again(new, earlier, [case("old", "P", "test")])
    assert splits(divided) == {"a": "train", "b": "test", "old": "train"}


def test_splits_are_for_all_or_for_none() -> None:
    require_all_or_none([case("a", "P", "train"), case("b", "Q", "test")])
    require_all_or_none([case("a", "P"), case("b", "Q")])
    with pytest.raises(DataError, match="1 of 2 cases have no split"):
        require_all_or_none([case("a", "P", "train"), case("b", "Q")])
