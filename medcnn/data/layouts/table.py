"""Somebody's table of labels, as spreadsheets save it: any separator, a byte order mark, Windows' line ends."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

from medcnn.data.cells import from_cell
from medcnn.data.layouts.columns import is_reserved
from medcnn.data.manifest_checks import stop_at
from medcnn.errors import DataError

_SEPARATORS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Table:
    """rows: column -> value, spaces around it gone. numbers: of the rows as a spreadsheet counts, the header is 1."""

    name: str
    columns: list[str]
    rows: list[dict[str, str]] = field(repr=False)
    numbers: list[int]

    def values(self, column: str) -> list[str]:
        return [row[column] for row in self.rows]


def read_table(path: Path) -> Table:
    """Raises DataError with every problem of its form."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(
            f"{path.name} is no UTF-8 text. Save it from the spreadsheet as 'CSV UTF-8', or convert it to UTF-8"
        ) from None
    except OSError as error:
        raise DataError(f"labels: {path.name} cannot be read ({type(error).__name__})") from None
    first = text.split("\n", 1)[0].strip().lower()
    named = first[4:] if first.startswith("sep=") and len(first) == 5 else ""  # as Excel writes it
    body = text.split("\n", 1)[1] if named and "\n" in text else text
    try:
        lines = list(csv.reader(io.StringIO(body, newline=""), delimiter=named or _separator(body), strict=True))
    except csv.Error as error:
        raise DataError(f"{path.name} is no CSV: {error}. Save it again as CSV") from None
    return _checked(path.name, lines, first_number=3 if named else 2)


def _separator(text: str) -> str:
    """The one that cuts the header into most cells."""
    header = text.split("\n", 1)[0].rstrip("\r")
    return max(_SEPARATORS, key=lambda one: len(next(csv.reader([header], delimiter=one), [])))


def _checked(name: str, lines: list[list[str]], first_number: int) -> Table:
    columns = [_as_meant(from_cell(cell)) for cell in lines[0]] if lines else []
    while columns and not columns[-1]:  # columns that only their separators are left of
        columns.pop()
    problems = [f"the column {c!r} stands there twice" for c in sorted({c for c in columns if columns.count(c) > 1})]
    if "" in columns:
        problems.append(f"column {columns.index('') + 1} has no name")
    rows, numbers = [], []
    for number, line in enumerate(lines[1:], start=first_number):
        cells = [from_cell(cell) for cell in line]
        while len(cells) > len(columns) and not cells[-1]:
            cells.pop()
        if not any(cells):
            continue
        if len(cells) != len(columns):
            problems.append(f"row {number}: has {len(cells)} cells, the header {len(columns)}")
            continue
        rows.append(dict(zip(columns, cells, strict=True)))
        numbers.append(number)
    if not rows and not problems:
        problems.append("there is no row below the header" if columns else "it is empty")
    stop_at(problems, name)
    return Table(name, columns, rows, numbers)


def _as_meant(column: str) -> str:
    """`Label` is label, `Mask.T1` is mask.T1: what means something in a manifest may be written large."""
    first, point, rest = column.partition(".")
    meant = f"{first.lower()}{point}{rest}"
    return meant if is_reserved(meant) else column
