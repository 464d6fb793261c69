"""MLflow's own server application, asked as a browser or an attacker would ask it."""

import subprocess

import pytest
from conftest import EXPERIMENT, Options, runs_of

from medcnn import ui
from medcnn.tracking.deliver import deliver
from medcnn.tracking.pages import allowed_hosts, application
from medcnn.tracking.store import resolve_store
from medcnn.tracking.tracker import open_tracker

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]
PORT = 5001
API = "/ajax-api/2.0/mlflow"


@pytest.fixture
def browser(store_folder, monkeypatch):
    from starlette.testclient import TestClient

    monkeypatch.setenv("MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE", "true")  # must not help anybody
    for name in ("MLFLOW_SERVER_ALLOWED_HOSTS", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "_MLFLOW_SGI_NAME"):
        monkeypatch.setenv(name, "")
    for name in ("FILE_STORE", "ARTIFACT_ROOT", "ARTIFACT_DESTINATION"):
        monkeypatch.setenv(f"_MLFLOW_SERVER_{name}", "")  # set by application(), put back after the test
    from mlflow.server import handlers

    monkeypatch.setattr(handlers, "_tracking_store", None)
    return TestClient(application(resolve_store(folder=store_folder), port=PORT), base_url=f"http://127.0.0.1:{PORT}")


@pytest.mark.usefixtures("no_process")
def test_the_pages_show_the_store_to_this_machine_only(browser, run_folder, client):
    figure = run_folder / "roc.txt"
    figure.write_text("a figure")
    with open_tracker(run_folder, Options(), run_name="r") as tracker:
        tracker.artifact(figure)
    deliver(run_folder, follow=False)
    (run,) = runs_of(client)
    ask = {"run_uuid": run.info.run_id, "path": "roc.txt"}

    assert browser.get("/health").status_code == 200
    found = browser.get(f"{API}/experiments/get-by-name", params={"experiment_name": EXPERIMENT})
    assert found.json()["experiment"]["name"] == EXPERIMENT
    assert browser.get("/get-artifact", params=ask).text == "a figure"

    for host in ("evil.example", f"evil.example:{PORT}", f"127.0.0.1.evil.example:{PORT}"):
        assert browser.get("/get-artifact", params=ask, headers={"Host": host}).status_code == 403
    made = browser.post(f"{API}/experiments/create", json={"name": "x"}, headers={"Origin": "http://evil.example"})
    assert made.status_code == 403
    for path in ("../../x", "..%2f..%2fmlflow.db", "/etc/hostname"):
        assert browser.get("/get-artifact", params={**ask, "path": path}).status_code == 400

    for closed in ("config", "message", "status"):
        assert browser.get(f"/ajax-api/3.0/mlflow/assistant/{closed}").status_code == 404
        assert browser.put(f"/ajax-api/3.0/mlflow/assistant/{closed}", json={}).status_code == 404


def test_hosts_are_named_with_and_without_the_port():
    assert allowed_hosts(PORT) == ["localhost", "localhost:5001", "127.0.0.1", "127.0.0.1:5001"]


def test_the_server_starts_with_usage_data_and_jobs_off(tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: asked.update(options, command=command))
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "true")
    monkeypatch.chdir(tmp_path)
    ui.start_server(resolve_store(), port=PORT)
    assert asked["env"]["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert asked["env"]["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert asked["cwd"] != tmp_path
    assert f"sqlite:///{tmp_path}/mlflow.db" in asked["command"][-1]
