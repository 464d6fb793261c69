"""Age and sex beside the image, from the command line: what the image cannot tell, and every way to lack a value."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from folders import asked, table, write_dicom
from PIL import Image
from tiny_study import COLUMNS, SPLITS, evaluate_conf, train_conf, write_manifest

from medcnn.config.errors import ConfigError
from medcnn.errors import DataError
from medcnn.evaluate import evaluate
from medcnn.predict import predict
from medcnn.train import train

SIDE = 20
COVARIATES = "data.covariates=[sex,age]"
SLOW_TO_MISS = ("trainer.epochs=12", "trainer.learning_rate=3e-3", "transforms.size_px=[20,20]")


def picture(radius_px: float, seed: int) -> np.ndarray:
    """A bright disc on a dark ground, with a little noise."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    disc = np.clip(radius_px - np.hypot(rows, columns) + 0.5, 0, 1)
    noise = np.random.default_rng(seed).normal(0, 6, disc.shape)
    return np.asarray(np.clip(40 + 160 * disc + noise, 0, 255), np.uint8)


def write_discs(root: Path, count: int = 320) -> Path:
    """Large is ill from 3.5 px on in women and from 7.5 px on in men; most radii lie between."""
    root.mkdir(parents=True)
    generator, rows = np.random.default_rng(0), []
    for number in range(count):
        sex = "FM"[number % 2]
        radius_px, limit_px = generator.uniform(3, 8), {"F": 3.5, "M": 7.5}[sex]
        radius_px += np.sign(radius_px - limit_px) * 0.3
        Image.fromarray(picture(radius_px, number)).save(root / f"{number:03d}.png")
        label = ("healthy", "ill")[int(radius_px > limit_px)]
        split = SPLITS[number // 2 % len(SPLITS)]
        rows.append([f"c{number:03d}", f"P{number}", f"{number:03d}.png", label, split, sex, f"{40 + number % 30}"])
    write_manifest(root, rows, [*COLUMNS, "sex", "age"])
    return root


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("discs") / "data")


@pytest.fixture(scope="module")
def run(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(train_conf(discs, tmp_path_factory.mktemp("runs"), *SLOW_TO_MISS, COVARIATES))


def changed(root: Path, to: Path, **cells: str) -> Path:
    """The same data; cells: column -> what the third row of the test split says instead."""
    shutil.copytree(root, to)
    with (root / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    third = [row for row in rows if row["split"] == "test"][2]
    third.update(cells)
    write_manifest(to, [list(row.values()) for row in rows], list(rows[0]))
    return to


def auroc(metrics: Path) -> float:
    return float(json.loads(metrics.read_text())["test"]["auroc"]["value"])


def test_the_image_alone_cannot_tell_and_with_the_sex_it_can(discs: Path, run: Path, tmp_path: Path) -> None:
    alone = train(train_conf(discs, tmp_path / "alone", *SLOW_TO_MISS))
    assert auroc(alone / "metrics.json") < 0.92
    assert auroc(run / "metrics.json") > 0.97
    card = (run / "report.html").read_text()
    assert "sex (F, M), age (number)" in card
    described = json.loads((run / "model" / "model.json").read_text())
    assert described["format_version"] == 3
    assert [column["name"] for column in described["covariates"]] == ["sex", "age"]
    again = evaluate(evaluate_conf(run, discs, tmp_path / "evaluated", "resamples=100"))
    assert again.estimates["auroc"].value == pytest.approx(auroc(run / "metrics.json"), abs=1e-6)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"age": ""}, r"age is empty in 1 of 40 cases \(c\d+\)\. Fill the cells in"),
        ({"sex": "Z9"}, "sex is a word that no training case had; the model knows F, M in 1 of 40 cases"),
        ({"age": "old"}, "age is no number in 1 of 40 cases"),
    ],
)
def test_evaluate_names_the_cells(discs: Path, run: Path, tmp_path: Path, cells: dict[str, str], said: str) -> None:
    data = changed(discs, tmp_path / "data", **cells)
    with pytest.raises(DataError, match=said) as caught:
        evaluate(evaluate_conf(run, data, tmp_path / "out"))
    assert "Z9" not in str(caught.value)


def test_a_manifest_without_the_column_names_those_it_has(discs: Path, run: Path, tmp_path: Path) -> None:
    data = changed(discs, tmp_path / "data")
    text = (data / "manifest.csv").read_text().replace(",sex,", ",sexe,", 1)
    (data / "manifest.csv").write_text(text)
    said = r"the manifest has no column sex; its free columns are sexe, age\. Did you mean sexe\?"
    with pytest.raises(DataError, match=said):
        evaluate(evaluate_conf(run, data, tmp_path / "out"))
    with pytest.raises(DataError, match=said):
        train(train_conf(data, tmp_path / "runs", COVARIATES))


def test_training_stops_at_an_empty_cell_or_learns_from_it(discs: Path, tmp_path: Path) -> None:
    data = changed(discs, tmp_path / "data", age="")
    with pytest.raises(DataError, match="age is empty in 1 of 320 cases"):
        train(train_conf(data, tmp_path / "runs", *SLOW_TO_MISS, COVARIATES))
    words = (
        *SLOW_TO_MISS,
        COVARIATES,
        "data.missing_covariates=mean",
        "data.covariate_dropout=0.2",
        "trainer.epochs=1",
    )
    learnt = train(train_conf(data, tmp_path / "runs", *words, "trainer.cutmix_alpha=1", "trainer.ema_decay=0.9"))
    columns = json.loads((learnt / "model" / "model.json").read_text())["covariates"]
    assert all(column["may_be_missing"] for column in columns)
    answered = predict(asked(learnt, data, tmp_path / "out"))  # of pictures nothing is known
    assert answered.exit_code == 0


def test_settings_that_contradict_each_other(discs: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"covariate_dropout: hidden cells are gaps; add data\.missing_covariates=mean"
    ):
        train_conf(discs, tmp_path, COVARIATES, "data.covariate_dropout=0.1")
    with pytest.raises(ConfigError, match="covariates: a column stands there twice"):
        train_conf(discs, tmp_path, "data.covariates=[age,age]")


def test_predict_takes_them_from_the_manifest(discs: Path, run: Path, tmp_path: Path) -> None:
    conf = asked(run, discs, tmp_path / "out")
    conf.select.manifest = str(discs / "manifest.csv")
    assert predict(conf).exit_code == 0
    with (run / "predictions.csv").open(newline="") as stream:
        trained = {row["case_id"]: float(row["p.ill"]) for row in csv.DictReader(stream)}
    for row in table(tmp_path / "out"):
        name = f"c{Path(row['reference']).stem}"
        if name in trained:
            assert float(row["p.ill"]) == pytest.approx(trained[name], abs=2e-6)
    assert predict(conf).computed == 0  # all stands
    other = changed(discs, tmp_path / "data", age="", sex="M")
    conf.select.manifest = str(other / "manifest.csv")
    again = predict(conf)
    assert (again.computed, again.exit_code) == (1, 8)
    (rejected,) = [row for row in table(tmp_path / "out") if row["status"] != "ok"]
    assert rejected["reason_code"] == "COVARIATE_MISSING"
    assert "age is not known. Give it in a column age of select.manifest=<csv>" in rejected["reason"]


def test_predict_takes_them_from_the_header(run: Path, tmp_path: Path) -> None:
    scans, grey = tmp_path / "scans", picture(6.0, 1)
    headers = {
        "whole": {"PatientSex": "F", "PatientAge": "052Y"},
        "man": {"PatientSex": "M", "PatientAge": "610M"},
        "ageless": {"PatientSex": "F"},
        "other": {"PatientSex": "O", "PatientAge": "052Y"},
    }
    for name, header in headers.items():
        write_dicom(scans / f"{name}.dcm", grey, **header)
    done = predict(asked(run, scans, tmp_path / "out", explain="gradcam"))
    assert done.exit_code == 8
    rows = {Path(row["reference"]).stem: row for row in table(tmp_path / "out")}
    assert {name: row["reason_code"] for name, row in rows.items()} == {
        "whole": "", "man": "", "ageless": "COVARIATE_MISSING", "other": "COVARIATE_INVALID",
    }  # fmt: skip
    assert float(rows["whole"]["p.ill"]) > 0.5 > float(rows["man"]["p.ill"])
    assert len(list((tmp_path / "out" / "overlays").glob("*.png"))) == 2


def test_without_any_every_case_says_how_to_give_them(discs: Path, run: Path, tmp_path: Path) -> None:
    done = predict(asked(run, discs / "000.png", tmp_path / "out"))
    assert done.exit_code == 9
    (row,) = table(tmp_path / "out")
    assert row["reason"].startswith("COVARIATE_MISSING: sex is not known. Give it in a column sex of select.manifest")
