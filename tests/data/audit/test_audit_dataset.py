"""A folder audited from end to end, as a user meets it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medcnn.data.audit.audit import Audit, audited, gather, show
from medcnn.data.audit.page import write_csv, write_page
from medcnn.data.manifest import Case, Manifest, read_manifest
from medcnn.io.options import Reading

CANARIES = ("Miller^Anna", "Miller", "PAT-4711", "19501231", "1.2.826.0.1.3680043")


@pytest.fixture
def audit(tmp_path, write_scene) -> Callable[..., Audit]:
    def run(cases: list[Case], **more) -> Audit:
        return audited(gather(Manifest(tmp_path / "data", tuple(cases)), [], Reading(), tmp_path / "store", **more))

    return run


@pytest.fixture
def clean(write_scene) -> list[Case]:
    splits = (["train"] * 40 + ["val"] * 10 + ["test"] * 10) * 2
    return [
        Case(f"c{n}", {"": write_scene(f"f/{n}.png", n)}, {"": "ill" if n < 60 else "well"}, f"p{n}", splits[n])
        for n in range(120)
    ]


def test_a_clean_folder_can_be_trained_on(audit, clean) -> None:
    made = audit(clean)
    assert not made.stops
    assert [finding.code for finding in made.findings] == ["spacing_unknown"]  # pictures have none
    lines = made.lines()
    assert lines[0].split() == ["split", "ill", "well", "cases", "readable", "patients"]
    assert lines[2].split() == ["train", "40", "40", "80", "80", "80"]
    assert lines[-1] == "This data can be trained on; 0 warnings"
    assert made.evidence.known == 0
    assert audit(clean).evidence.known == 120


@pytest.mark.case("T21")
def test_copies_in_two_splits_stop_and_saved_copies_warn(audit, clean, tmp_path) -> None:
    root = tmp_path / "data"
    (root / "exact.png").write_bytes((root / "f/3.png").read_bytes())
    Image.open(root / "f/5.png").save(root / "lossy.jpg", quality=80)
    copies = [Case("exact", {"": "exact.png"}, {"": "ill"}, "q1", "test"),
              Case("lossy", {"": "lossy.jpg"}, {"": "ill"}, "q2", "test")]  # fmt: skip
    made = audit([*clean, *copies])
    assert made.stops
    found = {finding.code: finding.examples for finding in made.findings}
    assert found["identical_pixels_across_splits"] == (("c3", "exact"),)
    assert found["near_duplicates_across_splits"] == (("c5", "lossy"),)
    assert made.lines()[-1] == "Training stops on this data for 1 reason; 1 warning"


def test_the_same_audit_twice_is_the_same_and_is_json(audit, clean) -> None:
    one, other = (json.dumps(audit(clean).as_json(), allow_nan=False) for _ in range(2))
    assert one == other
    assert "thumbnail" not in one


def test_declared_labels_reach_the_masks(audit, clean, tmp_path) -> None:
    mask = np.zeros((60, 66), np.uint8)
    mask[:9] = 3
    Image.fromarray(mask).save(tmp_path / "data" / "m.png")
    with_mask = [Case("m", clean[0].images, {"": "ill"}, "p0", "train", {"": "m.png"}), *clean[1:]]
    codes = {finding.code for finding in audit(with_mask, declared_labels=(0, 1)).findings}
    assert "mask_values" in codes
    assert "mask_values" not in {finding.code for finding in audit(with_mask).findings}


def test_a_terminal_gets_colour_and_a_pipe_plain_lines(audit, clean) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    made = audit(clean)
    plain, terminal = io.StringIO(), Terminal()
    show(made, plain)
    assert plain.getvalue() == "\n".join(made.lines()) + "\n"
    show(made, terminal)
    assert "can be trained on" in terminal.getvalue()


@pytest.mark.case("S07")
def test_no_patient_leaves_the_headers_and_no_path_the_private_files(tmp_path) -> None:
    from pydicom.data import get_testdata_file
    from pydicom.filereader import dcmread

    folder = tmp_path / "data" / "Miller Anna"
    folder.mkdir(parents=True)
    cases = []
    for n in range(6):
        dataset = dcmread(get_testdata_file("CT_small.dcm" if n % 2 else "MR_small.dcm"))
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Miller^Anna", "PAT-4711", "19501231"
        dataset.SOPInstanceUID = f"1.2.826.0.1.3680043.{n}"
        dataset.Modality = "DX"
        dataset.save_as(folder / f"{n}.dcm")
        cases.append(Case(f"c-{n}", {"": f"Miller Anna/{n}.dcm"}, {"": "ab"[n % 2]}, "PAT-4711", "train"))
    (folder / "broken.dcm").write_bytes((folder / "0.dcm").read_bytes()[:2000])
    cases.append(Case("c-broken", {"": "Miller Anna/broken.dcm"}, {"": "a"}, "PAT-4711", "test"))
    made = audited(gather(Manifest(tmp_path / "data", tuple(cases)), [], Reading(), tmp_path / "store"))
    shared = json.dumps(made.as_json()) + "\n".join(made.lines())
    store = (tmp_path / "store" / "audit-records.jsonl").read_text() if (tmp_path / "store").exists() else ""
    assert [canary for canary in CANARIES if canary in shared + store] == []
    private = write_page(tmp_path / "o" / "audit.html", made).read_text()
    private += "".join(path.read_text() for path in write_csv(tmp_path / "o", made))
    assert "Miller Anna/broken.dcm" in private  # so that a person finds the file
    assert [canary for canary in CANARIES if canary in private.replace("Miller Anna/", "")] == []


@pytest.mark.parametrize("name", ["xray", "mri"])
def test_the_samples_are_clean(samples, tmp_path, name) -> None:
    made = audited(gather(read_manifest(samples / name, ""), [], Reading(), tmp_path))
    assert not made.stops
    assert not made.evidence.rejected
    codes = {finding.code for finding in made.findings}
    assert codes <= {"patient_with_several_labels", "near_duplicates_of_one_patient", "class_too_small"}


@pytest.mark.slow
def test_the_copies_of_pneumoniamnist(medcnn_data: Path, tmp_path) -> None:
    """Its README counts them: 8 val pictures that are also in train, and 16 more groups within train."""
    made = audited(gather(read_manifest(medcnn_data / "pneumoniamnist", ""), [], Reading(), tmp_path))
    found = {finding.code: finding for finding in made.findings}
    assert found["identical_pixels_across_splits"].count == 8
    assert found["identical_pixels"].count == 16
    assert "identical_pixels_different_labels" not in found
