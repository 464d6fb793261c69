"""Events into one MLflow run, each at most once in effect: sending any of them again changes nothing.

Imports mlflow (1.5 s) where it first speaks to the store; only the delivering side uses this file.
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby, islice, zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from medcnn.tracking.names import KEY_CHARACTERS, clean_key
from medcnn.tracking.owner import Owner
from medcnn.tracking.spool import Delivered, Event, read_events
from medcnn.tracking.store import Store, open_store, resolve_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

RUN_KEY_TAG = "medcnn.run_key"
PARENT_TAG = "mlflow.parentRunId"
LOGGED = {"metrics", "params", "tags"}  # what one request can carry together
METRICS_A_REQUEST, PARAMS_A_REQUEST, TAGS_A_REQUEST = 800, 100, 100  # MLflow: 1000, 100, 100 and 1000 together
PARAM_CHARACTERS, TAG_CHARACTERS = 6000, 8000

T = TypeVar("T")


class EventRefused(Exception):  # noqa: N818  an outcome, told apart from a server in trouble
    """This event cannot be delivered as it is: its file is gone, or it is not what its kind needs."""


class RunLost(Exception):  # noqa: N818
    """The run is no longer in the store, or in its bin."""


class Shipment:
    """One run folder and its run in MLflow."""

    def __init__(self, run_folder: Path) -> None:
        self.run_folder = run_folder
        self.state = Delivered.load(run_folder)
        self._opening = next(read_events(run_folder), None)
        self._client: MlflowClient | None = None
        self._params: dict[str, str] | None = None
        self.owner = self._newest_owner()

    def _newest_owner(self) -> Owner | None:
        owner = None
        for event in read_events(self.run_folder):
            if event.kind == "open":
                owner = _owner(event)
        return owner

    def unread(self, most: int = 500) -> list[Event]:
        """The next events, those of a new owner seen on the way."""
        events = list(islice(read_events(self.run_folder, self.state.offset), most))
        for event in events:
            if event.kind == "open":
                self.owner = _owner(event)
        return events

    def is_closed(self) -> bool:
        return self.state.closed

    # the run

    def connect(self) -> MlflowClient:
        """The client, with experiment and run in place; made now where they are not."""
        if self._client is not None:
            return self._client
        if self._opening is None or self._opening.kind != "open":
            raise EventRefused("the run's record does not begin with an open event")
        body = self._opening.body
        store = self._store(body)
        client, experiment_id = open_store(store, body["experiment"])
        run_id = self.state.run_id or self._find(client, experiment_id, body["run_key"])
        if not run_id:
            tags = {**_cut(body["tags"], TAG_CHARACTERS), RUN_KEY_TAG: body["run_key"]}
            created = client.create_run(
                experiment_id, start_time=self._opening.time_ms, tags=tags, run_name=body["run_name"]
            )
            run_id = created.info.run_id
        if not self.state.run_id:
            self._save(uri=store.uri, experiment_id=experiment_id, run_id=run_id)
        self._client = client
        return client

    def _store(self, opening: dict[str, Any]) -> Store:
        """Where the run is; while it is nowhere yet, MLFLOW_TRACKING_URI of today may send it elsewhere."""
        if self.state.run_id:
            return Store(self.state.uri)
        store = resolve_store(opening["uri"])
        return Store(store.uri, opening["artifact_location"]) if store.uri == opening["uri"] else store

    @staticmethod
    def _find(client: MlflowClient, experiment_id: str, key: str) -> str:
        """A run that was made just before somebody stopped us from noting it down."""
        if not key:
            return ""
        found = client.search_runs([experiment_id], f"tags.`{RUN_KEY_TAG}` = '{key}'", max_results=1)
        return str(found[0].info.run_id) if found else ""

    def check_run(self) -> None:
        """Raises RunLost, or whatever MLflow raises while its server is in trouble."""
        run = self.connect().get_run(self.state.run_id)
        if run.info.lifecycle_stage != "active":
            raise RunLost("the run was deleted in MLflow. Restore it there (UI: Deleted runs), then `medcnn sync`")

    # sending

    def send(self, events: list[Event]) -> None:
        """Deliver some events in their order and note it; what raised and what follows stays undelivered."""
        self.connect()
        for together, group in groupby(events, key=lambda event: event.kind in LOGGED):
            if together:
                self._send_logged(list(group))
                continue
            for event in group:
                self._send_one(event)
                self._advance(event)

    def _advance(self, event: Event) -> None:
        closed = event.kind == "close" or (self.state.closed and event.kind != "open")
        self._save(offset=max(event.end, self.state.offset), closed=closed)

    def refuse(self, event: Event) -> None:
        """Go on without it; it is kept, and `medcnn sync` tries again."""
        self._save(offset=event.end, refused=(*self.state.refused, event.start))

    def send_refused(self) -> None:
        """Try once more what was refused before."""
        for start in self.state.refused:
            event = next(read_events(self.run_folder, start), None)
            try:
                if event is not None:
                    self.connect()
                    self._send_logged([event]) if event.kind in LOGGED else self._send_one(event)
            except Exception as error:  # whatever it is, the event stays refused
                log.warning("%s event at byte %d: still refused (%s)", event and event.kind, start, error)
            else:
                self._save(refused=tuple(other for other in self.state.refused if other != start))

    def _send_logged(self, events: list[Event]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        metrics, params, tags = [], {}, {}
        for event in events:
            values = event.body["values"]
            if event.kind == "metrics":
                step = int(event.body["step"])
                metrics += [
                    Metric(clean_key(name), float(value), event.time_ms, step) for name, value in values.items()
                ]
            elif event.kind == "params":
                params.update(_cut(values, PARAM_CHARACTERS))
            else:
                tags.update(_cut(values, TAG_CHARACTERS))
        fresh, changed = self._sort_params(params)
        tags.update({f"resumed.{name}"[:KEY_CHARACTERS]: value for name, value in changed.items()})
        client = self.connect()
        batches = _side_by_side(
            _chunks(metrics, METRICS_A_REQUEST),
            _chunks([Param(*item) for item in fresh.items()], PARAMS_A_REQUEST),
            _chunks([RunTag(*item) for item in tags.items()], TAGS_A_REQUEST),
        )
        for some_metrics, some_params, some_tags in batches:
            client.log_batch(self.state.run_id, metrics=some_metrics, params=some_params, tags=some_tags)
        self._params = {**(self._params or {}), **fresh}
        self._advance(events[-1])

    def _sort_params(self, params: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """New ones, and those that a resumed run gave another value: MLflow never changes a param."""
        if not params:
            return {}, {}
        if self._params is None:
            self._params = dict(self.connect().get_run(self.state.run_id).data.params)
        fresh = {name: value for name, value in params.items() if name not in self._params}
        changed = {name: value for name, value in params.items() if self._params.get(name, value) != value}
        return fresh, changed

    def _send_one(self, event: Event) -> None:
        client, run_id, body = self.connect(), self.state.run_id, event.body
        match event.kind:
            case "open":
                self._open(event)
            case "close":
                self._link_parent()
                client.set_terminated(run_id, body["status"], event.time_ms)
            case "artifact":
                self._artifact(self._path(body), body["folder"])
            case "image":
                self._image(self._path(body), event)
            case "dataset":
                self._dataset(self._path(body), body)
            case "model":
                from medcnn.tracking.pyfunc import log_model

                log_model(client, self.state.experiment_id, run_id, self._path(body), event)
            case _:
                raise EventRefused(f"an event of unknown kind {event.kind!r}: written by a newer medcnn?")

    def _open(self, event: Event) -> None:
        """A resumed run runs again, under the same id."""
        client, run_id = self.connect(), self.state.run_id
        self._link_parent()
        if self._opening is None or event.start != self._opening.start:
            client.update_run(run_id, status="RUNNING")
            for name, value in _cut(event.body["tags"], TAG_CHARACTERS).items():
                client.set_tag(run_id, name, value)

    def _link_parent(self) -> None:
        """Children may be delivered before their parent: tried at the start, and again at the end."""
        key = self._opening.body.get("parent_key", "") if self._opening else ""
        if key and (parent := self._find(self.connect(), self.state.experiment_id, key)):
            self.connect().set_tag(self.state.run_id, PARENT_TAG, parent)

    def _path(self, body: dict[str, Any]) -> Path:
        path = self.run_folder / str(body["path"])
        if not path.exists():
            raise EventRefused(f"{body['path']} is no longer there")
        return path

    def _artifact(self, path: Path, folder: str) -> None:
        client, run_id = self.connect(), self.state.run_id
        if path.is_dir():
            client.log_artifacts(run_id, str(path), "/".join(filter(None, (folder, path.name))))
        else:
            client.log_artifact(run_id, str(path), folder or None)

    def _image(self, path: Path, event: Event) -> None:
        """What MlflowClient.log_image writes, but named by the event: sent twice, it is still one picture."""
        from PIL import Image

        key, step = event.body["key"], event.body["step"]
        name = f"{clean_key(key).replace('/', '~')}+step+{step}+timestamp+{event.time_ms}+{event.body['uuid']}"
        with TemporaryDirectory() as folder, Image.open(path) as image:
            image.save(Path(folder) / f"{name}.png")
            small = image.convert("RGB")
            small.thumbnail((256, 256))
            small.save(Path(folder) / f"{name}+compressed.webp")
            self.connect().log_artifacts(self.state.run_id, folder, "images")
        self.connect().set_tag(self.state.run_id, "mlflow.loggedImages", "True")

    def _dataset(self, table: Path, body: dict[str, Any]) -> None:
        """A data set is named, not located: its source is its name, since a path is private."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        with table.open(encoding="utf-8", newline="") as lines:
            columns, rows = _columns_and_rows(lines)
        dataset = Dataset(
            name=body["name"],
            digest=body["digest"][:36],
            source_type="code",
            source=json.dumps({"tags": {"mlflow.source.name": body["name"]}}),
            schema=json.dumps({"mlflow_colspec": [{"type": "string", "name": name} for name in columns]}),
            profile=json.dumps({"num_rows": rows}),
        )
        context = InputTag("mlflow.data.context", body["context"])
        self.connect().log_inputs(self.state.run_id, [DatasetInput(dataset, [context])])
        self._artifact(table, f"data/{clean_key(body['context'])}")

    def _save(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)
        self.state.save(self.run_folder)


def _owner(event: Event) -> Owner | None:
    try:
        return Owner.of(event.body["owner"])
    except (KeyError, TypeError, ValueError):
        return None


def _columns_and_rows(lines: Iterable[str]) -> tuple[list[str], int]:
    reader = csv.reader(lines)
    return next(reader, []), sum(1 for _ in reader)


def _cut(values: dict[str, str], characters: int) -> dict[str, str]:
    return {clean_key(name): str(value)[:characters] for name, value in values.items()}


def _chunks(items: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _side_by_side(*chunked: Iterator[list[Any]]) -> Iterator[tuple[list[Any], ...]]:
    """Side by side until all have ended; an empty list for one that already has."""
    yield from zip_longest(*chunked, fillvalue=[])
