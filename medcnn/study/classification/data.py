"""The data of a training: cases with splits, prepared scans, and the checks that must pass before the first step."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from medcnn.config.verbs import TrainConf
from medcnn.data.cache import Cache
from medcnn.data.dataset import (
    Dataset,
    in_words,
    most_common_rejections,
    open_dataset,
    prepare_dataset,
    require_trainable,
    without_leaks,
    write_used_manifest,
)
from medcnn.data.leakage import near_copies
from medcnn.data.prepared import Prepared
from medcnn.data.privacy import Keyring
from medcnn.debugging import debug_cases
from medcnn.io.options import Reading
from medcnn.run_folder import RunFolder
from medcnn.study.preparing import cache_folder, freeze_splits, reporter
from medcnn.transforms.preprocessing import Preprocessing

log = logging.getLogger("medcnn.train")


@dataclass(frozen=True, eq=False)
class StudyData:
    """Cases with splits and prepared scans, and what a reader of the results must know of them."""

    dataset: Dataset
    prepared: Prepared
    preprocessing: Preprocessing
    remarks: list[str]

    @property
    def in_channels(self) -> int:
        """Image columns of the manifest."""
        return self.preprocessing.num_channels

    def targets(self, split: str) -> npt.NDArray[np.float32]:
        """(n, K) of the prepared cases of a split."""
        return self.dataset.labels.targets(self.prepared.of_split(split).cases)


def load_study_data(conf: TrainConf, run: RunFolder, keyring: Keyring, *, resumes: bool) -> StudyData:
    """Read, check, prepare; writes manifest.csv as used. Raises DataError, LeakageError, TrainingError."""
    dataset = open_dataset(conf.data, keyring, splits=True)
    if conf.debug != "none":
        dataset = replace(dataset, manifest=debug_cases(dataset.manifest, dataset.labels, conf.debug))
    require_trainable(dataset)
    channels = max(1, len(dataset.manifest.channels))
    preprocessing = Preprocessing.of(conf.transforms, reading=Reading.of(conf.data), num_channels=channels)
    cache = Cache(cache_folder(conf))
    began = time.monotonic()
    prepared = prepare_dataset(dataset, conf.data, preprocessing, cache, report=reporter("preparing scans"))
    prepared, remarks = _without_what_must_not_be_trained_on(conf, prepared)
    cache.shrink(conf.cache.quota_gb * 1e9)
    dataset = replace(dataset, manifest=dataset.manifest.with_cases(prepared.cases))
    require_trainable(dataset)  # again: scans may have been left out
    freeze_splits(run, dataset.split_digest, resumes=resumes)
    write_used_manifest(run.path / "manifest.csv", prepared.cases, keyring, shareable=False)
    log.info("data: %s; %.0f s", in_words(dataset.counts()), time.monotonic() - began)
    remarks = [*dataset.remarks, *remarks]
    for remark in remarks:
        log.info("note: %s", remark)
    return StudyData(dataset, prepared, preprocessing, remarks)


def _without_what_must_not_be_trained_on(conf: TrainConf, prepared: Prepared) -> tuple[Prepared, list[str]]:
    remarks = []
    for case, rejection in prepared.rejected:
        log.warning("left out %s: %s", case.case_id, rejection)
    if prepared.rejected:
        remarks.append(f"{len(prepared.rejected)} scans could not be used: {most_common_rejections(prepared)}")
    if conf.debug != "overfit":  # there the same cases are in every split on purpose
        rejected = prepared.rejected
        prepared, dropped = without_leaks(prepared, conf.data.duplicates)
        prepared = replace(prepared, rejected=rejected)
        if dropped:
            remarks.append(f"{dropped} training scans were dropped: copies of them are in other splits")
        remarks += _near_copies(prepared)
    return prepared, remarks


def _near_copies(prepared: Prepared) -> list[str]:
    pairs = near_copies(prepared)
    if not pairs:
        return []
    one, other = pairs[0]
    return [
        f"{len(pairs)} pairs of scans in different splits look nearly the same (the likest: {one.case_id} in "
        f"{one.split} and {other.case_id} in {other.split}): copies, or one person under two patient ids? Results may "
        f"be too good; `medcnn prepare` shows the pairs"
    ]
