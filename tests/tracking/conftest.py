"""A real SQLite store for every test, copied from one that was made once: making one takes seconds."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from medcnn.tracking.store import EXPERIMENT_KIND, NO_TELEMETRY, open_store, resolve_store

EXPERIMENT = "xray_cls/phantoms"


@dataclass(frozen=True)
class Options:
    enabled: bool = True
    uri: str = ""
    experiment: str = EXPERIMENT
    wait_s: float = 0.0


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in (*NO_TELEMETRY, "MLFLOW_TRACKING_URI", "MEDCNN_SERVE_ROOT", "MEDCNN_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in NO_TELEMETRY.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Path:
    """An empty store's database file."""
    folder = tmp_path_factory.mktemp("template")
    open_store(resolve_store(folder=folder), "warm-up")
    return folder / "mlflow.db"


@pytest.fixture
def store_folder(template, tmp_path, monkeypatch) -> Path:
    """The working directory, with a store of its own."""
    shutil.copy(template, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run_folder(tmp_path) -> Path:
    folder = tmp_path / "runs" / "xray_cls" / "2026-03-04_10-11-12_ab12"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def no_process(monkeypatch):
    """The tracker starts no delivering process: tests deliver in their own."""
    started = []

    class Ended:
        def poll(self):
            return 0

    def start(folders, *, follow):
        started.append((folders, follow))
        return Ended()

    monkeypatch.setattr("medcnn.tracking.tracker.start_delivering", start)
    monkeypatch.setattr("medcnn.tracking.sweep.start_delivering", start)
    return started


@pytest.fixture
def client(store_folder):
    return open_store(resolve_store(folder=store_folder), EXPERIMENT)[0]


def runs_of(client):
    """Every run of the experiment."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment.tags.items() >= EXPERIMENT_KIND.items()
    return list(client.search_runs([experiment.experiment_id]))


def history(client, run_id, key):
    """(step, value) in the order of their steps, repeats included."""
    return [(metric.step, metric.value) for metric in client.get_metric_history(run_id, key)]
