"""Several images a patient: thresholds and figures of patients, carried by the package and used by predict."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from folders import asked, table
from tiny_study import COLUMNS, evaluate_conf, manifest_rows, train_conf, write_manifest, write_pictures

from medcnn.errors import DataError
from medcnn.evaluate import evaluate
from medcnn.evaluation.classification import ClassificationResult
from medcnn.predict import predict
from medcnn.train import train

AGGREGATE = "decisions.aggregate=mean"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures a patient."""
    return write_pictures(tmp_path_factory.mktemp("pairs") / "data", 160)


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(train_conf(pictures, tmp_path_factory.mktemp("runs"), "trainer.epochs=6", AGGREGATE))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def test_training_measures_patients_beside_images(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    images, patients = rows_of(run / "predictions.csv"), rows_of(run / "patients.csv")
    assert metrics["patients"]["rule"] == "mean"
    assert {row["split"] for row in patients} == {"test", "calib", "val"}
    assert (len(images), len(patients)) == (60, 30)
    assert "auroc" in metrics["patients"]["test"]
    by_patient: dict[str, list[float]] = {}
    for row in images:
        by_patient.setdefault(row["patient_key"], []).append(float(row["p.sick"]))
    cut = json.loads((run / "model" / "model.json").read_text())["patients"]["thresholds"]["sick"]
    for row in patients:
        wanted = np.mean([logit(p) for p in by_patient[row["patient_key"]]])
        assert logit(float(row["p.sick"])) == pytest.approx(wanted, abs=0.02)
        assert row["decision"] == ("sick" if float(row["p.sick"]) >= cut else "healthy")
    assert "test, patients" in (run / "report.html").read_text()


def test_evaluate_takes_the_packages_own_threshold(run: Path, pictures: Path, tmp_path: Path) -> None:
    own = evaluate(evaluate_conf(run, pictures, tmp_path / "own", "resamples=100", "aggregate=mean"))
    cut = json.loads((run / "model" / "model.json").read_text())["patients"]["thresholds"]["sick"]
    assert isinstance(own, ClassificationResult)
    assert own.thresholds == (pytest.approx(cut),)
    assert not any("fitted on single images" in note for note in own.notes)
    other = evaluate(evaluate_conf(run, pictures, tmp_path / "other", "resamples=100", "aggregate=max"))
    assert any("fitted on single images" in note for note in other.notes)


def test_predict_answers_for_patients(run: Path, pictures: Path, tmp_path: Path) -> None:
    conf = asked(run, pictures, tmp_path / "out")
    conf.select.manifest = str(pictures / "manifest.csv")
    assert predict(conf).exit_code == 0
    found, images = rows_of(tmp_path / "out" / "patients.csv"), table(tmp_path / "out")
    assert (len(images), len(found)) == (160, 80)
    assert list(found[0]) == ["patient_key", "images", "left_out", "p.healthy", "p.sick", "decision"]
    assert {(row["images"], row["left_out"]) for row in found} == {("2", "0")}
    first = [logit(float(images[n]["p.sick"])) for n in range(2)]
    assert logit(float(found[0]["p.sick"])) == pytest.approx(np.mean(first), abs=0.02)
    assert all(row["patient_key"].startswith("p-") for row in found)


def test_patients_must_be_known(pictures: Path, tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "data", 160)
    write_manifest(root, [[name, "", *rest] for name, _, *rest in manifest_rows(root)], COLUMNS)
    with pytest.raises(DataError, match=r"aggregate: 60 of 60 cases have no patient_id"):
        train(train_conf(root, tmp_path / "runs", AGGREGATE))
