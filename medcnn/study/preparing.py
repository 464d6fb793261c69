"""What preparing the data of a study needs, whatever the task."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from medcnn.config.verbs import EvaluateConf, TrainConf
from medcnn.data.manifest import Manifest
from medcnn.data.privacy import PRIVATE_FOLDER
from medcnn.errors import DataError, TrainingError
from medcnn.run_folder import RunFolder

log = logging.getLogger("medcnn.train")


def freeze_splits(run: RunFolder, digest: str, *, resumes: bool) -> None:
    """The division of a run never changes under it. Raises TrainingError."""
    frozen = run.path / "split.digest"
    if resumes and frozen.is_file() and frozen.read_text() != digest:
        raise TrainingError(
            "INPUT_CHANGED: the manifest or its splits changed since this run began. Start a new training"
        )
    frozen.write_text(digest)


def cache_folder(conf: TrainConf) -> Path:
    """Where prepared scans are kept."""
    if conf.cache.folder:
        return Path(conf.cache.folder).expanduser()
    return Path(conf.output).expanduser().absolute() / PRIVATE_FOLDER / "cache"


def reporter(what: str) -> Callable[[int, int], None]:
    """A line every ten seconds."""
    said = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said > 10:
            said = time.monotonic()
            log.info("%s: %d of %d", what, done, total)

    return report


def evaluation_cache(conf: EvaluateConf, output: Path) -> Path:
    """Where an evaluation keeps prepared scans."""
    return Path(conf.cache.folder).expanduser() if conf.cache.folder else output / PRIVATE_FOLDER / "cache"


def asked_split(manifest: Manifest, split: str) -> Manifest:
    """The data to evaluate on; what has no splits is taken whole, as the split asked for. Raises DataError."""
    cases = manifest.cases
    if all(not case.split for case in cases):
        manifest = manifest.with_cases([replace(case, split=split) for case in cases])
    if not manifest.of_split(split):
        there = ", ".join(sorted({case.split for case in cases}))
        raise DataError(f"data.split: no case is in {split!r} (there: {there})")
    return manifest
