"""evaluate with subgroups and with one row per patient: a planted gap is warned of, and nothing else is."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from tiny_study import COLUMNS, evaluate_conf, manifest_rows, write_manifest, write_pictures

from medcnn.config.errors import ConfigError
from medcnn.errors import DataError
from medcnn.evaluate import evaluate
from medcnn.study.classification import evaluation

FEW = "resamples=200"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def write_sites(root: Path, *, noisy: bool) -> Path:
    """80 patients of two pictures at two sites, and 4 at a third one; noisy: half the labels of B are wrong."""
    write_pictures(root, 168, splits=False)
    rows = []
    for row in manifest_rows(root):
        patient = int(row[1][1:])
        site = "C" if patient >= 80 else "AB"[patient // 2 % 2]
        if noisy and site == "B" and patient // 4 % 2:
            row[3] = {"sick": "healthy", "healthy": "sick"}[row[3]]
        rows.append([*row, site, f"{patient % 7 * 10 + 15}", f"N{patient}"])
    write_manifest(root, rows, [*COLUMNS, "site", "age", "name"])
    return root


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sites(tmp_path_factory.mktemp("alike"), noisy=False)


def test_a_site_with_noisy_labels_is_warned_of_everywhere(run: Path, tmp_path: Path, capsys) -> None:
    root, out = write_sites(tmp_path / "data", noisy=True), tmp_path / "out"
    evaluate(evaluate_conf(run, root, out, "subgroups=[site,age]", "age_edges=[40,60]", FEW))
    found = json.loads((out / "metrics.json").read_text())
    assert list(found) == ["test", "subgroups"]
    groups = found["subgroups"]["groups"]
    assert list(groups["site"]) == ["A", "B"]
    assert list(groups["age"]) == ["under 40", "40 to 60", "60 and over"]
    assert groups["site"]["A"]["auroc"]["value"] > 0.9 > 0.7 > groups["site"]["B"]["auroc"]["value"]
    assert (groups["site"]["A"]["cases"], groups["site"]["A"]["patients"]) == (80, 40)
    page, said = (out / "report.html").read_text(), capsys.readouterr().out
    (warning,) = [w for w in found["subgroups"]["warnings"] if w.startswith("site: auroc is lower for B than for A")]
    assert warning in said
    assert warning in page
    assert not any(w.startswith("age") for w in found["subgroups"]["warnings"])
    assert "site: too few patients to measure, 20 are needed: C (4)" in page
    assert "best against worst" in said
    rows = {(r["column"], r["group"], r["metric"]): r for r in rows_of(out / "subgroups.csv")}
    assert float(rows["site", "B", "auroc"]["value"]) == groups["site"]["B"]["auroc"]["value"]
    assert (out / "figures" / "test_subgroups.png").is_file()
    assert (out / "figures" / "test_subgroups.csv").read_bytes() == (out / "subgroups.csv").read_bytes()


def test_a_groups_values_are_those_of_its_rows(run: Path, alike: Path, tmp_path: Path) -> None:
    evaluate(evaluate_conf(run, alike, tmp_path / "out", "subgroups=[site]", FEW))
    site = {row[0]: row[5] for row in manifest_rows(alike)}
    rows = [row for row in rows_of(tmp_path / "out" / "predictions.csv") if site[row["case_id"]] == "B"]
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())["subgroups"]["groups"]["site"]["B"]
    truth, score = [row["label"] == "sick" for row in rows], [float(row["p.sick"]) for row in rows]
    assert found["auroc"]["value"] == pytest.approx(roc_auc_score(truth, score), abs=1e-4)


def test_sites_that_are_served_alike_are_not_warned_of(run: Path, alike: Path, tmp_path: Path, capsys) -> None:
    evaluate(evaluate_conf(run, alike, tmp_path / "out", "subgroups=[site]", FEW))
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())["subgroups"]
    assert found["warnings"] == []
    assert {gap["metric"] for gap in found["gaps"]} == {"auroc", "sensitivity", "specificity"}
    assert "is lower for" not in capsys.readouterr().out + (tmp_path / "out" / "report.html").read_text()


def test_without_the_settings_nothing_is_added(run: Path, alike: Path, tmp_path: Path) -> None:
    plain, asked = tmp_path / "plain", tmp_path / "asked"
    evaluate(evaluate_conf(run, alike, plain, FEW))
    evaluate(evaluate_conf(run, alike, asked, "subgroups=[site]", FEW))
    of_plain, of_asked = (json.loads((at / "metrics.json").read_text()) for at in (plain, asked))
    assert of_plain == {"test": of_asked["test"]}
    assert {p.name for p in plain.iterdir()} == {
        ".medcnn", "figures", "metrics.json", "predictions.csv", "report.html",
    }  # fmt: skip
    page = (plain / "report.html").read_text()
    assert "Subgroups" not in page


def test_too_few_resamples_to_find_anything_are_said(run: Path, alike: Path, tmp_path: Path) -> None:
    evaluate(evaluate_conf(run, alike, tmp_path / "out", "subgroups=[site,age]", "resamples=100"))
    assert "resamples=100 are too few for 6 tests" in (tmp_path / "out" / "report.html").read_text()


def test_groups_that_are_all_too_small_are_named_and_not_drawn(run: Path, tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "data", 24, splits=False)
    write_manifest(root, [[*row, "AB"[int(row[1][1:]) % 2]] for row in manifest_rows(root)], [*COLUMNS, "site"])
    evaluate(evaluate_conf(run, root, tmp_path / "out", "subgroups=[site]", FEW))
    assert "too few patients to measure, 20 are needed: A (6), B (6)" in (tmp_path / "out" / "report.html").read_text()
    assert not (tmp_path / "out" / "figures" / "test_subgroups.png").exists()


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ("subgroups=[sight]", r"no column sight; the manifest's free columns are site, age, name\. Did you mean site"),
        ("subgroups=[name]", "name has 84 different values for 84 patients, so it names patients"),
    ],
)
def test_columns_are_looked_at_before_any_scan(asked, complaint, run: Path, alike: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(evaluation, "prepare_dataset", lambda *a, **k: pytest.fail("scans are read"))
    with pytest.raises(DataError, match=complaint):
        evaluate(evaluate_conf(run, alike, tmp_path / "out", asked))
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_one_row_per_patient_is_the_mean_of_its_images_log_odds(run: Path, alike: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    evaluate(evaluate_conf(run, alike, out, "aggregate=mean", "subgroups=[site]", FEW))
    images, patients = rows_of(out / "images.csv"), rows_of(out / "predictions.csv")
    assert (len(images), len(patients)) == (168, 84)
    assert [row["case_id"] for row in patients] == [row["case_id"] for row in images][::2]
    odds: dict[str, list[float]] = {}
    for row in images:
        p = float(row["p.sick"])
        odds.setdefault(row["patient_key"], []).append(np.log(p / (1 - p)) if 0 < p < 1 else np.nan)
    for row in patients:
        if np.isfinite(mean := np.mean(odds[row["patient_key"]])):  # probabilities in the table have six decimals
            assert float(row["p.sick"]) == pytest.approx(1 / (1 + np.exp(-mean)), abs=0.02)
    found = json.loads((out / "metrics.json").read_text())
    told = found["aggregate"]
    assert (told["rule"], told["images"], told["patients"]) == ("mean", 168, 84)
    assert (told["per_image"]["auroc"]["n"], found["test"]["auroc"]["n"]) == (168, 84)
    score = [float(row["p.sick"]) for row in patients]
    assert found["test"]["auroc"]["value"] == pytest.approx(
        roc_auc_score([row["label"] == "sick" for row in patients], score), abs=1e-4
    )
    assert found["subgroups"]["groups"]["site"]["A"]["cases"] == 40
    page = (out / "report.html").read_text()
    assert "every row is a patient, not an image: 168 images of 84 patients" in page
    assert "the threshold was fitted on single images" in page
    assert "every row is a patient" in capsys.readouterr().out


def test_the_highest_image_can_speak_for_the_patient(run: Path, alike: Path, tmp_path: Path) -> None:
    evaluate(evaluate_conf(run, alike, tmp_path / "out", "aggregate=max", FEW))
    score = [float(row["p.sick"]) for row in rows_of(tmp_path / "out" / "images.csv")]
    rows = rows_of(tmp_path / "out" / "predictions.csv")
    assert [float(row["p.sick"]) for row in rows] == np.maximum(score[::2], score[1::2]).tolist()


def test_aggregation_needs_patients(run: Path, tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "data", splits=False)
    rows = manifest_rows(root)
    rows[0][1] = ""
    write_manifest(root, rows)
    with pytest.raises(DataError, match="aggregate: 1 of 48 cases have no patient_id"):
        evaluate(evaluate_conf(run, root, tmp_path / "out", "aggregate=mean"))


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ("aggregate=median", "aggregate: 'median' is not one of none, mean, max, noisy_or"),
        ("age_edges=[60,40]", "age_edges: must rise"),
        ("subgroups=[site,site]", "subgroups: a column stands there twice"),
    ],
)
def test_settings_that_cannot_be_are_refused_at_once(asked: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=complaint):
        evaluate_conf(tmp_path, tmp_path, tmp_path / "out", asked)


def test_a_model_that_segments_has_neither(pictures: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("medcnn.model_package.opening.load_package", lambda *a, **k: object())
    with pytest.raises(ConfigError, match="are for classifiers, and this model segments"):
        evaluate(evaluate_conf(tmp_path, pictures, tmp_path / "out", "subgroups=[site]"))
