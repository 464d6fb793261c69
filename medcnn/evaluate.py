"""Evaluate: a trained model on labelled data, with intervals, figures and a table of cases.

python -m medcnn.evaluate model=<package or run> data=<set> data.root=<folder> data.split=test output=<folder>
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from medcnn.config.compose import choices, open_door
from medcnn.config.errors import ConfigError
from medcnn.config.folders import data_root
from medcnn.config.verbs import EvaluateConf

if TYPE_CHECKING:
    from medcnn.data.dataset import Dataset
    from medcnn.data.prepared import Prepared
    from medcnn.evaluation.classification import ClassificationResult
    from medcnn.model_package.opening import ModelPackage
    from medcnn.study.classification.review import Measured

log = logging.getLogger("medcnn.evaluate")

USAGE = f"""usage: python -m medcnn.evaluate model=<package or run> data=<name> data.root=<folder> output=<folder>

Measure a trained model on labelled cases: metrics.json, predictions.csv, figures and report.html in the output folder.

  model=<folder>            a model package, or a run folder
  data=<name>               {", ".join(choices("data"))}
  data.root=<folder>        where that data set lies; data=custom takes your own manifest.csv there
  data.split=test           train, val, calib, test or all; a manifest without splits is taken whole
  output=<folder>           must not hold results already
  resamples=2000 seed=0     of the intervals

The threshold and temperature are the package's own. Each case is answered by itself.
exit codes: 0 done, 1 could not be done, 2 the config cannot be run, 28 no space
"""


def evaluate(conf: EvaluateConf) -> ClassificationResult:
    """Measure, write metrics.json, predictions.csv, figures and report.html into conf.output.

    Raises medcnn.errors.UserError (package, data, no space) and ConfigError with what to do.
    """
    require_folders(conf)
    from medcnn.model_package.opening import load_package
    from medcnn.run_folder import log_to_terminal, writing
    from medcnn.study.classification.review import measure

    log_to_terminal()
    output = Path(conf.output).expanduser().absolute()
    with writing(output):
        output.mkdir(mode=0o700, parents=True, exist_ok=True)
        inference = conf.inference
        package = load_package(
            Path(conf.package),
            accelerator=inference.accelerator,
            batch_cases=inference.batch_cases,
            modules=conf.modules,
        )
        dataset, prepared = _prepared(conf, package)
        measured = measure(
            package.classifier, prepared, dataset.labels, conf.data.split, seed=conf.seed, resamples=conf.resamples
        )
        _write(conf, output, package, measured)
    return measured.result


def require_folders(conf: EvaluateConf) -> None:
    """Raise ConfigError for paths that are not there, before anything heavy is imported."""
    problems = []
    if not Path(conf.package).is_dir():
        problems.append(f"model: there is no folder {conf.package!r}. Give a run folder or a model package")
    if not data_root(conf.data.root).is_dir():
        problems.append(f"data.root: there is no folder {conf.data.root!r}. Give the folder that holds the data")
    if (Path(conf.output) / "metrics.json").exists():
        problems.append(f"output: {conf.output!r} holds an evaluation already. Give a new folder")
    if problems:
        raise ConfigError(problems)


def _prepared(conf: EvaluateConf, package: ModelPackage) -> tuple[Dataset, Prepared]:
    """The cases asked for, as this model wants to see them."""
    from dataclasses import replace

    from medcnn.data.cache import Cache
    from medcnn.data.dataset import in_words, open_dataset, prepare_dataset
    from medcnn.data.labels import Labels
    from medcnn.data.privacy import PRIVATE_FOLDER, Keyring, key_file
    from medcnn.errors import DataError

    description = package.description
    output = Path(conf.output).expanduser().absolute()
    keyring = Keyring.at(key_file(conf.privacy.key_file, output))
    conf.data.class_names = list(description.rule.class_names)  # the model's classes are the ones that count
    dataset = open_dataset(conf.data, keyring, splits=False)
    labels = Labels(description.rule.kind, description.rule.class_names)
    cases = dataset.manifest.cases
    if all(not case.split for case in cases):
        dataset = replace(
            dataset, manifest=dataset.manifest.with_cases([replace(c, split=conf.data.split) for c in cases])
        )
    if not dataset.manifest.of_split(conf.data.split):
        there = ", ".join(sorted({case.split for case in cases}))
        raise DataError(f"data.split: no case is in {conf.data.split!r} (there: {there})")
    folder = Path(conf.cache.folder).expanduser() if conf.cache.folder else output / PRIVATE_FOLDER / "cache"
    prepared = prepare_dataset(
        dataset, conf.data, description.preprocessing, Cache(folder), split=conf.data.split, report=lambda n, of: None
    )
    dataset = replace(dataset, labels=labels, manifest=dataset.manifest.with_cases(prepared.cases))
    log.info("data: %s", in_words(dataset.counts()))
    for case, rejection in prepared.rejected:
        log.warning("left out %s: %s", case.case_id, rejection)
    return dataset, prepared


def _write(conf: EvaluateConf, output: Path, package: ModelPackage, measured: Measured) -> None:
    import sys

    from medcnn.data.privacy import Keyring, key_file
    from medcnn.reporting.page import Report, Section, SplitSummary, write_report
    from medcnn.reporting.tables import show_results
    from medcnn.study.classification.review import draw, worst_cases, write_predictions

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


def _run(conf: EvaluateConf) -> int:
    evaluate(conf)
    return 0


def main() -> None:
    """The command."""
    open_door("evaluate", _run, usage=USAGE)


if __name__ == "__main__":
    main()
