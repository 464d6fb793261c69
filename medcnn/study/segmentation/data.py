"""The data of a segmenter's training: cases with masks, each read once, and the checks that must pass before a step."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace

from medcnn.config.verbs import TrainConf
from medcnn.data.cache import Cache
from medcnn.data.dataset import open_dataset, without_leaks, write_used_manifest
from medcnn.data.folds import with_folds
from medcnn.data.manifest import Case
from medcnn.data.mask_dataset import MaskDataset
from medcnn.data.privacy import Keyring
from medcnn.data.read_cases import CaseReader, ReadCases, require_learnable
from medcnn.data.segmentation_cases import SegmentationCases, prepare_cases
from medcnn.debugging import debug_cases_with_masks
from medcnn.errors import DataError
from medcnn.io.options import Reading
from medcnn.run_folder import RunFolder
from medcnn.study.preparing import cache_folder, freeze_splits, reporter
from medcnn.transforms.whole_grid import WholeGrid

log = logging.getLogger("medcnn.train")


@dataclass(frozen=True, eq=False)
class MaskStudyData:
    """Cases with splits, read in their own grids, and what a reader of the results must know of them."""

    dataset: MaskDataset
    read: ReadCases
    remarks: list[str]
    cache: Cache

    @property
    def in_channels(self) -> int:
        """Image columns of the manifest."""
        return max(1, len(self.dataset.manifest.channels))

    def prepared(self, grid: WholeGrid, conf: TrainConf) -> SegmentationCases:
        """Every case on the network's grid. Raises DataError where too many do not fit it."""
        began = time.monotonic()
        made = prepare_cases(
            self.read,
            grid,
            memory_bytes=conf.data.memory_gb * 1e9,
            max_rejected=conf.data.max_rejected,
            report=reporter("preparing scans"),
        )
        for case, rejection in made.rejected:
            log.warning("left out %s: %s", case.case_id, rejection)
        self.cache.shrink(conf.cache.quota_gb * 1e9)
        log.info("prepared %d scans; %.0f s", len(made), time.monotonic() - began)
        return made


def load_mask_data(conf: TrainConf, run: RunFolder, keyring: Keyring, *, resumes: bool) -> MaskStudyData:
    """Read, check, divide; writes manifest.csv as used. Raises DataError, LeakageError, TrainingError."""
    began = time.monotonic()
    dataset = open_dataset(conf.data, keyring, splits=True, learns="masks")
    if conf.debug != "none":
        dataset = replace(dataset, manifest=debug_cases_with_masks(dataset.manifest, conf.debug))
    dataset, remarks = _with_turns(conf, dataset)
    cache = Cache(cache_folder(conf))
    reader = CaseReader(dataset.manifest.root, dataset.structures, Reading.of(conf.data), cache)
    read = reader.all(dataset.manifest.cases, max_rejected=conf.data.max_rejected, report=reporter("reading scans"))
    read, said = _without_what_must_not_be_trained_on(conf, read)
    require_learnable(read)
    _require_validation(conf, read)
    dataset = replace(dataset, manifest=dataset.manifest.with_cases(read.cases))
    freeze_splits(run, dataset.split_digest, resumes=resumes)
    write_used_manifest(run.path / "manifest.csv", read.cases, keyring, shareable=False)
    log.info("data: %s; %.0f s", _in_words(read), time.monotonic() - began)
    remarks = [*dataset.remarks, *remarks, *said, *read.remarks]
    for remark in remarks:
        log.info("note: %s", remark)
    return MaskStudyData(dataset, read, remarks, cache)


def _with_turns(conf: TrainConf, dataset: MaskDataset) -> tuple[MaskDataset, list[str]]:
    """For a cross-validation every case of train and val belongs to one fold."""
    if not conf.trainer.folds:
        return dataset, []
    cases, remarks = with_folds(dataset.manifest.cases, conf.trainer.folds, conf.data.splits.seed)
    there = sorted({int(case.fold) for case in cases if case.fold})
    if len(there) != conf.trainer.folds:
        raise DataError(
            f"trainer.folds: the data have {len(there)} folds of their own. Set trainer.folds={len(there)}, or take "
            f"theirs out"
        )
    return replace(dataset, manifest=dataset.manifest.with_cases(cases)), remarks


def _without_what_must_not_be_trained_on(conf: TrainConf, read: ReadCases) -> tuple[ReadCases, list[str]]:
    remarks = []
    odd = [(case, why) for case, why in read.rejected if why.code != "LABEL_VALUES"]
    for case, rejection in odd:
        log.warning("left out %s: %s", case.case_id, rejection)
    if odd:
        remarks.append(f"{len(odd)} scans could not be used")
    if conf.debug == "overfit":  # there the same cases are in every split on purpose
        return read, remarks
    rejected = read.rejected
    read, dropped = without_leaks(read, conf.data.duplicates)
    read.rejected = rejected
    if dropped:
        remarks.append(f"{dropped} training scans were dropped: copies of them are in other splits")
    return read, remarks


def _require_validation(conf: TrainConf, read: ReadCases) -> None:
    if not conf.trainer.folds and not len(read.of_split("val")):
        there = ", ".join(sorted({case.split for case in read.cases}))
        raise DataError(
            f"no case is in the split 'val' (there: {there}): nothing would show how the training goes. Name some, or "
            f"leave the column out and give data.splits.val a share"
        )


def _in_words(read: ReadCases) -> str:
    """'train 120, val 20 (kidney in 140, tumour in 81)'."""
    splits = ", ".join(f"{split} {len(read.of_split(split))}" for split in dict.fromkeys(c.split for c in read.cases))
    there = [
        f"{name} in {sum(one.structure_voxels[name] > 0 for one in read.fingerprints)}"
        for name in read.structures.names
    ]
    return f"{splits} ({', '.join(there)})"


def is_held_out(case: Case, fold: int | None) -> bool:
    """Whether a member does not train on this case: val, or its fold's own."""
    return case.split == "val" if fold is None else case.fold == str(fold)


def trains(case: Case, fold: int | None) -> bool:
    """Whether a member trains on this case; in a cross-validation val cases take turns like those of train."""
    return case.split == "train" if fold is None else case.split in ("train", "val") and case.fold != str(fold)
