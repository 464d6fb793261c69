"""The data of a training whose network sees whole scans: cases with splits, prepared, checked before the first step."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from medcnn.config.verbs import TrainConf
from medcnn.data.cache import Cache
from medcnn.data.covariates import Covariates, with_covariates
from medcnn.data.dataset import (
    Dataset,
    in_words,
    most_common_rejections,
    prepare_dataset,
    require_trainable,
    without_leaks,
    write_used_manifest,
)
from medcnn.data.leakage import near_copies
from medcnn.data.manifest import Case
from medcnn.data.prepared import Prepared
from medcnn.data.privacy import Keyring
from medcnn.data.value_dataset import ValueDataset
from medcnn.inference.expectation import Expectation
from medcnn.io.options import Reading
from medcnn.run_folder import RunFolder
from medcnn.study.preparing import cache_folder, freeze_splits, reporter
from medcnn.transforms.preprocessing import Preprocessing

log = logging.getLogger("medcnn.train")

_SEEN = 500  # training scans that the intensity range is taken from

AnyDataset = TypeVar("AnyDataset", Dataset, ValueDataset)


@dataclass(frozen=True, eq=False)
class StudyData(Generic[AnyDataset]):
    """Cases with splits and prepared scans, and what a reader of the results must know of them.

    covariates  what the network takes beside the image
    """

    dataset: AnyDataset
    prepared: Prepared
    preprocessing: Preprocessing
    remarks: list[str]
    covariates: Covariates | None = None

    @property
    def in_channels(self) -> int:
        """Image columns of the manifest."""
        return self.preprocessing.num_channels

    @property
    def num_covariates(self) -> int:
        """Numbers beside the image."""
        return 0 if self.covariates is None else self.covariates.num_inputs

    def expectation(self) -> Expectation:
        """What the training scans say that a scan should be like."""
        train = self.prepared.of_split("train")
        return Expectation.of(
            modality=[fact.modality for fact in train.facts],
            body_part=[fact.body_part for fact in train.facts],
            low=[fact.low for fact in train.facts],
            high=[fact.high for fact in train.facts],
            images=train.images[list(range(min(len(train), _SEEN)))],
        )

    def targets(self, split: str) -> npt.NDArray[np.float32]:
        """(n, K) of the prepared cases of a split: K classes, or one number."""
        return self.dataset.targets(self.prepared.of_split(split).cases)


def prepared_for_training(
    conf: TrainConf, run: RunFolder, keyring: Keyring, dataset: AnyDataset, *, resumes: bool
) -> StudyData[AnyDataset]:
    """Check, prepare; writes manifest.csv as used. Raises DataError, LeakageError, TrainingError."""
    require_trainable(dataset)
    _covariates(conf, dataset.manifest.cases)  # what is missing is said before any scan is read
    channels = max(1, len(dataset.manifest.channels))
    preprocessing = Preprocessing.of(conf.transforms, reading=Reading.of(conf.data), num_channels=channels)
    cache = Cache(cache_folder(conf))
    began = time.monotonic()
    prepared = prepare_dataset(dataset, conf.data, preprocessing, cache, report=reporter("preparing scans"))
    remarks: list[str]
    prepared, remarks = _without_what_must_not_be_trained_on(conf, prepared)
    cache.shrink(conf.cache.quota_gb * 1e9)
    dataset = replace(dataset, manifest=dataset.manifest.with_cases(prepared.cases))
    require_trainable(dataset)  # again: scans may have been left out
    covariates = _covariates(conf, prepared.cases)  # again: of those that are trained on
    prepared = with_covariates(prepared, covariates)
    freeze_splits(run, dataset.split_digest, resumes=resumes)
    write_used_manifest(run.path / "manifest.csv", prepared.cases, keyring, shareable=False)
    log.info("data: %s; %.0f s", in_words(dataset.counts()), time.monotonic() - began)
    notes = [*dataset.remarks, *remarks]
    if covariates is not None:
        log.info("beside the image: %s", covariates.in_words())
        notes += covariates.remarks(conf.data.missing_covariates)
    for note in notes:
        log.info("note: %s", note)
    return StudyData(dataset, prepared, preprocessing, notes, covariates)


def _covariates(conf: TrainConf, cases: Sequence[Case]) -> Covariates | None:
    """What the manifest's columns mean is fitted on training cases; all others are read by it. Raises DataError."""
    asked = conf.data
    if not asked.covariates:
        return None
    train = [case for case in cases if case.split == "train"]
    found = Covariates.fit(train, asked.covariates, missing=asked.missing_covariates, dropout=asked.covariate_dropout)
    found.vectors(cases)
    return found


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
