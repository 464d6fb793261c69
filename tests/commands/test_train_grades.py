"""Ordered grades through train, evaluate and predict: discs whose size is the grade, so the truth is known."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import cohen_kappa_score, mean_absolute_error
from tiny_study import evaluate_conf, train_conf, train_words, write_manifest

from medcnn.config.compose import CommandLine, checked
from medcnn.config.errors import ConfigError
from medcnn.config.predict import PredictConf
from medcnn.errors import DataError
from medcnn.evaluate import evaluate
from medcnn.inference.classifier import OutputRule
from medcnn.model_package.opening import load_classifier
from medcnn.networks.grades import GradeLayer
from medcnn.networks.weights_fit import head_of
from medcnn.predict import predict
from medcnn.train import train

GRADES = ("none", "small", "medium", "large")
ORDER = ("data.answers=grades", "data.class_names=[none,small,medium,large]")
SPLITS = ("train", "train", "train", "train", "val", "calib", "calib", "test")


def write_discs(root: Path, count: int = 128) -> Path:
    """Noise with a disc of radius 0 to 8 px at a random place; the radius, cut at 2, 4 and 6, is the grade."""
    root.mkdir(parents=True)
    random = np.random.default_rng(0)
    rows = []
    for number in range(count):
        grade = number % 4
        radius = 0.0 if grade == 0 else 2 * grade + random.uniform(0.2, 1.8)
        y, x = random.uniform(8, 16, 2)
        there = (np.arange(24)[:, None] - y) ** 2 + (np.arange(24) - x) ** 2 < radius**2
        pixels = random.normal(70, 12, (24, 24)) + 110 * there
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(root / f"{number:03d}.png")
        rows.append(
            [
                f"disc-{number:03d}",
                f"P{number}",
                f"{number:03d}.png",
                GRADES[grade],
                SPLITS[(number // 4) % len(SPLITS)],
            ]
        )
    write_manifest(root, rows)
    return root


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("grades") / "discs")


@pytest.fixture(scope="module")
def run(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    more = ("trainer.epochs=12", "trainer.members=2", "trainer.metric=quadratic_kappa", "transforms=none")
    conf = train_conf(discs, tmp_path_factory.mktemp("runs"), *ORDER, *more, "transforms.size_px=[24,24]")
    return train(conf)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_order_is_learnt_and_measured_as_scikit_learn_does(run: Path) -> None:
    found = json.loads((run / "metrics.json").read_text())["test"]
    rows = [row for row in table(run / "predictions.csv") if row["split"] == "test"]
    truth, decision = ([GRADES.index(row[column]) for row in rows] for column in ("label", "decision"))
    kappa = cohen_kappa_score(truth, decision, weights="quadratic")
    assert found["quadratic_kappa"]["value"] == pytest.approx(kappa)
    assert found["mae_grades"]["value"] == pytest.approx(mean_absolute_error(truth, decision))
    assert kappa > 0.7
    assert {"kendall_tau", "within_one", "auroc", "auroc.medium", "accuracy"} <= set(found)


def test_the_median_grade_is_decided(run: Path) -> None:
    for row in table(run / "predictions.csv"):
        below = np.cumsum([float(row[f"p.{name}"]) for name in GRADES])
        assert row["decision"] == GRADES[int((below[:-1] < 0.5).sum())]


def test_the_report_shows_grades(run: Path) -> None:
    assert (run / "figures" / "test_confusion.png").is_file()
    assert "grades_off" in (run / "figures" / "test_confusion.csv").read_text()
    page = (run / "report.html").read_text()
    assert "Grades on the test split" in page
    assert "Kappa (quadratic)" in page
    assert "median grade" in page


def test_the_package_says_that_they_are_grades_and_opens_as_it_was(run: Path) -> None:
    said = json.loads((run / "model" / "model.json").read_text())
    assert said["format_version"] == 3
    assert said["output"]["kind"] == "ordinal"
    assert said["network"]["grades"] is True
    package = load_classifier(run, accelerator="cpu")
    assert package.classifier.rule.asked == ()
    for network in package.classifier.networks:
        assert isinstance(network.get_submodule(head_of(network)), GradeLayer)


def test_evaluate_finds_the_same_of_the_same_cases(run: Path, discs: Path, tmp_path: Path) -> None:
    evaluate(evaluate_conf(run, discs, tmp_path / "again", "data.split=test", "inference.accelerator=cpu"))
    again = json.loads((tmp_path / "again" / "metrics.json").read_text())["test"]
    before = json.loads((run / "metrics.json").read_text())["test"]
    for name in ("quadratic_kappa", "kendall_tau", "mae_grades", "within_one", "auroc"):
        assert again[name]["value"] == pytest.approx(before[name]["value"]), name


def test_patients_are_taken_together_by_their_mean_alone(run: Path, discs: Path, tmp_path: Path) -> None:
    words = ("data.split=test", "inference.accelerator=cpu", "resamples=100")
    evaluate(evaluate_conf(run, discs, tmp_path / "mean", *words, "aggregate=mean"))
    found = json.loads((tmp_path / "mean" / "metrics.json").read_text())
    one_each = json.loads((run / "metrics.json").read_text())["test"]["quadratic_kappa"]["value"]
    assert found["test"]["quadratic_kappa"]["value"] == pytest.approx(one_each)
    with pytest.raises(ConfigError, match="max is for yes-or-no questions"):
        evaluate(evaluate_conf(run, discs, tmp_path / "max", *words, "aggregate=max"))


def test_predict_decides_grades(run: Path, discs: Path, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    for number in (28, 29, 30, 31):  # of the test split, one of each grade
        (scans / f"{number:03d}.png").write_bytes((discs / f"{number:03d}.png").read_bytes())
    words = [f"model={run}", f"input={scans}", f"output={tmp_path / 'out'}", "engine=here", "explain=none"]
    conf: PredictConf = checked("predict", CommandLine.of("predict", words))
    assert predict(conf).exit_code == 0
    answers = {row["reference"]: row for row in table(tmp_path / "out" / "predictions.csv")}
    known = {row["case_id"]: row["decision"] for row in table(run / "predictions.csv")}
    for number in (28, 29, 30, 31):
        assert answers[f"{number:03d}.png"]["decision"] == known[f"disc-{number:03d}"]


# What does not fit is said before anything is trained


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.answers=grades"], "data.class_names: data.answers=grades needs them in their order"),
        (["data.answers=grades", "data.class_names=[a,b]"], "two classes are a yes or no"),
        (["trainer.loss=coral"], "trainer.loss: coral is for grades"),
        ([*ORDER, "trainer.loss=asymmetric"], "trainer.loss: asymmetric is for several labels a case"),
        (["trainer.metric=quadratic_kappa"], "trainer.metric: quadratic_kappa is for grades"),
        (["trainer.focal_gamma=1"], "trainer.focal_gamma: is of loss=focal"),
        (["trainer.loss=asymmetric", "trainer.asymmetric_gammas=[1]"], "two numbers, of positives and of negatives"),
    ],
)
def test_settings_that_do_not_go_together(words: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        checked("train", CommandLine.of("train", train_words(tmp_path, tmp_path / "runs", *words)))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trainer.loss=asymmetric"], "here a case has one"),
        ([*ORDER, "decisions.operating_point.side=sensitivity", "decisions.operating_point.wanted=0.9"], "the median"),
    ],
)
def test_what_only_the_labels_tell(discs: Path, words: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        train(train_conf(discs, tmp_path / "runs", *words))


def test_grades_are_one_label_a_case(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    columns = ["case_id", "patient_id", "image", "label.a", "label.b", "split"]
    write_manifest(root, [["c", "p", "c.png", "1", "0", "train"]], columns)
    Image.fromarray(np.zeros((24, 24), np.uint8)).save(root / "c.png")
    with pytest.raises(DataError, match="grades are one label"):
        train(train_conf(root, tmp_path / "runs", *ORDER))


def test_a_rule_of_grades_has_no_thresholds() -> None:
    rule = OutputRule("ordinal", GRADES)
    probability = np.array([[0.4, 0.0, 0.3, 0.3]])
    assert rule.limits() == []
    assert rule.decisions(probability) == ["medium"]
    assert rule.confidence(probability) == [0.3]
