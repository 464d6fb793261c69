"""BIDS: sessions and channels, participants.tsv as labels and subgroups, masks in derivatives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medcnn.data.layouts.listing import Listing

Write = Callable[..., Path]
Read = Callable[..., Listing]
PEOPLE = """participant_id	age	sex	group	full_name
sub-01	31	F	patient	Canary Anna
sub-02	n/a	M	control	x
sub-03	50	M	patient	y
sub-04	51	F	control	z
"""


@pytest.fixture
def bids(volume: Write, text: Write) -> Callable[..., None]:
    """Four subjects with T1w and FLAIR."""

    def write(people: str = PEOPLE, suffixes: tuple[str, ...] = ("T1w", "FLAIR")) -> None:
        text("dataset_description.json", {"Name": "made", "BIDSVersion": "1.8.0"})
        if people:
            text("participants.tsv", people)
        for n in range(1, 5):
            for suffix in suffixes:
                volume(f"sub-0{n}/anat/sub-0{n}_{suffix}.nii.gz")
                text(f"sub-0{n}/anat/sub-0{n}_{suffix}.json", {"EchoTime": 1})

    return write


def test_subjects_with_channels_and_labels(bids: Callable[..., None], listed: Read, junk: Callable[[], None]) -> None:
    bids()
    junk()
    found = listed()
    assert (found.kind, found.class_names) == ("bids", ["control", "patient"])
    assert [case.patient_id for case in found.cases] == ["sub-01", "sub-02", "sub-03", "sub-04"]
    assert found.cases[0].images == {
        "FLAIR": "sub-01/anat/sub-01_FLAIR.nii.gz",
        "T1w": "sub-01/anat/sub-01_T1w.nii.gz",
    }
    assert [case.labels[""] for case in found.cases] == ["patient", "control", "patient", "control"]
    assert found.cases[0].free == {"age": "31", "sex": "F"}
    assert found.cases[1].free == {"age": "", "sex": "M"}
    assert "the label is group, the only categorical column of participants.tsv" in found.remarks
    assert "columns that name people were dropped: full_name" in found.remarks
    assert "Canary" not in str(found)
    assert len([item for item in found.skipped if not item.reference.endswith(".json")]) == 4


def test_the_label_that_was_asked_for(bids: Callable[..., None], listed: Read, refused: Any) -> None:
    bids()
    found = listed(labels=Path("sex"))
    assert [case.labels[""] for case in found.cases] == ["F", "M", "M", "F"]
    assert found.cases[0].free == {"age": "31", "group": "patient"}
    assert "labels=gruop: participants.tsv has no such column. Did you mean group?" in refused(labels=Path("gruop"))


def test_sessions_are_cases_of_one_patient(bids: Callable[..., None], volume: Write, root: Path, listed: Read) -> None:
    bids(suffixes=())
    for subject, session in (("01", "a"), ("01", "b"), ("02", "a")):
        volume(f"sub-{subject}/ses-{session}/anat/sub-{subject}_ses-{session}_T1w.nii")
    volume("sub-01/ses-a/anat/sub-01_ses-a_T2w.nii.gz")
    volume("sub-01/ses-a/func/sub-01_ses-a_bold.nii.gz", 3)
    found = listed()
    assert [(case.patient_id, case.free["session"]) for case in found.cases] == [
        ("sub-01", "a"),
        ("sub-01", "b"),
        ("sub-02", "a"),
    ]
    assert found.cases[0].images == {"": "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii"}
    assert "T2w is in 1 of 3 sessions and was left out" in found.remarks
    assert "sub-01/ses-a/func/sub-01_ses-a_bold.nii.gz" in {item.reference for item in found.skipped}
    assert len({case.case_id for case in found.cases}) == 3


def test_where_no_image_is_in_every_session_each_is_a_case(
    bids: Callable[..., None], volume: Write, listed: Read
) -> None:
    bids(suffixes=())
    volume("sub-01/anat/sub-01_T1w.nii.gz")
    volume("sub-02/anat/sub-02_acq-fast_T2w.nii.gz")
    found = listed()
    assert [(list(case.images), case.free["suffix"]) for case in found.cases] == [([""], "T1w"), ([""], "acq-fast_T2w")]
    assert "each image is a case by itself" in found.remarks[1]


def test_masks_of_derivatives(bids: Callable[..., None], volume: Write, listed: Read) -> None:
    bids(people="")
    for n in (1, 3):
        volume(f"derivatives/manual/sub-0{n}/anat/sub-0{n}_desc-lesion_mask.nii.gz")
    volume("derivatives/manual/sub-02/anat/sub-02_space-MNI152_desc-lesion_mask.nii.gz")
    found = listed()
    assert [case.masks[""] for case in found.cases] == [
        "derivatives/manual/sub-01/anat/sub-01_desc-lesion_mask.nii.gz",
        "",
        "derivatives/manual/sub-03/anat/sub-03_desc-lesion_mask.nii.gz",
        "",
    ]
    assert [case.labels for case in found.cases] == [{}] * 4
    assert "2 of 4 cases have masks: desc-lesion_mask" in found.remarks
    volume("derivatives/manual/sub-01/anat/sub-01_dseg.nii.gz")
    assert listed().cases[0].masks.keys() == {"dseg", "desc-lesion_mask"}


def test_neither_label_nor_mask(bids: Callable[..., None], refused: Any) -> None:
    bids(people="")
    assert "there is neither a label nor a mask" in refused()
    rows = "".join(f"sub-0{n}\t{'ab'[n % 2]}\t{'cd'[n // 2 % 2]}\n" for n in range(1, 5))
    bids(people="participant_id\tone\ttwo\n" + rows)
    assert "Name the column with labels=<column>" in refused()


def test_a_damaged_table_of_participants(bids: Callable[..., None], root: Path, refused: Any) -> None:
    bids(people="participant_id\tgroup\nsub-01\ta\nsub-01\tb\nsub-02\n")
    said = refused()
    assert "row 3: a subject stands there twice" in said
    assert "row 4: has another number of columns" in said
    (root / "participants.tsv").write_bytes("participant_id\tgroup\nsub-01\tgröße\n".encode("latin-1"))
    assert "participants.tsv is no UTF-8 table" in refused()
    (root / "participants.tsv").write_text("id\tgroup\n")
    assert "has no column participant_id" in refused()


def test_subjects_without_a_row_are_counted(bids: Callable[..., None], listed: Read) -> None:
    bids(people="\n".join(PEOPLE.splitlines()[:4]))
    found = listed(labels=Path("group"))
    assert "participants.tsv has no row for 1 subjects: sub-04" in found.remarks
    assert found.cases[3].labels == {"": ""}


@pytest.mark.case("S04")
def test_a_link_out_of_the_set(bids: Callable[..., None], root: Path, refused: Any) -> None:
    bids()
    (root / "sub-01" / "anat" / "sub-01_T1w.nii.gz").unlink()
    (root / "sub-01" / "anat" / "sub-01_T1w.nii.gz").symlink_to(root.parent / "secret.nii.gz")
    assert "PATH_ESCAPE" in refused()


def test_no_image_at_all(bids: Callable[..., None], root: Path, refused: Any) -> None:
    bids(suffixes=())
    (root / "sub-01").mkdir()
    assert "no case was found" in refused()
