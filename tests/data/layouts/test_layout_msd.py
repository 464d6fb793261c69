"""MSD: dataset.json, several modalities in one file, folds beside it, and everything that can be wrong with them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medcnn.data.layouts.listing import Listing
from medcnn.data.layouts.read import read_layout
from medcnn.data.privacy import Keyring

Write = Callable[..., Path]
Read = Callable[..., Listing]
LABELS = {"0": "background", "1": "edema", "2": "tumour"}


@pytest.fixture
def msd(volume: Write, text: Write) -> Callable[..., None]:
    """Four cases; fields override those of dataset.json."""

    def write(modalities: int = 1, **fields: Any) -> None:
        for n in range(4):
            volume(f"imagesTr/case_{n}.nii.gz", modalities)
            volume(f"labelsTr/case_{n}.nii.gz")
        training = [{"image": f"./imagesTr/case_{n}.nii.gz", "label": f"./labelsTr/case_{n}.nii.gz"} for n in range(4)]
        about = {"name": "Made", "modality": {str(k): f"M{k}" for k in range(modalities)}, "labels": LABELS}
        text("dataset.json", {**about, "training": training, "test": [], **fields})

    return write


def test_a_decathlon_set(msd: Callable[..., None], listed: Read, junk: Callable[[], None], keyring: Keyring) -> None:
    msd()
    junk()
    found = listed()
    assert (found.kind, found.class_names) == ("msd", ["edema", "tumour"])
    assert found.codes == {"background": (0,), "edema": (1,), "tumour": (2,)}
    assert [case.images for case in found.cases] == [{"": f"imagesTr/case_{n}.nii.gz"} for n in range(4)]
    assert [case.masks for case in found.cases] == [{"": f"labelsTr/case_{n}.nii.gz"} for n in range(4)]
    first = found.cases[0]
    assert first.case_id == keyring.case_id((), "imagesTr/case_0.nii.gz")
    assert (first.labels, first.patient_id, first.split, first.fold) == ({}, "", "", "")
    assert [item.reference for item in found.skipped] == [".DS_Store", "README.md", "SHA256SUMS", "Thumbs.db"]
    assert found.remarks[0] == "recognised as msd: dataset.json with a list `training`"


def test_modalities_of_one_file_are_channels(msd: Callable[..., None], listed: Read) -> None:
    msd(3, modality={"0": "FLAIR", "2": "t1gd", "1": "T1w"})
    assert listed().cases[1].images == {
        "FLAIR": "imagesTr/case_1.nii.gz#frame=0",
        "T1w": "imagesTr/case_1.nii.gz#frame=1",
        "t1gd": "imagesTr/case_1.nii.gz#frame=2",
    }


def test_a_file_with_other_volumes_than_modalities(msd: Callable[..., None], volume: Write, refused: Any) -> None:
    msd(2)
    volume("imagesTr/case_2.nii.gz", 3)
    volume("imagesTr/case_3.nii.gz", 1)
    said = refused()
    assert "imagesTr/case_2.nii.gz: 3 volumes, and dataset.json names 2 modalities" in said
    assert "imagesTr/case_3.nii.gz: 1 volumes" in said


@pytest.mark.parametrize(
    "labels", [{"background": 0, "edema": 1, "whole": [1, 2], "ignore": 3}, {"0": "background", "1": "edema"}]
)
def test_labels_of_both_styles(msd: Callable[..., None], listed: Read, labels: dict[str, Any]) -> None:
    msd(labels=labels)
    found = listed()
    assert found.codes["edema"] == (1,)
    assert "background" not in found.class_names
    assert found.class_names == (["whole", "edema"] if "whole" in labels else ["edema"])


def test_folds_of_a_file_beside_it(msd: Callable[..., None], text: Write, listed: Read) -> None:
    msd()
    text("splits.json", [{"train": [], "val": ["case_2", "case_0"]}, {"train": [], "val": ["case_1", "case_9"]}])
    found = listed()
    assert [case.fold for case in found.cases] == ["0", "1", "0", ""]
    assert "splits.json names 1 cases that are not there: case_9" in found.remarks
    assert "splits.json has no fold for 1 cases: case_3" in found.remarks


def test_folds_that_contradict(msd: Callable[..., None], text: Write, refused: Any) -> None:
    msd()
    text("splits_final.json", [{"train": [], "val": ["case_0"]}, {"train": [], "val": ["case_0"]}])
    assert "splits_final.json: case_0 is validated on in fold 0 and in fold 1" in refused()
    text("splits_final.json", {"train": []})
    assert "splits_final.json is no list" in refused()


def test_folders_without_a_description(msd: Callable[..., None], root: Path, listed: Read, refused: Any) -> None:
    msd()
    (root / "dataset.json").unlink()
    (root / "imagesTr" / "._case_0.nii.gz").write_bytes(b"Mac's shadow")
    found = listed()
    assert len(found.cases) == 4
    assert found.remarks[0].endswith("folders imagesTr and labelsTr, no dataset.json")
    assert [item.reference for item in found.skipped] == ["imagesTr/._case_0.nii.gz"]
    (root / "labelsTr" / "case_1.nii.gz").unlink()
    (root / "imagesTr" / "case_3.nii.gz").unlink()
    said = refused()
    assert "imagesTr/case_1.nii.gz has no mask" in said
    assert "labelsTr/case_3.nii.gz has no image" in said


def test_test_images_without_masks_are_counted(msd: Callable[..., None], volume: Write, listed: Read) -> None:
    volume("imagesTs/other.nii.gz")
    msd(test=["./imagesTs/other.nii.gz"])
    found = listed()
    assert len(found.cases) == 4
    assert any("1 test images have no mask and are left out" in line for line in found.remarks)


@pytest.mark.case("S04")
@pytest.mark.parametrize("path", ["../secret.nii.gz", "/etc/passwd", "imagesTr/../../secret.nii.gz", "C:\\x.nii"])
def test_a_path_that_leads_out_is_not_opened(msd: Callable[..., None], refused: Any, path: str) -> None:
    msd(training=[{"image": path, "label": "labelsTr/case_0.nii.gz"}])
    said = refused()
    assert "dataset.json, training 0, image: PATH_ESCAPE" in said
    assert "secret" not in said
    assert "passwd" not in said


@pytest.mark.case("S04")
def test_a_link_that_leads_out_is_not_followed(msd: Callable[..., None], root: Path, refused: Any) -> None:
    msd()
    (root / "imagesTr" / "case_0.nii.gz").unlink()
    (root / "imagesTr" / "case_0.nii.gz").symlink_to(root.parent / "secret.nii.gz")
    assert "training 0, image: PATH_ESCAPE, the image reference is a link that leads out" in refused()


def test_every_problem_is_told_at_once(msd: Callable[..., None], refused: Any) -> None:
    training: list[Any] = [
        {"image": f"imagesTr/gone_{n}.nii.gz", "label": f"labelsTr/case_{n % 4}.nii.gz"} for n in range(30)
    ]
    msd(training=[*training, "imagesTr/case_0.nii.gz", {"image": 3, "label": None}], labels={"0": ["x"]})
    said = refused()
    assert said.startswith("the MSD layout cannot be used:")
    assert "dataset.json: the label '0' has no whole number" in said
    assert "training 4, image: READ_ERROR" in said
    assert "and 14 more" in said
    assert len(said.splitlines()) == 22


@pytest.mark.parametrize("content", ["{", "[1, 2]", "\x00", "[" * 100_000])
def test_a_description_that_is_none(msd: Callable[..., None], root: Path, refused: Any, content: str) -> None:
    msd()
    (root / "dataset.json").write_text(content)
    assert "dataset.json" in refused(kind="msd")


def test_a_training_list_without_cases(msd: Callable[..., None], refused: Any) -> None:
    msd(training=[])
    assert "no case was found" in refused()


def test_hippocampus(medcnn_data: Path) -> None:
    root = medcnn_data / "hippocampus"
    found = read_layout(root, keyring=Keyring(b"k" * 32))
    assert (found.kind, len(found.cases), found.class_names) == ("msd", 208, ["anterior", "posterior"])
    assert Counter(case.fold for case in found.cases) == {"0": 42, "1": 42, "2": 42, "3": 41, "4": 41}
    folds = json.loads((root / "splits.json").read_text())
    for case in found.cases:
        name = case.images[""].removeprefix("imagesTr/").removesuffix(".nii.gz")
        assert [number for number, fold in enumerate(folds) if name in fold["val"]] == [int(case.fold)]
        assert case.masks == {"": f"labelsTr/{name}.nii.gz"}
