"""From a data config to cases with splits, labels and prepared scans; what stops a training on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medcnn.config.data import DataConf, SplitConf
from medcnn.config.transforms import IntensityConf, TransformsConf
from medcnn.data.cache import Cache
from medcnn.data.dataset import (
    Dataset,
    in_words,
    most_common_rejections,
    open_dataset,
    prepare_dataset,
    require_trainable,
    without_leaks,
)
from medcnn.data.prepared import Prepared
from medcnn.data.privacy import Keyring
from medcnn.errors import DataError, LeakageError
from medcnn.io.options import Reading
from medcnn.transforms.preprocessing import Preprocessing

KEYS = Keyring(b"k" * 32)
Write = Callable[..., Path]


def conf(root: Path, **settings: Any) -> DataConf:
    return DataConf(name="mine", root=str(root), **settings)


def rows(*splits: str, per_split: int = 4) -> list[list[str]]:
    return [
        [f"{split}{n}", f"p-{split}{n}", f"{split}{n}.png", ["well", "ill"][n % 2], split]
        for split in splits
        for n in range(per_split)
    ]


HEADER = ["case_id", "patient_id", "image", "label", "split"]


def opened(root: Path, *, splits: bool = True, **settings: Any) -> Dataset:
    return open_dataset(conf(root, **settings), KEYS, splits=splits)


def prepared(root: Path, dataset: Dataset, **settings: Any) -> Prepared:
    steps = Preprocessing.of(
        TransformsConf(size_px=[10, 12], intensity=IntensityConf(scale="range")), reading=Reading(), num_channels=1
    )
    cache = Cache(root / ".cache")
    return prepare_dataset(dataset, conf(root, **settings), steps, cache, report=lambda done, total: None)


def test_counts_of_each_split_and_class(write_csv: Write) -> None:
    found = opened(write_csv(HEADER, *rows("train", "val", "calib", "test")), class_names=["well", "ill"])
    assert found.counts() == {split: {"well": 2, "ill": 2} for split in ("train", "val", "calib", "test")}
    assert in_words({"train": {"well": 2, "ill": 1}, "val": {"well": 1, "ill": 0}}) == (
        "train 3 (2 well, 1 ill), val 1 (1 well, 0 ill)"
    )


def test_splits_are_made_where_the_manifest_has_none(write_csv: Write) -> None:
    root = write_csv(HEADER[:4], *[row[:4] for row in rows("x", per_split=40)])
    divided, as_it_is = opened(root), opened(root, splits=False)
    assert set(divided.counts()) == {"train", "val", "calib", "test"}
    assert divided.remarks == ("the manifest names no splits: patients were divided by data.splits",)
    assert (set(as_it_is.counts()), as_it_is.remarks) == ({""}, ())
    assert divided.digest == as_it_is.digest
    assert divided.split_digest != as_it_is.split_digest


def test_the_digest_changes_with_rows_images_and_labels_only(write_csv: Write) -> None:
    base = rows("train", "val")
    first = opened(write_csv(HEADER, *base), splits=False).digest
    assert opened(write_csv(HEADER, *base[::-1]), splits=False).digest == first
    for column, value in ((0, "other"), (2, "other.png"), (3, "well")):
        changed = [list(row) for row in base]
        changed[1][column] = value
        assert opened(write_csv(HEADER, *changed), splits=False).digest != first


def test_a_case_without_an_id_gets_a_keyed_one(write_csv: Write) -> None:
    root = write_csv(["image", "label"], ["canary.png", "a"], ["2.png", "b"])
    first = open_dataset(conf(root), KEYS, splits=False).manifest.cases[0].case_id
    assert first == KEYS.case_id((), "canary.png")
    assert "canary" not in first
    other = open_dataset(conf(root), Keyring(b"o" * 32), splits=False).manifest.cases[0].case_id
    assert other != first


def test_unknown_patients_are_remarked_on(write_csv: Write) -> None:
    root = write_csv(["image", "label", "split"], ["1.png", "a", "train"], ["2.png", "b", "val"])
    (remark,) = opened(root, splits=False).remarks
    assert "no patient ids" in remark


def test_one_patient_in_two_splits_stops_before_any_scan_is_read(write_csv: Write) -> None:
    given = rows("train", "val")
    given[0][1] = given[-1][1]
    with pytest.raises(LeakageError, match="LEAKAGE"):
        opened(write_csv(HEADER, *given))  # there are no files


def test_labels_are_looked_at_before_any_scan_is_read(write_csv: Write) -> None:
    given = rows("train", "val")
    given[3][3] = "wel"
    with pytest.raises(DataError, match=r"'wel' in 1 cases .*Did you mean well"):
        opened(write_csv(HEADER, *given), class_names=["well", "ill"])


@pytest.mark.parametrize(
    ("splits", "words"),
    [(("train",), "no case is in the split 'val'"), (("val", "test"), "no case is in the split 'train'")],
)
def test_a_split_that_is_not_there(write_csv: Write, splits: tuple[str, ...], words: str) -> None:
    found = opened(write_csv(HEADER, *rows(*splits)), splits=False)
    with pytest.raises(DataError, match=words):
        require_trainable(found)


def test_a_class_that_is_not_there(write_csv: Write) -> None:
    found = opened(write_csv(HEADER, *rows("train", "val")), splits=False, class_names=["well", "ill", "worse"])
    with pytest.raises(DataError, match="no training case of class worse"):
        require_trainable(found)
    given = [row for row in rows("train", "val") if row[4] == "train" or row[3] == "ill"]
    with pytest.raises(DataError, match="the validation split has one class only"):
        require_trainable(opened(write_csv(HEADER, *given), splits=False))
    require_trainable(opened(write_csv(HEADER, *rows("train", "val")), splits=False))


def test_a_single_case(write_csv: Write) -> None:
    root = write_csv(HEADER[:4], rows("x")[0][:4])
    with pytest.raises(DataError, match="a classifier needs at least two"):
        opened(root, splits=False)
    two = write_csv(HEADER[:4], *[row[:4] for row in rows("x", per_split=2)])
    with pytest.raises(DataError, match=r"class 'ill' has 1 patient\(s\)"):
        opened(two)


def written(root: Path, given: list[list[str]], write_picture: Callable[..., str]) -> None:
    for seed, row in enumerate(given):
        write_picture(row[2], seed=seed)


def test_identical_pixels_in_two_splits(write_csv: Write, write_picture: Callable[..., str]) -> None:
    given = rows("train", "val", "test")
    root = write_csv(HEADER, *given)
    written(root, given, write_picture)
    clean = prepared(root, opened(root, splits=False))
    assert without_leaks(clean, "stop") == (clean, 0)

    write_picture("train1.png", seed=4)  # as val0
    leaking = prepared(root, opened(root, splits=False))
    with pytest.raises(LeakageError, match="train1 in train and val0 in val"):
        without_leaks(leaking, "stop")
    kept, dropped = without_leaks(leaking, "drop_from_train")
    assert dropped == 1
    assert [case.case_id for case in kept.cases] == [row[0] for row in given if row[0] != "train1"]

    write_picture("test2.png", seed=4)
    with pytest.raises(LeakageError, match="take one of each pair out"):
        without_leaks(prepared(root, opened(root, splits=False)), "drop_from_train")


def test_blank_pictures_are_no_leak(write_csv: Write, write_picture: Callable[..., str]) -> None:
    given = rows("train", "val")
    root = write_csv(HEADER, *given)
    written(root, given, write_picture)
    write_picture("train0.png", constant=0)
    write_picture("val0.png", constant=0)
    found = prepared(root, opened(root, splits=False))
    assert without_leaks(found, "stop") == (found, 0)


def test_rejections_in_words(write_csv: Write, write_picture: Callable[..., str]) -> None:
    given = rows("train", "val")
    root = write_csv(HEADER, *given)
    written(root, given, write_picture)
    for name in ("train0.png", "val1.png"):
        (root / name).unlink()
    (root / "train1.png").write_text("no picture")
    found = prepared(root, opened(root, splits=False), max_rejected=0.5)
    assert "2 READ_ERROR" in most_common_rejections(found)
    assert len(found.rejected) == 3


def test_only_the_split_that_is_asked_for_is_prepared(write_csv: Write, write_picture: Callable[..., str]) -> None:
    given = rows("train", "test")
    root = write_csv(HEADER, *given)
    written(root, [row for row in given if row[4] == "test"], write_picture)
    steps = Preprocessing.of(TransformsConf(size_px=[10, 12]), reading=Reading(), num_channels=1)
    dataset = opened(root, splits=False)
    found = prepare_dataset(dataset, conf(root), steps, Cache(root / ".c"), split="test", report=lambda d, t: None)
    assert [case.split for case in found.cases] == ["test"] * 4


def test_the_default_shares_leave_most_to_train_on() -> None:
    shares = SplitConf()
    assert 1 - shares.val - shares.calib - shares.test == pytest.approx(0.6)
