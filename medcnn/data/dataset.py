"""From a data config to cases with splits, labels and prepared scans; the checks that stop a training on the way."""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Literal, TypeVar, overload

from medcnn.config.data import DataConf
from medcnn.config.folders import data_root
from medcnn.data.cache import Cache
from medcnn.data.cells import to_cell
from medcnn.data.folds import with_turn
from medcnn.data.labels import Labels, Targets
from medcnn.data.leakage import duplicate_train_cases
from medcnn.data.manifest import Case, Manifest, read_manifest
from medcnn.data.mask_dataset import MaskDataset, structures_of, with_masks
from medcnn.data.prepared import Prepared, Preparer
from medcnn.data.privacy import Keyring
from medcnn.data.read_cases import ReadCases
from medcnn.data.split import require_split_by_patient, split_digest, with_splits
from medcnn.data.strata import patient_of, stratum
from medcnn.data.structures import Structures
from medcnn.data.value_dataset import ValueDataset, number_stratum, require_spread, with_values
from medcnn.errors import DataError
from medcnn.io.options import Reading
from medcnn.transforms.preprocessing import Preprocessing

log = logging.getLogger(__name__)

AnyCases = TypeVar("AnyCases", Prepared, ReadCases)
Learns = Literal["labels", "masks", "values"]


@dataclass(frozen=True)
class Dataset:
    """Cases with a split each, and what they are labelled with.

    digest        of the rows: which scans, which labels
    split_digest  of the division
    remarks       what was done that a reader of results must know
    """

    manifest: Manifest
    labels: Labels
    digest: str
    split_digest: str
    remarks: tuple[str, ...] = ()

    def targets(self, cases: Sequence[Case]) -> Targets:
        """(n, K) of these cases."""
        return self.labels.targets(cases)

    def counts(self) -> dict[str, dict[str, int]]:
        """split -> class -> cases."""
        found: dict[str, dict[str, int]] = {}
        for split in dict.fromkeys(case.split for case in self.manifest.cases):
            targets = self.labels.targets(self.manifest.of_split(split))
            sums = (targets == 1).sum(axis=0)
            found[split] = {name: int(n) for name, n in zip(self.labels.class_names, sums, strict=True)}
        return found


@overload
def open_dataset(
    conf: DataConf, keyring: Keyring, *, splits: bool, learns: Literal["labels"] = "labels"
) -> Dataset: ...
@overload
def open_dataset(
    conf: DataConf,
    keyring: Keyring,
    *,
    splits: bool,
    learns: Literal["masks"],
    structures: Structures | None = None,
) -> MaskDataset: ...
@overload
def open_dataset(conf: DataConf, keyring: Keyring, *, splits: bool, learns: Literal["values"]) -> ValueDataset: ...


def open_dataset(
    conf: DataConf,
    keyring: Keyring,
    *,
    splits: bool,
    learns: Learns = "labels",
    structures: Structures | None = None,
) -> Dataset | MaskDataset | ValueDataset:
    """Read and check the manifest, or the layout that stands for it. Raises DataError, LeakageError.

    splits      divide where the manifest does not, and set calibration cases aside (training); else take it as it is
    learns      what cases must have. Of labels and numbers every one is looked at before any scan is read; cases
                without a mask, or without the number, are left out, and counted
    structures  those of a model, which then count instead of the data set's own
    """
    truth_in = conf.quantity.column if learns == "values" else ""
    manifest, codes, order = _manifest_of(conf, keyring, truth_in)
    remarks: list[str] = []
    if learns == "masks":
        manifest, said = with_masks(manifest)
        remarks += said
        if structures is None:
            structures, said = structures_of(conf, manifest, codes, order)
            remarks += said
    elif learns == "values":
        manifest, said = with_values(manifest, conf.quantity)
        remarks += said
    else:
        labels = Labels.of(manifest, conf.class_names, grades=conf.answers == "grades")
        labels.targets(manifest.cases)
    manifest, said = _divided(conf, manifest, splits=splits, learns=learns)
    remarks += said
    require_split_by_patient(manifest.cases)
    if not all(case.patient_id for case in manifest.cases):
        remarks.append(_without_patients(in_blocks=splits and conf.splits.block_cases > 0))
    digest, divided = _digest(manifest.cases, structures), split_digest(manifest.cases)
    if structures is not None:
        return MaskDataset(manifest, structures, digest, divided, tuple(remarks))
    if learns == "values":
        return ValueDataset(manifest, conf.quantity, digest, divided, tuple(remarks))
    return Dataset(manifest, labels, digest, divided, tuple(remarks))


def _manifest_of(
    conf: DataConf, keyring: Keyring, truth_in: str
) -> tuple[Manifest, dict[str, tuple[int, ...]], list[str]]:
    """The cases, and of a layout its classes' values in masks and their order."""
    root = data_root(conf.root)
    if conf.layout == "manifest":
        manifest = read_manifest(root, conf.manifest, conf.columns, truth_in=truth_in)
        return manifest.with_cases([_named(case, keyring) for case in manifest.cases]), {}, []
    from medcnn.data.layouts.read import read_layout

    if not root.is_dir():
        raise DataError(f"data.root: {root} is not a folder. Give the folder that holds the data")
    listing = read_layout(root, kind=conf.layout, keyring=keyring, reading=Reading.of(conf))
    for remark in listing.remarks:
        log.info("note: %s", remark)  # may name files, so for this terminal and the log, and for no report
    return Manifest(root, told_apart(listing.cases, keyring)), listing.codes, listing.class_names


def told_apart(cases: Sequence[Case], keyring: Keyring) -> tuple[Case, ...]:
    """Files that claim one identity (copies, or an anonymiser that wrote the same UID) are told apart by their path."""
    times = Counter(case.case_id for case in cases)
    return tuple(
        replace(case, case_id=keyring.case_id((case.case_id, *case.images.values()), ""))
        if times[case.case_id] > 1
        else case
        for case in cases
    )


def _divided(conf: DataConf, manifest: Manifest, *, splits: bool, learns: Learns) -> tuple[Manifest, list[str]]:
    """With the splits that are asked for."""
    remarks: list[str] = []
    if splits and learns == "masks":
        shares = replace(conf.splits, calib=0.0)  # of masks nothing is calibrated: every case is worth more in train
        if _too_few(manifest, [shares.val, shares.test]):
            manifest = manifest.with_cases([replace(case, split="train") for case in manifest.cases])
            remarks.append(f"{len(manifest)} case(s) are too few to set any aside: all are trained on")
        manifest, said = with_splits(manifest, shares)
        remarks += said
    elif splits:
        stratum_of = number_stratum(manifest.cases) if learns == "values" else stratum
        manifest, remarks = with_splits(manifest, conf.splits, stratum_of)
    if conf.fold is not None:
        manifest = manifest.with_cases(with_turn(manifest.cases, conf.fold))
        remarks.append(f"fold {conf.fold} is val, and the others train")
    if splits and learns == "masks" and not manifest.of_split("val"):
        remarks.append("there is no val split: nothing chooses among the states of the training, the last one counts")
    return manifest, remarks


def _without_patients(*, in_blocks: bool) -> str:
    if in_blocks:
        return (
            "no patient ids: splits are by blocks of neighbouring files, intervals per case and so too narrow. A "
            "person at the edge of a block, or with files far apart, may be in two splits: results may be too good"
        )
    return "no patient ids: splits and intervals are per case, and one person may be in two splits"


def _too_few(manifest: Manifest, shares: Sequence[float]) -> bool:
    """Whether the patients, of whom none has a split, cannot fill one split each."""
    patients = {patient_of(case) for case in manifest.cases}
    return all(not case.split for case in manifest.cases) and len(patients) < 1 + sum(share > 0 for share in shares)


def _named(case: Case, keyring: Keyring) -> Case:
    if case.case_id:
        return case
    return replace(case, case_id=keyring.case_id((), "|".join(case.images.values())))


def _digest(cases: Sequence[Case], structures: Structures | None) -> str:
    lines = sorted(
        "\t".join([case.case_id, *map(_told, (case.images, case.labels, case.masks)), case.boxes]) for case in cases
    )
    lines += [] if structures is None else [str(structures.as_json())]
    return sha256("\n".join(lines).encode()).hexdigest()[:16]


def _told(values: Mapping[str, str]) -> str:
    return str(sorted(values.items()))


def require_trainable(dataset: Dataset | MaskDataset | ValueDataset) -> None:
    """Raise DataError where training cannot mean anything: a split or a class is not there.

    Of masks a training split is enough; what they hold is known once they are read, see read_cases.require_learnable.
    """
    if isinstance(dataset, MaskDataset):
        if not dataset.manifest.of_split("train"):
            raise DataError(f"no case is in the split 'train' (there: {', '.join(dataset.counts())}). Name some")
        return
    if isinstance(dataset, ValueDataset):
        require_spread(dataset)
        return
    counts = dataset.counts()
    for split in ("train", "val"):
        if not dataset.manifest.of_split(split):
            there = ", ".join(counts)
            raise DataError(f"no case is in the split {split!r} (there: {there}). Name some, or leave the column out")
    train = counts["train"]
    if empty := [name for name, count in train.items() if count == 0]:
        raise DataError(f"no training case of class {', '.join(empty)}. Add some, or take it out of data.class_names")
    if dataset.labels.kind != "multilabel" and sum(count > 0 for count in counts["val"].values()) < 2:
        raise DataError("the validation split has one class only, so no model can be chosen on it. Add cases to it")


def prepare_dataset(
    dataset: Dataset | ValueDataset,
    conf: DataConf,
    preprocessing: Preprocessing,
    cache: Cache,
    *,
    split: str = "all",
    report: Callable[[int, int], None],
) -> Prepared:
    """Every scan of a split on the network's grid. Raises DataError where too many cannot be used."""
    preparer = Preparer(dataset.manifest.root, preprocessing, cache)
    cases = dataset.manifest.of_split(split)
    return preparer.all(cases, memory_bytes=conf.memory_gb * 1e9, max_rejected=conf.max_rejected, report=report)


def without_leaks(prepared: AnyCases, duplicates: str) -> tuple[AnyCases, int]:
    """Training copies of scans of other splits dropped, and how many; or LeakageError."""
    dropped = duplicate_train_cases(prepared.cases, prepared.facts, duplicates=duplicates)
    if not dropped:
        return prepared, 0
    return prepared.part(lambda case: case.case_id not in dropped), len(dropped)


def write_used_manifest(path: Path, cases: Sequence[Case], keyring: Keyring, *, shareable: bool) -> None:
    """The manifest as it was used: patient_key instead of patient_id; without paths and outlines where it is shared."""
    rows = []
    for case in cases:
        row = {"case_id": case.case_id, "patient_key": keyring.patient_key(case.patient_id)}
        if not shareable:
            row |= _columns("image", case.images)
        row |= _columns("label", case.labels)
        if not shareable:
            row |= _columns("mask", case.masks) | ({"boxes": case.boxes} if any(c.boxes for c in cases) else {})
        row |= {"split": case.split} | ({"fold": case.fold} if any(c.fold for c in cases) else {})
        rows.append(row)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([_cell(name) for name in rows[0]])
        writer.writerows([_cell(value) for value in row.values()] for row in rows)


def _columns(name: str, values: Mapping[str, str]) -> dict[str, str]:
    return {f"{name}.{short}" if short else name: value for short, value in values.items()}


def _cell(value: str) -> str:
    try:
        return to_cell(value)
    except ValueError as error:
        raise DataError(f"a value of the manifest {error}. Rename the file, or change the value") from None


def in_words(counts: Mapping[str, Mapping[str, int] | int]) -> str:
    """'train 120 (60 normal, 60 opacity), val ...', or 'train 120, val ...' where cases have no class."""
    parts = []
    for split, classes in counts.items():
        if isinstance(classes, int):
            parts.append(f"{split} {classes}")
            continue
        of_classes = ", ".join(f"{count} {name}" for name, count in classes.items())
        parts.append(f"{split} {sum(classes.values())} ({of_classes})")
    return ", ".join(parts)


def most_common_rejections(prepared: Prepared | ReadCases) -> str:
    """'3 PIXEL_DATA_TRUNCATED, 1 NOT_DICOM'."""
    counts = Counter(str(rejection.code) for _, rejection in prepared.rejected)
    return ", ".join(f"{count} {code}" for code, count in counts.most_common())
