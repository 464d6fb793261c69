"""From a data config to cases with masks: from a manifest or straight from a layout, with splits or one fold's turn."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from seg_folders import box_labels, msd_folder, write_nifti

from medcnn.config.data import DataConf, SplitConf
from medcnn.data.cache import Cache
from medcnn.data.dataset import (
    in_words,
    open_dataset,
    require_trainable,
    told_apart,
    without_leaks,
    write_used_manifest,
)
from medcnn.data.manifest import Case, read_manifest
from medcnn.data.mask_dataset import MaskDataset
from medcnn.data.privacy import Keyring
from medcnn.data.read_cases import CaseReader
from medcnn.data.structures import Structures
from medcnn.errors import DataError, LeakageError
from medcnn.io.options import Reading

KEYS = Keyring(b"k" * 32)
Write = Callable[..., Path]
HEADER = ["case_id", "patient_id", "image", "mask", "split"]
NAMED = {"front": [1], "back": [2]}


def conf(root: Path, **settings: Any) -> DataConf:
    return DataConf(name="mine", root=str(root), **settings)


def opened(root: Path, *, splits: bool = True, model: Structures | None = None, **settings: Any) -> MaskDataset:
    return open_dataset(conf(root, **settings), KEYS, splits=splits, learns="masks", structures=model)


def rows(*splits: str, per_split: int = 3) -> list[list[str]]:
    return [
        [f"{split}{n}", f"p-{split}{n}", f"{split}{n}.nii", f"{split}{n}_m.nii", split]
        for split in splits
        for n in range(per_split)
    ]


def test_a_manifest_with_masks_needs_no_labels(write_csv: Write) -> None:
    found = opened(write_csv(HEADER, *rows("train", "val", "test")), structures=NAMED)
    assert found.counts() == {"train": 3, "val": 3, "test": 3}
    assert in_words(found.counts()) == "train 3, val 3, test 3"
    assert (found.structures.names, found.structures.overlapping, found.remarks) == (("front", "back"), False, ())
    require_trainable(found)


def test_a_manifest_without_masks_is_for_classifiers(write_csv: Write) -> None:
    root = write_csv(["image", "label"], ["a.png", "x"], ["b.png", "y"])
    with pytest.raises(DataError, match=r"no 'mask' column, and a segmenter learns from masks"):
        opened(root)
    with pytest.raises(DataError, match="no case has a mask"):
        opened(write_csv(["image", "mask"], ["a.png", ""], ["b.png", ""]))
    with pytest.raises(DataError, match="no 'label' column"):
        open_dataset(conf(write_csv(["image", "mask"], ["a.png", "m.png"])), KEYS, splits=False)


def test_cases_without_a_mask_are_left_out_and_counted(write_csv: Write) -> None:
    given = rows("train", "val")
    given[1][3] = given[4][3] = ""
    found = opened(write_csv(HEADER, *given), structures=NAMED)
    assert found.counts() == {"train": 2, "val": 2}
    assert found.remarks == ("2 cases have no mask and were left out",)


def test_no_case_is_set_aside_for_calibration(write_csv: Write) -> None:
    unsplit = [row[:4] for row in rows("train", per_split=20)]
    assert opened(write_csv(HEADER[:4], *unsplit), structures=NAMED).counts() == {"train": 14, "val": 3, "test": 3}
    assert opened(write_csv(HEADER, *rows("train", "val")), structures=NAMED).counts() == {"train": 3, "val": 3}
    kept = opened(write_csv(HEADER, *rows("train", "val", "calib")), structures=NAMED)
    assert kept.counts()["calib"] == 3  # a manifest that has them keeps them


def test_one_case_trains_and_nothing_chooses(write_csv: Write) -> None:
    found = opened(write_csv(HEADER[:4], *[row[:4] for row in rows("only", per_split=1)]), structures=NAMED)
    assert found.counts() == {"train": 1}
    assert "1 case(s) are too few to set any aside: all are trained on" in found.remarks
    assert any("there is no val split" in remark for remark in found.remarks)
    require_trainable(found)
    with pytest.raises(DataError, match=r"no case is in the split 'train' \(there: val\)"):
        require_trainable(opened(write_csv(HEADER, *rows("val")), structures=NAMED))


@pytest.mark.parametrize("described", [True, False], ids=["dataset.json", "folders alone"])
@pytest.mark.parametrize("folds", [3, 0], ids=["splits.json", "no folds"])
def test_an_msd_folder_is_a_data_set_as_it_is(tmp_path: Path, described: bool, folds: int) -> None:
    root = msd_folder(tmp_path, 12, described=described, folds=folds)
    shares = SplitConf(val=0.25, calib=0, test=0)
    settings = DataConf(name="m", root=str(root), layout="msd", structures=NAMED, splits=shares)
    found = open_dataset(settings, KEYS, splits=True, learns="masks")
    assert found.counts() == {"train": 9, "val": 3}
    assert {case.fold for case in found.manifest.cases} == ({"0", "1", "2"} if folds else {""})
    assert all(case.case_id.startswith("c-") and "case_0" not in case.case_id for case in found.manifest.cases)
    again = open_dataset(settings, KEYS, splits=True, learns="masks")
    assert (again.digest, again.split_digest) == (found.digest, found.split_digest)
    require_trainable(found)


def test_evaluation_finds_no_splits_in_a_layout_that_names_folds_only(tmp_path: Path) -> None:
    """So that all cases get the split that is asked for."""
    found = opened(msd_folder(tmp_path, 4, folds=2), splits=False, layout="msd")
    assert {case.split for case in found.manifest.cases} == {""}
    assert found.structures.names == ("front", "back")  # from dataset.json


def test_a_layouts_remarks_stay_in_the_terminal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "notes of Mr Canary.txt").write_text("x")
    with caplog.at_level(logging.INFO):
        found = opened(msd_folder(tmp_path, 4, described=False), layout="msd", structures=NAMED)
    assert any("paired by their names" in message for message in caplog.messages)
    assert not any("paired" in remark or "Canary" in remark for remark in found.remarks)


def test_a_root_that_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.root: .* is not a folder"):
        opened(tmp_path / "gone", layout="msd")


@pytest.mark.parametrize("splits", [True, False], ids=["training", "evaluation"])
def test_one_fold_is_val_and_the_others_train(tmp_path: Path, splits: bool) -> None:
    root = msd_folder(tmp_path, 9, folds=3)
    settings = DataConf(
        name="m", root=str(root), layout="msd", splits=SplitConf(val=0.2, calib=0, test=0), structures=NAMED
    )
    seen = []
    for fold in range(3):
        settings.fold = fold
        found = open_dataset(settings, KEYS, splits=splits, learns="masks")
        held_out = {case.case_id for case in found.manifest.of_split("val")}
        assert held_out == {case.case_id for case in found.manifest.cases if case.fold == str(fold)}
        assert found.counts() == {"val": 3, "train": 6} or found.counts() == {"train": 6, "val": 3}
        assert f"fold {fold} is val, and the others train" in found.remarks
        seen.append(held_out)
    assert len(set.union(*seen)) == 9
    settings.fold = 3
    with pytest.raises(DataError, match=r"no case is in fold 3; it is one of 0, 1, 2"):
        open_dataset(settings, KEYS, splits=splits, learns="masks")


def test_folds_are_made_where_there_are_none_and_leave_the_test_cases_alone(write_csv: Write) -> None:
    root = write_csv(HEADER, *rows("train", "val", "test", per_split=4))
    with pytest.raises(DataError, match=r"no case is in fold 0; set data\.splits\.folds"):
        opened(root, structures=NAMED, fold=0)
    settings = DataConf(name="m", root=str(root), structures=NAMED, fold=0, splits=SplitConf(folds=4))
    assert open_dataset(settings, KEYS, splits=True, learns="masks").counts() == {"val": 2, "train": 6, "test": 4}
    labelled = write_csv([*HEADER[:3], "label", "split", "fold"], *_labelled())
    turn = open_dataset(conf(labelled, fold=1, splits=SplitConf(calib=0)), KEYS, splits=True)
    assert turn.counts()["val"] == {"a": 2, "b": 2}  # classification takes turns too


def _labelled() -> list[list[str]]:
    return [[f"c{n}", f"p{n}", f"{n}.png", "ab"[n % 2], "train", str(n // 4)] for n in range(12)]


def test_structures_are_found_in_the_masks_where_nobody_names_them(write_csv: Write) -> None:
    root = write_csv(HEADER, *rows("train", "val"))
    for number, name in enumerate(["train0", "train1", "train2", "val0"]):
        labels = box_labels()
        labels[labels == 2] = (2, 5, 0, 7)[number]  # 7 stands in a val case only
        write_nifti(root / f"{name}_m.nii", labels)
    found = opened(root)
    assert found.structures.names == ("label_1", "label_2", "label_5")
    (remark,) = found.remarks
    assert "label_1, label_2, label_5" in remark
    assert "data.structures={<name>: [1], <name>: [2], <name>: [5]}" in remark
    assert opened(root, ignore_labels=[5]).structures.names == ("label_1", "label_2")
    write_nifti(root / "x_m.nii", box_labels(empty=True))
    root = write_csv(HEADER, ["x", "x", "x.nii", "x_m.nii", "train"])
    with pytest.raises(DataError, match="the masks hold no value but 0"):
        opened(root)


def test_mask_columns_are_structures_that_may_overlap(write_csv: Write) -> None:
    root = write_csv(["image", "mask.lung", "mask.heart"], ["a.png", "l.png", ""], ["b.png", "l.png", "h.png"])
    found = opened(root, splits=False)
    assert (found.structures.names, found.structures.overlapping) == (("lung", "heart"), True)
    assert len(found.manifest) == 2


def test_the_models_structures_count_where_it_is_evaluated(tmp_path: Path) -> None:
    model = Structures(("back",), {"back": (2,)}, overlapping=False, background=(0, 1))
    found = opened(msd_folder(tmp_path, 2), splits=False, layout="msd", model=model)
    assert found.structures == model


def test_the_digest_is_of_the_structures_too(write_csv: Write) -> None:
    root = write_csv(HEADER, *rows("train", "val"))
    named, other = (opened(root, structures=names).digest for names in (NAMED, {"both": [1, 2]}))
    assert named != other
    given = rows("train", "val")
    given[0][3] = "other.nii"
    assert opened(write_csv(HEADER, *given), structures=NAMED).digest != named


def test_copies_in_two_splits_stop_or_are_dropped(tmp_path: Path) -> None:
    root = msd_folder(tmp_path, 4)
    (root / "imagesTr" / "case_003.nii.gz").write_bytes((root / "imagesTr" / "case_000.nii.gz").read_bytes())
    cases = [
        Case(f"c{n}", {"": f"imagesTr/case_00{n}.nii.gz"}, {}, split=split, masks={"": f"labelsTr/case_00{n}.nii.gz"})
        for n, split in enumerate(["train", "train", "val", "val"])
    ]
    model = Structures(("front", "back"), {"front": (1,), "back": (2,)}, overlapping=False)
    reader = CaseReader(root, model, Reading(), Cache(tmp_path / ".cache"))
    read = reader.all(cases, max_rejected=0, report=lambda done, total: None)
    with pytest.raises(LeakageError, match="c0 in train and c3 in val"):
        without_leaks(read, "stop")
    kept, dropped = without_leaks(read, "drop_from_train")
    assert ([case.case_id for case in kept.cases], dropped) == (["c1", "c2", "c3"], 1)
    assert np.array_equal(kept[0].scan.voxels, read[1].scan.voxels)


def test_cases_that_claim_one_identity_are_told_apart() -> None:
    cases = [Case(name, {"": f"{number}.dcm"}, {}) for number, name in enumerate(["c-1", "c-1", "c-2"])]
    names = [case.case_id for case in told_apart(cases, KEYS)]
    assert (len(set(names)), names[2]) == (3, "c-2")


def test_the_used_manifest_keeps_masks_boxes_and_folds_to_itself(tmp_path: Path) -> None:
    boxes = '[{"box":[1,2,3,4],"class":"a"}]'
    cases = [
        Case("c0", {"": "a.nii"}, {}, "canary", "train", {"lung": "=m.nii", "heart": ""}, boxes, "1"),
        Case("c1", {"": "-b.nii"}, {}, "", "test", {"lung": "n.nii", "heart": "h.nii"}, "", ""),
    ]
    write_used_manifest(tmp_path / "manifest.csv", cases, KEYS, shareable=False)
    assert "'=m.nii" in (tmp_path / "manifest.csv").read_text()  # no spreadsheet runs it
    back = read_manifest(tmp_path, "manifest.csv").cases
    for one, other in zip(back, cases, strict=True):
        assert (one.case_id, one.images, one.masks, one.boxes, one.split, one.fold) == (
            other.case_id, other.images, other.masks, other.boxes, other.split, other.fold,
        )  # fmt: skip
    assert back[0].free == {"patient_key": KEYS.patient_key("canary")}
    write_used_manifest(tmp_path / "shared.csv", cases, KEYS, shareable=True)
    with (tmp_path / "shared.csv").open(newline="") as stream:
        header, *lines = list(csv.reader(stream))
    assert header == ["case_id", "patient_key", "split", "fold"]
    assert [line[0] for line in lines] == ["c0", "c1"]


def test_a_path_that_no_table_keeps(tmp_path: Path) -> None:
    case = Case("c0", {"": "a.nii "}, {}, "", "train", {"": "m.nii"})
    with pytest.raises(DataError, match="ends with a space"):
        write_used_manifest(tmp_path / "manifest.csv", [case], KEYS, shareable=False)


def test_the_real_hippocampus(medcnn_data: Path) -> None:
    """208 cases; the folds of splits.json; every mask holds both structures in a piece or two."""
    settings = DataConf(
        name="hippocampus",
        root=str(medcnn_data / "hippocampus"),
        layout="msd",
        structures={"anterior": [1], "posterior": [2]},
        splits=SplitConf(val=0.08, calib=0, test=0),
    )
    assert open_dataset(settings, KEYS, splits=True, learns="masks").counts() == {"train": 191, "val": 17}
    settings.fold = 0
    found = open_dataset(settings, KEYS, splits=True, learns="masks")
    assert found.counts()["val"] in (41, 42)
    assert len(found.manifest) == 208
