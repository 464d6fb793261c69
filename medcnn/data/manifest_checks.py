"""What a manifest's columns and rows must be; every problem is a line of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from medcnn.config.data import SPLITS
from medcnn.config.fields import nearest
from medcnn.data.boxes import read_boxes
from medcnn.data.cells import from_cell
from medcnn.errors import DataError
from medcnn.io.reference import Reference
from medcnn.scan import ScanRejected

SHOWN = 20
TRUTHS = ("label", "mask", "boxes")
_MOST_FOLDS = 100
Row = dict[str, str]


def columns_of(columns: Sequence[str], name: str) -> dict[str, str]:
    """Column -> short name, for `image` or `image.<channel>`."""
    return {c: c[len(name) + 1 :] for c in columns if c == name or c.startswith(f"{name}.")}


def stop_at(problems: Sequence[str], what: str) -> None:
    """Raise DataError with all of them, at most 20 shown."""
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        lines = "\n".join(f"  - {line}" for line in [*problems[:SHOWN], *more])
        raise DataError(f"{what} cannot be used:\n{lines}")


def renamed(columns: Sequence[str], own_words: Mapping[str, str]) -> list[str]:
    """The columns of a table by a manifest's names; own_words: a manifest's name -> the table's."""
    names = {theirs: name for name, theirs in own_words.items()}
    return [names.get(column, column) for column in columns]


def rename_problems(columns: Sequence[str], own_words: Mapping[str, str]) -> Iterator[str]:
    """What data.columns names must be there, and no second column may have the meaning that it gives."""
    for name, theirs in own_words.items():
        if theirs not in columns:
            there = ", ".join(columns) or "nothing"
            close = nearest(theirs, list(columns))
            yield f"data.columns: no column {theirs!r} to be the {name!r}, found {there}.{close}"
        elif name != theirs and name in columns and name not in own_words.values():
            yield f"data.columns: {theirs!r} is to be the {name!r}, and there is a column {name!r} too. Rename that one"


def column_problems(columns: Sequence[str], truth_in: str = "") -> Iterator[str]:
    """An image is needed, and something that is known about it; truth_in: a free column that may say it."""
    there = ", ".join(columns) or "nothing"
    if not columns_of(columns, "image"):
        yield f"no column 'image', found {there}.{nearest('image', list(columns))}"
    if truth_in not in columns and not any(columns_of(columns, truth) for truth in TRUTHS):
        close = next((said for truth in TRUTHS if (said := nearest(truth, list(columns)))), "")
        yield f"no column 'label', 'mask' or 'boxes', found {there}.{close}"
    for name in ("image", "label", "mask"):
        if name in columns and len(columns_of(columns, name)) > 1:
            yield f"both {name!r} and '{name}.<name>' columns; use one kind"
    twice = {column for column in columns if columns.count(column) > 1}
    yield from (f"the column {column!r} stands there twice" for column in sorted(twice))


def row_problems(rows: Sequence[Row]) -> Iterator[str]:
    """Rows are counted as a spreadsheet does, the header being row 1."""
    ids: dict[tuple[str, str], int] = {}
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            yield f"row {number}: has another number of columns than the header"
            continue
        clean = {column: from_cell(value) for column, value in row.items()}
        yield from (f"row {number}: {line}" for line in _cell_problems(clean))
        images = "|".join(clean[c] for c in columns_of(list(row), "image"))
        name = clean.get("case_id", "")
        key = ("case_id", name) if name else ("image, without a case_id,", images)
        if key in ids:
            yield f"row {number}: the same {key[0]} as row {ids[key]}"
        ids.setdefault(key, number)
    splits = [from_cell(row.get("split")) for row in rows]
    if any(splits) and not all(splits):
        yield f"{splits.count('')} rows have no split and the others do; fill in all of them or none"


def _cell_problems(row: Row) -> Iterator[str]:
    if not any(row[column] for column in columns_of(list(row), "image")):
        yield "no image"
    if (split := row.get("split", "")) and split not in SPLITS:
        yield f"split {split!r} is not one of {', '.join(SPLITS)}.{nearest(split, list(SPLITS))}"
    if fold := row.get("fold", ""):
        yield from fold_problems(fold)
    for column in columns_of(list(row), "mask"):
        try:
            Reference.parse(row[column])
        except ScanRejected as rejected:
            yield f"{column}: {rejected.rejection.found}. {rejected.rejection.remedy}"
    try:
        read_boxes(row.get("boxes", ""))
    except ValueError as error:
        yield f"boxes: {error}"


def fold_problems(fold: str) -> Iterator[str]:
    """A fold is a small whole number, counted from 0."""
    if not (fold.isascii() and fold.isdecimal() and int(fold) < _MOST_FOLDS):
        yield f"fold {fold[:20]!r} is not a whole number from 0 to {_MOST_FOLDS - 1}"
