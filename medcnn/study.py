"""The steps of a training, in the order in which `train` takes them."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from medcnn.config.distributed import announce, helped_run, helps_to_resume
from medcnn.config.errors import ConfigError
from medcnn.config.saved import differences, flat, save_config, shareable_yaml
from medcnn.config.verbs import TrainConf
from medcnn.data.batches import Batches, Order
from medcnn.data.dataset import (
    write_used_manifest,
)
from medcnn.data.labels import truth
from medcnn.data.privacy import Keyring, key_file
from medcnn.debugging import debugged
from medcnn.errors import NoSpaceError, UserError
from medcnn.evaluation.glance import glance
from medcnn.inference.classifier import Classifier, OutputRule, choose_device
from medcnn.model_package import ModelPackage
from medcnn.networks.build import build_network, num_parameters
from medcnn.planning.plan import Plan, Speed, fixed_steps
from medcnn.run_folder import RunFolder, locked, log_to_file, log_to_terminal, new_run, unfinished_runs, writing
from medcnn.study_data import StudyData, load_study_data
from medcnn.study_package import named_modules, save_study_package
from medcnn.study_report import review_run
from medcnn.tasks.classification import ClassificationTask
from medcnn.tracking.environment import environment
from medcnn.tracking.sweep import sweep_dead
from medcnn.tracking.tracker import Tracker, open_tracker
from medcnn.training.fit import choose_precision, fit
from medcnn.training.interruption import Interruption
from medcnn.training.job import Job, Validation
from medcnn.training.optimisation import build_optimizer
from medcnn.training.progress import TrainingProgress, in_minutes
from medcnn.training.speed import measured_speed
from medcnn.training.state import TrainingState
from medcnn.transforms.random_steps import RandomSteps

log = logging.getLogger("medcnn.train")


@dataclass(eq=False)
class Study:
    """One training with its config, its folder, and what the steps hand on."""

    conf: TrainConf
    run: RunFolder
    resumes: bool
    interruption: Interruption
    keyring: Keyring
    state: TrainingState | None = None
    is_helper: bool = False

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
                run = new_run(output, conf.task.name)
                save_config(conf, run.config)
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

    # Data

    def load_data(self) -> StudyData:
        """Manifest, splits, prepared scans; everything that must not be trained on stops here."""
        return load_study_data(self.conf, self.run, self.keyring, resumes=self.resumes or self.is_helper)

    # Plan

    def make_plan(self, data: StudyData) -> Plan:
        """Fixed steps, and what they will take; a resumed run keeps its own."""
        if (self.resumes or self.is_helper) and self.run.plan.is_file():
            return Plan.load(self.run.plan)
        conf = self.conf.trainer
        batches = self._batches(data)
        per_epoch = batches.order.batches_per_epoch()
        steps_per_epoch = -(-per_epoch // conf.accumulate_batches)
        speed = self._speed(data, batches) if self.conf.debug != "dry_run" else Speed(0.0, 0.0, 0.0)
        steps, budget = fixed_steps(conf, steps_per_epoch, speed)
        steps = min(steps, 2) if self.conf.debug == "dry_run" else steps
        seconds = steps * (speed.seconds_per_step + speed.seconds_per_validation / steps_per_epoch) * conf.members
        plan = Plan(
            train_cases=batches.order.num_cases,
            class_counts=[int(n) for n in (data.targets("train") == 1).sum(axis=0)],
            in_channels=data.in_channels,
            size_px=list(self.conf.transforms.size_px),
            parameters=num_parameters(self._network(data)),
            members=conf.members,
            batch_cases=conf.batch_cases,
            batches_per_epoch=per_epoch,
            steps_per_epoch=steps_per_epoch,
            steps=steps,
            warmup_steps=round(conf.warmup_fraction * steps),
            budget=budget,
            precision=choose_precision(conf),
            device=str(choose_device(conf.accelerator)),
            seconds_per_step=speed.seconds_per_step,
            estimated_minutes=seconds / 60,
            estimated_memory_mb=speed.memory_mb,
        )
        plan.save(self.run.plan)
        self._say(plan)
        return plan

    def _say(self, plan: Plan) -> None:
        log.info(
            "plan: %s with %s weights on %s, %d epochs = %d steps of %d scans%s; about %s, %.1f GB",
            self.conf.model.name, f"{plan.parameters:,}", plan.device, plan.epochs, plan.steps, plan.batch_cases,
            f", {plan.members} members" if plan.members > 1 else "",
            in_minutes(plan.estimated_minutes * 60), plan.estimated_memory_mb / 1000,
        )  # fmt: skip
        free = shutil.disk_usage(self.run.path).free
        if free < 3 * plan.parameters * 4 * 4:
            raise NoSpaceError(
                f"only {free / 1e6:.0f} MB are free where the run is kept. Free space, or set output=<folder>"
            )

    def _speed(self, data: StudyData, batches: Batches) -> Speed:
        """From a few steps of a network that is thrown away."""
        count = len(data.prepared.of_split("val"))
        return measured_speed(self._task(data, self.conf.seed), batches, validation_cases=count, conf=self.conf.trainer)

    # Training

    def _batches(self, data: StudyData) -> Batches:
        train, conf = data.prepared.of_split("train"), self.conf.trainer
        targets = data.dataset.labels.targets(train.cases)
        classes = np.nan_to_num(targets).argmax(axis=1).astype(np.int64)
        order = Order(len(train), min(conf.batch_cases, len(train)), self.conf.seed, conf.sampling, classes)
        return Batches(train.images, targets, order, workers=self.conf.data.workers)

    def _network(self, data: StudyData) -> torch.nn.Module:
        model = self.conf.model
        return build_network(
            model,
            in_channels=data.in_channels,
            num_outputs=len(data.dataset.labels.class_names),
            size_px=self.conf.transforms.size_px,
            modules=named_modules(self.conf),
        )

    def _task(self, data: StudyData, seed: int) -> ClassificationTask:
        torch.manual_seed(seed)  # always; 0 is a seed too
        network, conf = self._network(data), self.conf.trainer
        multilabel = data.dataset.labels.kind == "multilabel"
        return ClassificationTask(
            network,
            multilabel=multilabel,
            class_weight=self._class_weight(data, multilabel=multilabel),
            random_steps=RandomSteps(self.conf.transforms.random, len(self.conf.transforms.size_px)),
            conf=conf,
            seed=seed,
            make_optimizer=lambda net: build_optimizer(conf, net),
        )

    def _class_weight(self, data: StudyData, *, multilabel: bool) -> torch.Tensor | None:
        if self.conf.trainer.class_weighting == "none":
            return None
        targets = data.targets("train")
        positive = np.maximum((targets == 1).sum(axis=0), 1)
        weight = (targets == 0).sum(axis=0) / positive if multilabel else targets.sum() / (targets.shape[1] * positive)
        return torch.from_numpy(np.asarray(weight, np.float32))

    def fit(self, data: StudyData, plan: Plan, tracker: Tracker) -> None:
        """Train; the chosen weights lie in checkpoints/ afterwards."""
        progress = TrainingProgress(tracker)
        job = Job(
            conf=self.conf.trainer,
            plan=plan,
            batches=self._batches(data),
            validation=self._validation(data),
            make_task=lambda seed: self._task(data, seed),
            seed=self.conf.seed,
            folder=self.run.checkpoints,
            interruption=self.interruption,
            watcher=progress,
        )
        try:
            self.state = fit(job, resume=self.resumes)
        finally:
            progress.close()
        best = self.state.best_epoch + 1
        chosen = f", best at epoch {best}" if self.conf.trainer.keep == "best" and best else ", last weights kept"
        log.info("trained in %s%s", in_minutes(self.state.seconds), chosen)

    def _validation(self, data: StudyData) -> Validation:
        val, labels, conf = data.prepared.of_split("val"), data.dataset.labels, self.conf
        answers = truth(labels.targets(val.cases), labels.kind)
        rule = OutputRule(labels.kind, labels.class_names)

        def score(logits: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> tuple[float, dict[str, float]]:
            shown = glance(rule.probability(logits), answers, labels.kind)
            return (-shown["loss"] if conf.trainer.metric == "loss" else shown[conf.trainer.metric]), shown

        def classifier(network: torch.nn.Module) -> Classifier:
            return Classifier([network], rule, next(network.parameters()).device, conf.inference.batch_cases)

        return Validation(val.images[list(range(len(val)))], score, classifier)

    # Package

    def save_package(self, data: StudyData, plan: Plan) -> ModelPackage:
        """The folder that predicts by itself."""
        return save_study_package(self.conf, self.run, data, plan)

    # Tracking and review

    @contextmanager
    def tracked(self, data: StudyData, plan: Plan) -> Iterator[Tracker]:
        """The MLflow run: opened with what was asked for, closed as what became of it."""
        conf = self.conf
        labels = {"data.digest": data.dataset.digest, "split.digest": data.dataset.split_digest, "seed": conf.seed}
        tracker = open_tracker(
            self.run.path,
            conf.tracking,
            run_name=conf.tracking.run_name or f"{conf.model.name}-{conf.data.name}-{conf.seed}",
            experiment=f"{conf.task.name}/{conf.data.name}",
            tags={**environment(device=plan.device), **labels, "pid": os.getpid()},
        )
        if conf.tracking.enabled:
            log.info("tracking: %s", tracker.store.uri)
        with tracker:
            tracker.params({key: value for key, value in flat(asdict(conf)) if _worth_comparing(key, value)})
            shared = self.run.path / "tracking"
            if conf.tracking.enabled:
                table, settings = shared / "manifest.csv", shared / "config.yaml"
                write_used_manifest(table, data.prepared.cases, self.keyring, shareable=True)
                settings.write_text(shareable_yaml(conf))
                tracker.dataset(table, conf.data.name, data.dataset.digest, "training")
                tracker.artifact(settings, "config")
                tracker.artifact(self.run.plan, "config")
            yield tracker

    def review(self, package: ModelPackage, data: StudyData, tracker: Tracker) -> None:
        """Metrics with intervals on every held-out split, figures, worst cases, the report."""
        state = self.state or TrainingState()
        metrics = review_run(
            self.run, self.conf, package, data.dataset, data.prepared, data.remarks, state, self.keyring
        )
        headline = next(split for split in ("test", "calib", "val") if split in metrics)
        found = {name: one["value"] for name, one in metrics[headline].items() if one["value"] is not None}
        numbers = {f"{headline}/{name}": float(value) for name, value in found.items()}
        if self.conf.tracking.enabled:
            tracker.metrics(numbers, step=0)  # MLflow draws what has one step as bars, side by side
            tracker.artifact(self.run.figures, "figures")
            for name in ("metrics.json", "predictions.csv", "report.html"):
                tracker.artifact(self.run.path / name)
            tracking = self.conf.tracking
            tracker.model(self.run.model, metrics=numbers, register_as=tracking.register_as, alias=tracking.alias)

    def say_what_next(self, tracker: Tracker) -> None:
        """The exact commands."""
        run = _shown(self.run.path)
        log.info("\nreport     %s/report.html", run)
        log.info("model      %s/model", run)
        if link := tracker.link():
            log.info("dashboard  python -m medcnn.ui     then %s", link)
        log.info("predict    python -m medcnn.predict model=%s input=<folder of scans> output=results", run)
        log.info("evaluate   python -m medcnn.evaluate model=%s data=custom data.root=<folder> output=evaluation", run)


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
    return not key.startswith(private) and value not in ("", [], {}, None)


def _shown(path: Path) -> str:
    """Relative where that is shorter."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
