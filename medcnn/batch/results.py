"""The results folder: private, whole files only, one writer."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from medcnn.batch.cases import Case
from medcnn.batch.ledger import Ledger, Row
from medcnn.errors import DataError
from medcnn.io.discover import Skipped
from medcnn.whole_file import PART, write_whole

_OWN = {"ledger.jsonl", "predictions.csv", "skipped.csv", "overlays", "log.txt", ".lock", ".medcnn"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Results:
    """Where a run over a folder keeps everything."""

    def __init__(self, folder: Path) -> None:
        """Made where it is missing (mode 0700). Raises DataError where it is somebody else's, OSError."""
        there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        if any(not name.startswith(PART) for name in there - _OWN):
            raise DataError(f"output: {folder} holds other files. Give a new folder, or one of an earlier predict")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.folder = folder
        self.overlays = folder / "overlays"

    def open_ledger(self) -> Ledger:
        """Read it, and sweep away what a crash left half-written. Only under the lock."""
        for place in (self.folder, self.overlays):
            for path in place.glob(f"{PART}*"):
                path.unlink(missing_ok=True)
        return Ledger(self.folder / "ledger.jsonl")

    def overlay_path(self, case_id: str) -> Path:
        """Of one case."""
        return self.overlays / f"{case_id}.png"

    def read_overlay(self, case_id: str) -> bytes | None:
        """Its bytes; None where there is none."""
        try:
            return self.overlay_path(case_id).read_bytes()
        except FileNotFoundError:
            return None

    def write_overlay(self, case_id: str, content: bytes | None) -> None:
        """Put it in its place, or take an older one away. Raises OSError."""
        if content is None:
            self.overlay_path(case_id).unlink(missing_ok=True)
            return
        self.overlays.mkdir(mode=0o700, exist_ok=True)
        write_whole(self.overlay_path(case_id), content)

    def drop_overlays_of_others(self, ledger: Ledger, model: str, settings: str) -> int:
        """Overlays of another model or other settings would stand beside answers they do not belong to."""
        others = [row for row in ledger.rows.values() if (row.model, row.settings) != (model, settings)]
        there = [row for row in others if self.overlay_path(row.case_id).exists()]
        for row in there:
            self.write_overlay(row.case_id, None)
        return len(there)

    def write_predictions(self, rows: Sequence[Row], class_names: Sequence[str]) -> None:
        """predictions.csv, a row per finished case of this input."""
        numbers = [f"p.{name}" for name in class_names]
        header = ["case_id", "reference", *numbers, "decision", "confidence", "flags", "reason", "status", "seconds"]
        self._write_table("predictions.csv", header, [_cells(row, class_names) for row in rows])

    def write_skipped(self, skipped: Sequence[Skipped]) -> None:
        """skipped.csv: what is no scan, and why."""
        lines = [[item.reference, item.rejection.code.value, item.rejection.found] for item in skipped]
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


def _cells(row: Row, class_names: Sequence[str]) -> list[str]:
    numbers = [f"{row.probability[name]:.6f}" if name in row.probability else "" for name in class_names]
    sure = "" if row.confidence is None else f"{row.confidence:.6f}"
    flags = " | ".join(row.flags)
    end = [row.decision, sure, flags, row.in_words(), row.status, f"{row.seconds:.3f}"]
    return [row.case_id, row.reference, *numbers, *end]


def _safe(cell: str) -> str:
    """What a spreadsheet would run as a formula is quoted."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
