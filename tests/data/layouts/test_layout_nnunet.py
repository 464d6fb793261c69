"""nnU-Net's raw layout: a file per channel, regions as lists of values, folds, test cases with and without masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medcnn.data.layouts.listing import Listing

Write = Callable[..., Path]
Read = Callable[..., Listing]


@pytest.fixture
def nnunet(volume: Write, text: Write) -> Callable[..., None]:
    """Three cases of two channels; fields override those of dataset.json."""

    def write(channels: int = 2, **fields: Any) -> None:
        for n in range(3):
            for channel in range(channels):
                volume(f"imagesTr/ab_{n}_{channel:04d}.nii.gz")
            volume(f"labelsTr/ab_{n}.nii.gz")
        names = {str(k): name for k, name in enumerate(("T1", "T2", "DWI")[:channels])}
        labels = {"background": 0, "whole tumour": [1, 2], "core": 2, "ignore": 3}
        text("dataset.json", {"channel_names": names, "labels": labels, "file_ending": ".nii.gz", **fields})

    return write


def test_a_raw_dataset(nnunet: Callable[..., None], listed: Read, junk: Callable[[], None]) -> None:
    nnunet()
    junk()
    found = listed()
    assert (found.kind, found.class_names) == ("nnunet", ["whole tumour", "core"])
    assert found.codes == {"background": (0,), "whole tumour": (1, 2), "core": (2,), "ignore": (3,)}
    assert [case.images for case in found.cases] == [
        {"T1": f"imagesTr/ab_{n}_0000.nii.gz", "T2": f"imagesTr/ab_{n}_0001.nii.gz"} for n in range(3)
    ]
    assert [case.masks[""] for case in found.cases] == [f"labelsTr/ab_{n}.nii.gz" for n in range(3)]
    assert any("regions of several values" in line for line in found.remarks)
    assert len(found.skipped) == 4


def test_one_channel_is_called_image(nnunet: Callable[..., None], listed: Read) -> None:
    nnunet(1)
    assert listed().cases[0].images == {"": "imagesTr/ab_0_0000.nii.gz"}


def test_without_a_description(nnunet: Callable[..., None], root: Path, listed: Read) -> None:
    nnunet()
    (root / "dataset.json").unlink()
    found = listed()
    assert (found.kind, list(found.cases[0].images)) == ("nnunet", ["0", "1"])
    assert "no dataset.json: channels are called by their numbers, classes are not known" in found.remarks


def test_folds_and_test_cases(nnunet: Callable[..., None], volume: Write, text: Write, listed: Read) -> None:
    nnunet(1)
    text(
        "splits_final.json",
        [{"train": ["ab_1", "ab_2"], "val": ["ab_0"]}, {"train": ["ab_0"], "val": ["ab_1", "ab_2"]}],
    )
    volume("imagesTs/cd_0000.nii.gz")
    found = listed()
    assert [(case.split, case.fold) for case in found.cases] == [("", "0"), ("", "1"), ("", "1")]
    assert "1 files of imagesTs have no mask and are left out; ask predict about them" in found.remarks
    volume("labelsTs/cd.nii.gz")
    found = listed()
    assert [(c.split, c.fold) for c in found.cases] == [("train", "0"), ("train", "1"), ("train", "1"), ("test", "")]


def test_missing_files_are_named(nnunet: Callable[..., None], root: Path, refused: Any) -> None:
    nnunet()
    (root / "imagesTr" / "ab_0_0001.nii.gz").unlink()
    (root / "labelsTr" / "ab_1.nii.gz").unlink()
    for channel in range(2):
        (root / "imagesTr" / f"ab_2_000{channel}.nii.gz").unlink()
    said = refused()
    assert "ab_0: 2 channels are expected, the files are numbered 0000" in said
    assert "imagesTr: ab_1 has no mask labelsTr/ab_1.nii.gz" in said
    assert "labelsTr: ab_2 has no image imagesTr/ab_2_0000.nii.gz" in said


def test_an_ending_that_is_not_read(nnunet: Callable[..., None], refused: Any) -> None:
    nnunet(file_ending=".tif")
    assert "file_ending is '.tif'; medcnn reads .nii.gz" in refused()


@pytest.mark.case("S04")
def test_a_list_of_its_own_may_not_lead_out(nnunet: Callable[..., None], listed: Read, refused: Any) -> None:
    inside = {"images": [f"imagesTr/ab_0_000{k}.nii.gz" for k in range(2)], "label": "labelsTr/ab_0.nii.gz"}
    nnunet(dataset={"ab_0": inside})
    assert [case.images["T2"] for case in listed().cases] == ["imagesTr/ab_0_0001.nii.gz"]
    nnunet(dataset={"ab_0": {**inside, "label": "../secret.nii.gz"}, "ab_1": 3})
    said = refused()
    assert "ab_0, mask: PATH_ESCAPE" in said
    assert "dataset ab_1: is no" in said


def test_nothing_in_the_folders(root: Path, text: Write, refused: Any) -> None:
    (root / "imagesTr").mkdir()
    (root / "labelsTr").mkdir()
    text("dataset.json", {"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1}, "file_ending": ".nii.gz"})
    assert "no case was found" in refused(kind="nnunet")
