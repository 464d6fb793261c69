"""Blocks of neighbouring files: neighbours stay together, each split has its share of each run."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from medcnn.config.data import SplitConf
from medcnn.config.fields import all_problems
from medcnn.data.blocks import block_words, blocks_of, spread_order
from medcnn.data.manifest import Case, Manifest
from medcnn.data.split import split_digest, with_splits
from medcnn.data.strata import stratum
from medcnn.errors import DataError


def case(name: str, label: str = "a", patient: str = "") -> Case:
    return Case(f"c-{name}-{label}", {"": name}, {"": label}, patient)


def slices(first: int, last: int, label: str = "a", pattern: str = "images/{}.jpg") -> list[Case]:
    return [case(pattern.format(number), label) for number in range(first, last + 1)]


def blocks(cases: list[Case], about: int) -> list[list[str]]:
    """The references of each block, blocks in their order."""
    of = blocks_of(cases, about, stratum)
    found: dict[str, list[str]] = defaultdict(list)
    for one in cases:
        found[of[one.case_id]].append(one.images[""])
    return [found[name] for name in sorted(found)]


def numbers(found: list[list[str]]) -> list[list[int]]:
    return [sorted(int(name.removeprefix("images/").removesuffix(".jpg")) for name in block) for block in found]


def test_a_run_is_cut_into_equal_blocks_of_neighbours() -> None:
    assert numbers(blocks(slices(1, 9), 3)) == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert [len(block) for block in blocks(slices(1, 100), 30)] == [34, 33, 33]  # round(100 / 30) = 3 of them
    assert [len(block) for block in blocks(slices(1, 4), 30)] == [4]


@pytest.mark.parametrize("length", [1, 2, 7, 19, 20, 29, 31, 163])
@pytest.mark.parametrize("about", [2, 20])
def test_no_block_is_far_from_the_length_asked_for(length: int, about: int) -> None:
    found = blocks([*slices(1, length), *slices(1000, 1001)], about)[:-1]  # the second run gives neighbours to any
    sizes = [len(block) for block in found]
    assert sum(sizes) == length
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= 1.5 * about + 1
    assert min(sizes) >= min(length, about / 2)


def test_a_run_ends_where_the_label_the_number_or_the_folder_changes() -> None:
    cases = [
        *slices(1, 4, "a"),
        *slices(5, 7, "b"),
        *slices(9, 12, "b"),  # 8 is not there
        *slices(13, 14, "b", "other/{}.jpg"),
    ]
    assert [len(block) for block in blocks(cases, 100)] == [4, 3, 4, 2]


def test_numbers_are_numbers_and_rows_may_stand_in_any_order() -> None:
    cases = slices(8, 12)
    shuffled = [cases[index] for index in (3, 0, 4, 2, 1)]
    assert numbers(blocks(shuffled, 100)) == [[8, 9, 10, 11, 12]]  # as text, 10 stands before 8
    assert blocks_of(shuffled, 2, stratum) == blocks_of(cases, 2, stratum)


def test_the_number_is_the_last_one_of_the_name_or_the_row_of_an_archive() -> None:
    for pattern in ("s2/T1_{}_ax.nii.gz", "IM-0001-{:04d}.dcm", "a.jp2/{}.jp2", "set.npz#row=train/{}"):
        assert [len(block) for block in blocks(slices(3, 8, "a", pattern), 3)] == [3, 3], pattern


def test_several_findings_in_one_picture_are_neighbours() -> None:
    cases = [case("1.png"), replace_id(case("1.png"), "again"), case("2.png")]
    assert [len(block) for block in blocks(cases, 9)] == [3]


def replace_id(one: Case, case_id: str) -> Case:
    return Case(case_id, one.images, one.labels)


def test_what_has_no_neighbours_is_said() -> None:
    with pytest.raises(DataError, match=r"block_cases: 1 of 3 cases have a patient_id, and patients are divided whole"):
        blocks_of([*slices(1, 2), case("3.jpg", patient="canary")], 20, stratum)
    with pytest.raises(DataError, match=r"the file of c-scan\.png-a has none in its name"):
        blocks_of([*slices(1, 2), case("scan.png")], 20, stratum)
    with pytest.raises(DataError, match="no two cases of a label have file numbers that follow each other"):
        blocks_of([case(f"{number}.png") for number in range(0, 50, 2)], 20, stratum)


def test_a_stretch_of_the_order_is_spread_over_the_blocks() -> None:
    """Of every 20 neighbours a share of 15 % takes 3, give or take one; a random order would do so rarely."""
    for seed in range(20):
        order = spread_order([str(index) for index in range(100)], np.random.default_rng(seed))
        assert sorted(order, key=int) == [str(index) for index in range(100)]
        taken = {int(name) for name in order[:15]}
        counts = [len(taken & set(range(first, first + 20))) for first in range(81)]
        assert min(counts) >= 2
        assert max(counts) <= 4


def planes(tmp_path: Path) -> Manifest:
    """Two classes, three runs each, of 160 and 80 slices."""
    cases: list[Case] = []
    for run, (label, length) in enumerate([("a", 80)] * 3 + [("b", 160)] * 3):
        cases += slices(1000 * run, 1000 * run + length - 1, label)
    return Manifest(tmp_path, tuple(cases))


def number_of(one: Case) -> int:
    return int(one.images[""].removeprefix("images/").removesuffix(".jpg"))


def test_every_split_has_its_share_of_every_class_and_plane(tmp_path: Path) -> None:
    whole = planes(tmp_path)
    for seed in range(5):
        divided, remarks = with_splits(whole, SplitConf(block_cases=10, seed=seed))
        counts = Counter((one.labels[""], one.split) for one in divided.cases)
        assert [counts["b", split] for split in ("train", "val", "calib", "test")] == [290, 70, 50, 70]  # of 48 blocks
        assert [counts["a", split] for split in ("train", "val", "calib", "test")] == [140, 40, 20, 40]  # of 24
        in_plane = Counter((number_of(one) // 1000, one.split) for one in divided.cases)
        assert all(in_plane[plane, split] for plane in range(6) for split in ("train", "val", "test"))
        assert remarks == [
            "the manifest names no splits: 72 blocks of 10 to 10 neighbouring files were divided by data.splits"
        ]


def test_neighbours_stay_together(tmp_path: Path) -> None:
    """Of 714 pairs of neighbours at most the 66 at an edge between two blocks are torn; single slices tear half."""
    whole = planes(tmp_path)

    def torn(conf: SplitConf) -> int:
        split = {number_of(one): one.split for one in with_splits(whole, conf)[0].cases}
        return sum(split[number] != split[number + 1] for number in split if number + 1 in split)

    assert torn(SplitConf(block_cases=10)) <= 66
    assert torn(SplitConf()) > 300


def test_the_same_seed_is_the_same_division(tmp_path: Path) -> None:
    whole = planes(tmp_path)
    backwards = whole.with_cases(whole.cases[::-1])
    conf = SplitConf(block_cases=10, seed=3)
    digests = {split_digest(with_splits(one, conf)[0].cases) for one in (whole, whole, backwards)}
    assert len(digests) == 1
    assert split_digest(with_splits(whole, SplitConf(block_cases=10, seed=4))[0].cases) not in digests


def test_splits_of_the_manifest_are_kept_and_calibration_takes_blocks_of_the_rest(tmp_path: Path) -> None:
    whole = planes(tmp_path)
    given = [
        Case(one.case_id, one.images, one.labels, split="test" if number_of(one) % 1000 < 20 else "train")
        for one in whole.cases
    ]
    divided, remarks = with_splits(whole.with_cases(given), SplitConf(block_cases=10))
    assert [one.case_id for one in divided.cases if one.split == "test"] == [
        one.case_id for one in given if one.split == "test"
    ]
    assert "no calib split: 10% of the training blocks were set aside for thresholds" in remarks
    split = {number_of(one): one.split for one in divided.cases}
    assert all(len({split[number] for number in range(first, first + 10)}) == 1 for first in range(0, 6000, 1000))
    everything = [Case(one.case_id, {"": "no number.png"}, one.labels, split="test") for one in given]
    assert with_splits(whole.with_cases(everything), SplitConf(block_cases=10))[0].cases == tuple(everything)


def test_folds_hold_whole_blocks(tmp_path: Path) -> None:
    divided, remarks = with_splits(planes(tmp_path), SplitConf(block_cases=10, folds=4, calib=0, test=0))
    fold = {number_of(one): one.fold for one in divided.cases}
    assert all(
        len({fold[number] for number in fold if number // 10 == tens}) == 1
        for tens in {number // 10 for number in fold}
    )
    assert Counter(fold.values()) == dict.fromkeys("0123", 180)
    assert "72 blocks of train and val were divided into 4 folds" in remarks


def test_too_few_blocks_of_a_class_are_said(tmp_path: Path) -> None:
    cases = [*slices(1, 30, "a"), *slices(31, 400, "b")]
    with pytest.raises(DataError, match=r"class 'a' has 2 block\(s\) to divide; .*set a smaller data\.splits\.block_c"):
        with_splits(Manifest(tmp_path, tuple(cases)), SplitConf(block_cases=20))


def test_a_block_of_one_is_none() -> None:
    assert list(all_problems(SplitConf(block_cases=1))) == [
        "block_cases: must be 0, or at least 2: a block of one case keeps nothing together"
    ]
    assert list(all_problems(SplitConf(block_cases=2))) == []


def test_how_many_blocks_there_are() -> None:
    assert block_words(blocks_of(slices(1, 100), 30, stratum)) == "3 blocks of 33 to 34 neighbouring files"
