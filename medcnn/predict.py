"""Predict: a trained model over a folder of scans, unattended.

python -m medcnn.predict model=<package or run> input=<folder or scan> output=<folder> [explain=gradcam|none]

Nothing heavy is imported before the paths are known to be right.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medcnn.config.compose import open_door
from medcnn.config.errors import ConfigError
from medcnn.config.folders import data_root
from medcnn.config.verbs import PredictConf

if TYPE_CHECKING:
    from medcnn.batch.cases import CaseList
    from medcnn.batch.folder import Finished
    from medcnn.batch.ledger import Row
    from medcnn.batch.outcome import Answering
    from medcnn.batch.results import Results
    from medcnn.config.verbs import InferenceConf
    from medcnn.data.privacy import Keyring
    from medcnn.io.options import Reading
    from medcnn.model_package.classifier import ClassifierPackage
    from medcnn.model_package.opening import ModelPackage
    from medcnn.model_package.segmenter import SegmenterPackage
    from medcnn.training.interruption import Interruption

log = logging.getLogger("medcnn.predict")

_RESULTS = ("overlays", "masks", "uncertainty", "probabilities")  # folders of an output; as in batch/results.py

USAGE = """usage: python -m medcnn.predict model=<package or run> input=<folder or scan> output=<folder>

Answer for every scan of a folder, at any depth: predictions.csv, a picture per case and a ledger in the output folder;
of a model that segments also a mask per case, in the scan's own grid. DICOM, NIfTI, PNG, JPEG, TIFF and .npz arrays.
What is no scan is skipped; what cannot be used is listed.

  model=<folder>             a model package, or a run folder
  input=<folder or file>     is never written to
  output=<folder>            new, or of an earlier predict: only what is missing, changed or damaged is done again
  split_by=[time]            make a case of each volume in a series that holds several (echo, b_value, image_type,
                             orientation, time); without it such a series is rejected, with the values it holds
  explain=gradcam | none     a picture per case: where the network looked, or the contours of what it segmented
  inference.accelerator=auto cpu, gpu, mps
  modules=[my_networks]      where a package of your own network may be imported from

a model that classifies:
  inference.batch_cases=64   scans per question; the answers do not depend on it

a model that segments writes masks/<name>.nii.gz (.png for pictures). <name> is the path of the scan's file, or of its
series' folder, below the input, without suffix: ward/a.nii.gz becomes masks/ward__a.nii.gz; scans that would be called
alike have their case_id behind. Structures that one map cannot hold: masks/<name>_<structure>.nii.gz.
  dicom_seg=true             beside it masks/<name>.dcm where the scan is a DICOM series; a structure for which the
                             model has no SNOMED CT code gets one of the private scheme 99MEDCNN
  probabilities=false        probabilities/<name>_<structure>.nii.gz
  inference.uncertainty=     entropy or disagreement: uncertainty/<name>.nii.gz, from 0 (certain) to 255
  inference.overlap=  inference.mirror_axes=  inference.shifts=     otherwise than the model says
  inference.batch_memory_mb=1024   for the tiles that are computed together, on a CPU

exit codes: 0 all answered, 1 could not be done, 2 the config cannot be run, 3 no scan found, 8 some rejected or failed,
  9 all of them, 28 no space, 130 and 143 interrupted (the same command goes on where it stopped)
"""


@dataclass(frozen=True)
class Predicted:
    """What became of a folder.

    rows       one per case, in the order of their references
    skipped    how many files are no scans
    exit_code  0 all answered, 3 there was none, 8 some rejected or failed, 9 all
    """

    output: Path
    rows: list[Row]
    skipped: int
    computed: int
    exit_code: int


def predict(conf: PredictConf) -> Predicted:
    """Answer for every scan below conf.input, into conf.output.

    Raises ConfigError and medcnn.errors.UserError (package, no space, interrupted) with what to do.
    """
    require_paths(conf)
    from medcnn.run_folder import log_to_terminal, writing
    from medcnn.training.interruption import Interruption

    log_to_terminal()
    output = Path(conf.output).expanduser().resolve()
    with Interruption().listening() as interruption, writing(output):
        return _predict(conf, output, interruption)


def _predict(conf: PredictConf, output: Path, interruption: Interruption) -> Predicted:
    from medcnn.batch.folder import FolderRun
    from medcnn.batch.results import Results
    from medcnn.data.privacy import Keyring, key_file
    from medcnn.run_folder import RunFolder, locked

    package = _opened(conf)
    results = Results(output)
    with locked(RunFolder(output)):
        # Cases: by their headers; what is none is skipped and counted
        reading = package.description.preprocessing.reading
        listed = _listed(conf, reading, Keyring.at(key_file(conf.privacy.key_file, output)))

        # Answers: each finished, with its files and its row in the ledger, before the next
        answering = _answering(conf, package, results)
        run = FolderRun(answering, results, interruption)
        began = time.monotonic()
        finished = run.over(listed)

        return _told(output, listed, answering, finished, time.monotonic() - began)


def require_paths(conf: PredictConf) -> None:
    """Raise ConfigError for paths that cannot be, before anything heavy is imported."""
    source, output = data_root(conf.input), Path(conf.output).expanduser().resolve()
    package = Path(conf.package).expanduser()
    problems = []
    if not package.is_dir():
        problems.append(f"model: there is no folder {conf.package!r}. Give a run folder or a model package")
    if not source.exists():
        problems.append(f"input: there is no {conf.input!r}. Give a folder of scans, or one scan")
    elif source.is_dir() and output.is_relative_to(source):
        problems.append(f"output: {conf.output!r} lies in the input, which is never written to. Give another folder")
    elif within := [name for name in _RESULTS if source.is_relative_to(output / name)]:
        problems.append(f"input: {conf.input!r} lies in the {within[0]} of the output. Give another folder")
    if output.exists() and not output.is_dir():
        problems.append(f"output: {conf.output!r} is a file. Give a folder")
    key = Path(conf.privacy.key_file).expanduser().resolve()
    if conf.privacy.key_file and source.is_dir() and key.is_relative_to(source):
        problems.append("privacy.key_file: lies in the input, which is never written to. Keep the key elsewhere")
    if problems:
        raise ConfigError(problems)


def _opened(conf: PredictConf) -> ModelPackage:
    """The package, checked, to be asked as the config says. Raises PackageError and ConfigError."""
    from medcnn.errors import PackageError
    from medcnn.model_package.opening import load_package
    from medcnn.model_package.segmenter import SegmenterPackage

    inference = conf.inference
    package = load_package(
        Path(conf.package).expanduser(),
        accelerator=inference.accelerator,
        batch_cases=inference.batch_cases,
        modules=conf.modules,
    )
    channels = package.description.preprocessing.num_channels
    if channels > 1:
        raise PackageError(
            f"this model looks at {channels} images of each case together, and a folder does not say which belong "
            f"together. Write a manifest and use evaluate"
        )
    if isinstance(package, SegmenterPackage):
        package, names = _segmenter_asked(package, inference), package.segmenter.rule.names
    else:
        package, names = _classifier_asked(package, conf), package.classifier.rule.class_names
    log.info("model %s: %s", package.digest, ", ".join(names))
    log.info("%s", package.description.intended_use)
    return package


def _classifier_asked(package: ClassifierPackage, conf: PredictConf) -> ClassifierPackage:
    from medcnn.errors import PackageError
    from medcnn.explain.gradcam import target_layer

    if conf.explain == "gradcam":
        try:
            target_layer(package.classifier.networks[0])
        except ValueError as error:
            raise PackageError(str(error)) from error
    shifts = conf.inference.shifts or package.classifier.shifts
    return replace(package, classifier=replace(package.classifier, shifts=shifts))


def _segmenter_asked(package: SegmenterPackage, inference: InferenceConf) -> SegmenterPackage:
    """The package's settings, but for those that the config names."""
    settings = package.segmenter.settings
    changes: dict[str, Any] = {"batch_memory_mb": inference.batch_memory_mb}
    if inference.overlap is not None:
        changes["overlap"] = inference.overlap
    if inference.mirror_axes is not None:
        changes["mirror_axes"] = tuple(inference.mirror_axes)
    changes["shifts"] = inference.shifts or settings.shifts
    changes["uncertainty"] = inference.uncertainty or settings.uncertainty
    try:
        asked = replace(settings, **changes)
    except ValueError as error:
        raise ConfigError([f"inference.{error}"]) from error
    return replace(package, segmenter=replace(package.segmenter, settings=asked))


def _answering(conf: PredictConf, package: ModelPackage, results: Results) -> Answering:
    """How a folder is gone over with this kind of model."""
    from medcnn.model_package.segmenter import SegmenterPackage

    explain = conf.explain == "gradcam"
    if isinstance(package, SegmenterPackage):
        from medcnn.batch.segment_files import Wanted
        from medcnn.batch.segmenting import Segmenting

        return Segmenting(package, results, Wanted(explain, conf.probabilities, conf.dicom_seg))
    from medcnn.batch.classifying import Classifying

    return Classifying(package, results, explain=explain)


def _listed(conf: PredictConf, reading: Reading, keyring: Keyring) -> CaseList:
    from medcnn.batch.cases import list_cases

    said = time.monotonic()

    def report(number: int) -> None:
        nonlocal said
        if time.monotonic() - said > 10:
            said = time.monotonic()
            log.info("looking for scans: %d so far", number)

    listed = list_cases(data_root(conf.input), keyring, split_by=conf.split_by, reading=reading, report=report)
    log.info("found %d cases; %d files are no scans", len(listed.cases), len(listed.skipped))
    if listed.sharing_an_identity:
        log.warning(
            "%d scans claim the identity of another: their case_id is from their path too", listed.sharing_an_identity
        )
    return listed


def _told(output: Path, listed: CaseList, answering: Answering, finished: Finished, seconds: float) -> Predicted:
    from medcnn.batch.progress import in_words
    from medcnn.batch.summary import exit_code, summary

    log.info("")
    lines = summary(finished.rows, listed.skipped, computed=finished.computed, noun=answering.noun, word=answering.word)
    for line in lines:
        log.info("%s", line)
    if finished.computed:
        log.info("took %s, %.1f cases a second", in_words(seconds), finished.computed / max(seconds, 1e-3))
    log.info("results  %s", output / "predictions.csv")
    for name in _RESULTS:
        if (output / name).is_dir():
            log.info("%-8s %s", name, output / name)
    return Predicted(output, finished.rows, len(listed.skipped), finished.computed, exit_code(finished.rows))


def _run(conf: PredictConf) -> int:
    return predict(conf).exit_code


def main() -> None:
    """The command."""
    open_door("predict", _run, usage=USAGE)


if __name__ == "__main__":
    main()
