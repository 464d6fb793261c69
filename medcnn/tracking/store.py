"""Where runs are tracked: one absolute store. Opening it imports mlflow; naming it does not."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}  # or the UI asks what kind it is
SQLITE = "sqlite:///"
LOCK_TIMEOUT_S = 60.0

#: "true", not "1", is what MLflow understands.
NO_TELEMETRY = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
#: What a user may set otherwise. A server that hangs is noticed in seconds, and we repeat ourselves, with patience.
DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",  # it would copy the user's pyproject.toml into the logged model
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


def quiet_environment(environment: dict[str, str]) -> dict[str, str]:
    """The environment in which mlflow may be imported: usage data off, short time-outs."""
    return {**DEFAULTS, **environment, **NO_TELEMETRY}


def silence() -> None:
    """The same for this process; before its first import of mlflow."""
    os.environ.update(quiet_environment(dict(os.environ)))


@dataclass(frozen=True)
class Store:
    """A tracking store.

    uri                 absolute, and without a password
    artifact_location   where a new experiment keeps its files; empty: the server decides
    """

    uri: str
    artifact_location: str = ""

    @property
    def is_server(self) -> bool:
        return self.uri.startswith(("http://", "https://"))

    def database_file(self) -> Path | None:
        return Path(self.uri.removeprefix(SQLITE)) if self.uri.startswith(SQLITE) else None


def resolve_store(uri: str = "", *, folder: Path | None = None) -> Store:
    """MLFLOW_TRACKING_URI if set, else uri, else mlflow.db in the folder (default: the working one).

    Raises ValueError for a store that MLflow cannot write, or a password in the configuration.
    """
    folder = (folder or Path.cwd()).absolute()
    if environment := os.environ.get("MLFLOW_TRACKING_URI", ""):
        return _absolute(_without_password(environment), folder)
    if uri != _without_password(uri):
        raise ValueError(
            "tracking.uri holds a password, and a configuration is kept in every run folder. "
            "Put the whole address into the environment variable MLFLOW_TRACKING_URI instead"
        )
    return _absolute(uri or f"{SQLITE}mlflow.db", folder)


def _absolute(uri: str, folder: Path) -> Store:
    if uri.startswith(SQLITE):
        database = folder / uri.removeprefix(SQLITE)  # "sqlite:////a/b" is absolute, and stays
        return Store(f"{SQLITE}{database}", (database.parent / "mlartifacts").as_uri())
    if "://" not in uri and not uri.startswith("databricks"):
        raise ValueError(
            f"{uri!r} is a folder, and MLflow no longer writes runs into plain folders. "
            f"Use {SQLITE}mlflow.db, or the address of a server (http://...)"
        )
    if uri.startswith("file:"):
        raise ValueError(f"MLflow no longer writes runs into plain folders (file:...). Use {SQLITE}mlflow.db")
    if uri.startswith(("http://", "https://", "databricks")):
        return Store(uri.rstrip("/"))
    return Store(uri, (folder / "mlartifacts").as_uri())  # another database: its files lie here


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def with_password(uri: str) -> str:
    """The address to connect to: MLFLOW_TRACKING_URI itself where it is the same store."""
    environment = os.environ.get("MLFLOW_TRACKING_URI", "")
    return environment if _without_password(environment).rstrip("/") == uri else uri


def open_store(store: Store, experiment: str) -> tuple[MlflowClient, str]:
    """A client, and the experiment's id; database and experiment are made where they are missing.

    One process at a time: on a fresh SQLite file MLflow's own set-up fails when two start together.
    """
    silence()
    from filelock import FileLock
    from mlflow import MlflowClient

    database = store.database_file()
    if database is None:
        client = MlflowClient(tracking_uri=with_password(store.uri))
        return client, _experiment_id(client, store, experiment)
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock", timeout=LOCK_TIMEOUT_S):
        client = MlflowClient(tracking_uri=store.uri)
        return client, _experiment_id(client, store, experiment)


def _experiment_id(client: MlflowClient, store: Store, name: str) -> str:
    """Create it unless it is there. One that was moved to the bin is taken out again, with its earlier runs."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            location = f"{store.artifact_location}" or None
            return str(client.create_experiment(name, artifact_location=location, tags=EXPERIMENT_KIND))
        except MlflowException:  # another host was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)
