"""From a data config to cases with splits, labels and prepared scans; the checks that stop a training on the way."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from medcnn.config.data import DataConf
from medcnn.config.folders import data_root
from medcnn.data.cache import Cache
from medcnn.data.labels import Labels
from medcnn.data.leakage import duplicate_train_cases
from medcnn.data.manifest import Case, Manifest, read_manifest
from medcnn.data.prepared import Prepared, Preparer
from medcnn.data.privacy import Keyring
from medcnn.data.split import require_split_by_patient, split_digest, with_splits
from medcnn.errors import DataError
from medcnn.transforms.preprocessing import Preprocessing


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

    def counts(self) -> dict[str, dict[str, int]]:
        """split -> class -> cases."""
        found: dict[str, dict[str, int]] = {}
        for split in dict.fromkeys(case.split for case in self.manifest.cases):
            targets = self.labels.targets(self.manifest.of_split(split))
            sums = (targets == 1).sum(axis=0)
            found[split] = {name: int(n) for name, n in zip(self.labels.class_names, sums, strict=True)}
        return found


def open_dataset(conf: DataConf, keyring: Keyring, *, splits: bool) -> Dataset:
    """Read and check the manifest. Raises DataError, LeakageError.

    splits  divide where the manifest does not, and set calibration cases aside (training); else take it as it is
    """
    manifest = read_manifest(data_root(conf.root), conf.manifest)
    manifest = manifest.with_cases([_named(case, keyring) for case in manifest.cases])
    labels = Labels.of(manifest, conf.class_names)
    labels.targets(manifest.cases)  # every label is looked at before patients are divided and any scan is read
    remarks: list[str] = []
    if splits:
        manifest, remarks = with_splits(manifest, conf.splits)
    require_split_by_patient(manifest.cases)
    if not all(case.patient_id for case in manifest.cases):
        remarks.append("no patient ids: splits and intervals are per case, and one person may be in two splits")
    return Dataset(manifest, labels, _digest(manifest.cases), split_digest(manifest.cases), tuple(remarks))


def _named(case: Case, keyring: Keyring) -> Case:
    if case.case_id:
        return case
    return replace(case, case_id=keyring.case_id((), "|".join(case.images.values())))


def _digest(cases: Sequence[Case]) -> str:
    lines = sorted(
        "\t".join([case.case_id, *map(_told, (case.images, case.labels, case.masks)), case.boxes]) for case in cases
    )
    return sha256("\n".join(lines).encode()).hexdigest()[:16]


def _told(values: Mapping[str, str]) -> str:
    return str(sorted(values.items()))


def require_trainable(dataset: Dataset) -> None:
    """Raise DataError where training cannot mean anything: a split or a class is not there."""
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
    dataset: Dataset,
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


def without_leaks(prepared: Prepared, duplicates: str) -> tuple[Prepared, int]:
    """Training copies of scans of other splits dropped, and how many; or LeakageError."""
    dropped = duplicate_train_cases(prepared.cases, prepared.facts, duplicates=duplicates)
    if not dropped:
        return prepared, 0
    return prepared.part(lambda case: case.case_id not in dropped), len(dropped)


def write_used_manifest(path: Path, cases: Sequence[Case], keyring: Keyring, *, shareable: bool) -> None:
    """The manifest as it was used: patient_key instead of patient_id; without image paths where it is shared."""
    labels = [f"label.{name}" if name else "label" for name in cases[0].labels]
    images = [] if shareable else [f"image.{name}" if name else "image" for name in cases[0].images]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case_id", "patient_key", *images, *labels, "split"])
        for case in cases:
            references = [] if shareable else list(case.images.values())
            row = [case.case_id, keyring.patient_key(case.patient_id), *references, *case.labels.values(), case.split]
            writer.writerow([_plain(value) for value in row])


def _plain(value: str) -> str:
    """What a spreadsheet would run as a formula is quoted."""
    return f"'{value}" if value[:1] in ("=", "+", "@") else value


def in_words(counts: dict[str, dict[str, int]]) -> str:
    """'train 120 (60 normal, 60 opacity), val ...'."""
    parts = []
    for split, classes in counts.items():
        of_classes = ", ".join(f"{count} {name}" for name, count in classes.items())
        parts.append(f"{split} {sum(classes.values())} ({of_classes})")
    return ", ".join(parts)


def most_common_rejections(prepared: Prepared) -> str:
    """'3 PIXEL_DATA_TRUNCATED, 1 NOT_DICOM'."""
    counts = Counter(str(rejection.code) for _, rejection in prepared.rejected)
    return ", ".join(f"{count} {code}" for code, count in counts.most_common())
