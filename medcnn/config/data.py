"""Settings of the data: where the scans and labels lie, and how they are split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from medcnn.config.fields import MISSING, choice, nearest, number
from medcnn.config.reading import LAYOUTS, ReadingConf

SPLITS = ("train", "val", "calib", "test")
COLUMNS_OF_SEVERAL = ("image", "label", "mask")  # or image.<name> and so on
COLUMNS = (*COLUMNS_OF_SEVERAL, "case_id", "patient_id", "boxes", "split", "fold")
MOST_STRUCTURES = 253  # a target is one byte a voxel: 0 is background, 254 unknown, 255 ignored
BACKGROUND = "background"
LARGEST_LABEL = 65_535


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
    block_cases: int = number(0, at_least=0)  # patients unknown: so many files of neighbouring numbers stay together
    folds: int = number(0, at_least=0, at_most=100)  # also divide train and val into folds; 0 makes none

    def problems(self) -> Iterator[str]:
        if self.folds == 1:
            yield "folds: must be 0, or at least 2: one fold leaves nobody to train on"
        if self.block_cases == 1:
            yield "block_cases: must be 0, or at least 2: a block of one case keeps nothing together"
        if not self.val + self.calib + self.test < 1:
            yield f"val + calib + test: must leave patients to train on, got {self.val + self.calib + self.test:g} of 1"


@dataclass
class QuantityConf:
    """What a regression predicts: one number per case."""

    name: str = "value"  # as reports call it: age, volume
    unit: str = ""  # years, ml ...; "" has none
    column: str = "label"  # of the manifest: label, label.<name>, or any free column, as age

    def problems(self) -> Iterator[str]:
        for key, most in (("name", 40), ("unit", 16)):
            word = getattr(self, key)
            if not word.isprintable() or len(word) > most:
                yield f"{key}: printable text of at most {most} letters, got {word!r}"
        if not self.name.strip():
            yield "name: must say what is predicted, for example age"
        if not self.column:
            yield "column: must name the manifest's column that holds the number, for example label"


@dataclass
class DataConf(ReadingConf):
    """One data set: a root folder and its manifest (a CSV, or a single MedMNIST-like .npz), or its own layout."""

    name: str = MISSING
    root: str = MISSING
    manifest: str = ""  # below the root; "" takes manifest.csv, else the only .csv or .npz there
    columns: dict[str, str] = field(default_factory=dict)  # a manifest's column -> what your table calls it
    layout: str = choice("manifest", "manifest", *LAYOUTS)  # msd ...: the folder itself, without a manifest
    split: str = choice("test", *SPLITS, "all")  # what evaluate looks at
    fold: int | None = number(None, at_least=0)  # this fold is val, and all the others train
    class_names: list[str] = field(default_factory=list)  # [] takes the labels found, sorted; the last is positive
    answers: str = choice("classes", "classes", "grades")  # of classifiers; grades: class_names in order, lowest first
    class_codes: dict[str, str] = field(default_factory=dict)  # class or structure -> SNOMED CT code
    structures: dict[str, list[int]] = field(default_factory=dict)  # structure -> its values in the mask files
    ignore_labels: list[int] = field(default_factory=list)  # values of voxels that nobody judged: no loss, no score
    quantity: QuantityConf = field(default_factory=QuantityConf)  # of regression
    covariates: list[str] = field(default_factory=list)  # of classifiers: free columns beside the image, as [age, sex]
    missing_covariates: str = choice("stop", "stop", "mean")  # of an empty cell; mean: as an average case, and told so
    covariate_dropout: float = number(0.0, at_least=0, below=1)  # share of training cells hidden: gaps are learnt
    duplicates: str = choice("stop", "stop", "drop_from_train")
    splits: SplitConf = field(default_factory=SplitConf)
    max_rejected: float = number(0.05, at_least=0, at_most=1)  # share of unreadable scans that may be left out
    workers: int = number(0, at_least=0)  # loading processes; data that fits into memory needs none
    memory_gb: float = number(4.0, above=0)  # prepared data up to this size stay in memory

    def problems(self) -> Iterator[str]:
        if len(set(self.class_names)) < len(self.class_names):
            yield f"class_names: a name stands there twice, got {self.class_names}"
        if self.answers == "grades" and not self.class_names:
            yield "class_names: data.answers=grades needs them in their order, the lowest first, as [none,mild,severe]"
        if self.answers == "grades" and len(self.class_names) == 2:
            yield "answers: two classes are a yes or no, without an order. Take data.answers=classes"
        if len(self.class_names) == 1:
            yield f"class_names: a classifier needs at least two classes, got {self.class_names}"
        if self.layout != "manifest" and self.manifest:
            yield f"manifest: data.layout={self.layout} reads the folder itself; leave one of the two out"
        if self.layout != "manifest" and self.columns:
            yield f"columns: data.layout={self.layout} reads the folder, not a table; leave one of the two out"
        yield from self._column_problems()
        yield from self._covariate_problems()
        yield from self._structure_problems()

    def _covariate_problems(self) -> Iterator[str]:
        if len(set(self.covariates)) < len(self.covariates):
            yield f"covariates: a column stands there twice, got {self.covariates}"
        if self.covariate_dropout and not self.covariates:
            yield "covariate_dropout: there are no covariates to hide. Name the columns in data.covariates"
        if self.covariate_dropout and self.missing_covariates != "mean":
            yield "covariate_dropout: hidden cells are gaps; add data.missing_covariates=mean, which fills them"

    def _column_problems(self) -> Iterator[str]:
        for name, theirs in self.columns.items():
            if name not in COLUMNS and name.partition(".")[0] not in COLUMNS_OF_SEVERAL:
                known = f"{', '.join(COLUMNS)}, or image., label. and mask.<name>"
                yield f"columns.{name}: a manifest's own columns are {known}.{nearest(name, list(COLUMNS))}"
            elif not theirs:
                yield f"columns.{name}: say what your table calls it, for example columns={{{name}: diagnosis}}"
        twice = {theirs for theirs in self.columns.values() if list(self.columns.values()).count(theirs) > 1}
        yield from (f"columns: {theirs!r} is named twice; a column has one meaning" for theirs in sorted(twice))

    def _structure_problems(self) -> Iterator[str]:
        named = {name: values for name, values in self.structures.items() if name != BACKGROUND}
        if len(named) > MOST_STRUCTURES:
            yield f"structures: at most {MOST_STRUCTURES}, got {len(named)}"
        for name, values in self.structures.items():
            if not values:
                yield f"structures.{name}: needs at least one value, for example [1]"
            if name not in named:
                continue
            if 0 in values:
                yield f"structures.{name}: 0 is the background"
            if both := sorted(set(values) & {*self.ignore_labels, *self.structures.get(BACKGROUND, [])}):
                yield f"structures.{name}: {both} cannot be a structure and ignored or background too"
        if odd := sorted({v for values in self.structures.values() for v in values if not 0 <= v <= LARGEST_LABEL}):
            yield f"structures: values must be whole numbers from 0 to {LARGEST_LABEL}, got {odd[:5]}"
        if odd := sorted(value for value in self.ignore_labels if not 0 < value <= LARGEST_LABEL):
            yield f"ignore_labels: values must be whole numbers from 1 to {LARGEST_LABEL}, got {odd[:5]}"
