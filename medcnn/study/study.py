"""The steps of a training that are alike for every task, in the order in which `train` takes them."""

from __future__ import annotations

import logging
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from medcnn.config.distributed import announce, helped_run, helps_to_resume
from medcnn.config.errors import ConfigError
from medcnn.config.saved import differences, flat, save_config, shareable_yaml
from medcnn.config.verbs import TrainConf
from medcnn.data.dataset import Dataset, write_used_manifest
from medcnn.data.manifest import Case
from medcnn.data.mask_dataset import MaskDataset
from medcnn.data.privacy import Keyring, key_file
from medcnn.data.value_dataset import ValueDataset
from medcnn.debugging import debugged
from medcnn.errors import NoSpaceError, UserError
from medcnn.run_folder import RunFolder, locked, log_to_file, log_to_terminal, new_run, unfinished_runs, writing
from medcnn.study.learning_rates import report_rates
from medcnn.study.members import MemberTrackers
from medcnn.study.starting import find_start, pin
from medcnn.tracking.environment import environment
from medcnn.tracking.sweep import sweep_dead
from medcnn.tracking.tracker import Tracker, open_tracker
from medcnn.training.fit import fit
from medcnn.training.interruption import Interruption
from medcnn.training.job import Job
from medcnn.training.progress import TrainingProgress, in_minutes
from medcnn.training.rate_range import range_test
from medcnn.training.state import TrainingState

log = logging.getLogger("medcnn.train")

_IMPORTS_S = 90.0  # on a slow disk, the first time


@dataclass(eq=False)
class Study(ABC):
    """One training with its config, its folder, and what the steps hand on. A task's own study fills the steps in."""

    conf: TrainConf
    run: RunFolder
    resumes: bool
    interruption: Interruption
    keyring: Keyring
    state: TrainingState | None = None
    is_helper: bool = False
    began_at: float = field(default_factory=lambda: command_began())

    @classmethod
    def begin(cls, conf: TrainConf, interruption: Interruption) -> Study:
        """Open a new run folder, or the one to go on with."""
        output = Path(conf.output).expanduser().absolute()
        if helped := helped_run():
            keyring = Keyring.at(key_file(conf.privacy.key_file, output))
            conf.tracking.enabled = False  # one process speaks for all
            return cls(conf, RunFolder(helped), helps_to_resume(), interruption, keyring, is_helper=True)
        log_to_terminal()
        conf = debugged(conf)
        with writing(output):
            sweep_dead(output)
            run = _run_to_resume(conf, output)
            resumes = run is not None
            if run is None:
                found = find_start(conf, output)
                run = new_run(output, conf.task.name)
                save_config(conf, run.config)
                pin(found, run.path)
            keyring = Keyring.at(key_file(conf.privacy.key_file, output))
        announce(run.path, resumes=resumes)
        log.info("%s %s", "going on with" if resumes else "run folder", _shown(run.path))
        return cls(conf, run, resumes, interruption, keyring)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The folder is locked, and everything said goes to its log.txt too; a full disk is said in a sentence."""
        if self.is_helper:
            yield
            return
        with locked(self.run), log_to_file(self.run.path / "log.txt"), writing(self.run.path):
            try:
                yield
            except UserError as error:
                log.debug("ended: %s", error)
                raise
            except Exception:
                logging.getLogger("medcnn.trace").debug("ended by an unforeseen error", exc_info=True)
                raise

    @property
    def keeps_its_plan(self) -> bool:
        """A resumed run neither measures nor plans again."""
        return (self.resumes or self.is_helper) and self.run.plan.is_file()

    # What each task does in its own way

    @abstractmethod
    def load_data(self) -> None:
        """Manifest, splits, prepared scans; everything that must not be trained on stops here."""

    @abstractmethod
    def make_plan(self) -> None:
        """Everything that is fixed before the first step; a resumed run keeps its own."""

    @abstractmethod
    def job(self, watcher: TrainingProgress) -> Job:
        """What the training loop is given."""

    @abstractmethod
    def save_package(self) -> None:
        """The folder that predicts by itself."""

    @abstractmethod
    def review(self, tracker: Tracker) -> None:
        """Metrics with intervals on every held-out split, figures, worst cases, the report."""

    @property
    @abstractmethod
    def dataset(self) -> Dataset | MaskDataset | ValueDataset:
        """What was loaded."""

    @property
    @abstractmethod
    def used_cases(self) -> list[Case]:
        """Those that could be prepared."""

    @property
    @abstractmethod
    def device(self) -> str:
        """That was planned for."""

    # Training

    def fit(self, tracker: Tracker) -> None:
        """Train; the chosen weights lie in checkpoints/ afterwards."""
        with MemberTrackers(self.run, self.conf, tracker).closing() as members:
            progress = TrainingProgress(members.of)
            try:
                self.state = fit(self.job(progress), resume=self.resumes)
            finally:
                progress.close()
        best = self.state.best_epoch + 1
        chosen = f", best at epoch {best}" if self.conf.trainer.keep == "best" and best else ", last weights kept"
        log.info("trained in %s%s", in_minutes(self.state.seconds), chosen)

    def try_learning_rates(self, tracker: Tracker) -> None:
        """Instead of a training: which rate it should have. Raises TrainingError."""
        report_rates(range_test(self.job(TrainingProgress(lambda member: tracker))), self.run)

    # Tracking

    @contextmanager
    def tracked(self) -> Iterator[Tracker]:
        """The MLflow run: opened with what was asked for, closed as what became of it."""
        conf, dataset = self.conf, self.dataset
        labels = {"data.digest": dataset.digest, "split.digest": dataset.split_digest, "seed": conf.seed}
        tracker = open_tracker(
            self.run.path,
            conf.tracking,
            run_name=conf.tracking.run_name or f"{conf.model.name}-{conf.data.name}-{conf.seed}",
            experiment=f"{conf.task.name}/{conf.data.name}",
            tags={**environment(device=self.device), **labels, "pid": os.getpid()},
        )
        if conf.tracking.enabled:
            log.info("tracking: %s", tracker.store.uri)
        with tracker:
            tracker.params({key: value for key, value in flat(asdict(conf)) if _worth_comparing(key, value)})
            shared = self.run.path / "tracking"
            if conf.tracking.enabled:
                table, settings = shared / "manifest.csv", shared / "config.yaml"
                write_used_manifest(table, self.used_cases, self.keyring, shareable=True)
                settings.write_text(shareable_yaml(conf))
                tracker.dataset(table, conf.data.name, dataset.digest, "training")
                tracker.artifact(settings, "config")
                tracker.artifact(self.run.plan, "config")
            yield tracker

    def track_review(
        self, tracker: Tracker, metrics: Mapping[str, Any], headlines: tuple[str, ...], *more: str
    ) -> None:
        """What the review left, and the model, to MLflow. The first of the splits named gives the run's numbers.

        more  splits whose numbers go there too, where they were measured
        """
        if not self.conf.tracking.enabled:
            return
        headline = next(split for split in headlines if split in metrics)
        numbers = {
            f"{split}/{name}": float(one["value"])
            for split in dict.fromkeys((headline, *more))
            for name, one in metrics.get(split, {}).items()
            if one["value"] is not None
        }
        tracker.metrics(numbers, step=0)  # MLflow draws what has one step as bars, side by side
        tracker.artifact(self.run.figures, "figures")
        for name in ("metrics.json", "predictions.csv", "report.html"):
            tracker.artifact(self.run.path / name)
        tracking = self.conf.tracking
        tracker.model(self.run.model, metrics=numbers, register_as=tracking.register_as, alias=tracking.alias)

    def require_space(self, parameters: int) -> None:
        """Raise NoSpaceError where the checkpoints of this network would not fit."""
        free = shutil.disk_usage(self.run.path).free
        if free < 3 * parameters * 4 * 4:
            raise NoSpaceError(
                f"only {free / 1e6:.0f} MB are free where the run is kept. Free space, or set output=<folder>"
            )

    def say_what_next(self, tracker: Tracker) -> None:
        """The exact commands."""
        run = _shown(self.run.path)
        log.info("\nreport     %s/report.html", run)
        log.info("model      %s/model", run)
        if link := tracker.link():
            log.info("dashboard  python -m medcnn.ui     then %s", link)
        log.info("predict    python -m medcnn.predict model=%s input=<folder of scans> output=results", run)
        log.info("evaluate   python -m medcnn.evaluate model=%s data=custom data.root=<folder> output=evaluation", run)


def command_began() -> float:
    """Seconds since the epoch. Imports count, unless the process is older than imports take and so did other work."""
    process_began = float(psutil.Process().create_time())
    return process_began if time.time() - process_began < _IMPORTS_S else time.time()


def _run_to_resume(conf: TrainConf, output: Path) -> RunFolder | None:
    """The folder that resume names, with the same settings; None where there is nothing to go on with."""
    if not conf.resume:
        return None
    if conf.resume != "auto":
        run = RunFolder(Path(conf.resume).resolve())
        if not run.config.is_file():
            raise ConfigError([f"resume: {conf.resume} is no run folder of medcnn"])
        if changed := differences(conf, run.config):
            raise ConfigError([f"{line}; a run goes on with its own settings" for line in changed])
        return run
    found = unfinished_runs(output, conf.task.name)
    for run in found:
        if not differences(conf, run.config):
            return run
    if found:
        other = "; ".join(differences(conf, found[0].config)[:5])
        log.info("no unfinished run has these settings (the newest: %s): a new one begins", other)
    else:
        log.info("nothing to go on with: a new run begins")
    return None


def _worth_comparing(key: str, value: object) -> bool:
    private = ("data.root", "data.manifest", "output", "privacy.", "cache.", "resume", "tracking.", "task.intended_use")
    if key in ("model.pretrained", "model.weights_folder", "model.encoder_weights") and value != "imagenet":
        return False  # a path
    return not key.startswith(private) and value not in ("", [], {}, None)


def _shown(path: Path) -> str:
    """Relative where that is shorter."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
