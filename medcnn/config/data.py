"""Settings of the data: where the scans and labels lie, and how they are split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from medcnn.config.fields import MISSING, choice, number
from medcnn.config.reading import ReadingConf

SPLITS = ("train", "val", "calib", "test")


@dataclass
class SplitConf:
    """Shares of the patients, used only where the manifest itself says nothing.

    A manifest without any split is divided by all three; one with train but without calib gives `calib` of its
    training patients, so that thresholds and calibration never come from data that chose the model.
    """

    val: float = number(0.15, at_least=0, below=1)
    calib: float = number(0.1, at_least=0, below=1)
    test: float = number(0.15, at_least=0, below=1)
    seed: int = number(0, at_least=0)
    folds: int = number(0, at_least=0, at_most=100)  # also divide train and val into folds; 0 makes none

    def problems(self) -> Iterator[str]:
        if self.folds == 1:
            yield "folds: must be 0, or at least 2: one fold leaves nobody to train on"
        if not self.val + self.calib + self.test < 1:
            yield f"val + calib + test: must leave patients to train on, got {self.val + self.calib + self.test:g} of 1"


@dataclass
class DataConf(ReadingConf):
    """One data set: a root folder and its manifest (a CSV, or a single MedMNIST-like .npz)."""

    name: str = MISSING
    root: str = MISSING
    manifest: str = ""  # below the root; "" takes manifest.csv, else the only .csv or .npz there
    split: str = choice("test", *SPLITS, "all")  # what evaluate looks at
    class_names: list[str] = field(default_factory=list)  # [] takes the labels found, sorted; the last is positive
    class_codes: dict[str, str] = field(default_factory=dict)  # class -> SNOMED CT code, into the model package
    duplicates: str = choice("stop", "stop", "drop_from_train")
    splits: SplitConf = field(default_factory=SplitConf)
    max_rejected: float = number(0.05, at_least=0, at_most=1)  # share of unreadable scans that may be left out
    workers: int = number(0, at_least=0)  # loading processes; data that fits into memory needs none
    memory_gb: float = number(4.0, above=0)  # prepared data up to this size stay in memory

    def problems(self) -> Iterator[str]:
        if len(set(self.class_names)) < len(self.class_names):
            yield f"class_names: a name stands there twice, got {self.class_names}"
        if len(self.class_names) == 1:
            yield f"class_names: a classifier needs at least two classes, got {self.class_names}"
