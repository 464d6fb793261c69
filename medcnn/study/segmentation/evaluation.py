"""A segmenter on cases with true masks: metrics.json, predictions.csv, figures and report.html of one split."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

from medcnn.config.verbs import EvaluateConf
from medcnn.data.cache import Cache
from medcnn.data.dataset import open_dataset
from medcnn.data.manifest import Case
from medcnn.data.mask_dataset import MaskDataset
from medcnn.data.privacy import Keyring, key_file
from medcnn.data.read_cases import CaseReader
from medcnn.data.segmentation_cases import SegmentationCases, prepare_cases
from medcnn.data.structures import Structures
from medcnn.errors import PackageError
from medcnn.evaluation.segmentation.result import SegmentationResult
from medcnn.inference.segmenter import Segmenter
from medcnn.model_package.segmenter import SegmenterPackage
from medcnn.reporting.case_table import write_case_scores
from medcnn.reporting.figures import save
from medcnn.reporting.page import Report, Section, SplitSummary, write_report
from medcnn.reporting.segmentation_figures import segmentation_figures
from medcnn.reporting.tables import show_results
from medcnn.study.preparing import asked_split, evaluation_cache, reporter
from medcnn.study.segmentation.measuring import MeasuredMasks, measure_masks
from medcnn.study.segmentation.package import asked_otherwise, mask_rule
from medcnn.study.segmentation.pictures import gallery

log = logging.getLogger("medcnn.evaluate")


def evaluate_masks(conf: EvaluateConf, output: Path, package: SegmenterPackage) -> SegmentationResult:
    """Measure, and write everything into the output folder."""
    package = asked_otherwise(package, conf.inference)
    keyring = Keyring.at(key_file(conf.privacy.key_file, output))
    cases = _cases(conf, output, package, keyring)

    def choose(case: Case) -> Segmenter:
        return package.segmenter

    measured = measure_masks(
        choose,
        cases,
        conf.data.split,
        keyring,
        seed=conf.seed,
        resamples=conf.resamples,
        tolerance_mm=conf.nsd_tolerance_mm,
    )
    figures = segmentation_figures(measured.result, measured.scores, split=measured.split)
    drawn = [save(figure, output / "figures", name) for name, figure in figures.items()]
    shown = gallery(measured, choose, output / "figures")
    write_case_scores(output / "predictions.csv", measured.scores)
    report = Report(
        title=f"Evaluation on {conf.data.name}, {measured.split}",
        subtitle=f"model {package.digest}",
        summaries=[SplitSummary.of(measured.split, measured.result)],
        sections=[Section("Results", drawn), Section("Cases", shown, GALLERY_TEXT)],
    )
    write_report(output / "report.html", report)
    _write(output, measured)
    sys.stdout.flush()
    show_results({measured.split: measured.result.estimates}, counts={measured.split: measured.result.counts})
    log.info("report     %s", output / "report.html")
    return measured.result


GALLERY_TEXT = (
    "The best case, the one in the middle and the worst by mean Dice. Green is the truth, red the prediction."
)


def _write(output: Path, measured: MeasuredMasks) -> None:
    metrics = {
        measured.split: measured.result.as_json(),
        "inference": {"cases": len(measured.seconds), "seconds": round(sum(measured.seconds), 3)},
    }
    (output / "metrics.json").write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n")


def _cases(conf: EvaluateConf, output: Path, package: SegmenterPackage, keyring: Keyring) -> SegmentationCases:
    """The cases asked for, as this model wants to see them. Raises DataError, PackageError."""
    grid = package.description.preprocessing
    dataset = _opened(conf, package, keyring)
    structures = _as_the_model(dataset.structures, package)
    manifest = asked_split(dataset.manifest, conf.data.split)
    cache = Cache(evaluation_cache(conf, output))
    reader = CaseReader(manifest.root, structures, grid.reading, cache)
    report = reporter("reading scans")
    read = reader.all(manifest.of_split(conf.data.split), max_rejected=conf.data.max_rejected, report=report)
    for case, rejection in read.rejected:
        log.warning("left out %s: %s", case.case_id, rejection)
    report = reporter("preparing scans")
    cases = prepare_cases(
        read, grid, memory_bytes=conf.data.memory_gb * 1e9, max_rejected=conf.data.max_rejected, report=report
    )
    log.info("data: %s %d cases", conf.data.split, len(cases))
    return cases


def _opened(conf: EvaluateConf, package: SegmenterPackage, keyring: Keyring) -> MaskDataset:
    """Where nobody says what the values of the masks are, they are what they were in training."""
    dataset = open_dataset(conf.data, keyring, splits=False, learns="masks")
    rule = package.description.rule
    if conf.data.structures or set(rule.names) <= set(dataset.structures.names) or not rule.values:
        return dataset
    conf.data.structures = {name: list(rule.file_values(name)) for name in rule.names}
    log.info("data.structures: not said, so values are read as in training: %s", conf.data.structures)
    return open_dataset(conf.data, keyring, splits=False, learns="masks")


def _as_the_model(found: Structures, package: SegmenterPackage) -> Structures:
    """The data's values in masks, the model's structures and order. Raises PackageError where one is not there."""
    rule = package.description.rule
    if missing := [name for name in rule.names if name not in found.names]:
        raise PackageError(
            f"the model outlines {', '.join(rule.names)}, and the data's masks hold {', '.join(found.names)}: no "
            f"{', '.join(missing)}. Name the values in data.structures, as data.structures.{missing[0]}=[1]"
        )
    others = {value for name in found.names if name not in rule.names for value in found.values[name]}
    chosen = replace(
        found,
        names=rule.names,
        values={name: found.values[name] for name in rule.names},
        background=tuple(sorted({*found.background, *others})),
    )
    if mask_rule(chosen).overlapping != rule.overlapping:
        raise PackageError("the model's structures exclude each other and the data's overlap, or the other way round")
    return chosen
