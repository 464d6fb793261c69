"""What others say of DICOM objects that we wrote."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def dciodvfy_errors(path: Path) -> list[str]:
    """The errors that dciodvfy of dicom3tools finds in one file; skips where it is not installed."""
    tool = shutil.which("dciodvfy")
    if tool is None:
        pytest.skip("dciodvfy is not installed (Debian package dicom3tools)")
    ran = subprocess.run([tool, str(path)], capture_output=True, text=True, errors="replace", timeout=60, check=False)
    lines = [*ran.stdout.splitlines(), *ran.stderr.splitlines()]
    assert lines, "dciodvfy says nothing, not even the kind of object"
    return [line for line in lines if line.startswith("Error")]
