"""Scans in any folders and a table: which column names them, which is the label, and what finds no partner."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medcnn.data.boxes import Box, read_boxes
from medcnn.data.layouts.listing import Listing

Write = Callable[..., Path]
Read = Callable[..., Listing]
TABLE = Path("labels.csv")


@pytest.fixture
def pictures(picture: Write) -> list[str]:
    """Four pictures in two folders."""
    names = ["ward/a.png", "ward/b.png", "icu/c.png", "icu/d.jpg"]
    for name in names:
        picture(name)
    return names


@pytest.fixture
def radiographs(dicom: Write) -> None:
    """Four radiographs of three patients, each in a folder of its own."""
    for n, patient in enumerate(("canary-1", "canary-1", "canary-2", "canary-3"), start=1):
        dicom(f"study{n}/IM{n}.dcm", n, patient)


def labels_of(listing: Listing) -> dict[str, str]:
    return {case.images[""]: case.labels[""] for case in listing.cases}


@pytest.mark.parametrize(
    ("header", "cells", "kind"),
    [
        ("image", ["ward/a.png", "./ward/b.png", "icu\\c.png", "set/icu/d.jpg"], "relative path"),
        ("file", ["a.png", "b.png", "c.png", "d.jpg"], "file name"),
        ("scan_id", ["a", "b", "c", "d"], "file name without suffix"),
        ("case_id", ["a", "b", "c", "d"], "file name without suffix"),
    ],
)
def test_rows_find_pictures(
    pictures: list[str], text: Write, listed: Read, header: str, cells: list[str], kind: str
) -> None:
    rows = "".join(f"{cell},{'xy'[n % 2]}\n" for n, cell in enumerate(cells))
    text("labels.csv", f"{header},label\n{rows}")
    found = listed(labels=TABLE)
    assert found.kind == "scans"
    assert labels_of(found) == {name: "xy"[n % 2] for n, name in enumerate(pictures)}
    assert (
        f"the column {header} of labels.csv names the scans by their {kind}: 4 of 4 rows name 4 scans" in found.remarks
    )
    assert found.class_names == ["x", "y"]
    assert found.skipped == []  # the table itself is not counted as junk
    assert [case.images[""] for case in found.cases] == sorted(pictures)


@pytest.mark.parametrize(
    ("column", "cells", "kind"),
    [
        ("SOPInstanceUID", [f"1.2.826.0.1.{n}.3" for n in range(1, 5)], "SOPInstanceUID"),
        ("series_uid", [f"1.2.826.0.1.{n}.2" for n in range(1, 5)], "SeriesInstanceUID"),
        ("study", [f"1.2.826.0.1.{n}.1" for n in range(1, 5)], "StudyInstanceUID"),
        ("folder", [f"study{n}" for n in range(1, 5)], "folder name"),
    ],
)
def test_rows_find_dicom_by_identifiers_that_are_never_written(
    radiographs: None, text: Write, listed: Read, keyring: Any, column: str, cells: list[str], kind: str
) -> None:
    text("labels.csv", f"{column},label\n" + "".join(f"{cell},{'xxyy'[n]}\n" for n, cell in enumerate(cells)))
    found = listed(labels=TABLE)
    assert labels_of(found) == {f"study{n}/IM{n}.dcm": "xxyy"[n - 1] for n in range(1, 5)}
    assert f"names the scans by their {kind}: 4 of 4 rows name 4 scans" in found.remarks[1]
    assert found.cases[0].case_id == keyring.case_id(["1.2.826.0.1.1.3"], "study1/IM1.dcm")
    assert [case.patient_id for case in found.cases] == [keyring.patient_key(f"canary-{n}") for n in (1, 1, 2, 3)]
    assert "canary" not in str(found)
    assert "1.2.826" not in str(found)
    assert found.cases[0].free["sex"] == "F"


def test_a_patients_row_speaks_for_all_their_scans(radiographs: None, text: Write, listed: Read) -> None:
    text("labels.csv", "PatientID,PatientName,AccessionNumber,diagnosis\ncanary-1,Anna,A1,ill\ncanary-2,B,A2,well\n")
    found = listed(labels=TABLE)
    assert labels_of(found) == {"study1/IM1.dcm": "ill", "study2/IM2.dcm": "ill", "study3/IM3.dcm": "well"}
    assert "columns that name people or examinations were dropped: PatientName, AccessionNumber" in found.remarks
    assert "1 scans have no row and were left out: study4/IM4.dcm" in found.remarks
    assert "canary" not in str(found)
    assert "Anna" not in str(found)


def test_patients_of_pictures_come_from_the_table(pictures: list[str], text: Write, listed: Read, keyring: Any) -> None:
    rows = "".join(f"{name},P{n // 2},{'xy'[n % 2]}\n" for n, name in enumerate(pictures))
    text("labels.csv", "image,patient_id,label\n" + rows)
    found = {case.images[""]: case.patient_id for case in listed(labels=TABLE).cases}
    assert found["ward/a.png"] == found["ward/b.png"] == keyring.patient_key("P0")
    assert found["icu/c.png"] == keyring.patient_key("P1")


@pytest.mark.parametrize("encoded", ["utf-8-sig", "utf-8"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_tables_as_spreadsheets_save_them(
    pictures: list[str], root: Path, listed: Read, separator: str, encoded: str
) -> None:
    cells = [["größe" if "a." in name else "y", f" {name} ", '"Ö,;x"', ""] for name in pictures]
    content = "\r\n".join(separator.join(line) for line in [["Label", "Image ", "site", ""], *cells, [""] * 4, []])
    (root / "labels.csv").write_bytes(content.encode(encoded))
    found = listed(labels=TABLE)
    assert labels_of(found)["ward/a.png"] == "größe"
    assert found.cases[0].free == {"site": "Ö,;x"}
    assert not any("the label is" in line for line in found.remarks)  # it was found by its name, BOM or not


def test_a_table_that_is_no_utf8_or_no_table(pictures: list[str], root: Path, refused: Any, text: Write) -> None:
    (root / "labels.csv").write_bytes("image,label\nward/a.png,größe\n".encode("latin-1"))
    assert "labels.csv is no UTF-8 text. Save it from the spreadsheet as 'CSV UTF-8'" in refused(labels=TABLE)
    (root / "labels.csv").write_bytes("image,label\nward/a.png,x\n".encode("utf-16"))
    assert "no UTF-8 text" in refused(labels=TABLE)
    text("labels.csv", "")
    assert "it is empty" in refused(labels=TABLE)
    text("labels.csv", "image,label\n")
    assert "there is no row below the header" in refused(labels=TABLE)
    text("labels.csv", "image,label,label\na,b,c\n")
    assert "the column 'label' stands there twice" in refused(labels=TABLE)
    text("labels.csv", "image,label\nward/a.png,x\nward/b.png\nicu/c.png,x,y\n")
    said = refused(labels=TABLE)
    assert "row 3: has 1 cells, the header 2" in said
    assert "row 4: has 3 cells, the header 2" in said
    assert "there is no file" in refused(labels=Path("absent.csv"))


def test_excels_own_line_with_the_separator(pictures: list[str], text: Write, listed: Read, refused: Any) -> None:
    text("labels.csv", "sep=;\nimage;label\nward/a.png;x\nward/b.png;y\nnone.png;y\n")
    found = listed(labels=TABLE)
    assert labels_of(found) == {"ward/a.png": "x", "ward/b.png": "y"}
    assert "1 rows name no scan that is there and were left out: rows 5" in found.remarks


def test_nothing_is_dropped_without_a_word(picture: Write, text: Write, listed: Read) -> None:
    for n in range(8):
        picture(f"{n}.png")
    rows = [f"{n}.png,{'xy'[n % 2]}" for n in (0, 1)] + [f"gone{n}.png,x" for n in range(7)]
    text("labels.csv", "image,label\n" + "\n".join(rows))
    found = listed(labels=TABLE)
    assert len(found.cases) == 2
    assert "7 rows name no scan that is there and were left out: rows 4, 5, 6, 7, 8 and 2 more" in found.remarks
    assert "6 scans have no row and were left out: 2.png, 3.png, 4.png, 5.png, 6.png and 1 more" in found.remarks


def test_no_column_that_names_the_scans(pictures: list[str], text: Write, refused: Any) -> None:
    text("labels.csv", "which,label\nq,x\nr,y\n")
    said = refused(labels=TABLE)
    assert "no column of labels.csv names the scans: which, label were compared with their relative path" in said
    assert "A scan is called icu/c.png, for example." in said


@pytest.mark.case("S04")
@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "ward/../../secret.png", "C:\\scans\\a.png"])
def test_a_row_that_leads_out(pictures: list[str], text: Write, refused: Any, path: str) -> None:
    text("labels.csv", f"image,label\nward/a.png,x\nward/b.png,y\n{path},y\n")
    said = refused(labels=TABLE)
    assert "row 4: PATH_ESCAPE, the path in 'image' leads out of the folder" in said
    assert "secret" not in said


def test_absolute_paths_below_the_folder(pictures: list[str], root: Path, text: Write, listed: Read) -> None:
    text("labels.csv", f"image,label\n{root}/ward/a.png,x\n{root}/icu/c.png,y\n")
    assert labels_of(listed(labels=TABLE)) == {"ward/a.png": "x", "icu/c.png": "y"}


def test_paths_that_begin_where_the_table_lies(picture: Write, text: Write, listed: Read) -> None:
    for name in ("ward/x/a.png", "icu/x/a.png", "ward/b.png", "icu/b.png"):
        picture(name)
    table = text("ward/labels.csv", "image,label\nx/a.png,ill\nb.png,well\n")
    assert labels_of(listed(labels=table)) == {"ward/x/a.png": "ill", "ward/b.png": "well"}


def test_names_that_are_not_one_scans(picture: Write, text: Write, refused: Any) -> None:
    for name in ("one/a.png", "two/a.png", "two/b.png"):
        picture(name)
    text("labels.csv", "image,label\na.png,x\nb.png,y\n")
    assert "row 2: 'image' names 2 scans (several scans of this name). Give relative paths" in refused(labels=TABLE)


def test_two_rows_of_one_scan(pictures: list[str], text: Write, listed: Read, refused: Any) -> None:
    text("labels.csv", "image,label,site\nward/a.png,x,1\nward/a.png,x,2\nward/b.png,y,1\n")
    found = listed(labels=TABLE)
    assert len(found.cases) == 2
    assert "1 scans have several rows; what is not a box was taken from the first" in found.remarks
    text("labels.csv", "image,label\nward/a.png,x\nward/a.png,y\nward/b.png,y\n")
    assert "rows 2, 3: name one scan, and say different things about it" in refused(labels=TABLE)


# Which columns are labels


@pytest.mark.parametrize(
    ("header", "rows", "expected", "free"),
    [
        ("label.mass,label.oedema", ["1,0", "0,", ",1", "0,0"], {"mass": "1", "oedema": "0"}, set()),
        (
            "Mass,Oedema,age,comment",
            ["1,0,30,q", "0,,40,r", ",1,50,s", "0,0,60,t"],
            {"Mass": "1", "Oedema": "0"},
            {"age", "comment"},
        ),
        ("grade,age,sex", ["low,30,F", "high,40,M", "low,50,F", "high,60,M"], {"": "low"}, {"age", "sex"}),
        ("Diagnosis,grade", ["ill,low", "well,high", "ill,low", "well,low"], {"": "ill"}, {"grade"}),
        ("outcome", ["1", "0", "1", "0"], {"": "1"}, set()),
    ],
)
def test_the_columns_that_are_labels(
    pictures: list[str],
    text: Write,
    listed: Read,
    header: str,
    rows: list[str],
    expected: dict[str, str],
    free: set[str],
) -> None:
    text("labels.csv", f"image,{header}\n" + "\n".join(f"{a},{b}" for a, b in zip(pictures, rows, strict=True)))
    case = next(case for case in listed(labels=TABLE).cases if case.images[""] == "ward/a.png")
    assert case.labels == expected
    assert set(case.free) == free


def test_no_label_or_too_many(pictures: list[str], text: Write, refused: Any) -> None:
    text("labels.csv", "image,age\n" + "".join(f"{name},{n}\n" for n, name in enumerate(pictures)))
    assert "no label: no column has a few values that repeat" in refused(labels=TABLE)
    text(
        "labels.csv",
        "image,one,two\n" + "".join(f"{name},{'ab'[n % 2]},{'cd'[n // 2]}\n" for n, name in enumerate(pictures)),
    )
    assert "no label: one, two could each be it. Call the column `label`" in refused(labels=TABLE)


def test_masks_boxes_split_and_fold_are_taken_over(
    pictures: list[str], picture: Write, text: Write, listed: Read
) -> None:
    picture("masks/a.png")
    boxes = '"[{""box"":[0,0,4,5],""class"":""mass""}]"'
    text(
        "labels.csv",
        f"image,mask,boxes,split,fold\nward/a.png,masks/a.png,{boxes},Training,3\nward/b.png,,[],validation,\n",
    )
    one, two = sorted(listed(labels=TABLE).cases, key=lambda case: case.images[""])
    assert (one.masks, one.split, one.fold, one.labels) == ({"": "masks/a.png"}, "train", "3", {})
    assert read_boxes(one.boxes) == [Box((0, 0, 4, 5), "mass")]
    assert (two.masks, two.boxes, two.split) == ({"": ""}, "[]", "val")


def test_what_is_wrong_in_those_columns(pictures: list[str], text: Write, refused: Any) -> None:
    text(
        "labels.csv",
        "image,mask,boxes,split,fold\nward/a.png,gone.png,[],trian,-1\nward/b.png,../secret.png,{},train,x\n",
    )
    said = refused(labels=TABLE)
    assert "row 2, mask: READ_ERROR" in said
    assert "row 3, mask: PATH_ESCAPE" in said
    assert "row 2: split 'trian' is not one of" in said
    assert "row 2: fold '-1' is not a whole number" in said
    assert "row 3: boxes: is no list" in said


def test_one_box_per_row(picture: Write, text: Write, listed: Read, refused: Any) -> None:
    for name in "ab":
        picture(f"{name}.png")
    text(
        "labels.csv", "image,x_min,y_min,x_max,y_max,class\na.png,1,2,3.5,4,mass\na.png,10,2,40,20,nodule\nb.png,,,,,\n"
    )
    found = listed(labels=TABLE)
    assert read_boxes(found.cases[0].boxes) == [Box((1, 2, 3.5, 4), "mass"), Box((10, 2, 40, 20), "nodule")]
    assert (found.cases[1].boxes, found.cases[0].labels) == ("[]", {})
    assert found.class_names == ["mass", "nodule"]
    text("labels.csv", "image,x,y,width,height,class\na.png,1,2,3,4,mass\nb.png,30,0,11,2,mass\nb.png,1,2,q,4,mass\n")
    said = refused(labels=TABLE)
    assert "row 3: the box ends 1 pixels outside the picture of 40 x 20" in said
    assert "row 4: x, y, width, height are not four numbers" in said


def test_several_channels(pictures: list[str], text: Write, listed: Read) -> None:
    text("labels.csv", "image.t1,image.t2,label\nward/a.png,ward/b.png,x\nicu/c.png,icu/d.jpg,y\n")
    found = listed(labels=TABLE)
    assert [case.images for case in found.cases] == [
        {"t1": "icu/c.png", "t2": "icu/d.jpg"},
        {"t1": "ward/a.png", "t2": "ward/b.png"},
    ]


def test_junk_is_counted(pictures: list[str], text: Write, junk: Callable[[], None], listed: Read) -> None:
    junk()
    text("labels.csv", "image,label\nward/a.png,x\nward/b.png,y\n")
    assert len(listed(labels=TABLE).skipped) == 4


def test_brain_tumours(medcnn_data: Path, keyring: Any) -> None:
    from medcnn.data.layouts.read import read_layout

    found = read_layout(medcnn_data / "brain_tumor_mri", labels=Path("index.csv"), keyring=keyring)
    assert len(found.cases) == 2452
    assert found.class_names == ["glioma", "meningioma", "pituitary"]
    first = next(case for case in found.cases if case.images[""] == "images/1.jpg")
    assert read_boxes(first.boxes) == [Box((133.12, 88.32, 189.44, 126.72), "meningioma")]


@pytest.mark.parametrize("column", ["folder", "SeriesInstanceUID", "patient_id"])
def test_the_volumes_of_one_series_share_its_label(column: str, dicom: Write, text: Write, listed: Read) -> None:
    """split_by makes several cases of one series; the table knows the series only."""
    uids = {"knee": "1.2.3.1", "hip": "1.2.3.2"}
    for name, uid in uids.items():
        for number in range(8):
            place, echo = number % 4, (5, 30)[number // 4]
            dicom(
                f"{name}/{number}.dcm",
                number,
                f"patient of {name}",
                Modality="MR",
                SOPClassUID="1.2.840.10008.5.1.4.1.1.4",
                SeriesInstanceUID=uid,
                SOPInstanceUID=f"{uid}.{number + 1}",
                EchoTime=echo,
                ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                ImagePositionPatient=[0, 0, 3 * place],
                PixelSpacing=[1, 1],
            )
    called = {"folder": lambda n: n, "SeriesInstanceUID": uids.get, "patient_id": lambda n: f"patient of {n}"}[column]
    text("labels.csv", f"{column},label\n" + "".join(f"{called(name)},{name[0]}\n" for name in uids))
    found = listed(labels=TABLE, split_by=("echo",))
    assert labels_of(found) == {f"{name}#echo={echo}": name[0] for name in uids for echo in (5, 30)}
    assert len({case.case_id for case in found.cases}) == 4


def test_any_folder_can_be_looked_at_without_labels(radiographs: None, picture: Write, listed: Read) -> None:
    """What came from the scanner, before anybody has labelled it."""
    picture("ward/a.png")
    found = listed(kind="scans")
    assert labels_of(found) == {**{f"study{n}/IM{n}.dcm": "" for n in range(1, 5)}, "ward/a.png": ""}
    assert len({case.patient_id for case in found.cases if case.patient_id}) == 3
    assert any("the column label is empty" in remark for remark in found.remarks)
    assert found.class_names == []
