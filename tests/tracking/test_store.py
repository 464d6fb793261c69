import os

import pytest

from medcnn.tracking.link import deep_link
from medcnn.tracking.store import Store, open_store, quiet_environment, resolve_store, with_password


def test_by_default_the_store_lies_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = resolve_store()
    assert store.uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert store.artifact_location == f"file://{tmp_path}/mlartifacts"
    assert store.database_file() == tmp_path / "mlflow.db"


def test_files_lie_beside_a_database_that_is_named(tmp_path):
    assert resolve_store("sqlite:///sub/x.db", folder=tmp_path) == Store(
        f"sqlite:///{tmp_path}/sub/x.db", f"file://{tmp_path}/sub/mlartifacts"
    )
    assert resolve_store("sqlite:////data/x.db", folder=tmp_path).uri == "sqlite:////data/x.db"


def test_the_environment_wins(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000/")
    assert resolve_store("sqlite:///x.db", folder=tmp_path) == Store("http://tracking:5000")


def test_a_server_decides_where_files_lie(tmp_path):
    assert resolve_store("https://tracking/mlflow").artifact_location == ""
    assert (
        resolve_store("postgresql://db/mlflow", folder=tmp_path).artifact_location == f"file://{tmp_path}/mlartifacts"
    )


@pytest.mark.parametrize("uri", ["./mlruns", "/data/mlruns", "file:///data/mlruns"])
def test_a_folder_is_refused_before_anything_is_trained(uri):
    with pytest.raises(ValueError, match=r"sqlite:///mlflow\.db"):
        resolve_store(uri)


def test_a_password_is_kept_in_the_environment_only(monkeypatch):
    with pytest.raises(ValueError, match="MLFLOW_TRACKING_URI") as caught:
        resolve_store("http://ann:secret@tracking:5000")
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@tracking:5000")
    store = resolve_store()
    assert store.uri == "http://tracking:5000"
    assert with_password(store.uri) == "http://ann:secret@tracking:5000"
    assert with_password("http://another:5000") == "http://another:5000"


def test_usage_data_is_off_whatever_the_user_set_but_time_outs_are_the_users():
    environment = quiet_environment({"DO_NOT_TRACK": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "300"})
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert environment["DO_NOT_TRACK"] == "true"
    assert environment["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "300"


def test_opening_switches_usage_data_off_in_this_process(store_folder, monkeypatch):
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY")
    open_store(resolve_store(folder=store_folder), "a")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_an_experiment_is_made_once_and_taken_out_of_the_bin(store_folder):
    store = resolve_store(folder=store_folder)
    client, first = open_store(store, "a/b")
    assert open_store(store, "a/b")[1] == first
    assert client.get_experiment(first).artifact_location == f"file://{store_folder}/mlartifacts"
    client.delete_experiment(first)
    assert open_store(store, "a/b")[1] == first
    assert client.get_experiment(first).lifecycle_stage == "active"


def test_the_link_opens_the_view_for_trained_models():
    tail = "/#/experiments/7/runs?workflowType=machine_learning"
    assert deep_link(Store("sqlite:////x/mlflow.db"), "7") == f"http://127.0.0.1:5000{tail}"
    assert deep_link(Store("https://tracking"), "7") == f"https://tracking{tail}"
