"""What a training leaves to be read: metrics.json, predictions.csv, figures, report.html, a table on the terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from medcnn import __version__
from medcnn.config.saved import flat
from medcnn.config.verbs import TrainConf
from medcnn.data.dataset import Dataset
from medcnn.data.prepared import Prepared
from medcnn.data.privacy import Keyring
from medcnn.evaluation.subgroups import SubgroupResult
from medcnn.model_package.classifier import ClassifierPackage
from medcnn.reporting.page import ModelCard, Report, Section, SplitSummary, write_report
from medcnn.reporting.tables import show_results
from medcnn.run_folder import RunFolder
from medcnn.study.classification.explanations import Explanations, explanations_section
from medcnn.study.classification.patients import as_json, of_patients
from medcnn.study.classification.review import (
    Measured,
    draw,
    measure,
    worst_cases,
    write_predictions,
)
from medcnn.study.classification.subgroups import measure_subgroups, say_subgroups, write_subgroups
from medcnn.study.study_data import StudyData
from medcnn.study.training_sections import audit_of, training_sections
from medcnn.tracking.environment import versions
from medcnn.training.state import TrainingState

log = logging.getLogger("medcnn.train")

REVIEWED = ("test", "calib", "val")  # the first there is gives the headline
_RESAMPLES = 2000
_WORST = 12


def review_run(
    run: RunFolder,
    conf: TrainConf,
    package: ClassifierPackage,
    data: StudyData[Dataset],
    state: TrainingState,
    explanations: Explanations | None,
    keyring: Keyring,
) -> dict[str, Any]:
    """Measure every held-out split, write and draw everything; returns what metrics.json holds."""
    dataset, prepared, remarks = data.dataset, data.prepared, data.remarks
    measured = _measured(conf, package, dataset, prepared)
    metrics: dict[str, Any] = {part.split: part.result.as_json() for part in measured}
    rule = package.description.patients
    patients = of_patients(conf, measured, package.classifier, rule, dataset.labels)
    metrics |= {"patients": as_json(rule, patients)} if rule else {}
    metrics["training"] = {"wall_minutes": round(state.seconds / 60, 3), "skipped_steps": state.skipped}
    write_predictions(run.path / "predictions.csv", measured, keyring)
    if patients:
        write_predictions(run.path / "patients.csv", patients, keyring)
        remarks = [*remarks, patients[0].result.notes[0]]
    shown = {part.split: part.result for part in measured}
    shown |= {f"{part.split}, patients": part.result for part in patients}
    sections = _sections(run, conf, package, prepared, measured, state)
    sections += [explanations_section(explanations, run.figures)] if explanations else []
    first = measured[0]
    groups = _subgroups(conf, first, dataset)
    if groups:
        metrics["subgroups"] = groups.as_json()
        sections += write_subgroups(run.path, groups, first.split)
        remarks = [*groups.warnings, *groups.notes, *remarks]
    report = Report(
        title=f"{conf.task.name}: {conf.model.name} on {conf.data.name}",
        subtitle=f"{run.path.name}, seed {conf.seed}",
        summaries=[SplitSummary.of(name, result) for name, result in shown.items()],
        notes=remarks,
        sections=sections,
        worst=worst_cases(first, package.classifier, keyring, most=_WORST),
        worst_text=f"From the {first.split} split: the surest errors first, then the least sure right answers.",
        audit=audit_of(dataset, prepared, remarks),
        model_card=_model_card(conf, package),
        config=dict(flat(asdict(conf))),
        versions={"medcnn": __version__, **versions()},
    )
    write_report(run.path / "report.html", report)
    run.write_json("metrics.json", metrics)  # last: a run with its metrics is finished
    sys.stdout.flush()
    show_results({name: result.estimates for name, result in shown.items()})
    if groups:
        say_subgroups(groups)
    return metrics


def _subgroups(conf: TrainConf, measured: Measured, dataset: Dataset) -> SubgroupResult | None:
    """Of the split that gives the headline; None where no column was named."""
    if not conf.subgroups:
        return None
    return measure_subgroups(
        measured, dataset.labels, conf.subgroups, age_edges=conf.age_edges, seed=conf.seed, resamples=_RESAMPLES
    )


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
    return [*sections, *training_sections(run, conf, prepared.of_split("train"), state)]


def _model_card(conf: TrainConf, package: ClassifierPackage) -> ModelCard:
    description, rule = package.description, package.description.rule
    expects = description.expects
    calibration = "vector scaling" if rule.vector else f"temperature {rule.temperature:.3f}"
    sets = f"error {rule.conformal.error:g}, {rule.conformal.coverage}" if rule.conformal else "none"
    facts = {
        "Network": f"{conf.model.name}, {len(description.weights)} member(s)",
        "Classes": ", ".join(rule.class_names),
        "Decides at": ", ".join(f"{name} >= {value:.3f}" for name, value in rule.thresholds.items())
        or ("median grade" if rule.kind == "ordinal" else "most probable"),
        "Calibration": f"{calibration}, fitted on {description.fitted_on}",
        "Prediction sets": sets,
        "Input": f"{' x '.join(str(n) for n in description.preprocessing.size_px)} px",
        "Modality": ", ".join(expects.modality) or "any",
        "Body part": ", ".join(expects.body_part) or "any",
        "Digest": package.digest,
    }
    if description.covariates is not None:
        facts["Beside the image"] = description.covariates.in_words()
    limits = [
        "For research use only: not a medical device, and not to be used for clinical decisions.",
        "Figures hold for scans like those of the evaluated split; another site, scanner or population needs its own.",
    ]
    return ModelCard(description.intended_use, limits, facts)
