"""What a case's files are called."""

from __future__ import annotations

import pytest

from medcnn.batch.cases import Case
from medcnn.batch.names import names_of, safe, structure_names


def named(*references: str) -> list[str]:
    cases = [Case(f"c-{n}", reference) for n, reference in enumerate(references)]
    return list(names_of(cases, "exam 7").values())


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("hippocampus_017.nii.gz", "hippocampus_017"),
        ("ward/b.NII", "ward__b"),
        ("a.b.c.dcm", "a.b.c"),
        ("IM0001", "IM0001"),
        ("scan.v2", "scan.v2"),
        ("pair.hdr", "pair"),
        ("x.jpeg", "x"),
        (".", "exam 7"),
        (".#series=1.2.3", "exam 7"),
        ("exam/t1", "exam__t1"),
        ("exam#series=1.2.840.1", "exam"),
        ("exam#series=1.2.840.1&echo=30", "exam_echo=30"),
        ("set.npz#row=test/3", "set_row=test-3"),
        ("cine.dcm#frame=4", "cine_frame=4"),
        ("a#b.nii", "a_b"),
        ("../..", "__"),
        (".hidden.nii", "hidden"),
        ("CON.nii", "_CON"),
        ("Grüße ü.nii", "Grüße ü"),
        ("bad\udcff.nii", "bad_"),
        ('q?"<>|:*\\.nii', "q________"),
    ],
)
def test_names(reference: str, name: str) -> None:
    assert named(reference) == [name]


def test_names_that_would_be_alike_are_told_apart() -> None:
    assert named("a/x.nii", "a__x.nii.gz", "b.nii") == ["a__x_c-0", "a__x_c-1", "b"]
    assert named("Scan.nii", "scan.nii") == ["Scan_c-0", "scan_c-1"]  # one file where upper and lower case are one
    assert named("exam#series=1.2", "exam#series=1.3") == ["exam_c-0", "exam_c-1"]


def test_long_names_are_cut_and_told_apart() -> None:
    one, other = named("ä" * 120 + "1.nii", "ä" * 120 + "2.nii")
    assert one != other
    assert max(len(one.encode()), len(other.encode())) < 180
    assert one.endswith("_c-0")


def test_files_of_structures_are_told_apart_too() -> None:
    cases = [Case("c-0", "x.nii"), Case("c-1", "x_y.nii"), Case("c-2", "z.nii")]
    found = names_of(cases, "", lambda name: [f"{name}_a", f"{name}_y_a"])
    assert list(found.values()) == ["x_c-0", "x_y_c-1", "z"]


def test_a_structures_name_is_made_safe() -> None:
    assert safe("left/right: ventricle") == "left_right_ ventricle"
    assert safe("") == "_"
    assert structure_names(["a/b", "a:b", "c", "d" * 30]) == {
        "a/b": "1_a_b", "a:b": "2_a_b", "c": "c", "d" * 30: "4_" + "d" * 24,
    }  # fmt: skip
