"""The manifest: every problem named at once, nothing guessed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medcnn.data.manifest import find_manifest, read_manifest
from medcnn.errors import DataError

Write = Callable[..., Path]


def message(root: Path, named: str = "") -> str:
    with pytest.raises(DataError) as caught:
        read_manifest(root, named)
    return str(caught.value)


def test_a_row_becomes_a_case(write_csv: Write) -> None:
    root = write_csv(
        ["case_id", "patient_id", "image", "label", "mask", "boxes", "split", "fold", "sex", "age"],
        ["c1", "p1", "a/b.dcm", "opacity", "m.png", "[]", "train", "0", "F", "63"],
    )
    found = read_manifest(root, "")
    (case,) = found.cases
    assert (case.case_id, case.patient_id, case.split) == ("c1", "p1", "train")
    assert (case.images, case.labels) == ({"": "a/b.dcm"}, {"": "opacity"})
    assert (case.mask, case.boxes, case.free) == ("m.png", "[]", {"sex": "F", "age": "63"})
    assert "p1" not in repr(case)  # a case in a log shows no patient
    assert (found.channels, found.label_names, len(found)) == ([""], [""], 1)


def test_several_channels_and_several_labels(write_csv: Write) -> None:
    root = write_csv(
        ["image.t1", "image.t2", "label.mass", "label.oedema", "mask.t1"],
        ["1.nii", "2.nii", "1", "", "m.nii"],
    )
    (case,) = read_manifest(root, "").cases
    assert case.images == {"t1": "1.nii", "t2": "2.nii"}
    assert case.labels == {"mass": "1", "oedema": ""}
    assert case.free == {}


def test_spaces_around_values_and_a_byte_order_mark_mean_nothing(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_bytes(b"\xef\xbb\xbfimage,label\r\n a.png , normal \r\n")
    (case,) = read_manifest(tmp_path, "").cases
    assert (case.images, case.labels) == ({"": "a.png"}, {"": "normal"})


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (["image", "lable"], ["no column 'label'", "found image, lable", "Did you mean lable?"]),
        (["img"], ["no column 'image'", "no column 'label'"]),
        (["image", "label", "label.mass"], ["both 'label' and 'label.<name>'"]),
        (["image", "label", "label"], ["the column 'label' stands there twice"]),
        (["image;label;split"], ["no column 'image', found image;label;split"]),
    ],
)
def test_columns_that_are_not_right(write_csv: Write, header: list[str], expected: list[str]) -> None:
    said = message(write_csv(header, ["x"] * len(header)))
    assert all(part in said for part in ["manifest.csv cannot be used", *expected]), said


def test_every_wrong_row_is_named_as_a_spreadsheet_counts(write_csv: Write) -> None:
    root = write_csv(
        ["case_id", "image", "label", "split"],
        ["a", "1.png", "x", "train"],
        ["a", "2.png", "x", "val"],
        ["b", "", "x", "val"],
        ["c", "3.png", "x", "trian"],
        ["d", "4.png", "x"],
        ["e", "5.png", "x", "test", "more"],
    )
    said = message(root)
    assert "row 3: the same case_id as row 2" in said
    assert "row 4: no image" in said
    assert "row 5: split 'trian' is not one of train, val, calib, test. Did you mean train?" in said
    assert "row 6: has another number of columns than the header" in said
    assert "row 7: has another number of columns than the header" in said


def test_hundreds_of_wrong_rows_are_not_all_printed(write_csv: Write) -> None:
    said = message(write_csv(["image", "label", "split"], *[[f"{n}.png", "x", "no"] for n in range(200)]))
    assert len(said.splitlines()) == 22
    assert "and 180 more" in said


def test_half_filled_splits(write_csv: Write) -> None:
    root = write_csv(["image", "label", "split"], ["1.png", "x", "train"], ["2.png", "x", ""], ["3.png", "x", ""])
    assert "2 rows have no split and the others do" in message(root)


def test_the_same_image_twice_needs_case_ids_to_tell_the_rows_apart(write_csv: Write) -> None:
    rows = [["1.png", "x"], ["2.png", "x"], ["1.png", "y"]]
    assert "row 4: the same image, without a case_id, as row 2" in message(write_csv(["image", "label"], *rows))
    named = [[f"c{n}", *row] for n, row in enumerate(rows)]
    assert len(read_manifest(write_csv(["case_id", "image", "label"], *named), "")) == 3


def test_an_empty_file_and_a_header_alone(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("")
    assert "no column 'image', found nothing" in message(tmp_path)
    (tmp_path / "manifest.csv").write_text("image,label\n")
    assert "has no rows. A data set needs at least one case" in message(tmp_path)


def test_a_file_that_is_no_utf8(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_bytes("image,label\nä.png,größer\n".encode("latin-1"))
    assert "is no UTF-8 CSV: UnicodeDecodeError. Save it as CSV in UTF-8" in message(tmp_path)


def test_names_from_everywhere(write_csv: Write) -> None:
    names = ["a b/c d.png", "Röntgen/胸部.png", "x" * 250 + ".png", "a,b\"c'.png"]
    root = write_csv(["image", "label"], *[[name, "x"] for name in names])
    assert [case.images[""] for case in read_manifest(root, "").cases] == names


# Which file


def test_the_manifest_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("")
    assert find_manifest(tmp_path, "") == tmp_path / "other.csv"
    (tmp_path / "more.npz").write_bytes(b"")
    with pytest.raises(DataError, match=r"2 candidates in .*, name one: more\.npz, other\.csv"):
        find_manifest(tmp_path, "")
    (tmp_path / "manifest.csv").write_text("")
    assert find_manifest(tmp_path, "") == tmp_path / "manifest.csv"
    assert find_manifest(tmp_path, "other.csv") == tmp_path / "other.csv"
    with pytest.raises(DataError, match=r"there is no othr\.csv in data\.root\. Did you mean other\.csv\?"):
        find_manifest(tmp_path, "othr.csv")


def test_a_folder_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"medcnn\.prepare input="):
        find_manifest(tmp_path, "")
    with pytest.raises(DataError, match="is not a folder"):
        find_manifest(tmp_path / "absent", "")


# Archives


def archive(folder: Path, labels: np.ndarray | None = None, **parts: int) -> Path:
    arrays = {}
    for part, count in parts.items():
        arrays[f"{part}_images"] = np.zeros((count, 8, 8), np.uint8)
        if labels is None:
            arrays[f"{part}_labels"] = (np.arange(count) % 2).astype(np.uint8)[:, None]
        else:
            arrays[f"{part}_labels"] = labels[:count]
    np.savez(folder / "set.npz", **arrays)
    return folder


@pytest.mark.parametrize(
    "parts", [{"train": 4, "val": 2, "test": 2}, {"train": 3}, {"test": 2}, {"train": 2, "test": 1}]
)
def test_an_archive_with_any_parts(tmp_path: Path, parts: dict[str, int]) -> None:
    found = read_manifest(archive(tmp_path, **parts), "")
    assert {split: len(found.of_split(split)) for split in parts} == parts
    first = found.cases[0]
    split = next(iter(parts))
    assert (first.case_id, first.images) == (f"{split}-00000", {"": f"set.npz#row={split}/0"})
    assert [case.labels[""] for case in found.of_split(split)[:2]] == ["0", "1"][: parts[split]]
    assert len({case.case_id for case in found.cases}) == len(found)


def test_an_archive_with_several_findings_per_row(tmp_path: Path) -> None:
    found = read_manifest(archive(tmp_path, labels=np.array([[1, 0, 0], [0, 1, 1]], np.uint8), train=2), "")
    assert found.label_names == ["0", "1", "2"]
    assert found.cases[1].labels == {"0": "0", "1": "1", "2": "1"}


def test_an_archive_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "set.npz").write_bytes(b"PK\x03\x04 not really")
    said = message(tmp_path)
    assert said.startswith("set.npz cannot be used. READ_ERROR")
    np.savez(tmp_path / "set.npz", pictures=np.zeros((2, 8, 8), np.uint8))
    assert "none of train_images, val_images, test_images" in message(tmp_path)
