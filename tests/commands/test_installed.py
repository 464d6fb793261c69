"""The wheel, built and installed elsewhere, trains from any directory with its own conf and samples."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(words: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.process
def test_the_wheel_trains_from_any_directory(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    built = run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(ROOT)], tmp_path)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("medcnn-*.whl")
    target, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    installed = run([*pip, "install", "--no-deps", "--target", str(target), str(wheel)], tmp_path)
    assert installed.returncode == 0, installed.stderr

    code = "from medcnn.config.folders import conf_folder, samples_folder; print(conf_folder(), samples_folder())"
    found = run([sys.executable, "-c", code], elsewhere, PYTHONPATH=str(target)).stdout.split()
    assert found == [str(target / "medcnn" / "_conf"), str(target / "medcnn" / "_samples")]

    script = [sys.executable, str(target / "bin" / "medcnn"), "train", "+task=xray_cls", "debug=dry_run"]
    trained = run(script, elsewhere, PYTHONPATH=str(target))
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert "predict    python -m medcnn.predict" in trained.stdout
    assert list(elsewhere.glob("runs/debug_xray_cls/2*/model/model.json"))
