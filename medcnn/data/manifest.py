"""The one table that every task reads: which scans, whose, with what label, in which split."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from medcnn.config.data import SPLITS
from medcnn.config.fields import nearest
from medcnn.errors import DataError
from medcnn.scan import ScanRejected

_FIXED = ("case_id", "patient_id", "image", "label", "mask", "boxes", "split", "fold")
_AT_MOST_SHOWN = 5


@dataclass(frozen=True)
class Case:
    """One row.

    images  channel -> reference below the data root; a single-channel case has the channel ""
    labels  {"": text} for one label, {name: text} for several that can be true together; "" is missing
    """

    case_id: str
    images: dict[str, str]
    labels: dict[str, str]
    patient_id: str = field(default="", repr=False)
    split: str = ""
    mask: str = ""
    boxes: str = ""
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
        """[""] for one label per case, else the names of those that can be true together."""
        return list(self.cases[0].labels)

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
            f"data.root: {root} holds no manifest (manifest.csv or an .npz). For folders per class, run "
            f"`python -m medcnn.prepare input={root} output={root}/manifest.csv`; see docs/data.md for the columns"
        )
    raise DataError(f"data.manifest: {len(found)} candidates in {root}, name one: {', '.join(p.name for p in found)}")


def read_manifest(root: Path, named: str) -> Manifest:
    """The checked manifest of a data root. Raises DataError with every problem at once."""
    path = find_manifest(root, named)
    cases = _archive_cases(root, path) if path.suffix == ".npz" else _csv_cases(path)
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


def _csv_cases(path: Path) -> list[Case]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = list(reader.fieldnames or [])
            found = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path.name} is no UTF-8 CSV: {type(error).__name__}. Save it as CSV in UTF-8") from error
    problems = list(_column_problems(columns))
    if not problems:
        problems = list(_row_problems(found))
    if problems:
        shown = [*problems[:20], *([f"and {len(problems) - 20} more"] if len(problems) > 20 else [])]
        raise DataError(f"{path.name} cannot be used:\n" + "\n".join(f"  - {line}" for line in shown))
    return [_case(row) for row in found]


def _channels_of(columns: Sequence[str], name: str) -> dict[str, str]:
    """Column -> short name, for `image` or `image.<channel>`."""
    return {c: c[len(name) + 1 :] for c in columns if c == name or c.startswith(f"{name}.")}


def _column_problems(columns: Sequence[str]) -> Iterator[str]:
    for needed in ("image", "label"):
        if not _channels_of(columns, needed):
            close = nearest(needed, list(columns))
            yield f"no column {needed!r}, found {', '.join(columns) or 'nothing'}.{close}"
        elif needed in columns and len(_channels_of(columns, needed)) > 1:
            yield f"both {needed!r} and '{needed}.<name>' columns; use one kind"
    twice = {column for column in columns if columns.count(column) > 1}
    yield from (f"the column {column!r} stands there twice" for column in sorted(twice))


def _row_problems(rows: Sequence[dict[str, str]]) -> Iterator[str]:
    ids: dict[tuple[str, str], int] = {}
    for number, row in enumerate(rows, start=2):  # as a spreadsheet counts, the header being row 1
        if None in row or None in row.values():
            yield f"row {number}: has another number of columns than the header"
            continue
        if not any((row[c] or "").strip() for c in _channels_of(list(row), "image")):
            yield f"row {number}: no image"
        if (split := (row.get("split") or "").strip()) and split not in SPLITS:
            yield f"row {number}: split {split!r} is not one of {', '.join(SPLITS)}.{nearest(split, list(SPLITS))}"
        name = (row.get("case_id") or "").strip()
        images = "|".join((row[c] or "").strip() for c in _channels_of(list(row), "image"))
        key = ("case_id", name) if name else ("image, without a case_id,", images)
        if key in ids:
            yield f"row {number}: the same {key[0]} as row {ids[key]}"
        ids.setdefault(key, number)
    splits = [(row.get("split") or "").strip() for row in rows]
    if any(splits) and not all(splits):
        yield f"{splits.count('')} rows have no split and the others do; fill in all of them or none"


def _case(row: dict[str, str]) -> Case:
    clean = {key: (value or "").strip() for key, value in row.items()}
    images = {short: clean[column] for column, short in _channels_of(list(row), "image").items()}
    labels = {short: clean[column] for column, short in _channels_of(list(row), "label").items()}
    known = {*_FIXED, *_channels_of(list(row), "image"), *_channels_of(list(row), "label")}
    return Case(
        case_id=clean.get("case_id", ""),
        images=images,
        labels=labels,
        patient_id=clean.get("patient_id", ""),
        split=clean.get("split", ""),
        mask=clean.get("mask", ""),
        boxes=clean.get("boxes", ""),
        free={key: value for key, value in clean.items() if key not in known and not key.startswith("mask.")},
    )
