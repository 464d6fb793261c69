"""predictions.csv of a segmentation: a row per case and structure, written and read back without loss.

Columns: case_id, patient_key, split, structure, dice, iou, nsd, nsd_tolerance_mm, hd95_mm, hd_mm, assd_mm, truth_ml,
predicted_ml, state. Pictures have ..._cm2 for ..._ml, and ..._px where their spacing is not known. Empty is undefined.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from medcnn.errors import DataError
from medcnn.evaluation.segmentation.scores import STATES, CaseScores, StructureScores
from medcnn.evaluation.segmentation.units import PICTURE, PICTURE_IN_PIXELS, VOLUME, Units
from medcnn.reporting.figures import Row, write_rows

WHO = ("case_id", "patient_key", "split", "structure")
_FORMULA = ("'=", "'+", "'-", "'@")  # how write_rows keeps a spreadsheet from running a text


def write_case_scores(path: Path, cases: Sequence[CaseScores]) -> None:
    """Write the table, cases and structures in their order; ValueError for cases in different units."""
    if len({case.units for case in cases}) > 1:
        raise ValueError("the cases were measured in different units: one table has one unit")
    write_rows(list(_rows(cases)), path)


def read_case_scores(path: Path) -> list[CaseScores]:
    """The cases of a table, in its order. Raises DataError for what is no such table; it names no case."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        header = list(reader.fieldnames or [])
        units = units_in(header)
        if units is None:
            raise DataError(f"{path.name} is no table of segmented cases: it lacks {', '.join(_lacking(header))}")
        found: dict[tuple[str, str, str], dict[str, StructureScores]] = {}
        for number, row in enumerate(reader, start=2):
            case_id, patient_key, split, structure = (_text(row[column]) for column in WHO)
            structures = found.setdefault((case_id, patient_key, split), {})
            if structure in structures:
                raise DataError(f"{path.name}, line {number}: this case has {structure!r} twice")
            structures[structure] = _scores(row, units, f"{path.name}, line {number}")
    if len({frozenset(structures) for structures in found.values()}) > 1:
        raise DataError(f"{path.name}: not every case has every structure")
    return [CaseScores(case, structures, units, key, split) for (case, key, split), structures in found.items()]


def units_in(header: Sequence[str]) -> Units | None:
    """The units that a table's columns speak of; None where it is no table of segmented cases."""
    for units in (VOLUME, PICTURE, PICTURE_IN_PIXELS):
        if set(_columns(units)) <= set(header):
            return units
    return None


def _columns(units: Units) -> dict[str, str]:
    """Column -> the field of StructureScores."""
    numbers = {
        "dice": "dice",
        "iou": "iou",
        "nsd": "nsd",
        f"nsd_tolerance_{units.length}": "tolerance",
        f"hd95_{units.length}": "hd95",
        f"hd_{units.length}": "hd",
        f"assd_{units.length}": "assd",
        f"truth_{units.size}": "truth_size",
        f"predicted_{units.size}": "predicted_size",
    }
    return {column: "" for column in WHO} | numbers | {"state": "state"}


def _rows(cases: Sequence[CaseScores]) -> Iterator[Row]:
    for case in cases:
        columns = [(column, name) for column, name in _columns(case.units).items() if name]
        for structure, found in case.structures.items():
            who = dict(zip(WHO, (case.case_id, case.patient_key, case.split, structure), strict=True))
            yield who | {column: _cell(getattr(found, name)) for column, name in columns}


def _cell(value: float | str) -> float | str:
    return "" if value != value else value


def _text(cell: str) -> str:
    return cell[1:] if cell.startswith(_FORMULA) else cell


def _scores(row: Mapping[str, str], units: Units, where: str) -> StructureScores:
    columns = {name: column for column, name in _columns(units).items() if name}
    state = columns.pop("state")
    if row[state] not in STATES:
        raise DataError(f"{where}: state must be one of {', '.join(STATES)}, got {row[state]!r}")
    try:
        numbers = {name: float(row[column]) if row[column] else float("nan") for name, column in columns.items()}
    except ValueError:
        raise DataError(f"{where}: a measure is not a number") from None
    return StructureScores(state=next(s for s in STATES if s == row[state]), **numbers)


def _lacking(header: Sequence[str]) -> list[str]:
    return [column for column in _columns(VOLUME) if column not in header]
