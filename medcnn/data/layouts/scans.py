"""Any tree of scans and a table of labels: each row finds its scans, and what finds none is counted and named."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path, PurePosixPath

from medcnn.data.boxes import read_boxes
from medcnn.data.layouts.box_edges import BoxEdges
from medcnn.data.layouts.listing import SPLIT_WORDS, Ask, Listing, Problems, scans_below, shown, some
from medcnn.data.layouts.matching import KINDS, PATH, Match, ScanNames, leads_out
from medcnn.data.layouts.row_boxes import boxes_of_rows
from medcnn.data.layouts.table import Table, read_table
from medcnn.data.layouts.table_labels import Roles, roles_of
from medcnn.data.manifest import Case
from medcnn.data.manifest_checks import columns_of, fold_problems
from medcnn.errors import DataError
from medcnn.io.discover import Found
from medcnn.scan import Reason

LOOKED_FOR = "a table of labels, given with labels=<csv>; with layout=scans none is needed to look at any folder"


def recognise(root: Path) -> str:
    """Never by the folder alone: a table has to be named."""
    return ""


def read(ask: Ask) -> Listing:
    """Raises DataError with every problem."""
    if ask.labels is None:
        return _unlabelled(ask)
    table = read_table(ask.labels)
    found, skipped = scans_below(ask, ask.root)
    found = _without_masks(found, table)
    root = ask.root.resolve()
    names = ScanNames(root, ask.labels.resolve().parent, found)
    problems = Problems()
    channels = _channels(table, names, found)
    rows_of = _rows_of_scans(table, channels, root, problems)
    roles = roles_of(table, [match.column for match in channels.values()])
    cases = _Cases(ask, table, found, roles, problems).of(rows_of)
    if not (roles.labels or roles.boxes or {"boxes", *columns_of(table.columns, "mask")} & set(table.columns)):
        problems.add(next(line for line in roles.remarks if line.startswith("no label")))
    problems.stop(f"{table.name} with the scans below it")
    remarks = [*_named_by(table, channels), *roles.remarks, *_left_out(table, rows_of, found)]
    listed = ask.labels.resolve()
    skipped = [item for item in skipped if (root / item.reference) != listed]
    return Listing("scans", cases, skipped, remarks, _class_names(cases, roles))


def _unlabelled(ask: Ask) -> Listing:
    """Without a table: everything that is there, with an empty column to fill in."""
    found, skipped = scans_below(ask, ask.root)
    cases = []
    for item in found:
        images = {"": item.reference}
        case_id, patient = ask.case_id(images, item.identity), ask.keyring.patient_key(item.patient_id)
        cases.append(Case(case_id, images, {"": ""}, patient, free=dict(item.facts)))
    remarks = ["no labels were given: the column label is empty, fill it in, or run again with labels=<csv>"]
    return Listing("scans", cases, skipped, remarks)


def _class_names(cases: list[Case], roles: Roles) -> list[str]:
    if roles.boxes or not roles.labels:
        return sorted({box.name for case in cases for box in read_boxes(case.boxes)})
    if several := [name for name in roles.labels.values() if name]:
        return several
    return sorted({case.labels[""] for case in cases} - {""})


def _without_masks(found: list[Found], table: Table) -> list[Found]:
    """Files that a mask column names are no scans."""
    named = {PurePosixPath(value).as_posix() for c in columns_of(table.columns, "mask") for value in table.values(c)}
    return [item for item in found if item.reference not in named]


_Key = tuple[int, ...]  # the scans of one case, by their places in the list


def _channels(table: Table, names: ScanNames, found: list[Found]) -> dict[str, Match]:
    """Channel -> its match; "" for the one column that names the scans."""
    several = {column: short for column, short in columns_of(table.columns, "image").items() if short}
    if several:
        matches = {short: names.match(table, column) for column, short in several.items()}
        if missing := [short for short, match in matches.items() if match is None]:
            raise DataError(f"{table.name}: image.{missing[0]} names no scan that is there")
        return {short: match for short, match in matches.items() if match is not None}
    best = names.best(table)
    if best is None:
        example = f" A scan is called {shown(found[0].reference)}, for example." if found else " No scan was found."
        raise DataError(
            f"no column of {table.name} names the scans: {', '.join(table.columns)} were compared with their "
            f"{', '.join(KINDS)}.{example} Add a column `image` with paths below the folder"
        )
    return {"": best}


def _rows_of_scans(table: Table, channels: dict[str, Match], root: Path, problems: Problems) -> dict[_Key, list[int]]:
    """The scans of each case -> the rows that name them, in the scans' order."""
    rows: dict[_Key, list[int]] = defaultdict(list)
    for row, number in enumerate(table.numbers):
        named: list[list[int]] = []
        for match in channels.values():
            value, scans = table.rows[row][match.column], match.scans[row]
            if match.kind not in ("SOPInstanceUID", "SeriesInstanceUID", "PatientID") and leads_out(root, value):
                problems.add(
                    f"row {number}: {Reason.PATH_ESCAPE}, the path in {match.column!r} leads out of the folder"
                )
            elif len(scans) > 1 and (not match.may_be_several(row) or len(channels) > 1):
                what = "two places" if match.kind == PATH else "several scans of this name"
                problems.add(f"row {number}: {match.column!r} names {len(scans)} scans ({what}). Give relative paths")
            else:
                named.append(scans)
        if len(named) < len(channels) or not all(named):
            continue
        for key in [tuple(scans[0] for scans in named)] if len(channels) > 1 else [(scan,) for scan in named[0]]:
            rows[key].append(row)
    return dict(sorted(rows.items()))


class _Cases:
    """Rows and scans together become cases."""

    def __init__(self, ask: Ask, table: Table, found: list[Found], roles: Roles, problems: Problems) -> None:
        self.ask, self.table, self.found, self.roles, self.problems = ask, table, found, roles, problems
        self.channels = [short for short in columns_of(table.columns, "image").values() if short] or [""]
        self.edges = BoxEdges(problems)

    def of(self, rows_of: dict[_Key, list[int]]) -> list[Case]:
        return [self._case(key, rows) for key, rows in rows_of.items()]

    def _case(self, key: _Key, rows: list[int]) -> Case:
        row, roles = self.table.rows[rows[0]], self.roles
        scans = [self.found[place] for place in key]
        images = {name: scan.reference for name, scan in zip(self.channels, scans, strict=True)}
        where = f"row {self.table.numbers[rows[0]]}"
        labels = {short: row[column] for column, short in roles.labels.items()}
        boxes = row.get("boxes", "")
        if roles.boxes:
            labels, boxes = {}, boxes_of_rows(self.table, rows, roles, self.edges, self.ask.root / scans[0].reference)
        else:
            self._check_one_truth(rows, list(roles.labels))
            self._check_boxes(boxes, where)
        patient = (row[roles.patient] if roles.patient else "") or scans[0].patient_id
        return Case(
            case_id=self.ask.case_id(images, [uid for scan in scans for uid in scan.identity]),
            images=images,
            labels=labels,
            patient_id=self.ask.keyring.patient_key(patient),
            split=self._split(row.get("split", ""), where),
            masks=self._masks(row, where),
            boxes=boxes,
            fold=self._fold(row.get("fold", ""), where),
            free=scans[0].facts | {column: row[column] for column in roles.free},
        )

    def _check_one_truth(self, rows: list[int], labels: list[str]) -> None:
        told = [column for column in self.table.columns if column in labels or column in ("split", "fold", "boxes")]
        told += columns_of(self.table.columns, "mask")
        if len({tuple(self.table.rows[row][column] for column in told) for row in rows}) > 1:
            numbers = some([self.table.numbers[row] for row in rows])
            self.problems.add(f"rows {numbers}: name one scan, and say different things about it")

    def _check_boxes(self, boxes: str, where: str) -> None:
        try:
            read_boxes(boxes)
        except ValueError as error:
            self.problems.add(f"{where}: boxes: {error}")

    def _split(self, word: str, where: str) -> str:
        if word and word.lower() not in SPLIT_WORDS:
            self.problems.add(f"{where}: split {word[:20]!r} is not one of train, val, calib, test")
        return SPLIT_WORDS.get(word.lower(), "")

    def _fold(self, fold: str, where: str) -> str:
        for line in fold_problems(fold) if fold else ():
            self.problems.add(f"{where}: {line}")
        return fold

    def _masks(self, row: dict[str, str], where: str) -> dict[str, str]:
        found = {}
        for column, short in columns_of(self.table.columns, "mask").items():
            named = self.problems.file(self.ask.root, row[column], f"{where}, {column}") if row[column] else ""
            found[short] = named or ""
        return found


def _named_by(table: Table, channels: dict[str, Match]) -> list[str]:
    return [
        f"the column {match.column} of {table.name} names the scans by their {match.kind}: {match.rows_matched} of "
        f"{len(table.rows)} rows name {match.scans_matched} scans"
        for match in channels.values()
    ]


def _left_out(table: Table, rows_of: dict[_Key, list[int]], found: list[Found]) -> list[str]:
    """What found no partner: never without a word."""
    used_rows = {row for rows in rows_of.values() for row in rows}
    used_scans = {place for key in rows_of for place in key}
    rows = [number for row, number in enumerate(table.numbers) if row not in used_rows]
    scans = [shown(item.reference) for place, item in enumerate(found) if place not in used_scans]
    several = sum(len(rows) > 1 for rows in rows_of.values())
    remarks = []
    if rows:
        remarks.append(f"{len(rows)} rows name no scan that is there and were left out: rows {some(rows)}")
    if scans:
        remarks.append(f"{len(scans)} scans have no row and were left out: {some(scans)}")
    if several:
        remarks.append(f"{several} scans have several rows; what is not a box was taken from the first")
    return remarks
