"""Where a model comes from: a folder, or a run or a registered model of MLflow, fetched once into a private cache.

Imports mlflow (1.5 s) only where the model is not a folder.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from medcnn.errors import PackageError
from medcnn.tracking.pyfunc import MODEL_NAME
from medcnn.tracking.store import Store, resolve_store, silence, with_password

if TYPE_CHECKING:
    from mlflow import MlflowClient

_RUN = re.compile(r"(?:runs:/)?(?P<run>[0-9a-f]{32})(?:/(?P<name>[^/@]+))?")
_REGISTERED = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[1-9]\d*|latest))?")
_LOGGED = re.compile(r"models:/(?P<model>m-[0-9a-f]{32})")
_SHOWN = 10
_DESCRIPTION = "model.json"
_MISSING = "RESOURCE_DOES_NOT_EXIST"


def is_in_mlflow(model: str) -> bool:
    """Whether it names a run or a model of MLflow; a folder that is called alike comes first."""
    named = model.startswith(("models:/", "runs:/")) or _RUN.fullmatch(model) is not None
    return named and not Path(model).expanduser().is_dir()


def local_package(model: str, cache: Path) -> Path:
    """A folder as it is; the model package of an MLflow run or registered model in a folder below the cache.

    model  a folder, models:/<name>@<alias>, models:/<name>/<version>, runs:/<run id>/model, or a run id
    Raises PackageError: no such model, a server that does not answer, no medcnn package in it.
    """
    if not is_in_mlflow(model):
        return Path(model).expanduser()
    store = _store()
    with _in_plain_words(store):
        client = _client(store)
        artifacts = _artifacts(client, model)
        folder = cache / sha256(f"{store.uri}\n{artifacts.identity}".encode()).hexdigest()[:16]
        if not _is_whole(folder):
            _fetch(artifacts, folder, client.tracking_uri)
    return folder


@dataclass(frozen=True)
class _Artifacts:
    """identity  of a logged model, or where the files lie: neither ever holds something else; location  to fetch."""

    identity: str
    location: str


def _store() -> Store:
    """MLFLOW_TRACKING_URI, else mlflow.db here; none is made for the asking."""
    try:
        store = resolve_store()
    except ValueError as error:
        raise PackageError(f"model: {error}") from None
    database = store.database_file()
    if database is not None and not database.is_file():
        raise PackageError(
            f"model: there is no MLflow store {database}. Go to the folder that the training was started in, set "
            f"MLFLOW_TRACKING_URI, or give the run's folder"
        )
    return store


def _client(store: Store) -> MlflowClient:
    silence()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=with_password(store.uri), registry_uri=with_password(store.uri))


def _artifacts(client: MlflowClient, model: str) -> _Artifacts:
    if found := _RUN.fullmatch(model):
        return _of_run(client, found["run"], found["name"] or MODEL_NAME)
    if found := _LOGGED.fullmatch(model):
        return _of_logged(client, found["model"])
    if found := _REGISTERED.fullmatch(model):
        version = _version(client, found["name"], found["alias"] or "", found["version"] or "")
        if logged := _LOGGED.fullmatch(str(version.source)):
            return _of_logged(client, logged["model"])
        return _Artifacts(version.source, client.get_model_version_download_uri(version.name, version.version))
    raise PackageError(
        f"model: {model!r} names nothing in MLflow. Write models:/<name>@<alias>, models:/<name>/<version>, "
        f"runs:/<run id>/{MODEL_NAME}, or give a folder"
    )


def _of_logged(client: MlflowClient, model_id: str) -> _Artifacts:
    with _missing_is(f"model: MLflow has no logged model {model_id}"):
        return _Artifacts(model_id, client.get_logged_model(model_id).artifact_location)


def _of_run(client: MlflowClient, run_id: str, name: str) -> _Artifacts:
    """The logged model of that name, the last of several; else the run's artifacts of that name, as old runs have."""
    with _missing_is(f"model: MLflow has no run {run_id}"):
        run = client.get_run(run_id)
    outputs = run.outputs.model_outputs if run.outputs else []
    models = [client.get_logged_model(output.model_id) for output in outputs]
    ready = [model for model in models if model.name == name and str(model.status) == "READY"]
    if ready:
        last = max(ready, key=lambda model: model.creation_timestamp)
        return _Artifacts(last.model_id, last.artifact_location)
    if any(file.path == name for file in client.list_artifacts(run_id)):
        location = f"{run.info.artifact_uri}/{name}"
        return _Artifacts(location, location)
    there = ", ".join(sorted({model.name for model in models})) or "none"
    raise PackageError(f"model: the run {run_id} has no model {name!r} in MLflow (there: {there}). Give another run")


def _version(client: MlflowClient, name: str, alias: str, number: str) -> Any:
    """A version in the registry. Raises PackageError, with what there is instead."""
    from mlflow.exceptions import MlflowException

    try:
        registered = client.get_registered_model(name)
        if alias:
            return client.get_model_version_by_alias(name, alias)
        if number and number != "latest":
            return client.get_model_version(name, number)
    except MlflowException as error:
        if error.error_code not in (_MISSING, "INVALID_PARAMETER_VALUE"):
            raise
        raise PackageError(_nothing_such(client, name, alias, number)) from None
    versions = client.search_model_versions(f"name = '{registered.name}'")
    if number == "latest" and versions:
        return max(versions, key=lambda version: int(version.version))
    raise PackageError(_nothing_such(client, name, alias, number))


def _nothing_such(client: MlflowClient, name: str, alias: str, number: str) -> str:
    known = [model for model in client.search_registered_models(max_results=1000) if model.name == name]
    if not known:
        names = sorted(model.name for model in client.search_registered_models(max_results=1000))
        return f"model: no model is registered as {name!r}; there are {_some(names)}"
    versions = sorted(int(version.version) for version in client.search_model_versions(f"name = '{name}'"))
    there = f"aliases {_some(sorted(known[0].aliases))}; versions {_some([str(number) for number in versions])}"
    if not alias and not number:
        return f"model: say which {name!r} is meant, as models:/{name}@<alias> or models:/{name}/<version>: {there}"
    asked = f"alias {alias!r}" if alias else f"version {number}"
    return f"model: {name!r} has no {asked}; there are {there}"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "none") + more


def _fetch(artifacts: _Artifacts, folder: Path, tracking_uri: str) -> None:
    """Aside first, then in its place at once: of several commands that start together, each finds it whole."""
    from mlflow.artifacts import download_artifacts

    for private in (folder.parent.parent, folder.parent):
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as aside:
        download_artifacts(artifact_uri=artifacts.location, dst_path=aside, tracking_uri=tracking_uri)
        package = _package_in(Path(aside))
        if package is None:
            raise PackageError("model: what MLflow holds there is no medcnn package. Give a model that medcnn trained")
        if not _is_whole(package):
            raise PackageError("model: the package that MLflow holds is damaged. Log the model again")
        _make_private(package)
        if folder.exists() and not _is_whole(folder):
            shutil.rmtree(folder)
        try:
            package.rename(folder)
        except OSError:
            if not _is_whole(folder):  # else another process was faster
                raise


def _package_in(fetched: Path) -> Path | None:
    """The one folder with a description that names weights beside it."""
    found = sorted(path.parent for path in fetched.rglob(_DESCRIPTION) if _weights(path.parent))
    return found[0] if found else None


def _is_whole(folder: Path) -> bool:
    """Its weights are those that its description names."""
    weights = _weights(folder)
    try:
        return bool(weights) and all(_file_sha256(folder / Path(name).name) == said for name, said in weights.items())
    except OSError:
        return False


def _weights(folder: Path) -> dict[str, str]:
    """File -> SHA-256, as the description says; {} where there is none."""
    try:
        weights = json.loads((folder / _DESCRIPTION).read_text()).get("weights", {})
        return {str(name): str(digest) for name, digest in weights.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def _make_private(folder: Path) -> None:
    folder.chmod(0o700)
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)


@contextmanager
def _missing_is(text: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != _MISSING:
            raise
        raise PackageError(text) from None


@contextmanager
def _in_plain_words(store: Store) -> Iterator[None]:
    """Whatever MLflow, its database and its network throw."""
    try:
        yield
    except PackageError:
        raise
    except Exception as error:
        what = getattr(error, "error_code", "") or type(error).__name__
        remedy = "Check that the server runs, and MLFLOW_TRACKING_URI" if store.is_server else "Check the store"
        raise PackageError(
            f"model: MLflow at {store.uri} cannot be read ({what}). {remedy}, or give the run's folder"
        ) from error
