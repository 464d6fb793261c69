"""A regression from words to results, on discs whose area is known in closed form."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_values import area_px, disc, train_conf, train_words, write_discs

from medcnn.compare import compare
from medcnn.config.compose import CommandLine, checked, open_door
from medcnn.config.errors import ConfigError
from medcnn.errors import DataError, Interrupted, PackageError
from medcnn.evaluate import evaluate
from medcnn.io.read import read_scan
from medcnn.model_package.opening import load_classifier, load_package
from medcnn.predict import predict
from medcnn.train import _run, train


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("discs"))


@pytest.fixture(scope="module")
def trained(discs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(train_conf(discs, tmp_path_factory.mktemp("value_runs")))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def asked(verb: str, *words: str):
    return checked(verb, CommandLine.of(verb, words))


def test_it_learns_the_area_of_a_disc(trained: Path) -> None:
    metrics = json.loads((trained / "metrics.json").read_text())
    test = metrics["test"]
    assert test["r2"]["value"] > 0.95
    assert test["mae"]["value"] < 10  # of areas from 13 to 201
    assert test["mae"]["low"] <= test["mae"]["value"] <= test["mae"]["high"]
    assert test["mae"]["unit"] == "patient"
    assert {"error", "agreement_low", "range_coverage", "mae.lower third", "error.upper third"} <= test.keys()
    assert {path.name for path in (trained / "figures").iterdir()} >= {"test_agreement.png", "test_thirds.png"}
    assert "value ±" in (trained / "report.html").read_text()


def test_metrics_are_those_of_the_written_predictions(trained: Path) -> None:
    rows = [row for row in rows_of(trained / "predictions.csv") if row["split"] == "test"]
    value, truth = (np.array([float(row[key]) for row in rows]) for key in ("value", "label"))
    test = json.loads((trained / "metrics.json").read_text())["test"]
    assert test["mae"]["value"] == pytest.approx(np.abs(value - truth).mean(), rel=1e-6)
    assert test["rmse"]["value"] == pytest.approx(np.sqrt(((value - truth) ** 2).mean()), rel=1e-6)
    thirds = np.quantile(truth, [1 / 3, 2 / 3])
    lowest = truth <= thirds[0]
    assert test["mae.lower third"]["value"] == pytest.approx(np.abs(value - truth)[lowest].mean(), rel=1e-6)
    within = [float(row["low"]) <= float(row["label"]) <= float(row["high"]) for row in rows]
    assert test["range_coverage"]["value"] == pytest.approx(np.mean(within))


def test_the_package_answers_by_itself_in_the_unit_of_the_label(trained: Path, tmp_path: Path) -> None:
    package = load_package(trained / "model", accelerator="cpu")
    Image.fromarray(disc(5.0, 999)).save(tmp_path / "new.png")
    answer = package.predict_scan(read_scan(tmp_path, "new.png"))
    assert answer.value == pytest.approx(area_px(5.0), abs=15)
    assert answer.low < answer.value < answer.high
    told = json.loads((trained / "model" / "model.json").read_text())
    assert told["kind"] == "regression"
    assert (told["output"]["quantity"], told["output"]["unit"]) == ("area", "mm2")
    assert told["output"]["range"]["fitted_on"] == "calib"
    again = type(package.description).from_json(told)
    assert again == package.description
    with pytest.raises(PackageError, match="predicts a number; a classifier is asked for"):
        load_classifier(trained / "model")


def test_evaluate_repeats_what_training_measured_and_takes_any_column(trained: Path, tmp_path: Path) -> None:
    elsewhere = write_discs(tmp_path / "again", column="disc_area")
    words = [f"model={trained}", "data=custom", f"data.root={elsewhere}", "data.quantity.column=disc_area"]
    result = evaluate(asked("evaluate", *words, f"output={tmp_path / 'ev'}", "inference.accelerator=cpu"))
    found = json.loads((tmp_path / "ev" / "metrics.json").read_text())["test"]
    before = json.loads((trained / "metrics.json").read_text())["test"]
    assert found["mae"]["value"] == pytest.approx(before["mae"]["value"], rel=1e-5)
    assert result.quantity_unit == "mm2"
    with pytest.raises(ConfigError, match="predicts a number"):
        evaluate(asked("evaluate", *words, f"output={tmp_path / 'no'}", "subgroups=[sex]"))
    with pytest.raises(ConfigError, match="answers in mm2, not cm2"):
        evaluate(asked("evaluate", *words, f"output={tmp_path / 'no'}", "data.quantity.unit=cm2"))


def test_predict_writes_values_with_ranges_and_units(trained: Path, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    for number, radius in enumerate((3.0, 4.5, 6.0, 12.0)):
        Image.fromarray(disc(radius, 50 + number)).save(scans / f"{number}.png")
    words = [f"model={trained}", f"input={scans}", f"output={tmp_path / 'out'}", "engine=here"]
    done = predict(asked("predict", *words, "inference.accelerator=cpu"))
    assert done.exit_code == 0
    rows = rows_of(tmp_path / "out" / "predictions.csv")
    for row, radius in zip(rows[:3], (3.0, 4.5, 6.0), strict=True):
        assert float(row["value"]) == pytest.approx(area_px(radius), abs=15)
        assert float(row["low"]) < float(row["value"]) < float(row["high"])
        assert row["unit"] == "mm2"
    assert "VALUE_RANGE" in rows[3]["flags"]  # it fills the picture: larger than any disc that was trained on
    answer = json.loads((tmp_path / "out" / "cases" / "0" / "result.json").read_text())["answer"]
    assert answer == {
        "quantity": "area", "value": pytest.approx(float(rows[0]["value"]), abs=1e-5), "unit": "mm2",
        "low": pytest.approx(float(rows[0]["low"]), abs=1e-5), "high": pytest.approx(float(rows[0]["high"]), abs=1e-5),
        "coverage": 0.9,
    }  # fmt: skip
    page = (tmp_path / "out" / "index.html").read_text()
    assert '"kind":"regression"' in page
    assert '"unit":"mm2"' in page
    assert len(list((tmp_path / "out" / "overlays").glob("*.png"))) == 4  # gradcam of the one number
    with pytest.raises(ConfigError, match="prevalence and abstain"):
        predict(asked("predict", *words, "abstain=true"))


def test_compare_takes_two_regressions(trained: Path, discs: Path, tmp_path: Path) -> None:
    other = train(train_conf(discs, trained.parents[1], "trainer.epochs=1", "trainer.loss=mae"))
    found = compare(asked("compare", f"runs=[{trained},{other}]", f"output={tmp_path / 'c'}", "resamples=200"))
    rows = json.loads((tmp_path / "c" / "comparison.json").read_text())["rows"]
    assert found.kind == "regression"
    assert rows[0]["metric"] == "absolute_error"
    assert rows[0]["difference"] < 0  # one epoch is nearer nothing
    assert rows[0]["wins_a"] > rows[0]["losses_a"]


@pytest.mark.parametrize("step", [3, 20])
def test_a_run_that_is_stopped_and_resumed_ends_with_the_same_weights(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    from medcnn.training.interruption import Interruption
    from medcnn.training.progress import TrainingProgress

    settings = ("trainer.epochs=2", "trainer.mixup_alpha=0.3", "trainer.ema_decay=0.9", "transforms=xray",
                "transforms.size_px=[24,24]")  # fmt: skip
    whole = train(train_conf(discs, tmp_path / "whole", *settings))
    told, listening = TrainingProgress.step, []
    monkeypatch.setattr(Interruption, "take_signals", lambda self: listening.append(self))

    def stops(self, state, plan, loss):
        told(self, state, plan, loss)
        if state.step == step:
            listening[-1].signal_number = 15

    monkeypatch.setattr(TrainingProgress, "step", stops)
    with pytest.raises(Interrupted):
        train(train_conf(discs, tmp_path / "cut", *settings))
    monkeypatch.setattr(TrainingProgress, "step", told)
    resumed = train(train_conf(discs, tmp_path / "cut", *settings, "resume=auto"))
    digests = {sha256((run / "model" / "weights_0.safetensors").read_bytes()).hexdigest() for run in (whole, resumed)}
    assert len(digests) == 1


def test_patients_are_divided_evenly_over_the_range(tmp_path: Path) -> None:
    root = write_discs(tmp_path / "whole", splits=False)
    conf = train_conf(root, tmp_path / "runs", "trainer.epochs=1")
    run = train(conf)
    rows = rows_of(run / "manifest.csv")
    means = {
        split: np.mean([float(row["label"]) for row in rows if row["split"] == split])
        for split in ("train", "val", "calib", "test")
    }
    assert max(means.values()) - min(means.values()) < 20  # areas have a standard deviation of 57


def rewritten(root: Path, change) -> Path:
    rows = rows_of(root / "manifest.csv")
    change(rows)
    with (root / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root


def test_rows_without_a_number_are_named_and_missing_ones_left_out(tmp_path: Path) -> None:
    def spoil(rows):
        rows[3]["label"], rows[5]["label"], rows[7]["label"] = "63,5", "old", "inf"

    root = rewritten(write_discs(tmp_path / "odd", 48), spoil)
    with pytest.raises(DataError, match=r"'63,5' in disc-003, 'old' in disc-005, 'inf' in disc-007.*with a point"):
        train(train_conf(root, tmp_path / "runs"))

    def empty(rows):
        rows[0]["label"], rows[1]["label"] = "", "nan"

    root = rewritten(write_discs(tmp_path / "missing", 48), empty)
    run = train(train_conf(root, tmp_path / "runs", "trainer.epochs=1"))
    assert "2 cases have no area and were left out" in (run / "log.txt").read_text()
    assert len(rows_of(run / "manifest.csv")) == 46
    assert "need 9 calibration patients, got 3" in (run / "log.txt").read_text()


def test_one_number_for_all_is_nothing_to_learn(tmp_path: Path) -> None:
    root = rewritten(write_discs(tmp_path / "flat", 48), lambda rows: [row.update(label="7") for row in rows])
    with pytest.raises(DataError, match="every training case has the same area"):
        train(train_conf(root, tmp_path / "runs"))


def test_a_column_that_is_not_there_names_those_that_are(discs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'age' \(there: label\)"):
        train(train_conf(discs, tmp_path, "data.quantity.column=age"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trainer.metric=auroc"], "chosen by mae"),
        (["trainer.label_smoothing=0.1"], "trainer.label_smoothing: is for classes"),
        (["trainer.sampling=balanced"], "trainer.sampling: is for classes"),
        (["decisions.calibration=none"], "a regression has decisions.range"),
        (["data.class_names=[a,b]"], "a regression has no classes"),
        (["trainer.cutmix_alpha=1"], "trainer.cutmix_alpha: is for classes"),
        (["data.covariates=[age]"], "takes the image alone"),
        (["explain=[occlusion]"], "examines no heat maps"),
        (["trainer.loss=focal"], "huber, mse, mae"),
    ],
)
def test_settings_of_other_tasks_are_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        open_door("train", _run, usage="", argv=train_words(tmp_path, tmp_path, *words))
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("word", ["trainer.loss=huber", "data.quantity.name=age", "decisions.range.error=0.2"])
def test_a_classifier_has_no_quantity(word: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"task\.kind=regression"):
        checked("train", CommandLine.of("train", ["+task=xray_cls", word]))


def test_the_rule_of_the_network_is_that_of_the_training_cases(trained: Path) -> None:
    rule = load_package(trained / "model", accelerator="cpu").description.rule
    train_values = [float(row["label"]) for row in rows_of(trained / "manifest.csv") if row["split"] == "train"]
    assert rule.mean == pytest.approx(np.mean(train_values))
    assert rule.sd == pytest.approx(np.std(train_values))
    assert (rule.low, rule.high) == (min(train_values), max(train_values))
    assert asdict(rule)["unit"] == "mm2"


def test_a_served_model_gives_the_number_in_a_row(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pandas as pd

    from medcnn.data.privacy import Keyring
    from medcnn.serving import ScanModel

    Image.fromarray(disc(4.0, 5)).save(tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    monkeypatch.setenv("MEDCNN_SERVE_ROOT", str(tmp_path))
    model = ScanModel()
    model.package, model.names = load_package(trained, accelerator="cpu"), Keyring(b"k" * 32)
    answer = model.predict(None, pd.DataFrame([{"path": "a.png"}, {"path": "broken.png"}]))
    assert list(answer.columns) == ["case_id", "value", "low", "high", "unit", "reason"]
    assert answer["value"][0] == pytest.approx(area_px(4.0), abs=15)
    assert answer["unit"][0] == "mm2"
    assert answer["reason"][1]
    assert np.isnan(answer["value"][1])
