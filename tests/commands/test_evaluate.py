"""Evaluating a package on other data: the layout of acceptance, and numbers that scikit-learn agrees with."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as oracle
from tiny_study import evaluate_conf, manifest_rows, write_manifest, write_pictures

from medcnn.config.errors import ConfigError
from medcnn.errors import DataError, PackageError
from medcnn.evaluate import evaluate


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_metrics_agree_with_scikit_learn_on_the_written_predictions(run: Path, pictures: Path, tmp_path: Path) -> None:
    evaluate(evaluate_conf(run, pictures, tmp_path / "out", "data.split=train"))
    rows = rows_of(tmp_path / "out" / "predictions.csv")
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())["train"]
    truth = [row["label"] == "sick" for row in rows]
    score, decided = [float(row["p.sick"]) for row in rows], [row["decision"] == "sick" for row in rows]
    assert found["auroc"]["value"] == pytest.approx(oracle.roc_auc_score(truth, score), abs=1e-4)
    assert found["average_precision"]["value"] == pytest.approx(oracle.average_precision_score(truth, score), abs=1e-4)
    assert found["accuracy"]["value"] == pytest.approx(oracle.accuracy_score(truth, decided))
    assert found["balanced_accuracy"]["value"] == pytest.approx(oracle.balanced_accuracy_score(truth, decided))
    assert found["f1"]["value"] == pytest.approx(oracle.f1_score(truth, decided))
    assert found["brier"]["value"] == pytest.approx(oracle.brier_score_loss(truth, score), abs=1e-4)
    assert {path.name for path in (tmp_path / "out" / "figures").glob("*.png")} == {
        f"train_{name}.png" for name in ("roc", "precision_recall", "confusion", "calibration", "scores")
    }


def test_decisions_follow_the_packages_threshold(run: Path, pictures: Path, tmp_path: Path) -> None:
    evaluate(evaluate_conf(run / "model", pictures, tmp_path / "out"))
    threshold = json.loads((run / "model" / "model.json").read_text())["output"]["thresholds"]["sick"]
    for row in rows_of(tmp_path / "out" / "predictions.csv"):
        assert (row["decision"] == "sick") == (float(row["p.sick"]) >= threshold)


def test_a_single_archive_of_any_name_with_only_a_test_part_is_evaluated(run: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    image = np.clip(generator.normal(90, 25, (20, 24, 24)), 0, 160)
    image[10:, :9, :9] += 90
    root = tmp_path / "data"
    root.mkdir()
    labels = np.repeat([[0], [1]], 10, axis=0).astype(np.uint8)
    np.savez_compressed(root / "whatever.npz", test_images=image.astype(np.uint8), test_labels=labels)
    result = evaluate(evaluate_conf(run, root, tmp_path / "out"))
    assert result.num_cases == 20
    assert result.unit == "case"
    assert result.estimates["auroc"].value > 0.9


def test_a_manifest_without_splits_is_taken_whole(run: Path, pictures: Path, tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "data", splits=False)
    assert evaluate(evaluate_conf(run, root, tmp_path / "out")).num_cases == 48


def test_a_split_that_is_not_there_names_those_that_are(run: Path, tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "data")
    write_manifest(root, [row for row in manifest_rows(root) if row[4] != "test"])
    with pytest.raises(DataError, match=r"no case is in 'test' \(there: calib, train, val\)"):
        evaluate(evaluate_conf(run, root, tmp_path / "out"))


def test_labels_unknown_to_the_model_are_named(run: Path, tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "data")
    rows = manifest_rows(root)
    rows[0][3] = "sicc"
    write_manifest(root, rows)
    with pytest.raises(DataError, match=r"'sicc' in 1 cases \(first case-00\) Did you mean sick"):
        evaluate(evaluate_conf(run, root, tmp_path / "out"))


def test_results_are_never_written_over(run: Path, pictures: Path, tmp_path: Path) -> None:
    evaluate(evaluate_conf(run, pictures, tmp_path / "out"))
    with pytest.raises(ConfigError, match="holds an evaluation already"):
        evaluate(evaluate_conf(run, pictures, tmp_path / "out"))


def test_a_folder_that_is_no_package_is_named(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="is no model package and no run folder"):
        evaluate(evaluate_conf(tmp_path, pictures, tmp_path / "out"))


def test_each_case_is_answered_by_itself(run: Path, pictures: Path, tmp_path: Path) -> None:
    evaluate(evaluate_conf(run, pictures, tmp_path / "one", "inference.batch_cases=1"))
    evaluate(evaluate_conf(run, pictures, tmp_path / "many", "inference.batch_cases=64"))
    one, many = (rows_of(tmp_path / name / "predictions.csv") for name in ("one", "many"))
    for alone, together in zip(one, many, strict=True):
        assert float(alone["p.sick"]) == pytest.approx(float(together["p.sick"]), abs=1e-5)
