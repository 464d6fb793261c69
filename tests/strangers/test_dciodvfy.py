"""The DICOM results of predict, checked against the standard by dicom3tools."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pydicom
import pytest
from studies import Answered


def errors(validator: str, path: Path) -> list[str]:
    done = subprocess.run([validator, str(path)], capture_output=True, text=True, errors="replace", timeout=60)
    lines = (done.stdout + done.stderr).splitlines()
    assert lines, "the validator says at least what kind of object it sees"
    return [line for line in lines if line.startswith("Error")]


@pytest.mark.parametrize("kind", ["seg", "sr", "sc"])
def test_results_have_no_error(validator: str, segmented: Answered, classified: Answered, kind: str) -> None:
    paths = segmented.objects(kind) + classified.objects(kind)
    assert paths
    found = {path.name: errors(validator, path) for path in paths}
    assert {name: said for name, said in found.items() if said} == {}


@pytest.mark.parametrize("kind", ["seg", "sr", "sc"])
def test_the_validator_sees_what_is_wrong(
    validator: str, segmented: Answered, classified: Answered, tmp_path: Path, kind: str
) -> None:
    path = (segmented.objects(kind) + classified.objects(kind))[0]
    spoiled = pydicom.dcmread(path)
    del spoiled.StudyInstanceUID
    spoiled.save_as(tmp_path / "spoiled.dcm")
    assert any("StudyInstanceUID" in line for line in errors(validator, tmp_path / "spoiled.dcm"))
