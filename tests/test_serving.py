"""What a served segmenter answers: numbers in rows, since masks are files."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from packages import tiny_segmenter_package

from medcnn.data.privacy import Keyring
from medcnn.model_package.opening import load_package
from medcnn.serving import ScanModel

COLUMNS = ["case_id", "volume_ml.rim", "volume_ml.core", "expected_dice.rim", "expected_dice.core", "reason"]


def served(package: Path) -> ScanModel:
    model = ScanModel()
    model.package = load_package(package, accelerator="cpu")
    model.names = Keyring(b"k" * 32)
    return model


@pytest.fixture
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    values = np.full((10, 9, 8), 40, np.uint8)
    values[2:5, 3:6, 1:7] = 150
    nibabel.save(nibabel.Nifti1Image(values, np.diag([2.0, -1.0, 5.0, 1])), folder / "a.nii.gz")
    (folder / "broken.nii").write_bytes(b"no volume")
    monkeypatch.setenv("MEDCNN_SERVE_ROOT", str(folder))
    return folder


def test_rows_hold_volumes_and_expected_dice(scans: Path, tmp_path: Path) -> None:
    model = served(tiny_segmenter_package(tmp_path / "m"))
    answer = model.predict(None, pd.DataFrame([{"path": "a.nii.gz"}, {"path": "broken.nii"}]))
    assert list(answer.columns) == COLUMNS
    assert answer["volume_ml.rim"][0] == pytest.approx(3 * 3 * 6 * 10 / 1000)
    assert answer["volume_ml.core"][0] == 0
    assert answer["expected_dice.rim"][0] == pytest.approx(1, abs=1e-3)
    assert list(answer["reason"].str.partition(":")[0]) == ["", "NOT_NIFTI"]
    assert answer["case_id"][0]
    assert np.isnan(answer["volume_ml.rim"][1])


def test_no_numbers_from_a_network_that_has_none(scans: Path, tmp_path: Path) -> None:
    model = served(tiny_segmenter_package(tmp_path / "m", steepness=float("nan")))
    answer = model.predict(None, pd.DataFrame([{"path": "a.nii.gz"}]))
    assert answer["reason"][0].startswith("INTERNAL: the network's answer is not a finite number")
    assert np.isnan(answer["volume_ml.rim"][0])
