"""debug=dry_run, overfit and learning_rate: what they change in a config and in the data."""

from __future__ import annotations

import copy
from dataclasses import replace

from medcnn.config.transforms import RandomConf
from medcnn.config.verbs import TrainConf
from medcnn.data.labels import Labels
from medcnn.data.manifest import Case, Manifest

_DRY_CASES = 4  # per class and split
_OVERFIT_CASES = 8  # per class


def debugged(conf: TrainConf) -> TrainConf:
    """The config of a debug run; its folder lies apart, and nothing is tracked."""
    if conf.debug == "none":
        return conf
    conf = copy.deepcopy(conf)
    conf.task.name = f"debug_{conf.task.name}"
    conf.tracking.enabled = False
    conf.trainer.members, conf.trainer.max_minutes, conf.trainer.patience_epochs = 1, None, 0
    if conf.debug == "learning_rate":
        return conf
    if conf.debug == "dry_run":
        conf.trainer.epochs = 1
        return conf
    conf.transforms.random = RandomConf()
    conf.model.dropout = 0.0
    conf.trainer.epochs, conf.trainer.label_smoothing, conf.trainer.ema_decay = 40, 0.0, 0.0
    conf.trainer.swa_fraction = 0.0
    conf.trainer.weight_decay, conf.trainer.keep, conf.trainer.schedule = 0.0, "last", "constant"
    return conf


def debug_cases_with_values(manifest: Manifest, debug: str) -> Manifest:
    """Of each split a few cases from all over the range; for overfit the same training cases stand in every split."""
    if debug == "learning_rate":
        return manifest

    def few(split: str, most: int) -> list[Case]:
        cases = sorted(manifest.of_split(split), key=lambda case: float(case.labels[""]))
        return cases[:: max(1, -(-len(cases) // most))]

    if debug == "dry_run":
        splits = dict.fromkeys(case.split for case in manifest.cases)
        return manifest.with_cases([case for split in splits for case in few(split, 2 * _DRY_CASES)])
    cases = few("train", 2 * _OVERFIT_CASES)
    return manifest.with_cases([replace(case, split=split) for split in ("train", "val", "calib") for case in cases])


def debug_cases(manifest: Manifest, labels: Labels, debug: str) -> Manifest:
    """A few cases of each class and split; for overfit the same training cases stand in every split."""
    if debug == "learning_rate":
        return manifest
    if debug == "dry_run":
        splits = dict.fromkeys(case.split for case in manifest.cases)
        return manifest.with_cases([c for s in splits for c in _few(manifest.of_split(s), labels, _DRY_CASES)])
    few = _few(manifest.of_split("train"), labels, _OVERFIT_CASES)
    return manifest.with_cases([replace(case, split=split) for split in ("train", "val", "calib") for case in few])


def debug_cases_with_masks(manifest: Manifest, debug: str) -> Manifest:
    """A few cases of each split; for overfit the same training cases stand in every split."""
    if debug == "learning_rate":
        return manifest
    if debug == "dry_run":
        splits = dict.fromkeys(case.split for case in manifest.cases)
        return manifest.with_cases([case for split in splits for case in manifest.of_split(split)[:_DRY_CASES]])
    few = manifest.of_split("train")[:_DRY_CASES]
    return manifest.with_cases([replace(case, split=split) for split in ("train", "val") for case in few])


def _few(cases: list[Case], labels: Labels, most: int) -> list[Case]:
    taken: dict[str, int] = {}
    kept = []
    for case in cases:
        word = "/".join(case.labels.values())
        taken[word] = taken.get(word, 0) + 1
        if taken[word] <= most:
            kept.append(case)
    return kept
