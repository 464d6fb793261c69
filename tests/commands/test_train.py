"""The train command from words to a run folder, and what each kind of bad input ends as."""

from __future__ import annotations

import csv
import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_study import COLUMNS, manifest_rows, train_conf, train_words, write_manifest, write_pictures

from medcnn.config.compose import open_door
from medcnn.config.errors import ConfigError
from medcnn.errors import DataError, LeakageError, NoSpaceError, TrainingError, UserError
from medcnn.model_package.opening import load_package
from medcnn.train import _run, train


def command(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and everything that was said."""
    with pytest.raises(SystemExit) as stop:
        open_door("train", _run, usage="", argv=words)
    said = capsys.readouterr()
    return int(stop.value.code or 0), said.out + said.err


# What a run leaves


def test_a_run_folder_holds_everything_and_is_private(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    expected = "config.yaml manifest.csv plan.json checkpoints model metrics.json predictions.csv figures report.html"
    assert {*expected.split(), "log.txt"} <= names
    assert run.stat().st_mode & 0o077 == 0
    assert (run.parent / "latest").resolve() == run
    assert run.parent.name == "xray_cls"


def test_metrics_have_values_with_intervals_for_each_held_out_split(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics) == {"test", "calib", "val", "training"}
    auroc = metrics["test"]["auroc"]
    assert auroc["low"] <= auroc["value"] <= auroc["high"]
    assert auroc["unit"] == "patient"
    assert auroc["value"] > 0.9
    assert metrics["training"]["wall_minutes"] > 0


def test_predictions_name_cases_by_keyed_names_and_agree_with_the_package(run: Path, pictures: Path) -> None:
    from medcnn.io.read import read_scan

    with (run / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == [
        "case_id", "patient_key", "split", "label", "p.healthy", "p.sick", "decision", "confidence",
    ]  # fmt: skip
    package = load_package(run / "model", accelerator="cpu")
    row = rows[0]
    again = package.predict_scan(read_scan(pictures, f"{row['case_id'][-2:]}.png"))
    assert again.probability["sick"] == pytest.approx(float(row["p.sick"]), abs=1e-5)
    assert again.decision == row["decision"]


def test_no_patient_id_and_no_path_leaves_the_private_zone(run: Path, pictures: Path) -> None:
    patients = {row[1] for row in manifest_rows(pictures)}
    with (run / "manifest.csv").open(newline="") as stream:
        assert not patients & {row["patient_key"] for row in csv.DictReader(stream)}
    for name in ("report.html", "predictions.csv", "metrics.json", "model/model.json"):
        text = (run / name).read_text()
        assert str(pictures) not in text
        assert ".png" not in text.replace("data:image/png", "")


def test_the_plan_is_readable_and_fixes_the_steps(run: Path) -> None:
    plan = json.loads((run / "plan.json").read_text())
    assert plan["steps"] == 12 * plan["steps_per_epoch"]
    assert plan["budget"] == "epochs"


def test_max_minutes_becomes_a_fixed_number_of_steps(pictures: Path, tmp_path: Path) -> None:
    run = train(train_conf(pictures, tmp_path, "trainer.epochs=100000", "trainer.max_minutes=0.02"))
    plan = json.loads((run / "plan.json").read_text())
    assert plan["budget"] == "max_minutes"
    assert plan["steps"] < 100000
    assert plan["estimated_minutes"] <= 0.02


def test_debug_overfit_learns_its_cases_by_heart(pictures: Path, tmp_path: Path) -> None:
    run = train(train_conf(pictures, tmp_path, "debug=overfit", "trainer.learning_rate=0.01"))
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["val"]["auroc"]["value"] == 1.0
    assert run.parent.name == "debug_xray_cls"


def test_multilabel_with_missing_labels_trains(tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "data")
    rows = [
        [row[0], row[1], row[2], str(int(row[3] == "sick")), "" if number % 5 == 0 else str(number % 2), row[4]]
        for number, row in enumerate(manifest_rows(root))
    ]
    write_manifest(root, rows, ["case_id", "patient_id", "image", "label.corner", "label.odd", "split"])
    run = train(train_conf(root, tmp_path / "runs"))
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"auroc", "auroc.corner", "auroc.odd"} <= set(metrics["test"])


# Resuming


def test_auto_resume_of_a_finished_run_begins_a_new_one(run: Path, pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "xray_cls" / run.name)
    again = train(train_conf(pictures, tmp_path, "trainer.epochs=12", "resume=auto"))
    assert again.name != run.name


def test_resume_with_other_settings_is_refused_and_says_which(run: Path, pictures: Path) -> None:
    with pytest.raises(ConfigError, match=r"trainer.batch_cases: was 8, is 4"):
        train(train_conf(pictures, run.parents[1], "trainer.epochs=12", "trainer.batch_cases=4", f"resume={run}"))


def test_a_second_trainer_in_the_same_folder_is_refused(run: Path, pictures: Path) -> None:
    from filelock import FileLock

    with FileLock(run / ".lock"), pytest.raises(TrainingError, match="another process is working"):
        train(train_conf(pictures, run.parents[1], "trainer.epochs=12", f"resume={run}"))


def test_resume_after_the_data_changed_is_refused(tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "data")
    run = train(train_conf(root, tmp_path / "runs"))
    (run / "metrics.json").unlink()
    write_manifest(root, manifest_rows(root)[:-2])
    with pytest.raises(TrainingError, match="INPUT_CHANGED"):
        train(train_conf(root, tmp_path / "runs", f"resume={run}"))


# Bad input: a sentence that says what to do, and an exit code


def test_a_missing_folder_is_a_config_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = command(train_words(tmp_path / "nowhere", tmp_path / "runs"), capsys)
    assert code == 2
    assert "data.root: there is no folder" in said


def test_an_empty_folder_says_how_to_make_a_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    code, said = command(train_words(tmp_path / "empty", tmp_path / "runs"), capsys)
    assert code == 1
    assert "holds no manifest" in said
    assert "medcnn.prepare" in said


def changed(root: Path, column: str, value: str, rows: slice) -> None:
    table = manifest_rows(root)
    for row in table[rows]:
        row[COLUMNS.index(column)] = value
    write_manifest(root, table)


def bad_manifests() -> list[Any]:
    return [
        pytest.param(
            "split", "tset", slice(0, 1), DataError, r"split 'tset' is not one of.*Did you mean test", id="split"
        ),
        pytest.param("label", "", slice(0, 1), DataError, "no label in 1 cases", id="no label"),
        pytest.param("label", "healthy", slice(0, 48), DataError, "needs at least two", id="one class"),
        pytest.param(
            "patient_id", "P1", slice(0, 48), LeakageError, "LEAKAGE: 1 patients are in more than one", id="leak"
        ),
        pytest.param("split", "train", slice(0, 48), DataError, "no case is in the split 'val'", id="no val"),
        pytest.param("image", "../../etc/passwd", slice(0, 48), DataError, "PATH_ESCAPE", id="escape"),
        pytest.param("image", "nothing.png", slice(0, 48), DataError, "48 of 48 scans cannot be used", id="no files"),
        pytest.param("image", "00.png", slice(0, 48), LeakageError, "identical pixels", id="copies"),
    ]


@pytest.mark.parametrize(("column", "value", "rows", "kind", "words"), bad_manifests())
def test_bad_manifests_stop_before_training(
    tmp_path: Path, column: str, value: str, rows: slice, kind: type[UserError], words: str
) -> None:
    root = write_pictures(tmp_path / "data")
    changed(root, column, value, rows)
    with pytest.raises(kind, match=words):
        train(train_conf(root, tmp_path / "runs"))
    assert not list((tmp_path / "runs").glob("xray_cls/*/checkpoints/*"))


def test_a_class_with_one_patient_is_named(tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "data", splits=False)
    changed(root, "label", "rare", slice(0, 2))
    with pytest.raises(DataError, match=r"class 'rare' has 1 patient"):
        train(train_conf(root, tmp_path / "runs"))


def test_one_truncated_file_is_left_out_named_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_pictures(tmp_path / "data")
    (root / "03.png").write_bytes((root / "03.png").read_bytes()[:200])
    code, said = command(train_words(root, tmp_path / "runs", "trainer.epochs=1"), capsys)
    assert code == 0
    assert "left out case-03" in said
    report = next((tmp_path / "runs").glob("xray_cls/2*/report.html")).read_text()
    assert "1 scans could not be used" in report


def test_duplicates_dropped_from_train_are_counted(tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "data")
    rows = manifest_rows(root)
    held_out = next(row for row in rows if row[4] == "test")
    shutil.copy(root / rows[0][2], root / held_out[2])
    with pytest.raises(LeakageError, match=r"data\.duplicates=drop_from_train"):
        train(train_conf(root, tmp_path / "runs"))
    run = train(train_conf(root, tmp_path / "runs", "data.duplicates=drop_from_train", "trainer.epochs=1"))
    assert "1 training scans were dropped" in (run / "log.txt").read_text()


def test_a_full_disk_ends_with_28_and_resumes(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = train_words(pictures, tmp_path, "trainer.checkpoint_minutes=0.000001")
    calls = []

    def full_at_the_third(handle: int) -> None:
        calls.append(handle)
        if len(calls) > 12:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("medcnn.training.checkpoints.os.fsync", full_at_the_third)
        code, said = command(words, capsys)
    assert code == 28
    assert "the disk is full" in said
    code, said = command([*words, "resume=auto"], capsys)
    assert code == 0
    assert "going on with" in said


def test_an_output_that_cannot_be_written_is_said(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    conf = train_conf(pictures, tmp_path / "runs")
    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(UserError, match=r"cannot be written \(Read-only file system\). Set output="):
        train(conf)


def test_too_little_disk_is_said_before_training(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(NoSpaceError, match="Free space, or set output="):
        train(train_conf(pictures, tmp_path / "runs"))


def test_a_file_that_is_truncated_in_the_middle_of_training_is_named(tmp_path: Path) -> None:
    """Too large for memory, so read from the cache; then both the entry and the file break."""
    root = write_pictures(tmp_path / "data")
    conf = train_conf(root, tmp_path / "runs", "data.memory_gb=1e-9", "trainer.epochs=2")
    from medcnn.training.progress import TrainingProgress

    def break_everything(self: Any, state: Any, plan: Any, row: Any) -> None:
        for path in (tmp_path / "runs" / ".medcnn" / "cache").glob("??/*"):
            path.write_bytes(b"damaged")
        for path in root.glob("*.png"):
            path.write_bytes(path.read_bytes()[:100])

    original = TrainingProgress.epoch
    TrainingProgress.epoch = break_everything  # type: ignore[method-assign]
    try:
        with pytest.raises(DataError, match=r"case case-\d\d was readable before and is not now"):
            train(conf)
    finally:
        TrainingProgress.epoch = original  # type: ignore[method-assign]
    assert list((tmp_path / "runs").glob("xray_cls/2*/checkpoints/step-*.ckpt"))


def test_a_dead_mlflow_server_costs_a_warning(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for word in train_words(pictures, tmp_path, "trainer.epochs=1") if "tracking" not in word]
    words += ["tracking.uri=http://127.0.0.1:9", "tracking.wait_s=0.5"]
    code, said = command(words, capsys)
    assert code == 0
    assert "`medcnn sync` delivers it" in said
    assert next(tmp_path.glob("xray_cls/2*/tracking/events.jsonl")).stat().st_size > 0


def test_a_class_that_is_left_without_readable_scans_is_named(tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "data")
    for row in manifest_rows(root):
        if row[4] == "val" and row[3] == "sick":
            (root / row[2]).write_bytes(b"broken")
    with pytest.raises(DataError, match="the validation split has one class only"):
        train(train_conf(root, tmp_path / "runs", "data.max_rejected=0.5"))


def test_a_volume_among_pictures_is_left_out_and_named(tmp_path: Path, samples: Path) -> None:
    root = write_pictures(tmp_path / "data")
    shutil.copy(next((samples / "mri" / "images").glob("*.nii.gz")), root / "volume.nii.gz")
    changed(root, "image", "volume.nii.gz", slice(0, 1))
    run = train(train_conf(root, tmp_path / "runs", "trainer.epochs=1"))
    assert "left out case-00: GEOMETRY_MISMATCH: this scan is a volume" in (run / "log.txt").read_text()
