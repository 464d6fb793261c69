"""The model package as an MLflow model that predicts by itself, and its place in the registry.

Written step by step with MlflowClient instead of mlflow.pyfunc.log_model: that one loads the model to try it out
(torch and MONAI, 15 s), writes this machine's paths into the model, and makes a second model when it is repeated.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from medcnn.tracking.names import clean_key
from medcnn.tracking.spool import Event
from medcnn.tracking.wheel import build_wheel, requirements

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.models import Model, ModelSignature
    from mlflow.types import TensorSpec

EVENT_TAG = "medcnn.event"
MODEL_NAME = "model"
INPUTS = [("string", "path"), ("binary", "bytes")]
FIRST_OUTPUTS = [("string", "case_id"), ("string", "decision"), ("double", "confidence"), ("string", "set")]
DEFAULT_EXAMPLE = {"path": "folder/scan.dcm"}


def log_model(client: MlflowClient, experiment_id: str, run_id: str, package: Path, event: Event) -> None:
    """Log the package to the run, and register it where that was asked for; again, it finds what it did before."""
    from mlflow.entities import Metric

    body = event.body
    model = _find(client, experiment_id, body["uuid"])
    if model is None:
        model = _upload(client, experiment_id, run_id, package, body)
    numbers = [
        Metric(clean_key(name), value, event.time_ms, 0, model_id=model.model_id, run_id=run_id)
        for name, value in body["metrics"].items()
    ]
    if numbers:
        client.log_batch(run_id, metrics=numbers)
    if body["register_as"]:
        register(client, model.model_id, run_id, body)


def _find(client: MlflowClient, experiment_id: str, uuid: str) -> LoggedModel | None:
    """The complete model of this event; halves of it are thrown away."""
    found = None
    for model in client.search_logged_models([experiment_id], f"tags.`{EVENT_TAG}` = '{uuid}'"):
        if str(model.status) == "READY":
            found = model
        else:
            client.delete_logged_model(model.model_id)
    return found


def _upload(client: MlflowClient, experiment_id: str, run_id: str, package: Path, body: dict[str, Any]) -> LoggedModel:
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    model: LoggedModel = client.create_logged_model(
        experiment_id, MODEL_NAME, source_run_id=run_id, tags={EVENT_TAG: body["uuid"]}, model_type="medcnn"
    )
    with TemporaryDirectory() as folder:
        description = Model(
            artifact_path=model.artifact_location, run_id=run_id, model_uuid=model.model_id, model_id=model.model_id
        )
        written = write_model(package, Path(folder), description, body["input_example"])
        client.log_model_artifacts(model.model_id, str(written))
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return client.finalize_logged_model(model.model_id, "READY")


def write_model(package: Path, folder: Path, description: Model, example: dict[str, str]) -> Path:
    """The MLflow model as a folder: serving.py, the package, and the wheel of the medcnn that wrote it."""
    import mlflow.pyfunc
    import pandas as pd

    import medcnn

    wheel = build_wheel(folder)
    written = folder / "written"
    mlflow.pyfunc.save_model(
        path=str(written),
        mlflow_model=description,
        python_model=str(Path(medcnn.__file__).with_name("serving.py")),
        artifacts={"package": str(package), "wheel": str(wheel)},
        pip_requirements=requirements(),
        signature=signature(package),
        input_example=pd.DataFrame([example or DEFAULT_EXAMPLE]),
    )
    _forget_paths(written)
    return written


def _forget_paths(written: Path) -> None:
    """MLflow notes where code and artifacts came from on this machine, and uses only their places in the model."""
    import yaml

    file = written / "MLmodel"
    content = yaml.safe_load(file.read_text())
    content["artifact_path"] = MODEL_NAME
    flavor = content["flavors"]["python_function"]
    flavor["model_code_path"] = Path(flavor["model_code_path"]).name
    for artifact in flavor["artifacts"].values():
        artifact["uri"] = artifact["path"]
    file.write_text(yaml.safe_dump(content, sort_keys=False))


def signature(package: Path) -> ModelSignature:
    """A row is a path or a file's bytes; an answer is a row of case_id ... reason, with what its kind of model says.

    A classifier says decision, confidence, set, p.<class> ...; a segmenter volume_ml.<structure> ... and
    expected_dice.<structure> ...
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    described = json.loads((package / "model.json").read_text())
    output = described["output"]
    beside = [("string", str(column["name"])) for column in described.get("covariates") or []]
    inputs: list[ColSpec | TensorSpec] = [ColSpec(kind, name, required=False) for kind, name in [*INPUTS, *beside]]
    outputs: list[ColSpec | TensorSpec]
    if "structures" in output:
        columns = [
            f"{what}.{name}" for what in ("volume_ml", "expected_dice") for name in output["structures"]["names"]
        ]
        outputs = [ColSpec("string", "case_id"), *(ColSpec("double", name, required=False) for name in columns)]
    else:
        outputs = [ColSpec(kind, name) for kind, name in FIRST_OUTPUTS]
        outputs += [ColSpec("double", f"p.{name}") for name in output["class_names"]]
    return ModelSignature(Schema(inputs), Schema([*outputs, ColSpec("string", "reason")]))


def register(client: MlflowClient, model_id: str, run_id: str, body: dict[str, Any]) -> None:
    """A version in the registry, and the alias moved to it."""
    name = body["register_as"]
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    version = next((version for version in versions if version.tags.get(EVENT_TAG) == body["uuid"]), None)
    if version is None:
        tags = {EVENT_TAG: body["uuid"]}
        with _default_store(client.tracking_uri):
            version = client.create_model_version(name, f"models:/{model_id}", run_id, tags=tags, model_id=model_id)
        link = json.dumps([{"name": name, "version": version.version}])
        client.set_logged_model_tags(model_id, {"mlflow.modelVersions": link})
    if body["alias"]:
        client.set_registered_model_alias(name, body["alias"], version.version)


@contextmanager
def _default_store(uri: str) -> Iterator[None]:
    """MLflow's SQL registry looks the logged model up in the default store, not in the client's (3.17.2)."""
    from mlflow.tracking._tracking_service.utils import _use_tracking_uri  # the public setter cannot be undone

    before = os.environ.get("MLFLOW_TRACKING_URI")
    try:
        with _use_tracking_uri(uri):
            yield
    finally:  # it puts back its own setting, and forgets the environment's
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before
