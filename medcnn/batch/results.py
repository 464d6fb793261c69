"""The results folder: private, whole files only, one writer."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import file_digest
from pathlib import Path

from medcnn.batch.cases import Case
from medcnn.batch.ledger import Ledger, Row
from medcnn.batch.selection import LeftOut
from medcnn.batch.shard import Shard
from medcnn.errors import DataError
from medcnn.io.discover import Skipped
from medcnn.whole_file import PART, write_whole

CASES, OVERLAYS, MASKS, DICOM = "cases", "overlays", "masks", "dicom"
UNCERTAINTY, PROBABILITIES, SALIENCY = "uncertainty", "probabilities", "saliency"
THUMBNAILS, VIEWS = "thumbnails", "views"
FOLDERS = (CASES, OVERLAYS, MASKS, DICOM, UNCERTAINTY, PROBABILITIES, SALIENCY, THUMBNAILS, VIEWS)
_TABLES = ("predictions.csv", "predictions.parquet", "patients.csv", "skipped.csv")
_OWN = {"ledger.jsonl", *_TABLES, "index.html", *FOLDERS, "log.txt", ".lock", ".medcnn"}
_OF_SHARDS = re.compile(r"(ledger\.|\.lock-)\d+-of-\d+(\.jsonl)?")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Results:
    """Where a run over a folder keeps everything."""

    def __init__(self, folder: Path) -> None:
        """Made where it is missing (mode 0700). Raises DataError where it is somebody else's, OSError."""
        there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        if any(not name.startswith(PART) and not _OF_SHARDS.fullmatch(name) for name in there - _OWN):
            raise DataError(f"output: {folder} holds other files. Give a new folder, or one of an earlier predict")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.folder = folder

    def open_ledger(self, shard: Shard | None = None) -> Ledger:
        """A shard's own, or the whole folder's, and what stands in those beside it. Only under the lock."""
        if shard is None:
            self._sweep()
        ledgers = sorted(self.folder.glob("ledger*.jsonl"))
        own = self.folder / ("ledger.jsonl" if shard is None else shard.ledger)
        return Ledger(own, [path for path in ledgers if path != own])

    def _sweep(self) -> None:
        """Away with what a crash left half-written, when nobody else can be writing."""
        for path in self.folder.rglob(f"{PART}*"):
            path.unlink(missing_ok=True)

    def place(self, name: str) -> Path:
        """Where an output belongs, `masks/a.nii.gz`; its folder is made (mode 0700). Raises OSError."""
        path = self.folder / name
        for folder in reversed(path.relative_to(self.folder).parents[:-1]):
            (self.folder / folder).mkdir(mode=0o700, exist_ok=True)
        return path

    def write(self, name: str, content: bytes) -> None:
        """Put it in its place, whole. Raises OSError."""
        write_whole(self.place(name), content)

    def digests(self, names: Iterable[str]) -> dict[str, str]:
        """Of outputs that were written. Raises OSError."""
        return {name: file_sha256(self.folder / name) for name in names}

    def holds(self, row: Row) -> bool:
        """The answer and all its files are as they were written."""
        if not row.is_intact():
            return False
        try:
            return all(is_output(name) and file_sha256(self.folder / name) == said for name, said in row.files.items())
        except OSError:
            return False

    def drop(self, names: Iterable[str]) -> int:
        """Take outputs away; how many there were. What a damaged ledger calls an output and is none stays."""
        there = [path for path in (self.folder / name for name in names if is_output(name)) if path.is_file()]
        for path in there:
            path.unlink(missing_ok=True)
            if path.parent.parent != self.folder:  # a case's own folder, where it was the last in it
                with suppress(OSError):
                    path.parent.rmdir()
        return len(there)

    def drop_files_of_others(self, ledger: Ledger, model: str, settings: str) -> int:
        """Outputs of another model or other settings would stand beside answers they do not belong to."""
        rows = ledger.rows.values()
        own = {name for row in rows if (row.model, row.settings) == (model, settings) for name in row.files}
        return self.drop({name for row in rows for name in row.files} - own)

    def write_skipped(self, skipped: Sequence[Skipped], left_out: Sequence[LeftOut]) -> None:
        """skipped.csv: what is no scan, or was not asked about, and why."""
        lines = [[item.reference, item.rejection.code.value, item.rejection.found] for item in skipped]
        lines += [[item.reference, f"select.{item.filter}", item.found] for item in left_out]
        self._write_table("skipped.csv", ["reference", "reason_code", "found"], lines)

    def _write_table(self, name: str, header: list[str], lines: Sequence[Sequence[str]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([_safe(cell) for cell in line] for line in lines)
        write_whole(self.folder / name, text.getvalue().encode("utf-8", "surrogateescape"))


def rows_of(cases: Sequence[Case], ledger: Ledger, model: str, settings: str) -> list[Row]:
    """The rows of these cases by this model with these settings, in the order of the cases."""
    rows = (ledger.rows.get(case.case_id) for case in cases)
    return [row for row in rows if row is not None and (row.model, row.settings) == (model, settings)]


def is_output(name: str) -> bool:
    """A file in one of the folders that results have (or in a case's own), and not elsewhere."""
    first, *parts = name.split("/")
    is_deep = len(parts) == (2 if first == CASES else 1)
    return first in FOLDERS and is_deep and not any(part.startswith(".") for part in parts) and "\\" not in name


def file_sha256(path: Path) -> str:
    """Of its bytes. Raises OSError."""
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def _safe(cell: str) -> str:
    """What a spreadsheet would run as a formula is quoted."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
