"""The trainer's side of tracking: append and go on. Nothing here imports MLflow, or stops the work because of it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, SupportsFloat

from medcnn.tracking.link import deep_link
from medcnn.tracking.owner import Owner
from medcnn.tracking.spool import FOLDER, Delivered, Spool, is_delivered, read_events
from medcnn.tracking.store import Store, quiet_environment, resolve_store

log = logging.getLogger(__name__)

CHECK_EVERY_S = 30.0  # is the delivering process still there?
MOST_STARTS = 3
DEFAULT_EXPERIMENT = "medcnn"
WAIT_WHEN_KILLED_S = 5.0  # a scheduler grants 30 s between SIGTERM and SIGKILL


class TrackingOptions(Protocol):
    """What a configuration says about tracking.

    uri      empty: mlflow.db in the working directory
    wait_s   at the end, how long to wait for what is still on its way
    """

    @property
    def enabled(self) -> bool: ...
    @property
    def uri(self) -> str: ...
    @property
    def experiment(self) -> str: ...
    @property
    def wait_s(self) -> float: ...


class Tracker:
    """One run, from its first event to its close; a context manager.

    Leaving it closes the run: FINISHED, FAILED after an exception, KILLED after Ctrl-C or a signal.
    Everything logged is shared: no names, no identifiers, no paths; only case_id and patient_key.
    """

    def __init__(self, run_folder: Path, store: Store, spool: Spool | None, *, wait_s: float) -> None:
        self.run_folder, self.store = run_folder, store
        self._spool, self._wait_s = spool, wait_s
        self._deliverer: subprocess.Popen[bytes] | None = None
        self._starts, self._next_check_s, self._lost = 0, 0.0, 0

    # what a run consists of

    def params(self, values: Mapping[str, object]) -> None:
        """What the run was asked to do, flattened ("trainer.lr"). Cut at MLflow's 6,000 characters."""
        self._append("params", values={str(key): str(value) for key, value in values.items()})

    def metrics(self, values: Mapping[str, SupportsFloat], step: int) -> None:
        """Numbers at one step ("train/loss", "val/auroc"); nan is kept as nan."""
        self._append("metrics", values=self._numbers(values), step=step)

    def tags(self, values: Mapping[str, object]) -> None:
        self._append("tags", values={str(key): str(value) for key, value in values.items()})

    def note(self, markdown: str) -> None:
        """The run's description, shown on its page."""
        self._append("tags", values={"mlflow.note.content": markdown})

    def dataset(self, table: Path, name: str, digest: str, context: str = "training") -> None:
        """What was trained on: a CSV without paths (case_id, patient_key, label, split)."""
        self._append("dataset", path=self._relative(table), name=name, digest=digest, context=context)

    def artifact(self, path: Path, folder: str = "") -> None:
        """A file or folder. It stays where it is, and must exist until it is delivered."""
        self._append("artifact", path=self._relative(path), folder=folder)

    def image(self, path: Path, key: str, step: int) -> None:
        """A PNG that changes over training ("val/overlay"): a picture with a step slider beside the metrics."""
        self._append("image", path=self._relative(path), key=key, step=step, uuid=str(uuid.uuid4()))

    def model(
        self,
        package: Path,
        *,
        input_example: Mapping[str, str] | None = None,
        metrics: Mapping[str, SupportsFloat] | None = None,
        register_as: str = "",
        alias: str = "",
    ) -> None:
        """The model package, as a pyfunc model that predicts by itself.

        input_example   one row of input; default: a made-up path
        metrics         shown with the model, to rank models by
        register_as     also in the model registry under this name, with the alias ("champion") if one is given
        """
        self._append(
            "model",
            path=self._relative(package),
            input_example=dict(input_example or {}),
            metrics=self._numbers(metrics or {}),
            register_as=register_as,
            alias=alias,
            uuid=str(uuid.uuid4()),
        )

    # where it is

    def link(self) -> str:
        """Where a browser shows the runs; empty until MLflow has the run."""
        state = Delivered.load(self.run_folder)
        return deep_link(self.store, state.experiment_id) if state.experiment_id else ""

    # its life

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        status = status_after(error)
        if error is not None and status == "FAILED":
            self.tags({"medcnn.failure": type(error).__name__})  # its text may speak of a patient
        self.close(status)

    def close(self, status: str = "FINISHED") -> None:
        """End the run, and wait a while for what is still on its way. A second call does nothing."""
        if self._spool is None:
            return
        self._append("close", status=status)
        try:
            self._spool.close()
        except OSError as error:
            log.warning("tracking: the run's record could not be flushed to disk (%s)", error.strerror)
        self._spool = None
        self._wait(min(self._wait_s, WAIT_WHEN_KILLED_S) if status == "KILLED" else self._wait_s)

    def _wait(self, wait_s: float) -> None:
        self._keep_delivering()
        until_s = time.monotonic() + wait_s
        while time.monotonic() < until_s and not is_delivered(self.run_folder):
            if self._deliverer is None or self._deliverer.poll() is not None:
                break
            time.sleep(0.05)
        if not is_delivered(self.run_folder):
            log.warning(
                "tracking: MLflow (%s) does not have all of this run yet. It is kept in %s; `medcnn sync` delivers it",
                self.store.uri,
                self.run_folder / FOLDER,
            )

    def _append(self, kind: str, **body: Any) -> None:
        if self._spool is None:
            return
        try:
            self._spool.append(kind, **body)
        except (OSError, TypeError, ValueError) as error:
            self._lose(kind, error)
        if time.monotonic() > self._next_check_s:
            self._keep_delivering()

    def _numbers(self, values: Mapping[str, SupportsFloat]) -> dict[str, float]:
        numbers = {}
        for key, value in values.items():
            try:
                numbers[str(key)] = float(value)
            except (TypeError, ValueError, OverflowError) as error:
                self._lose(str(key), error)
        return numbers

    def _lose(self, what: str, error: Exception) -> None:
        """Said once: the reason is usually the same a thousand times."""
        self._lost += 1
        if self._lost == 1:
            log.warning("tracking: %s could not be recorded: %s. The work goes on", what, error)

    def _keep_delivering(self) -> None:
        """Start the delivering process, again if it died: out of memory, say. A failure to is only a warning."""
        self._next_check_s = time.monotonic() + CHECK_EVERY_S
        if self._starts >= MOST_STARTS or (self._deliverer is not None and self._deliverer.poll() is None):
            return
        if self._spool is None and is_delivered(self.run_folder):
            return
        self._starts += 1
        try:
            self._deliverer = start_delivering([self.run_folder], follow=True)
        except OSError as error:
            log.warning("tracking: the delivering process could not be started (%s)", error.strerror)

    def _relative(self, path: Path) -> str:
        """Within the run folder, so that the folder can be moved before it is delivered; else absolute."""
        absolute = path.absolute()
        folder = self.run_folder.absolute()
        return absolute.relative_to(folder).as_posix() if absolute.is_relative_to(folder) else absolute.as_posix()


def open_tracker(
    run_folder: Path,
    options: TrackingOptions,
    *,
    run_name: str,
    experiment: str = "",
    tags: Mapping[str, object] | None = None,
    parent: Path | None = None,
) -> Tracker:
    """Open a run, or go on with the one the folder already has: it stays the same run in MLflow.

    experiment  where options name none
    parent      the run folder of a cross-validation or a sweep that this run is part of
    Raises ValueError for a store that cannot be used (see resolve_store), before anything is written.
    """
    if not options.enabled:
        return Tracker(run_folder, Store(""), None, wait_s=0)
    before = Delivered.load(run_folder)
    store = Store(before.uri) if before.run_id else resolve_store(options.uri)
    try:
        spool = Spool(run_folder)
    except OSError as error:
        log.warning("tracking: nothing is tracked, the run folder cannot be written (%s)", error.strerror)
        return Tracker(run_folder, store, None, wait_s=0)
    tracker = Tracker(run_folder, store, spool, wait_s=options.wait_s)
    tracker._append(
        "open",
        run_key=run_key(run_folder) or uuid.uuid4().hex,
        run_name=run_name,
        experiment=options.experiment or experiment or DEFAULT_EXPERIMENT,
        uri=store.uri,
        artifact_location=store.artifact_location,
        tags={str(key): str(value) for key, value in (tags or {}).items()},
        parent_key=run_key(parent) if parent else "",
        owner=asdict(Owner.current()),
    )
    return tracker


def run_key(run_folder: Path) -> str:
    """What names the run in MLflow whatever happens in between; empty for a folder without a run."""
    first = next(read_events(run_folder), None)
    return str(first.body.get("run_key", "")) if first else ""


def status_after(error: BaseException | None) -> str:
    """MLflow's word for how a run ended."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "FINISHED"
    if isinstance(error, KeyboardInterrupt) or hasattr(error, "signal_number"):
        return "KILLED"
    if isinstance(error, SystemExit) and error.code in (130, 143):  # 128 + SIGINT, SIGTERM
        return "KILLED"
    return "FAILED"


def start_delivering(run_folders: list[Path], *, follow: bool) -> subprocess.Popen[bytes]:
    """Start `python -m medcnn.tracking.deliver`; raises OSError where no process can be started.

    follow  go on until the run is closed or its process is gone; else deliver what is there, and end
    In a session of its own, so that Ctrl-C reaches the training only. Its working directory is where medcnn lies:
    Python looks there for modules first, and the user's directory may hold anything.
    """
    import medcnn

    source = Path(medcnn.__file__).resolve().parent.parent
    environment = quiet_environment(dict(os.environ))
    environment.update(OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="", PYTHONUNBUFFERED="1")
    order = json.dumps({"folders": [str(folder.absolute()) for folder in run_folders], "follow": follow})
    log_file = run_folders[0] / FOLDER / "deliver.log"
    with log_file.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "medcnn.tracking.deliver", order],
            cwd=source,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
