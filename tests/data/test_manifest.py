"""The manifest: every problem named at once, nothing guessed."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medcnn.config.data import DataConf
from medcnn.data.manifest import Case, Manifest, find_manifest, read_manifest, write_manifest
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
    assert (case.masks, case.boxes, case.fold) == ({"": "m.png"}, "[]", "0")
    assert case.free == {"sex": "F", "age": "63"}
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


# What else a row may hold, and what it must


def test_masks_alone_and_boxes_alone_are_enough(write_csv: Write) -> None:
    found = read_manifest(write_csv(["image", "mask.t1", "mask.t2"], ["1.nii", "m.nii", ""]), "")
    assert (found.cases[0].masks, found.mask_names, found.label_names) == ({"t1": "m.nii", "t2": ""}, ["t1", "t2"], [])
    found = read_manifest(write_csv(["image", "boxes"], ["1.png", '[{"box":[0,0,2,3],"class":"a"}]']), "")
    assert (found.mask_names, found.label_names) == ([], [])


def test_every_wrong_cell_is_named(write_csv: Write) -> None:
    root = write_csv(
        ["image", "label", "mask", "boxes", "fold"],
        ["1.png", "x", "m.nii#frame=one", "[]", "0"],
        ["2.png", "x", "m.nii", '[{"box":[3,0,2,3],"class":"a"}]', "1"],
        ["3.png", "x", "m.nii", "{}", "-1"],
        ["4.png", "x", "m.nii", "", "1000"],
        ["5.png", "x", "m.nii", "", "two"],
    )
    said = message(root)
    assert "row 2: mask: the image reference has a malformed #frame= part" in said
    assert "row 3: boxes: box 1 is empty or turned around" in said
    assert "row 4: boxes: is no list" in said
    assert "row 4: fold '-1' is not a whole number from 0 to 99" in said
    assert "row 5: fold '1000'" in said
    assert "row 6: fold 'two'" in said


def test_both_kinds_of_mask_columns(write_csv: Write) -> None:
    assert "both 'mask' and 'mask.<name>'" in message(write_csv(["image", "mask", "mask.a"], ["1", "2", "3"]))


# Written


def manifest_of(root: Path, *cases: Case) -> Manifest:
    return Manifest(root, cases)


def test_a_manifest_is_written_as_it_is_read(tmp_path: Path) -> None:
    cases = (
        Case(
            "c1",
            {"t1": "a b.nii", "t2": "-x.nii#frame=1"},
            {"mass": "1", "=oedema": ""},
            "p-1",
            "train",
            {"": "m.nii"},
            '[{"box":[0,0,2,3],"class":"ä, \\"b\\""}]',
            "3",
            {"site": "=cmd()|' /C calc'!A0", "note": "two\nlines", "delta": "-0.5"},
        ),
        Case(
            "c2",
            {"t1": "'=b.nii", "t2": ""},
            {"mass": "", "=oedema": "0"},
            "",
            "test",
            {"": ""},
            "",
            "",
            {"site": " x", "note": "", "delta": ""},
        ),
    )
    write_manifest(tmp_path / "manifest.csv", manifest_of(tmp_path, *cases))
    assert read_manifest(tmp_path, "").cases == cases
    content = (tmp_path / "manifest.csv").read_bytes()
    write_manifest(tmp_path / "manifest.csv", manifest_of(tmp_path, *cases))
    assert (tmp_path / "manifest.csv").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.csv"]
    header = content.decode().splitlines()[0]
    assert (
        header == "case_id,patient_id,image.t1,image.t2,label.mass,label.=oedema,mask,boxes,split,fold,site,note,delta"
    )


@pytest.mark.case("S04")
def test_S04_a_written_manifest_runs_nothing(tmp_path: Path) -> None:
    for formula in ("=cmd()", "+cmd()", "-cmd()", "@SUM(A1)", "\tx", "\rx"):
        case = Case("c", {"": f"{formula}.png"}, {"": formula}, free={formula.strip(): formula})
        write_manifest(tmp_path / "manifest.csv", manifest_of(tmp_path, case))
        with (tmp_path / "manifest.csv").open(newline="") as stream:
            cells = [cell for row in csv.reader(stream) for cell in row]
        assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r") and cell]
        assert read_manifest(tmp_path, "").cases == (case,)


def test_columns_that_no_case_fills_are_left_out(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.csv", manifest_of(tmp_path, Case("c", {"": "a.png"}, {"": "x"})))
    assert (tmp_path / "manifest.csv").read_text().splitlines()[0] == "case_id,patient_id,image,label"


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    path.write_text("old")
    cases = [Case(f"c{n}", {"": f"\udcff{n}.png "}, {"": "x"}) for n in range(30)]
    with pytest.raises(DataError) as caught:
        write_manifest(path, manifest_of(tmp_path, *cases))
    assert "row 2: the value of 'image' ends with a space" in str(caught.value)
    assert "and 10 more" in str(caught.value)
    assert path.read_text() == "old"
    with pytest.raises(DataError, match=r"row 2: the value of 'image' is no UTF-8\. Rename the file"):
        write_manifest(path, manifest_of(tmp_path, Case("c", {"": "\udcff.png"}, {"": "x"})))


def test_a_break_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "manifest.csv"
    path.write_text("old")

    def full(handle: int) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_manifest(path, manifest_of(tmp_path, Case("c", {"": "a.png"}, {"": "x"})))
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["manifest.csv"]


def test_a_free_column_that_would_mean_something_else(tmp_path: Path) -> None:
    case = Case("c", {"": "a.png"}, {"": "x"}, free={"mask.t1": "a", "split": "b", "masking": "c"})
    with pytest.raises(DataError) as caught:
        write_manifest(tmp_path / "manifest.csv", manifest_of(tmp_path, case))
    assert "may not be called 'mask.t1'" in str(caught.value)
    assert "may not be called 'split'" in str(caught.value)
    assert "masking" not in str(caught.value)


def columns_message(root: Path, columns: dict[str, str]) -> str:
    with pytest.raises(DataError) as caught:
        read_manifest(root, "", columns)
    return str(caught.value)


def test_a_table_with_words_of_its_own(write_csv: Write) -> None:
    """data.columns says what is what; everything else stays a free column."""
    root = write_csv(
        ["file", "class", "who", "x0", "width"], ["1.jpg", "glioma", "p1", "13.5", "256"], name="index.csv"
    )
    (case,) = read_manifest(root, "", {"image": "file", "label": "class", "patient_id": "who"}).cases
    assert (case.images, case.labels, case.patient_id) == ({"": "1.jpg"}, {"": "glioma"}, "p1")
    assert case.free == {"x0": "13.5", "width": "256"}


def test_several_labels_and_columns_that_change_places(write_csv: Write) -> None:
    root = write_csv(["image", "mass", "label", "split"], ["1.jpg", "1", "test", "0"])
    (case,) = read_manifest(root, "", {"label.mass": "mass", "split": "label", "label.oedema": "split"}).cases
    assert (case.labels, case.split, case.free) == ({"mass": "1", "oedema": "0"}, "test", {})


def test_a_column_that_is_not_there_is_said(write_csv: Write) -> None:
    root = write_csv(["image", "class", "x0"], ["1.jpg", "glioma", "1"], name="index.csv")
    said = columns_message(root, {"label": "clas", "patient_id": "who"})
    assert "index.csv cannot be used" in said
    assert "data.columns: no column 'clas' to be the 'label', found image, class, x0. Did you mean class?" in said
    assert "data.columns: no column 'who' to be the 'patient_id', found image, class, x0." in said


def test_two_columns_of_one_meaning_are_said(write_csv: Write) -> None:
    root = write_csv(["image", "class", "label"], ["1.jpg", "glioma", "0"])
    said = columns_message(root, {"label": "class"})
    assert "'class' is to be the 'label', and there is a column 'label' too. Rename that one" in said


def test_an_archive_has_no_columns(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", train_images=np.zeros((1, 2, 2), np.uint8), train_labels=np.zeros((1, 1)))
    assert "a.npz is an archive, which has no columns" in columns_message(tmp_path, {"label": "class"})


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"label": "class", "image.t1": "a", "mask.left": "b"}, []),
        (
            {"lable": "class"},
            ["columns.lable: a manifest's own columns are image, label, mask, case_id", "mean label?"],
        ),
        ({"label": ""}, ["columns.label: say what your table calls it, for example columns={label: diagnosis}"]),
        ({"label": "class", "split": "class"}, ["columns: 'class' is named twice; a column has one meaning"]),
    ],
)
def test_what_may_be_renamed(columns: dict[str, str], expected: list[str]) -> None:
    said = list(DataConf(name="mine", root="/data", columns=columns).problems())
    assert len(said) == min(len(expected), 1)
    assert all(part in said[0] for part in expected)


def test_a_layout_has_no_columns() -> None:
    said = list(DataConf(name="mine", root="/data", layout="msd", columns={"label": "class"}).problems())
    assert said == ["columns: data.layout=msd reads the folder, not a table; leave one of the two out"]
