"""A classifier on labelled data: metrics.json, predictions.csv, figures and report.html of one split."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from medcnn.config.verbs import EvaluateConf
from medcnn.data.cache import Cache
from medcnn.data.covariates import with_covariates
from medcnn.data.dataset import Dataset, in_words, open_dataset, prepare_dataset
from medcnn.data.labels import Labels
from medcnn.data.prepared import Prepared
from medcnn.data.privacy import Keyring, key_file
from medcnn.evaluation.aggregate import Rule
from medcnn.evaluation.classification import ClassificationResult
from medcnn.evaluation.subgroups import SubgroupResult
from medcnn.model_package.classifier import ClassifierPackage
from medcnn.reporting.page import Report, Section, SplitSummary, write_report
from medcnn.reporting.tables import show_results
from medcnn.study.classification.explanations import explained, explanations_section
from medcnn.study.classification.per_patient import per_patient, require_patients
from medcnn.study.classification.review import Measured, draw, measure, worst_cases, write_predictions
from medcnn.study.classification.subgroups import (
    column_values,
    measure_subgroups,
    require_columns,
    say_subgroups,
    torn_patients,
    write_subgroups,
)
from medcnn.study.preparing import asked_split, evaluation_cache

log = logging.getLogger("medcnn.evaluate")


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What was measured; images: per image, where measured is per patient; subgroups: where columns were named."""

    measured: Measured
    images: Measured | None = None
    subgroups: SubgroupResult | None = None
    metrics: dict[str, Any] = field(default_factory=dict)


def evaluate_labels(conf: EvaluateConf, output: Path, package: ClassifierPackage) -> ClassificationResult:
    """Measure, and write everything into the output folder."""
    package = package.at_site(conf.prevalence, conf.follow)
    dataset, prepared = _prepared(conf, output, package)
    found = _evaluated(conf, package, dataset.labels, prepared)
    _write(conf, output, package, found)
    return found.measured.result


def _evaluated(conf: EvaluateConf, package: ClassifierPackage, labels: Labels, prepared: Prepared) -> Evaluated:
    """The split as a whole, then as was asked besides."""
    seed, resamples, split = conf.seed, conf.resamples, conf.data.split
    measured = measure(package.classifier, prepared, labels, split, seed=seed, resamples=resamples)
    metrics: dict[str, Any] = {}
    images, subgroups = None, None
    if (rule := _rule(conf)) is not None:
        images = measured
        fitted = package.description.patients
        measured = per_patient(
            images, labels, package.classifier.rule, rule, fitted=fitted, seed=seed, resamples=resamples
        )
        metrics["aggregate"] = {
            "rule": rule, "images": len(images.prepared), "patients": len(measured.prepared),
            "per_image": images.result.as_json(),
        }  # fmt: skip
    if conf.subgroups:
        subgroups = measure_subgroups(
            measured, labels, conf.subgroups, age_edges=conf.age_edges, seed=seed, resamples=resamples
        )
        if images is not None:
            torn = torn_patients(prepared.cases, column_values(prepared.cases, conf.subgroups, conf.age_edges))
            subgroups = replace(subgroups, notes=(*torn, *subgroups.notes))
        metrics["subgroups"] = subgroups.as_json()
    return Evaluated(measured, images, subgroups, {split: measured.result.as_json(), **metrics})


def _rule(conf: EvaluateConf) -> Rule | None:
    return None if conf.aggregate == "none" else cast(Rule, conf.aggregate)


def _prepared(conf: EvaluateConf, output: Path, package: ClassifierPackage) -> tuple[Dataset, Prepared]:
    """The cases asked for, as this model wants to see them."""
    description = package.description
    keyring = Keyring.at(key_file(conf.privacy.key_file, output))
    conf.data.class_names = list(description.rule.class_names)  # the model's classes are the ones that count
    dataset = open_dataset(conf.data, keyring, splits=False)
    labels = Labels(description.rule.kind, description.rule.class_names)
    dataset = replace(dataset, manifest=asked_split(dataset.manifest, conf.data.split))
    cases = dataset.manifest.of_split(conf.data.split)
    require_columns(cases, conf.subgroups, conf.age_edges)
    if (rule := _rule(conf)) is not None:
        require_patients(cases, labels, rule)
    if description.covariates is not None:
        description.covariates.vectors(cases)  # what is missing is said before any scan is read
    prepared = prepare_dataset(
        dataset,
        conf.data,
        description.preprocessing,
        Cache(evaluation_cache(conf, output)),
        split=conf.data.split,
        report=lambda n, of: None,
    )
    dataset = replace(dataset, labels=labels, manifest=dataset.manifest.with_cases(prepared.cases))
    log.info("data: %s", in_words(dataset.counts()))
    for case, rejection in prepared.rejected:
        log.warning("left out %s: %s", case.case_id, rejection)
    return dataset, with_covariates(prepared, description.covariates)


def _write(conf: EvaluateConf, output: Path, package: ClassifierPackage, found: Evaluated) -> None:
    keyring = Keyring.at(key_file(conf.privacy.key_file, output))
    measured, groups = found.measured, found.subgroups
    write_predictions(output / "predictions.csv", [measured], keyring)
    if found.images is not None:
        write_predictions(output / "images.csv", [found.images], keyring)
    sections = [Section("Results", draw(measured, output / "figures"))]
    sections += write_subgroups(output, groups, measured.split) if groups else []
    shown = found.images or measured
    made = explained(package.classifier, shown.prepared, shown.split, conf.explain, seed=conf.seed)
    sections += [explanations_section(made, output / "figures")] if made else []
    of_patients = " Of each patient the first image is shown." if found.images else ""
    report = Report(
        title=f"Evaluation on {conf.data.name}, {measured.split}",
        subtitle=f"model {package.digest}",
        summaries=[SplitSummary.of(measured.split, measured.result)],
        notes=[*groups.warnings, *groups.notes] if groups else [],
        sections=sections,
        worst=worst_cases(measured, package.classifier, keyring, most=12),
        worst_text=f"The surest errors first, then the least sure right answers.{of_patients}",
    )
    write_report(output / "report.html", report)
    (output / "metrics.json").write_text(json.dumps(found.metrics, indent=2, allow_nan=False) + "\n")
    sys.stdout.flush()
    show_results({measured.split: measured.result.estimates})
    if found.images is not None:
        log.info("note: %s", measured.result.notes[0])
    if groups:
        say_subgroups(groups)
    log.info("report     %s", output / "report.html")
