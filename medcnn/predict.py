"""Predict: a trained model over a folder of scans, unattended.

python -m medcnn.predict model=<package or run> input=<folder or scan> output=<folder> [explain=gradcam|none]

Nothing heavy is imported before the paths are known to be right.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import time
from contextlib import closing
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from medcnn.config.compose import open_door
from medcnn.config.errors import ConfigError
from medcnn.config.folders import data_root
from medcnn.config.predict import PredictConf

if TYPE_CHECKING:
    from medcnn.batch.about import About
    from medcnn.batch.cases import CaseList, Takes
    from medcnn.batch.engine import Engine
    from medcnn.batch.folder import Finished
    from medcnn.batch.ledger import Row
    from medcnn.data.privacy import Keyring
    from medcnn.training.interruption import Interruption

log = logging.getLogger("medcnn.predict")

USAGE = """usage: python -m medcnn.predict model=<package or run> input=<folder or scan> output=<folder>

Answer for every scan of a folder, at any depth, unattended: a page (index.html), tables (predictions.csv, .parquet), a
result.json and a picture per case; of a model that segments a mask in the scan's own grid; for DICOM scans objects of
their study. DICOM, NIfTI, PNG, JPEG, TIFF and .npz arrays. What is no scan is skipped; what cannot be used is listed;
what crashes fails alone.

  model=<folder>             a model package, a run folder, models:/<name>@<alias> or runs:/<id>/model in MLflow
  input=<folder or file>     is never written to
  output=<folder>            new, or of an earlier predict: only what is missing, changed or damaged is done again
  dry_run=true               list what would be done, with time and memory, and write nothing

which scans:
  select.modality=[MR]  select.body_part=[BRAIN]  select.series='t1|mpr'  select.min_slices=20  select.manifest=<csv>
  split_by=[time]            make a case of each volume in a series that holds several (echo, b_value, image_type,
                             orientation, time); without it such a series is rejected, with the values it holds
how a classifier's answers are read here:
  prevalence={ill: 0.05}     the class's share among your cases; follow=same_decisions | same_thresholds
  abstain=false              true: no decision where the prediction set has not exactly one class
what is written:
  explain=gradcam | none     a picture per case: where the network looked (also gradcam++, occlusion,
                             integrated_gradients), or the contours of what it segmented
  views=true                 volumes that the page can scroll
  saliency=false             of a classifier: the heat map on the scan's own grid
  probabilities=false        of a segmenter: a map for each structure
  dicom_seg=binary | labelmap | none   dicom_sr=true   dicom_sc=true
who does it:
  workers=1                  processes that answer; timeout_s=1800, memory_mb=0 (what the machine has) bound each
  engine=local | here        processes of their own, or this one
  shard=3/16                 every sixteenth case, for job arrays on one output; in the end once without it
  inference.accelerator=auto cpu, gpu, mps
  inference.batch_cases=64   pictures that are collected for one question
  inference.overlap=  inference.mirror_axes=  inference.shifts=  inference.batch_memory_mb=1024
  inference.uncertainty=     of a segmenter, entropy or disagreement: uncertainty/<name>.nii.gz, 0 (certain) to 255
  modules=[my_networks]      where a package of your own network may be imported from

<name> is the path of the scan's file, or of its series' folder, below the input, without suffix: ward/a.nii.gz becomes
masks/ward__a.nii.gz; scans that would be called alike have their case_id behind.

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
        return _forecast(conf, output) if conf.dry_run else _predict(conf, output, interruption)


def _predict(conf: PredictConf, output: Path, interruption: Interruption) -> Predicted:
    from medcnn.batch.engine import build_engine
    from medcnn.batch.errand import Errand
    from medcnn.batch.folder import FolderRun
    from medcnn.batch.names import files_like, names_of
    from medcnn.batch.results import Results
    from medcnn.batch.shard import Shard, sole
    from medcnn.data.privacy import PRIVATE_FOLDER, Keyring, key_file

    results, shard = Results(output), Shard.of(conf.shard)
    conf = replace(conf, package=str(_package(conf, output / PRIVATE_FOLDER / "models")))
    engine = build_engine(Errand.of(conf, output))
    with closing(engine), sole(output, shard):
        # The model: opened by whoever answers
        about = _opened(engine)

        # Cases: by their headers; what is none is skipped and counted
        listed = _listed(conf, about, Keyring.at(key_file(conf.privacy.key_file, output)))
        names = names_of(listed.cases, listed.root.name, files_like(about.names))

        # Answers: each finished, with its files and its row in the ledger, before it counts
        run = FolderRun(engine, about, results, interruption, shard)
        began = time.monotonic()
        finished = run.over(listed, names)
    return _told(output, listed, about, finished, time.monotonic() - began)


def require_paths(conf: PredictConf) -> None:
    """Raise ConfigError for paths that cannot be, before anything heavy is imported."""
    source, output = data_root(conf.input), Path(conf.output).expanduser().resolve()
    package = Path(conf.package).expanduser()
    problems = []
    if not package.is_dir() and not conf.package.startswith(("models:/", "runs:/")):
        problems.append(f"model: there is no folder {conf.package!r}. Give a run folder or a model package")
    if not source.exists():
        problems.append(f"input: there is no {conf.input!r}. Give a folder of scans, or one scan")
    elif source.is_dir() and output.is_relative_to(source):
        problems.append(f"output: {conf.output!r} lies in the input, which is never written to. Give another folder")
    elif source.is_relative_to(output):
        problems.append(f"input: {conf.input!r} lies in the output. Give another folder")
    if output.exists() and not output.is_dir():
        problems.append(f"output: {conf.output!r} is a file. Give a folder")
    key = Path(conf.privacy.key_file).expanduser().resolve()
    if conf.privacy.key_file and source.is_dir() and key.is_relative_to(source):
        problems.append("privacy.key_file: lies in the input, which is never written to. Keep the key elsewhere")
    if problems:
        raise ConfigError(problems)


def _forecast(conf: PredictConf, output: Path) -> Predicted:
    """What would be done, with its cost; nothing is written, and no case has a name yet."""
    from medcnn.batch.dry_run import Extras, forecasts, told
    from medcnn.batch.errand import Errand
    from medcnn.batch.estimate import ModelNeeds
    from medcnn.batch.here import HereEngine
    from medcnn.batch.memory_left import memory_left_mb
    from medcnn.data.privacy import Keyring
    from medcnn.errors import NOTHING_TO_DO_EXIT_CODE

    with TemporaryDirectory(prefix="medcnn-") as cache:
        conf = replace(conf, package=str(_package(conf, Path(cache))))
        about = _opened(HereEngine(Errand.of(conf, Path(cache) / "results")))
    listed = _listed(conf, about, Keyring(secrets.token_bytes(32)))
    left_mb = min(memory_left_mb(), conf.memory_mb or inf)
    extras = Extras(conf.probabilities, conf.views, conf.dicom_seg != "none")
    found = list(
        forecasts(
            listed, ModelNeeds(**about.needs), left_mb=left_mb, seconds_per_tile=about.seconds_per_tile, extras=extras,
            reading=about.reading,
        )
    )  # fmt: skip
    there = next(path for path in (output, *output.parents) if path.exists())
    for line in told(found, workers=conf.workers, left_mb=left_mb, free_mb=shutil.disk_usage(there).free / 1e6):
        log.info("%s", line)
    return Predicted(output, [], len(listed.skipped), 0, 0 if found else NOTHING_TO_DO_EXIT_CODE)


def _package(conf: PredictConf, cache: Path) -> Path:
    from medcnn.tracking.model_source import local_package

    return local_package(conf.package, cache)


def _opened(engine: Engine) -> About:
    about = engine.open()
    log.info("model %s: %s", about.model, ", ".join(about.names))
    log.info("%s", about.intended_use)
    return about


def _listed(conf: PredictConf, about: About, keyring: Keyring) -> CaseList:
    from medcnn.batch.cases import list_cases
    from medcnn.batch.selection import Selection, fit_in_words, read_references

    said = time.monotonic()

    def report(number: int) -> None:
        nonlocal said
        if time.monotonic() - said > 10:
            said = time.monotonic()
            log.info("looking for scans: %d so far", number)

    asked = conf.select
    manifest = read_references(Path(asked.manifest).expanduser()) if asked.manifest else None
    selection = Selection(tuple(asked.modality), asked.series, tuple(asked.body_part), asked.min_slices, manifest)
    listed = list_cases(
        data_root(conf.input),
        keyring,
        split_by=conf.split_by,
        reading=about.reading,
        selection=selection,
        takes=_takes(about, asked.manifest),
        report=report,
    )
    log.info("found %d cases; %d files are no scans", len(listed.cases), len(listed.skipped))
    if listed.left_out:
        log.info("left out by select.*: %d", len(listed.left_out))
    if any(case.misfits for case in listed.cases):
        log.info("%s", fit_in_words([case.misfits for case in listed.cases], about.expects, about.spatial_dims))
    if listed.sharing_an_identity:
        log.warning(
            "%d scans claim the identity of another: their case_id is from their path too", listed.sharing_an_identity
        )
    return listed


def _takes(about: About, manifest: str) -> Takes:
    """What the model takes, with its covariates and the patients as the manifest has them."""
    from medcnn.batch.cases import Takes
    from medcnn.batch.covariates import Beside, read_cells
    from medcnn.batch.patients import read_patients
    from medcnn.data.covariates import Covariates

    table = Path(manifest).expanduser()
    beside = None
    if about.covariates is not None:
        spec = Covariates.from_json(about.covariates)
        log.info("beside each image the model takes %s", spec.in_words())
        beside = Beside(spec, read_cells(table, spec) if manifest else {})
    patients = read_patients(table) if manifest and about.patients is not None else {}
    return Takes(about.expects, about.spatial_dims, beside, patients)


def _told(output: Path, listed: CaseList, about: About, finished: Finished, seconds: float) -> Predicted:
    from medcnn.batch.progress import in_words
    from medcnn.batch.results_page import PAGE
    from medcnn.batch.summary import exit_code, summary

    log.info("")
    for line in summary(finished.rows, listed.skipped, about, computed=finished.computed):
        log.info("%s", line)
    if finished.computed:
        log.info("took %s, %.1f cases a second", in_words(seconds), finished.computed / max(seconds, 1e-3))
    for word, name in (("table", "predictions.csv"), ("patients", "patients.csv"), ("page", PAGE)):
        if (output / name).is_file():
            log.info("%-8s %s", word, output / name)
    return Predicted(output, finished.rows, len(listed.skipped), finished.computed, exit_code(finished.rows))


def _run(conf: PredictConf) -> int:
    return predict(conf).exit_code


def main() -> None:
    """The command."""
    open_door("predict", _run, usage=USAGE)


if __name__ == "__main__":
    main()
