"""A regression on cases with a number each: metrics.json, predictions.csv, figures and report.html of one split."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

from medcnn.config.errors import ConfigError
from medcnn.config.explain import USUAL
from medcnn.config.verbs import EvaluateConf
from medcnn.data.cache import Cache
from medcnn.data.dataset import in_words, open_dataset, prepare_dataset
from medcnn.data.prepared import Prepared
from medcnn.data.privacy import Keyring, key_file
from medcnn.evaluation.regression import RegressionResult
from medcnn.inference.regressor import ValueRule
from medcnn.model_package.regressor import RegressorPackage
from medcnn.reporting.page import Report, Section, SplitSummary, write_report
from medcnn.reporting.tables import show_results
from medcnn.study.preparing import asked_split, evaluation_cache
from medcnn.study.regression.report import model_card
from medcnn.study.regression.review import Measured, draw, measure, worst_cases, write_predictions

log = logging.getLogger("medcnn.evaluate")


def evaluate_values(conf: EvaluateConf, output: Path, package: RegressorPackage) -> RegressionResult:
    """Measure, and write everything into the output folder."""
    _check(conf, package.description.rule)
    keyring = Keyring.at(key_file(conf.privacy.key_file, output))
    prepared = _prepared(conf, output, package, keyring)
    found = measure(package.regressor, prepared, conf.data.split, seed=conf.seed, resamples=conf.resamples)
    _write(conf, output, package, found, keyring)
    return found.result


def _check(conf: EvaluateConf, rule: ValueRule) -> None:
    """Raise ConfigError for what a regression does not do, and for a unit that is not the model's."""
    problems = []
    if conf.subgroups or conf.aggregate != "none" or conf.prevalence:
        problems.append("subgroups, aggregate, prevalence: are for classifiers; this model predicts a number")
    if conf.explain not in ([], [USUAL]):
        problems.append("explain: heat maps of a regression are drawn by predict, and not examined here. Leave it out")
    asked = conf.data.quantity
    if asked.unit and asked.unit != rule.unit:
        problems.append(
            f"data.quantity.unit: the model answers in {rule.unit or 'no unit'}, not {asked.unit}. Convert the column"
        )
    if problems:
        raise ConfigError(problems)


def _prepared(conf: EvaluateConf, output: Path, package: RegressorPackage, keyring: Keyring) -> Prepared:
    """The cases asked for, as this model wants to see them."""
    description = package.description
    asked = replace(conf.data.quantity, name=description.rule.name, unit=description.rule.unit)
    dataset = open_dataset(replace(conf.data, quantity=asked), keyring, splits=False, learns="values")
    dataset = replace(dataset, manifest=asked_split(dataset.manifest, conf.data.split))
    prepared = prepare_dataset(
        dataset,
        conf.data,
        description.preprocessing,
        Cache(evaluation_cache(conf, output)),
        split=conf.data.split,
        report=lambda n, of: None,
    )
    for remark in dataset.remarks:
        log.info("note: %s", remark)
    dataset = replace(dataset, manifest=dataset.manifest.with_cases(prepared.cases))
    log.info("data: %s", in_words(dataset.counts()))
    for case, rejection in prepared.rejected:
        log.warning("left out %s: %s", case.case_id, rejection)
    return prepared


def _write(conf: EvaluateConf, output: Path, package: RegressorPackage, found: Measured, keyring: Keyring) -> None:
    split = found.split
    write_predictions(output / "predictions.csv", [found], keyring)
    report = Report(
        title=f"Evaluation on {conf.data.name}, {split}",
        subtitle=f"model {package.digest}",
        summaries=[SplitSummary.of(split, found.result)],
        sections=[Section("Results", draw(found, output / "figures"))],
        worst=worst_cases(found, package.regressor, keyring, most=12),
        worst_text="The largest errors first.",
        model_card=model_card(str(package.description.network.get("name", "custom")), package),
    )
    write_report(output / "report.html", report)
    (output / "metrics.json").write_text(json.dumps({split: found.result.as_json()}, indent=2, allow_nan=False) + "\n")
    sys.stdout.flush()
    show_results({split: found.result.estimates})
    log.info("report     %s", output / "report.html")
