"""Which scans are asked about, which the model takes, and that nothing vanishes in silence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medcnn.batch.cases import CaseList, Takes, list_cases
from medcnn.batch.selection import LeftOut, Selection, fit, fit_in_words, read_references
from medcnn.config.errors import ConfigError
from medcnn.data.privacy import Keyring
from medcnn.errors import DataError
from medcnn.inference.expectation import Expectation
from medcnn.io.discover import Found
from medcnn.scan import Reason

KEYS = Keyring(b"k" * 32)
HEAD = Found("ward/t1", "MR", "HEAD", description="t1_mprage SAG of Doe^Jane", slices=160, spatial_dims=3)
CHEST = Found("ward/x.dcm", "CR", "CHEST", slices=1, spatial_dims=2)
SILENT = Found("scan.nii.gz", slices=20, spatial_dims=3)
MOSAIC = Found("ward/bold", "MR", slices=0)


def knows(modality: tuple[str, ...] = (), body_part: tuple[str, ...] = (), spatial_dims: int = 3) -> Expectation:
    return Expectation(modality, body_part, spatial_dims, (0, 0), (1, 1), (0, 0), (1, 1))


@pytest.mark.parametrize("found", [HEAD, CHEST, SILENT, MOSAIC])
def test_nothing_asked_leaves_nothing_out(found: Found) -> None:
    assert Selection().why_not(found) is None


@pytest.mark.parametrize(
    ("selection", "asked"),
    [
        (Selection(modality=("mr", "CT")), [HEAD, MOSAIC]),
        (Selection(body_part=("Head",)), [HEAD]),
        (Selection(series="MPRAGE|flair"), [HEAD]),
        (Selection(series="^t1.*sag"), [HEAD]),
        (Selection(series="^mprage"), []),
        (Selection(min_slices=20), [HEAD, SILENT, MOSAIC]),
        (Selection(min_slices=21), [HEAD, MOSAIC]),
        (Selection(manifest=frozenset({"scan.nii.gz", "ward/x.dcm"})), [CHEST, SILENT]),
        (Selection(modality=("MR",), series="t1", min_slices=161), []),
    ],
)
def test_what_is_asked_about(selection: Selection, asked: list[Found]) -> None:
    assert [found for found in (HEAD, CHEST, SILENT, MOSAIC) if selection.why_not(found) is None] == asked


def test_why_a_scan_is_left_out_is_said_in_codes_and_numbers() -> None:
    def said(found: Found, **asked: object) -> tuple[str, str]:
        left_out = Selection(**asked).why_not(found)  # type: ignore[arg-type]
        assert left_out is not None
        assert left_out.reference == found.reference
        return left_out.filter, left_out.found

    assert said(HEAD, modality=("CT", "PT")) == ("modality", "the scan says MR, asked for CT, PT")
    assert said(SILENT, modality=("MR",)) == ("modality", "the scan does not say, asked for MR")
    assert said(HEAD, body_part=("CHEST",)) == ("body_part", "the scan says HEAD, asked for CHEST")
    assert said(HEAD, min_slices=200) == ("min_slices", "160 slices, asked for 200 or more")
    assert said(HEAD, series="flair") == ("series", "the series' description does not match")
    assert said(CHEST, series="flair") == ("series", "the series' description is not there")
    assert said(HEAD, manifest=frozenset()) == ("manifest", "not in the manifest")
    prose = Found("a", "MR", "KNEE OF JANE DOE, LEFT")
    assert said(prose, body_part=("KNEE",)) == ("body_part", "the scan says something else, asked for KNEE")


def test_a_pattern_that_is_none_says_what_to_type() -> None:
    with pytest.raises(ConfigError, match=r"select.series: '\(t1' is no regular expression .* series='t1\|t2'"):
        Selection(series="(t1")


@pytest.mark.parametrize(
    ("found", "expects", "words"),
    [
        (HEAD, knows(("MR",), ("HEAD",)), []),
        (HEAD, knows(), []),
        (SILENT, knows(("MR",), ("HEAD",)), []),
        (MOSAIC, knows(("MR",)), []),
        (HEAD, knows(("CT",)), ["MODALITY"]),
        (HEAD, knows(("MR",), ("ABDOMEN",)), ["BODY_PART"]),
        (CHEST, knows(("CR",)), ["GEOMETRY_MISMATCH"]),
        (CHEST, knows(("MR",), ("HEAD",)), ["MODALITY", "BODY_PART", "GEOMETRY_MISMATCH"]),
    ],
)
def test_which_scans_a_model_of_volumes_takes(found: Found, expects: Expectation, words: list[str]) -> None:
    assert [reason.partition(":")[0] for reason in fit(found, expects, 3)] == words


def test_the_words_are_those_of_the_answer() -> None:
    expects = knows(("CR", "DX"), (), 2)
    assert fit(HEAD, expects, 2) == (
        *expects.misfits("MR", "HEAD"),
        "GEOMETRY_MISMATCH: this scan is a volume and the model takes pictures",
    )


def test_the_fit_in_one_line() -> None:
    other, picture = ("MODALITY: ...", "GEOMETRY_MISMATCH: ..."), ("GEOMETRY_MISMATCH: ...",)
    misfits = [()] * 12 + [other] * 5 + [picture] * 3
    assert fit_in_words(misfits, knows(("MR",)), 3) == (
        "fits the model (MR volumes): 12 of 20 cases; 5 of another modality, 3 pictures"
    )
    one = [("BODY_PART: ...",), ("GEOMETRY_MISMATCH: ...",), ()]
    assert fit_in_words(one, knows(("CR", "DX"), ("CHEST",), 2), 2) == (
        "fits the model (CR/DX CHEST pictures): 1 of 3 cases; 1 of another body part, 1 volume"
    )
    assert fit_in_words([()], knows(), 3) == "fits the model (volumes): 1 of 1 case"


def write_manifest(path: Path, *rows: str, header: str = "case_id,image") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_the_images_of_a_manifest(tmp_path: Path) -> None:
    rows = ["1,ward/a.nii.gz", "2,'=1.nii", '3,"b, c.png"', "4,"]
    assert read_references(write_manifest(tmp_path / "m.csv", *rows)) == {"ward/a.nii.gz", "=1.nii", "b, c.png"}
    labelled = write_manifest(tmp_path / "m.csv", "p,a.png,1", header="patient_id,image,label")
    assert read_references(labelled) == {"a.png"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"case_id,picture\n1,a.png\n", "one column 'image' is needed, 0 are there, of case_id, picture"),
        (b"image.t1,image.t2\na,b\n", "one column 'image' is needed, 2 are there"),
        (b"case_id,image\n", "names no image"),
        (b"\xff\xfe\x00", "is no UTF-8 CSV"),
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_references(tmp_path / "m.csv")
    with pytest.raises(DataError, match="cannot be read"):
        read_references(tmp_path / "none.csv")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, a text, and what looks like a scan and is none."""
    root = tmp_path / "scans"
    (root / "ward").mkdir(parents=True)
    for name in ("a.png", "b.png", "ward/c.png"):
        Image.fromarray(np.ones((4, 4), np.uint8)).save(root / name)
    (root / "note.txt").write_text("no scan")
    (root / "bad.nii.gz").write_bytes(b"no gzip")
    return root


def listed(folder: Path, **asked: object) -> CaseList:
    return list_cases(folder, KEYS, **asked)  # type: ignore[arg-type]


def test_what_is_left_out_is_listed_apart_from_what_is_no_scan(folder: Path) -> None:
    found = listed(folder, selection=Selection(modality=("MR",)))
    assert [(item.reference, item.filter) for item in found.left_out] == [
        ("a.png", "modality"),
        ("b.png", "modality"),
        ("ward/c.png", "modality"),
    ]
    assert [item.reference for item in found.skipped] == ["note.txt"]
    assert [case.reference for case in found.cases] == ["bad.nii.gz"], "nobody knows what it was"
    assert found.cases[0].rejection is not None


def test_every_row_of_a_manifest_is_a_case_or_a_rejection(folder: Path) -> None:
    asked = frozenset({"ward/c.png", "gone.png", "../escaped.png", "note.txt"})
    found = listed(folder, selection=Selection(manifest=asked))
    assert {case.reference: case.rejection and case.rejection.code for case in found.cases} == {
        "ward/c.png": None,
        "gone.png": Reason.READ_ERROR,
        "../escaped.png": Reason.PATH_ESCAPE,
        "note.txt": Reason.NOT_DICOM,
    }
    assert found.left_out == [
        LeftOut(name, "manifest", "not in the manifest") for name in ("a.png", "b.png", "bad.nii.gz")
    ]
    everything = {case.reference: case.case_id for case in listed(folder).cases}
    assert {case.reference: case.case_id for case in found.cases}["ward/c.png"] == everything["ward/c.png"]


def test_a_manifests_own_name_for_what_is_there_is_asked_as_it_is(tmp_path: Path) -> None:
    """A volume of a 4D file: discovery names the file, the manifest one volume of it."""
    import nibabel

    nibabel.Nifti1Image(np.zeros((3, 4, 5, 2), np.int16), np.eye(4)).to_filename(tmp_path / "times.nii")
    found = listed(tmp_path, selection=Selection(manifest=frozenset({"times.nii#frame=1"})))
    assert [(case.reference, case.rejection) for case in found.cases] == [("times.nii#frame=1", None)]
    assert [item.reference for item in found.left_out] == ["times.nii"]


def test_cases_know_why_the_model_does_not_take_them(folder: Path) -> None:
    found = listed(folder, takes=Takes(knows(("MR",)), 3))
    assert {case.reference: len(case.misfits) for case in found.cases} == {
        "a.png": 1,
        "b.png": 1,
        "ward/c.png": 1,
        "bad.nii.gz": 0,
    }
    assert all(not case.misfits for case in listed(folder, takes=Takes(knows(), 2)).cases)


def test_choosing_and_estimating_import_nothing_heavy() -> None:
    """They run in the process that leads, which answers before torch is there."""
    asked = (
        "import sys; import medcnn.batch.cases, medcnn.batch.selection, medcnn.batch.estimate, medcnn.batch.dry_run,"
        "medcnn.tracking.model_source; "
        "print([name for name in ('torch', 'monai', 'mlflow', 'scipy', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
