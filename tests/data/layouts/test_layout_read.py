"""Which layout a folder is, folders per class, archives, and what is said where it is none or several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medcnn.config.data import SplitConf
from medcnn.data.frozen import frozen_splits
from medcnn.data.layouts.listing import Listing
from medcnn.data.layouts.read import KINDS
from medcnn.data.manifest import Manifest, read_manifest, write_manifest
from medcnn.data.split import split_digest, with_splits
from medcnn.errors import NothingToDoError

Write = Callable[..., Path]
Read = Callable[..., Listing]


def test_an_unknown_folder_is_told_what_was_looked_for(picture: Write, refused: Any) -> None:
    picture("a.png")
    said = refused()
    assert said.startswith("no layout is recognised. Give labels=<csv>, or name one with layout=<name>. Looked for:")
    assert all(f"  - {kind}: " in said for kind in KINDS[1:])


def test_several_layouts_at_once(picture: Write, text: Write, refused: Any) -> None:
    picture("images/0.png")
    text("labels/0.txt", "0 0.5 0.5 0.1 0.1")
    text("boxes.json", {"images": [], "annotations": [], "categories": []})
    said = refused()
    assert "the folder looks like several layouts. Name one with layout=<name>:" in said
    assert "  - coco: boxes.json" in said
    assert "  - yolo: 1 pictures" in said


def test_a_named_layout_is_taken(picture: Write, text: Write, listed: Read) -> None:
    picture("images/0.png")
    text("labels/0.txt", "0 0.5 0.5 0.1 0.1")
    text("boxes.json", {"images": [], "annotations": [], "categories": []})
    found = listed(kind="yolo")
    assert (found.kind, found.remarks[0]) == ("yolo", "read as yolo, as asked")


def test_names_that_are_none(root: Path, refused: Any, listed: Read) -> None:
    assert "layout: 'ymolo' is not one of auto, bids, msd" in refused(kind="ymolo")
    assert "Did you mean yolo?" in refused(kind="ymolo")
    assert "no layout is recognised" in refused()
    with pytest.raises(NothingToDoError, match="no case was found"):
        listed(kind="folders")
    root.rmdir()
    assert "is not a folder" in refused()


def test_split_by_is_for_dicom(picture: Write, text: Write, listed: Read) -> None:
    picture("images/0.png")
    text("labels/0.txt", "0 0.5 0.5 0.1 0.1")
    assert "had nothing to do here" in listed(split_by=("echo",)).remarks[-1]


# From a listing to a manifest and back


@pytest.mark.parametrize("layout", ["folders", "scans", "msd", "yolo", "medmnist"])
def test_what_is_listed_can_be_written_divided_and_read(
    layout: str, root: Path, picture: Write, volume: Write, text: Write, listed: Read
) -> None:
    rows = []
    for n in range(40):
        if layout in ("folders", "scans"):
            picture(f"{'ab'[n % 2]}/{n}.png")
            rows.append(f"{n}.png,{'ab'[n % 2]},=P{n // 2},@site")
        elif layout == "msd":
            volume(f"imagesTr/{n}.nii.gz")
            volume(f"labelsTr/{n}.nii.gz")
        elif layout == "yolo":
            picture(f"images/{n}.png")
            text(f"labels/{n}.txt", "0 0.5 0.5 0.1 0.1" if n % 2 else "")
    if layout == "medmnist":
        archive(root / "set.npz", np.array([[0], [1], [0], [1]] * 10))
    table = text("labels.csv", "file,label,patient_id,site\n" + "\n".join(rows)) if layout == "scans" else None
    found = listed(labels=table)
    assert found.kind == layout
    manifest, _ = with_splits(Manifest(root, tuple(found.cases)), SplitConf(folds=3))
    write_manifest(root / "manifest.csv", manifest)
    assert read_manifest(root, "manifest.csv").cases == manifest.cases
    assert len({case.case_id for case in manifest.cases}) == len(found.cases) >= 40
    grown = frozen_splits(manifest.with_cases(listed(labels=table, kind=layout).cases), manifest)
    assert split_digest(grown.cases) == split_digest(manifest.cases)


# Folder per class


def test_folders_are_classes(picture: Write, text: Write, junk: Any, listed: Read, keyring: Any) -> None:
    for n in range(3):
        picture(f"normal/{n}.png")
        picture(f"sick/deep/er/{n}.png")
    text("sick/notes.txt", "no scan")
    junk()
    found = listed()
    assert (found.kind, found.class_names) == ("folders", ["normal", "sick"])
    assert [(case.images[""], case.labels) for case in found.cases][3] == ("sick/deep/er/0.png", {"": "sick"})
    assert found.cases[0].case_id == keyring.case_id((), "normal/0.png")
    assert "each folder is a class: normal (3), sick (3)" in found.remarks
    assert [item.reference for item in found.skipped] == [
        "sick/notes.txt",
        ".DS_Store",
        "README.md",
        "SHA256SUMS",
        "Thumbs.db",
    ]


def test_patients_of_folders_are_keyed(dicom: Write, listed: Read, keyring: Any) -> None:
    for n in range(4):
        dicom(f"{'ab'[n % 2]}/{n}.dcm", n, f"canary-{n // 2}")
    found = listed()
    assert [case.patient_id for case in found.cases] == [keyring.patient_key(f"canary-{k}") for k in (0, 1, 0, 1)]
    assert "canary" not in str(found)


def test_a_folder_that_is_one_series(dicom: Write, listed: Read) -> None:
    """A class folder whose slices all are one series is that series."""
    mr = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": "MR"}
    for n in range(5):
        dicom(f"a/{n}.dcm", n, SeriesInstanceUID="1.2.9", **mr)
        dicom(f"b/{n}.dcm", 10 + n, SeriesInstanceUID=f"1.2.{n % 2}", **mr)
    found = listed()
    assert [case.images[""] for case in found.cases] == ["a", "b#series=1.2.0", "b#series=1.2.1"]


def test_splits_above_classes(picture: Write, listed: Read) -> None:
    for part in ("train", "val", "test"):
        for name in ("normal", "sick"):
            picture(f"{part}/{name}/{part}{name}.png")
            picture(f"{part}/{name}/{part}{name}2.png")
    found = listed()
    assert found.class_names == ["normal", "sick"]
    assert [case.split for case in found.cases] == ["test"] * 4 + ["train"] * 4 + ["val"] * 4
    assert "the folders above the classes are splits: test, train, val" in found.remarks


def test_folders_of_patients_are_no_classes(dicom: Write, listed: Read, refused: Any) -> None:
    for n in range(6):
        dicom(f"subject{n}/x.dcm", n, f"canary-{n}")
    assert "6 of 6 folders hold one patient or one scan each: they look like patients" in refused()
    assert len(listed(kind="folders").cases) == 6


def test_images_and_masks_are_no_classes(picture: Write, refused: Any) -> None:
    for n in range(3):
        picture(f"images/{n}.png")
        picture(f"masks/{n}.png")
    assert "no layout is recognised" in refused()


# Archives


def archive(path: Path, labels: np.ndarray) -> None:
    arrays = {f"{part}_images": np.zeros((len(labels), 8, 8), np.uint8) for part in ("train", "val", "test")}
    np.savez(path, **arrays, **{f"{part}_labels": labels for part in ("train", "val", "test")})


def test_an_archive_becomes_rows(root: Path, listed: Read, keyring: Any) -> None:
    archive(root / "set.npz", np.array([[0], [1], [2], [1]]))
    found = listed()
    assert (found.kind, found.class_names, len(found.cases)) == ("medmnist", ["0", "1", "2"], 12)
    one = found.cases[5]
    assert (one.images, one.labels, one.split) == ({"": "set.npz#row=val/1"}, {"": "1"}, "val")
    assert one.case_id == keyring.case_id((), "set.npz#row=val/1")


def test_an_archive_of_several_findings(root: Path, listed: Read) -> None:
    archive(root / "set.npz", np.array([[0, 1], [1, 1], [0, 0], [1, 0]]))
    found = listed()
    assert found.cases[0].labels == {"0": "0", "1": "1"}
    assert found.class_names == ["0", "1"]


def test_archives_that_are_none(root: Path, refused: Any) -> None:
    (root / "set.npz").write_bytes(b"PK\x03\x04 not really")
    assert "no layout is recognised" in refused()
    assert "READ_ERROR" in refused(kind="medmnist")
    archive(root / "set.npz", np.array([[0], [1], [2], [1]]))
    archive(root / "other.npz", np.array([[0], [1], [2], [1]]))
    assert "2 .npz files, where one is needed" in refused()
