"""Which column of a table names the scans, and by what: found out by how many it names. Identifiers stay in memory."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from posixpath import normpath

from medcnn.data.layouts.columns import plain
from medcnn.data.layouts.listing import shown, stem_of
from medcnn.data.layouts.table import Table
from medcnn.io.discover import Found

PATH, FOLDER = "relative path", "folder name"
#: What a value may be, the most exact first.
KINDS = (
    PATH,
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "file name",
    "file name without suffix",
    FOLDER,
    "StudyInstanceUID",
    "PatientID",
)
#: One value of these may stand for several scans; of the others it must stand for one.
OF_SEVERAL = frozenset((FOLDER, "StudyInstanceUID", "PatientID"))
_HINTS = frozenset(
    {"image", "images", "imagepath", "path", "file", "filepath", "filename", "imagefile", "imageid", "imageindex"}
    | {"scan", "scanid", "id", "case", "caseid", "dicom", "dicomid", "folder", "seriesuid", "seriesinstanceuid"}
    | {"sopinstanceuid", "sopuid", "imageuid", "studyuid", "studyinstanceuid", "patientid", "patient", "subject"}
    | {"subjectid", "participantid"}
)


_UID = re.compile(r"[0-2](\.\d+)+$")


@dataclass(frozen=True)
class Match:
    """A column, what its values are, and the scans (by their places in the list) that each row names."""

    column: str
    kind: str
    scans: list[list[int]] = field(repr=False)
    of_parts: frozenset[int] = frozenset()  # rows whose scans are the volumes of one series, told apart by split_by

    def may_be_several(self, row: int) -> bool:
        """Whether a row may name more than one scan."""
        return self.kind in OF_SEVERAL or row in self.of_parts

    @property
    def rows_matched(self) -> int:
        return sum(map(bool, self.scans))

    @property
    def rows_sure(self) -> int:
        """Rows that name what they may: several scans only where one value stands for several."""
        return sum(
            len(scans) == 1 or (bool(scans) and self.may_be_several(row)) for row, scans in enumerate(self.scans)
        )

    @property
    def scans_matched(self) -> int:
        return len({scan for row in self.scans for scan in row})

    def rank(self) -> tuple[int, int, int]:
        """The match that names most rows for sure goes first, then the more exact kind."""
        return self.rows_sure, self.rows_matched, -KINDS.index(self.kind)


class ScanNames:
    """Everything that scans may be called."""

    def __init__(self, root: Path, beside: Path, found: Sequence[Found]) -> None:
        """beside: the folder of the table, where paths in it may begin."""
        self.root, self.found = root, found
        self.prefix = beside.relative_to(root).as_posix() if beside.is_relative_to(root) else "."
        self._scans: dict[str, dict[str, list[int]]] = {}

    def of(self, kind: str, value: str) -> list[int]:
        if kind.endswith("UID") and not _UID.match(value):
            return []
        if kind not in self._scans:  # on demand: volumes have hundreds of SOP Instance UIDs each
            self._scans[kind] = self._index(kind)
        known = self._scans[kind]
        if value in known or kind not in (PATH, FOLDER):
            return known.get(value, [])
        return next((known[text] for text in self._ways(value) if text in known), [])

    def _index(self, kind: str) -> dict[str, list[int]]:
        scans: dict[str, list[int]] = defaultdict(list)
        for place, item in enumerate(self.found):
            for name in set(_names(item, kind)):
                scans[name].append(place)
        return dict(scans)

    def match(self, table: Table, column: str) -> Match | None:
        """What the column's values are by the kind that names most; None where none names any."""
        values = table.values(column)
        found = []
        for kind in KINDS:
            scans = {value: self.of(kind, value) if value else [] for value in set(values)}
            of_rows = [scans[value] for value in values]
            of_parts = frozenset(row for row, named in enumerate(of_rows) if self._is_one_series(named))
            match = Match(column, kind, of_rows, of_parts)
            if match.rows_matched:
                found.append(match)
            if match.rows_sure == len(values):  # no less exact kind can do better
                break
        return max(found, key=Match.rank, default=None)

    def _is_one_series(self, scans: Sequence[int]) -> bool:
        series = {self.found[scan].series for scan in scans}
        return len(series) == 1 and "" not in series

    def best(self, table: Table) -> Match | None:
        """The column that names the scans. One that is called so and fits half the rows goes before any other."""
        matches = [m for c in table.columns if not _is_truth(c) and (m := self.match(table, c))]
        hinted = [m for m in matches if plain(m.column) in _HINTS and 2 * m.rows_matched >= len(table.rows)]
        return max(hinted or matches, key=Match.rank, default=None)

    def _ways(self, value: str) -> Iterator[str]:
        """A path as it may be meant: from the root, from the table's folder, with the root's own name in front."""
        if "/" not in value and "\\" not in value:
            yield f"{self.prefix}/{value}"
            return
        path = normpath(value if "/" in value else value.replace("\\", "/"))
        if path.startswith("/"):
            yield path.removeprefix(f"{self.root.as_posix()}/")
            return
        yield path
        yield f"{self.prefix}/{path}"
        yield path.removeprefix(f"{self.root.name}/")


def _is_truth(column: str) -> bool:
    """Says what is on a scan, not which one it is."""
    return column in ("label", "mask", "boxes", "split", "fold") or column.startswith(("label.", "mask."))


def leads_out(root: Path, value: str) -> bool:
    """A path that climbs, or an absolute one that is not below root."""
    paths = PurePosixPath(value), PureWindowsPath(value)
    if any(".." in path.parts for path in paths) or paths[1].drive:
        return True
    return paths[0].is_absolute() and not paths[0].is_relative_to(root)


def _names(item: Found, kind: str) -> list[str]:
    """What one scan is called."""
    path = shown(item.reference)
    *folders, name = path.split("/")
    match kind:
        case "relative path":
            return [item.reference, path]
        case "file name":
            return [name]
        case "file name without suffix":
            return [stem_of(name)]
        case "folder name":
            return [*folders, *("/".join(folders[: n + 1]) for n in range(len(folders)))]
        case "SOPInstanceUID":
            return [uid for uid in item.identity if "=" not in uid]
    value = {"SeriesInstanceUID": item.series, "StudyInstanceUID": item.study, "PatientID": item.patient_id}[kind]
    return [value] if value else []
