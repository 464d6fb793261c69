"""A classifier on labelled data: metrics.json, predictions.csv, figures and report.html of one split."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

from medcnn.config.verbs import EvaluateConf
from medcnn.data.cache import Cache
from medcnn.data.dataset import Dataset, in_words, open_dataset, prepare_dataset
from medcnn.data.labels import Labels
from medcnn.data.prepared import Prepared
from medcnn.data.privacy import Keyring, key_file
from medcnn.evaluation.classification import ClassificationResult
from medcnn.model_package.classifier import ClassifierPackage
from medcnn.reporting.page import Report, Section, SplitSummary, write_report
from medcnn.reporting.tables import show_results
from medcnn.study.classification.review import Measured, draw, measure, worst_cases, write_predictions
from medcnn.study.preparing import asked_split, evaluation_cache

log = logging.getLogger("medcnn.evaluate")


def evaluate_labels(conf: EvaluateConf, output: Path, package: ClassifierPackage) -> ClassificationResult:
    """Measure, and write everything into the output folder."""
    dataset, prepared = _prepared(conf, output, package)
    measured = measure(
        package.classifier, prepared, dataset.labels, conf.data.split, seed=conf.seed, resamples=conf.resamples
    )
    _write(conf, output, package, measured)
    return measured.result


def _prepared(conf: EvaluateConf, output: Path, package: ClassifierPackage) -> tuple[Dataset, Prepared]:
    """The cases asked for, as this model wants to see them."""
    description = package.description
    keyring = Keyring.at(key_file(conf.privacy.key_file, output))
    conf.data.class_names = list(description.rule.class_names)  # the model's classes are the ones that count
    dataset = open_dataset(conf.data, keyring, splits=False)
    labels = Labels(description.rule.kind, description.rule.class_names)
    dataset = replace(dataset, manifest=asked_split(dataset.manifest, conf.data.split))
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
    return dataset, prepared


def _write(conf: EvaluateConf, output: Path, package: ClassifierPackage, measured: Measured) -> None:
    keyring = Keyring.at(key_file(conf.privacy.key_file, output))
    write_predictions(output / "predictions.csv", [measured], keyring)
    figures = draw(measured, output / "figures")
    report = Report(
        title=f"Evaluation on {conf.data.name}, {measured.split}",
        subtitle=f"model {package.digest}",
        summaries=[SplitSummary.of(measured.split, measured.result)],
        sections=[Section("Results", figures)],
        worst=worst_cases(measured, package.classifier, keyring, most=12),
        worst_text="The surest errors first, then the least sure right answers.",
    )
    write_report(output / "report.html", report)
    metrics = {measured.split: measured.result.as_json()}
    (output / "metrics.json").write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    sys.stdout.flush()
    show_results({measured.split: measured.result.estimates})
    log.info("report     %s", output / "report.html")
