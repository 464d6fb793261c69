"""A logged model is loaded from the registry and predicts. The package behind it is a stand-in with known answers."""

import base64
import json
import os
import sys
import types
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from conftest import EXPERIMENT, Options, runs_of
from PIL import Image

from medcnn.errors import DataError
from medcnn.tracking import pyfunc as module
from medcnn.tracking.deliver import Outcome, deliver
from medcnn.tracking.spool import delivered_file
from medcnn.tracking.tracker import open_tracker

pytestmark = [
    pytest.mark.usefixtures("no_process", "store_folder"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]

BRIGHT, DARK = 250, 10
DESCRIPTION = '{"format_version": 1, "output": {"class_names": ["normal", "pneumonia"]}}'


@dataclass
class Answer:
    probability: dict[str, float]
    decision: str
    confidence: float
    reason: str = ""
    conformal_set: tuple[str, ...] | None = None


class BrightnessPackage:
    """Pneumonia is what is bright."""

    def __init__(self, folder):
        self.classes = json.loads((folder / "model.json").read_text())["output"]["class_names"]

    def predict_scan(self, scan, covariates=None):
        if scan.voxels.shape[-1] < 4:
            raise DataError("the picture is too small for this model")
        bright = bool(np.mean(scan.voxels) > 128)
        high = 0.9 if bright else 0.2
        return Answer(dict(zip(self.classes, (1 - high, high), strict=True)), self.classes[bright], max(high, 1 - high))


@pytest.fixture(autouse=True)
def _package(monkeypatch):
    stand_in = types.ModuleType("medcnn.model_package.opening")
    stand_in.load_package = BrightnessPackage
    monkeypatch.setitem(sys.modules, "medcnn.model_package.opening", stand_in)


@pytest.fixture
def trained(run_folder):
    """A run that logs its model, undelivered."""
    (run_folder / "model").mkdir()
    (run_folder / "model" / "model.json").write_text(DESCRIPTION)
    (run_folder / "model" / "weights_0.safetensors").write_bytes(b"weights")
    with open_tracker(run_folder, Options(), run_name="r") as tracker:
        tracker.model(run_folder / "model", metrics={"test/auroc": 0.93}, register_as="xr", alias="champion")
    return run_folder


@pytest.fixture
def load(client):
    def loaded(uri="models:/xr@champion"):
        import mlflow

        with module._default_store(client.tracking_uri):
            return mlflow.pyfunc.load_model(uri)

    return loaded


@pytest.fixture
def served(tmp_path, monkeypatch):
    root = tmp_path / "served"
    (root / "ward").mkdir(parents=True)
    for name, value in {"bright": BRIGHT, "dark": DARK}.items():
        Image.new("L", (16, 12), value).save(root / "ward" / f"{name}.png")
    Image.new("L", (16, 12), BRIGHT).save(tmp_path / "outside.png")
    monkeypatch.setenv("MEDCNN_SERVE_ROOT", str(root))
    return root


def test_the_champion_predicts_from_paths_and_bytes(trained, load, served):
    assert deliver(trained, follow=False) is Outcome.DELIVERED
    raw = (served / "ward" / "dark.png").read_bytes()
    model = load()
    asked = pd.DataFrame(
        [{"path": "ward/bright.png"}, {"path": "ward/dark.png"}, {"path": str(served / "ward/bright.png")}]
    )
    answer = model.predict(asked)
    assert list(answer.columns) == ["case_id", "decision", "confidence", "set", "p.normal", "p.pneumonia", "reason"]
    assert list(answer["decision"]) == ["pneumonia", "normal", "pneumonia"]
    assert list(answer["p.pneumonia"]) == [0.9, 0.2, 0.9]
    assert list(answer["reason"]) == ["", "", ""]
    assert answer["case_id"][0] == answer["case_id"][2] != answer["case_id"][1]
    assert list(model.predict(pd.DataFrame([{"bytes": raw}]))["decision"]) == ["normal"]
    text = base64.b64encode(raw).decode()
    assert list(model.unwrap_python_model().predict(None, pd.DataFrame([{"bytes": text}]))["decision"]) == ["normal"]


@pytest.mark.parametrize("path", ["../outside.png", "ward/../../outside.png", "{outside}", "link.png", "/etc/hostname"])
def test_nothing_outside_the_served_folder_is_read(trained, load, served, tmp_path, path):
    deliver(trained, follow=False)
    (served / "link.png").symlink_to(tmp_path / "outside.png")
    asked = [{"path": path.replace("{outside}", str(tmp_path / "outside.png"))}, {"path": "ward/bright.png"}]
    answer = load().predict(pd.DataFrame(asked))
    assert answer["reason"][0].startswith("PATH_ESCAPE")
    assert str(tmp_path) not in answer["reason"][0]
    assert list(answer["decision"]) == ["", "pneumonia"]  # one refused row spoils no other
    assert np.isnan(answer["p.pneumonia"][0])


def test_without_a_served_folder_no_path_is_read(trained, load, served, monkeypatch):
    monkeypatch.delenv("MEDCNN_SERVE_ROOT")
    deliver(trained, follow=False)
    answer = load().predict(pd.DataFrame([{"path": str(served / "ward" / "bright.png")}]))
    assert "PATH_ESCAPE" in answer["reason"][0]
    assert "MEDCNN_SERVE_ROOT" in answer["reason"][0]


def test_rows_that_are_no_scan_say_why(trained, load, served):
    deliver(trained, follow=False)
    model = load().unwrap_python_model()
    Image.new("L", (2, 2), DARK).save(served / "tiny.png")
    asked = [{"path": ""}, {"bytes": b"no picture"}, {"bytes": "no base64!"}, {"path": "tiny.png"}]
    answer = model.predict(None, pd.DataFrame(asked))
    assert all(answer["reason"])
    assert "too small" in answer["reason"][3]
    assert list(answer["decision"]) == [""] * 4


def test_the_same_key_gives_the_same_case_id(trained, load, served, monkeypatch, tmp_path):
    deliver(trained, follow=False)
    monkeypatch.setenv("MEDCNN_KEY_FILE", str(tmp_path / "key"))
    asked = pd.DataFrame([{"path": "ward/bright.png"}])
    assert load().predict(asked)["case_id"][0] == load().predict(asked)["case_id"][0]


def test_what_is_logged_with_the_model(trained, client, load):
    deliver(trained, follow=False)
    (run,) = runs_of(client)
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    assert [(metric.key, metric.value) for metric in model.metrics] == [("test/auroc", 0.93)]
    version = client.get_model_version_by_alias("xr", "champion")
    assert (version.run_id, version.source) == (run.info.run_id, f"models:/{model.model_id}")
    asked = load("models:/xr@champion").metadata.signature
    assert asked.inputs.input_names() == ["path", "bytes"]
    assert asked.outputs.input_names()[3:6] == ["set", "p.normal", "p.pneumonia"]
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": "xr", "version": version.version}]
    assert client.get_experiment(run.info.experiment_id).name == EXPERIMENT


def test_no_path_of_this_machine_and_all_code_travels_with_the_model(trained, client, tmp_path):
    deliver(trained, follow=False)
    (folder,) = (tmp_path / "mlartifacts" / "models").glob("m-*/artifacts")
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {"serving.py", "artifacts/model/model.json", "requirements.txt"} <= files.keys()
    assert any(name.endswith(".whl") for name in files)
    for content in files.values():
        assert str(tmp_path).encode() not in content
        assert str(module.__file__).removesuffix("medcnn/tracking/pyfunc.py").encode() not in content
    assert b"torch==" in files["requirements.txt"]


@pytest.mark.parametrize(
    "stage", ["log_model_artifacts", "log_outputs", "create_model_version", "set_registered_model_alias"]
)
def test_interrupted_anywhere_there_is_one_model_and_one_version(trained, client, monkeypatch, stage):
    from mlflow import MlflowClient

    class Crash(BaseException):
        pass

    def crash(*_, **__):
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, stage, crash)
        with pytest.raises(Crash):
            deliver(trained, follow=False)
    assert deliver(trained, follow=False) is Outcome.DELIVERED
    delivered_file(trained).unlink()
    assert deliver(trained, follow=False) is Outcome.DELIVERED
    (run,) = runs_of(client)
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert str(model.status) == "READY"
    (version,) = client.search_model_versions("name = 'xr'")
    assert client.get_model_version_by_alias("xr", "champion").version == version.version


def test_logging_a_model_imports_no_torch(trained, monkeypatch):
    """It would take longer than many a training here lasts."""
    monkeypatch.setitem(sys.modules, "torch", None)  # an import now fails
    monkeypatch.setitem(sys.modules, "monai", None)
    assert deliver(trained, follow=False) is Outcome.DELIVERED


@pytest.mark.parametrize("before", [None, "http://tracking:5000"])
def test_the_default_store_is_put_back(monkeypatch, before, tmp_path):
    import mlflow

    if before:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", before)
    seen = mlflow.get_tracking_uri()
    with module._default_store(f"sqlite:///{tmp_path}/x.db"):
        assert mlflow.get_tracking_uri() == f"sqlite:///{tmp_path}/x.db"
    assert mlflow.get_tracking_uri() == seen
    assert os.environ.get("MLFLOW_TRACKING_URI") == before
