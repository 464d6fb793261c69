"""What a training leaves to be read: metrics.json, predictions.csv, figures, report.html, a table on the terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from medcnn import __version__
from medcnn.config.saved import flat
from medcnn.config.verbs import TrainConf
from medcnn.data.batches import Batch
from medcnn.data.dataset import Dataset
from medcnn.data.prepared import Prepared
from medcnn.data.privacy import Keyring
from medcnn.model_package.classifier import ClassifierPackage
from medcnn.reporting.figures import SavedFigure, save
from medcnn.reporting.image_figures import augmentation_figure, montage_figure
from medcnn.reporting.learning_figure import learning_figure
from medcnn.reporting.page import Audit, ModelCard, Report, Section, SplitSummary, write_report
from medcnn.reporting.tables import show_results
from medcnn.run_folder import RunFolder
from medcnn.study.classification.review import (
    Measured,
    draw,
    measure,
    middle_plane,
    picture,
    worst_cases,
    write_predictions,
)
from medcnn.tracking.environment import versions
from medcnn.training.state import TrainingState
from medcnn.transforms.random_steps import RandomSteps

log = logging.getLogger("medcnn.train")

REVIEWED = ("test", "calib", "val")  # the first there is gives the headline
_RESAMPLES = 2000
_WORST = 12


def review_run(
    run: RunFolder,
    conf: TrainConf,
    package: ClassifierPackage,
    dataset: Dataset,
    prepared: Prepared,
    remarks: Sequence[str],
    state: TrainingState,
    keyring: Keyring,
) -> dict[str, Any]:
    """Measure every held-out split, write and draw everything; returns what metrics.json holds."""
    measured = _measured(conf, package, dataset, prepared)
    metrics: dict[str, Any] = {part.split: part.result.as_json() for part in measured}
    metrics["training"] = {"wall_minutes": round(state.seconds / 60, 3), "skipped_steps": state.skipped}
    write_predictions(run.path / "predictions.csv", measured, keyring)
    sections = _sections(run, conf, package, prepared, measured, state)
    first = measured[0]
    report = Report(
        title=f"{conf.task.name}: {conf.model.name} on {conf.data.name}",
        subtitle=f"{run.path.name}, seed {conf.seed}",
        summaries=[SplitSummary.of(part.split, part.result) for part in measured],
        notes=remarks,
        sections=sections,
        worst=worst_cases(first, package.classifier, keyring, most=_WORST),
        worst_text=f"From the {first.split} split: the surest errors first, then the least sure right answers.",
        audit=_audit(dataset, prepared, remarks),
        model_card=_model_card(conf, package),
        config=dict(flat(asdict(conf))),
        versions={"medcnn": __version__, **versions()},
    )
    write_report(run.path / "report.html", report)
    run.write_json("metrics.json", metrics)  # last: a run with its metrics is finished
    sys.stdout.flush()
    show_results({part.split: part.result.estimates for part in measured})
    return metrics


def _measured(conf: TrainConf, package: ClassifierPackage, dataset: Dataset, prepared: Prepared) -> list[Measured]:
    found = []
    for split in REVIEWED:
        part = prepared.of_split(split)
        if len(part):
            resamples = 200 if conf.debug == "dry_run" else _RESAMPLES
            found.append(measure(package.classifier, part, dataset.labels, split, seed=conf.seed, resamples=resamples))
    return found


def _sections(
    run: RunFolder,
    conf: TrainConf,
    package: ClassifierPackage,
    prepared: Prepared,
    measured: Sequence[Measured],
    state: TrainingState,
) -> list[Section]:
    headline = measured[0]
    sections = [Section(f"Results on {headline.split}", draw(headline, run.figures))]
    best = state.best_epoch + 1 if conf.trainer.keep == "best" and state.best_epoch >= 0 else None
    rows = [row for row in state.history if row["member"] == state.member]
    if rows:
        shown = [{key: value for key, value in row.items() if key not in ("member", "step")} for row in rows]
        drawn = learning_figure(shown, best_epoch=best)
        sections.append(Section("Training", [save(drawn, run.figures, "learning_curves")]))
    train = prepared.of_split("train")
    sections.append(Section("What the network sees", _input_figures(run, conf, train)))
    return sections


def _input_figures(run: RunFolder, conf: TrainConf, train: Prepared) -> list[SavedFigure]:
    """Training scans as they enter the network, and what the random steps make of some."""
    some = train.images[list(range(min(len(train), 16)))]
    plane = middle_plane(abs(some[0, 0]))
    texts = ["+".join(value for value in case.labels.values()) for case in train.cases[: len(some)]]
    figures = [save(montage_figure([picture(image, plane) for image in some], texts), run.figures, "inputs")]
    steps = RandomSteps(conf.transforms.random, some.ndim - 2)
    if not steps.steps:
        return figures
    few = torch.from_numpy(some[:4].copy())
    draws = [_varied(steps, Batch(few, few, 0, [100 * k + n for n in range(len(few))]), conf.seed) for k in range(5)]
    changed = [[picture(draw[n].numpy(), plane) for draw in draws] for n in range(len(few))]
    drawn = augmentation_figure([picture(image.numpy(), plane) for image in few], changed, value_range=(-1.0, 1.0))
    return [*figures, save(drawn, run.figures, "random_transforms")]


def _varied(steps: RandomSteps, batch: Batch, seed: int) -> torch.Tensor:
    return steps.apply(batch.image, steps.draw(seed, batch.epoch, batch.positions))


def _audit(dataset: Dataset, prepared: Prepared, remarks: Sequence[str]) -> Audit:
    cases = dataset.manifest.cases
    patients = {
        split: len({case.patient_id for case in cases if case.split == split and case.patient_id})
        for split in dict.fromkeys(case.split for case in cases)
    }
    rejected = [f"{case.case_id}: {rejection}" for case, rejection in prepared.rejected[:20]]
    return Audit(dataset.counts(), patients if any(patients.values()) else {}, rejected, list(remarks))


def _model_card(conf: TrainConf, package: ClassifierPackage) -> ModelCard:
    description, rule = package.description, package.description.rule
    expects = description.expects
    calibration = "vector scaling" if rule.vector else f"temperature {rule.temperature:.3f}"
    sets = f"error {rule.conformal.error:g}, {rule.conformal.coverage}" if rule.conformal else "none"
    facts = {
        "Network": f"{conf.model.name}, {len(description.weights)} member(s)",
        "Classes": ", ".join(rule.class_names),
        "Decides at": ", ".join(f"{name} >= {value:.3f}" for name, value in rule.thresholds.items()) or "most probable",
        "Calibration": f"{calibration}, fitted on {description.fitted_on}",
        "Prediction sets": sets,
        "Input": f"{' x '.join(str(n) for n in description.preprocessing.size_px)} px",
        "Modality": ", ".join(expects.modality) or "any",
        "Body part": ", ".join(expects.body_part) or "any",
        "Digest": package.digest,
    }
    limits = [
        "For research use only: not a medical device, and not to be used for clinical decisions.",
        "Figures hold for scans like those of the evaluated split; another site, scanner or population needs its own.",
    ]
    return ModelCard(description.intended_use, limits, facts)
