"""The one table that every task reads: which scans, whose, with what label, in which split."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path

from medcnn.config.fields import nearest
from medcnn.data.cells import from_cell, to_cell
from medcnn.data.manifest_checks import (
    Row,
    column_problems,
    columns_of,
    rename_problems,
    renamed,
    row_problems,
    stop_at,
)
from medcnn.errors import DataError
from medcnn.scan import ScanRejected
from medcnn.whole_file import write_whole

_SINGLE = ("case_id", "patient_id", "boxes", "split", "fold")


@dataclass(frozen=True)
class Case:
    """One row.

    images  channel -> reference below the data root; a single-channel case has the channel ""
    labels  {"": text} for one label, {name: text} for several that can be true together; "" is missing; {} where the
            data set has none
    masks   channel -> reference, {"": reference} for one mask; "" is missing
    boxes   JSON, as medcnn.data.boxes reads it; "" is not looked for, "[]" looked for and none there
    fold    "0", "1", ...: held out in this turn of a cross-validation; "" in none
    """

    case_id: str
    images: dict[str, str]
    labels: dict[str, str]
    patient_id: str = field(default="", repr=False)
    split: str = ""
    masks: dict[str, str] = field(default_factory=dict)
    boxes: str = ""
    fold: str = ""
    free: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """All cases of a data set, checked."""

    root: Path = field(repr=False)
    cases: tuple[Case, ...]

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def channels(self) -> list[str]:
        """Image columns in their order."""
        return list(self.cases[0].images)

    @property
    def label_names(self) -> list[str]:
        """[""] for one label per case, else the names of those that can be true together; [] without labels."""
        return list(self.cases[0].labels)

    @property
    def mask_names(self) -> list[str]:
        """[""] for one mask per case, else the names of several, [] without any."""
        return list(self.cases[0].masks)

    @property
    def says_nothing(self) -> bool:
        """Whether no case has a label, a mask or a box: a list to be filled in."""
        return not any(case.boxes or any((*case.labels.values(), *case.masks.values())) for case in self.cases)

    def of_split(self, split: str) -> list[Case]:
        """The cases of one split, or of all."""
        return [case for case in self.cases if split in ("all", case.split)]

    def with_cases(self, cases: Sequence[Case]) -> Manifest:
        """The same data set with other rows."""
        return replace(self, cases=tuple(cases))


def find_manifest(root: Path, named: str) -> Path:
    """data.manifest, else manifest.csv, else the only .csv or .npz of the root."""
    if not root.is_dir():
        raise DataError(f"data.root: {root} is not a folder. Give the folder that holds the data")
    if named:
        path = root / named
        if not path.is_file():
            close = nearest(named, [p.name for p in root.iterdir()])
            raise DataError(f"data.manifest: there is no {named} in data.root.{close}")
        return path
    if (root / "manifest.csv").is_file():
        return root / "manifest.csv"
    found = sorted(path for path in root.iterdir() if path.suffix in (".csv", ".npz"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise DataError(
            f"data.root: {root} holds no manifest (manifest.csv or an .npz). Make one: "
            f"`python -m medcnn.prepare input={root} output={root}/manifest.csv`; see docs/data.md for the layouts"
        )
    raise DataError(f"data.manifest: {len(found)} candidates in {root}, name one: {', '.join(p.name for p in found)}")


def read_manifest(root: Path, named: str, columns: Mapping[str, str] | None = None, *, truth_in: str = "") -> Manifest:
    """The checked manifest of a data root. Raises DataError with every problem at once.

    columns: a manifest's column -> what the table calls it, where that is another word
    truth_in: a free column that may stand for label, mask and boxes
    """
    path = find_manifest(root, named)
    if path.suffix == ".npz" and columns:
        raise DataError(f"data.columns: {path.name} is an archive, which has no columns. Leave data.columns out")
    cases = _archive_cases(root, path) if path.suffix == ".npz" else _csv_cases(path, columns or {}, truth_in)
    if not cases:
        raise DataError(f"{path.name} has no rows. A data set needs at least one case")
    return Manifest(root, tuple(cases))


def _archive_cases(root: Path, path: Path) -> list[Case]:
    from medcnn.io.archive import rows

    reference = path.relative_to(root).as_posix()
    cases = []
    try:
        found = rows(path)
    except ScanRejected as error:
        raise DataError(f"{path.name} cannot be used. {error}") from error
    for part, index, label in found:
        words = [str(value) for value in label]
        labels = {"": "".join(words)} if len(words) < 2 else {str(k): word for k, word in enumerate(words)}
        cases.append(Case(f"{part}-{index:05d}", {"": f"{reference}#row={part}/{index}"}, labels, "", part))
    return cases


def _csv_cases(path: Path, own_words: Mapping[str, str], truth_in: str) -> list[Case]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            theirs = [from_cell(name) for name in reader.fieldnames or []]
            columns = renamed(theirs, own_words)
            reader.fieldnames = columns
            found = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path.name} is no UTF-8 CSV: {type(error).__name__}. Save it as CSV in UTF-8") from error
    odd = list(rename_problems(theirs, own_words)) or list(column_problems(columns, truth_in))
    stop_at(odd or list(row_problems(found)), path.name)
    return [_case(row) for row in found]


def _case(row: Row) -> Case:
    clean = {key: from_cell(value) for key, value in row.items()}
    several = {name: columns_of(list(row), name) for name in ("image", "label", "mask")}
    known = {*_SINGLE, *(column for columns in several.values() for column in columns)}
    images, labels, masks = ({short: clean[c] for c, short in columns.items()} for columns in several.values())
    return Case(
        case_id=clean.get("case_id", ""),
        images=images,
        labels=labels,
        patient_id=clean.get("patient_id", ""),
        split=clean.get("split", ""),
        masks=masks,
        boxes=clean.get("boxes", ""),
        fold=clean.get("fold", ""),
        free={key: value for key, value in clean.items() if key not in known},
    )


def write_manifest(path: Path, manifest: Manifest) -> None:
    """One CSV that read_manifest gives back as it was: whole or not at all, the same bytes for the same cases."""
    write_whole(path, manifest_bytes(manifest))


def manifest_bytes(manifest: Manifest) -> bytes:
    """The CSV; what a spreadsheet would run is marked as text. Raises DataError where a value cannot be in a table."""
    rows = [_row(case) for case in manifest.cases]
    columns = list(_written_columns(manifest.cases))
    problems = [
        f"a free column may not be called {name!r}: that means something else"
        for name in dict.fromkeys(name for case in manifest.cases for name in case.free)
        if name in _SINGLE or name.split(".")[0] in ("image", "label", "mask")
    ]
    for number, row in enumerate(rows, start=2):
        for column in columns:
            try:
                row[column] = to_cell(row.get(column, ""))
            except ValueError as error:
                problems.append(f"row {number}: the value of {column!r} {error}. Rename the file, or change the value")
    stop_at(problems, "the manifest")
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([to_cell(column) for column in columns])
    writer.writerows([row[column] for column in columns] for row in rows)
    return text.getvalue().encode()


def _row(case: Case) -> Row:
    row = dict(case.free)
    for name, values in (("image", case.images), ("label", case.labels), ("mask", case.masks)):
        row |= {f"{name}.{short}" if short else name: value for short, value in values.items()}
    return row | {name: getattr(case, name) for name in _SINGLE}


def _written_columns(cases: Sequence[Case]) -> Iterator[str]:
    """In one order always; what no case says is left out."""
    yield from ("case_id", "patient_id")
    yield from _named("image", (case.images for case in cases))
    yield from _named("label", (case.labels for case in cases))
    yield from _named("mask", (case.masks for case in cases))
    for name in ("boxes", "split", "fold"):
        if any(getattr(case, name) for case in cases):
            yield name
    yield from dict.fromkeys(column for case in cases for column in case.free)


def _named(name: str, values: Iterable[dict[str, str]]) -> list[str]:
    return list(dict.fromkeys(f"{name}.{short}" if short else name for row in values for short in row))
