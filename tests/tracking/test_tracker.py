import logging
import subprocess
import sys
import time

import pytest
from conftest import Options

from medcnn.errors import Interrupted
from medcnn.tracking import tracker as module
from medcnn.tracking.spool import Delivered, events_file, read_events
from medcnn.tracking.tracker import open_tracker, start_delivering, status_after

pytestmark = pytest.mark.usefixtures("no_process")


def events(run_folder):
    return [(event.kind, event.body) for event in read_events(run_folder)]


def test_a_run_is_written_down_from_open_to_close(run_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_tracker(run_folder, Options(), run_name="cnn-phantoms-0", tags={"seed": 0}) as tracker:
        tracker.params({"trainer.lr": 0.1})
        tracker.metrics({"train/loss": 0.5, "val/auroc": 1}, step=3)
        tracker.note("# Phantoms")
        tracker.artifact(run_folder / "figures" / "roc.png", "figures")
        tracker.artifact(tmp_path / "elsewhere.txt")
    kinds, bodies = zip(*events(run_folder), strict=True)
    assert kinds == ("open", "params", "metrics", "tags", "artifact", "artifact", "close")
    assert bodies[0]["uri"] == f"sqlite:///{tmp_path}/mlflow.db"
    assert bodies[0]["tags"] == {"seed": "0"}
    assert bodies[1]["values"] == {"trainer.lr": "0.1"}
    assert bodies[2] == {"values": {"train/loss": 0.5, "val/auroc": 1.0}, "step": 3}
    assert bodies[3]["values"] == {"mlflow.note.content": "# Phantoms"}
    assert bodies[4]["path"] == "figures/roc.png"
    assert bodies[5]["path"] == str(tmp_path / "elsewhere.txt")
    assert bodies[6] == {"status": "FINISHED"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "FINISHED"),
        (SystemExit(0), "FINISHED"),
        (SystemExit(2), "FAILED"),
        (SystemExit(143), "KILLED"),
        (ValueError("Jane Doe"), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (Interrupted(15, "SIGTERM"), "KILLED"),
    ],
)
def test_how_a_run_ended(error, status):
    assert status_after(error) == status


def test_a_failure_is_named_without_its_text(run_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="Jane"), open_tracker(run_folder, Options(), run_name="r"):
        raise ValueError("Jane Doe, born 1950")
    assert events(run_folder)[-1] == ("close", {"status": "FAILED"})
    assert ("tags", {"values": {"medcnn.failure": "ValueError"}}) in events(run_folder)
    assert "Jane" not in events_file(run_folder).read_text()


def test_switched_off_it_writes_nothing(run_folder, no_process):
    with open_tracker(run_folder, Options(enabled=False), run_name="r") as tracker:
        tracker.metrics({"loss": 1.0}, step=0)
        assert tracker.link() == ""
    assert list(run_folder.iterdir()) == []
    assert no_process == []


def test_a_full_disk_costs_one_warning_and_not_the_training(run_folder, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    tracker = open_tracker(run_folder, Options(), run_name="r")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tracker._spool, "append", full)
    with caplog.at_level(logging.WARNING):
        for step in range(5):
            tracker.metrics({"loss": 1.0}, step=step)
    assert caplog.text.count("No space left on device") == 1


def test_a_value_that_is_no_number_is_left_out_with_a_warning(run_folder, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    tracker = open_tracker(run_folder, Options(), run_name="r")
    tracker.metrics({"loss": 1.0, "bad": None}, step=0)
    assert events(run_folder)[-1][1]["values"] == {"loss": 1.0}
    assert "bad could not be recorded" in caplog.text


def test_a_resumed_run_keeps_its_key_and_its_store(run_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    open_tracker(run_folder, Options(), run_name="r").close()
    Delivered(uri="http://first", experiment_id="4", run_id="abc").save(run_folder)
    tracker = open_tracker(run_folder, Options(uri="http://second"), run_name="r")
    opens = [body for kind, body in events(run_folder) if kind == "open"]
    assert opens[0]["run_key"] == opens[1]["run_key"] != ""
    assert opens[1]["uri"] == tracker.store.uri == "http://first"
    assert tracker.link() == "http://first/#/experiments/4/runs?workflowType=machine_learning"


def test_at_the_end_it_waits_no_longer_than_asked_and_says_what_to_do(run_folder, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)

    class Stuck:
        def poll(self):
            return None

    monkeypatch.setattr(module, "start_delivering", lambda *_, **__: Stuck())
    tracker = open_tracker(run_folder, Options(wait_s=0.3), run_name="r")
    start = time.monotonic()
    tracker.close()
    assert 0.3 <= time.monotonic() - start < 1.0
    assert "medcnn sync" in caplog.text
    tracker.close()  # nothing is closed twice
    assert [kind for kind, _ in events(run_folder)].count("close") == 1


def test_a_delivering_process_that_died_is_started_again_but_not_for_ever(
    run_folder, tmp_path, monkeypatch, no_process
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "CHECK_EVERY_S", -1.0)
    tracker = open_tracker(run_folder, Options(), run_name="r")
    for step in range(10):
        tracker.metrics({"loss": 1.0}, step=step)
    assert no_process == [([run_folder], True)] * module.MOST_STARTS


def test_a_process_that_cannot_be_started_is_a_warning(run_folder, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)

    def fail(*_, **__):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(module, "start_delivering", fail)
    open_tracker(run_folder, Options(), run_name="r").close()
    assert "could not be started" in caplog.text


def test_an_event_costs_the_training_microseconds(run_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tracker = open_tracker(run_folder, Options(), run_name="r")
    start = time.perf_counter()
    for step in range(2000):
        tracker.metrics({"train/loss": 0.5, "train/lr": 0.1}, step=step)
    assert (time.perf_counter() - start) / 2000 < 500e-6  # about 15 on an idle machine


def test_the_delivering_process_starts_with_usage_data_off_and_out_of_the_users_folder(
    run_folder, monkeypatch, tmp_path
):
    asked = {}
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: asked.update(options, command=command))
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    monkeypatch.chdir(tmp_path)
    (run_folder / "tracking").mkdir()
    start_delivering([run_folder], follow=True)
    assert asked["env"]["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert asked["env"]["DO_NOT_TRACK"] == "true"
    assert asked["env"]["CUDA_VISIBLE_DEVICES"] == ""
    assert asked["start_new_session"] is True
    assert (asked["cwd"] / "medcnn" / "tracking" / "deliver.py").exists()
    assert str(run_folder) in asked["command"][-1]


def test_the_training_side_imports_no_mlflow():
    heavy = "mlflow torch monai pandas sqlalchemy numpy requests filelock"
    code = (
        "import sys, medcnn.tracking.tracker, medcnn.tracking.environment, medcnn.tracking.sweep\n"
        "import medcnn.sync, medcnn.ui\n"
        "assert medcnn.sync.main(['--help']) == medcnn.ui.main(['--help']) == 0\n"
        f"found = [name for name in '{heavy}'.split() if name in sys.modules]\n"
        "sys.exit(' '.join(found) or 0)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
