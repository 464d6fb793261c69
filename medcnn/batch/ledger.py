"""ledger.jsonl: one row per finished case, appended after its outputs are safe on disk. What is in it was done."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

OK, REJECTED, FAILED = "ok", "rejected", "failed"
_TIMES = ("seconds", "seconds_of", "peak_mb")


@dataclass(frozen=True)
class Row:
    """How one case ended. Private zone: the reference may hold a folder's name.

    status         ok, rejected (the input cannot be used) or failed (this run could not do it; done again next time)
    found, remedy  of a rejection or a failure
    input_sha256   of the bytes of every file the scan was read from; "" where they could not be read
    output_sha256  of the answer in this row, and so of the files' digests
    files          what was written for the case, path in the results folder -> SHA-256
    reason         why a decision, or a mask, is withheld
    name           what the case's files are called
    series         Series Instance UID, where there is one
    seconds        all together; seconds_of: read, compute, restore, write
    peak_mb        the most memory that the process held meanwhile

    Of a classifier: probability (class -> calibrated), decision, confidence, conformal_set (the classes that the scan
    may have; None where the model makes no sets). Of a segmenter: masks (those of the files
    that are masks), volume_ml and expected_dice (structure -> number, where there is one), disagreement (0 to 1). Of a
    regression: value, low and high of the range around it, their unit.
    """

    case_id: str
    reference: str
    status: str
    model: str
    settings: str
    input_sha256: str
    output_sha256: str = ""
    reason_code: str = ""
    found: str = ""
    remedy: str = ""
    probability: dict[str, float] = field(default_factory=dict)
    decision: str = ""
    confidence: float | None = None
    flags: tuple[str, ...] = ()
    reason: str = ""
    seconds: float = 0.0
    files: dict[str, str] = field(default_factory=dict)
    masks: tuple[str, ...] = ()
    volume_ml: dict[str, float] = field(default_factory=dict)
    expected_dice: dict[str, float] = field(default_factory=dict)
    disagreement: float | None = None
    seconds_of: dict[str, float] = field(default_factory=dict)
    name: str = ""
    series: str = ""
    peak_mb: float | None = None
    conformal_set: tuple[str, ...] | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Row:
        """As a line of the ledger has it. Raises KeyError and TypeError."""
        tuples = {"flags": tuple(found["flags"]), "masks": tuple(found.get("masks", ()))}
        held = found.get("conformal_set")
        return cls(**{**found, **tuples, "conformal_set": None if held is None else tuple(held)})

    def sealed(self) -> Row:
        """With the hash over the answer."""
        answer = {key: value for key, value in asdict(self).items() if key not in ("output_sha256", *_TIMES)}
        return replace(self, output_sha256=sha256(json.dumps(answer, sort_keys=True).encode()).hexdigest())

    def is_intact(self) -> bool:
        """The answer did not change since it was sealed. Whether the files did, Results knows."""
        return self.sealed().output_sha256 == self.output_sha256

    def but_for_times(self) -> Row:
        """What two runs must agree on."""
        return replace(self, seconds=0.0, seconds_of={}, peak_mb=None)

    def in_words(self) -> str:
        """Why there is no answer, or no decision."""
        return f"{self.reason_code}: {self.found}. {self.remedy}" if self.reason_code else self.reason


class Ledger:
    """The rows of one results folder; the last row of a case counts, and its own more than those beside it.

    beside  ledgers of other jobs: what they did is done
    """

    def __init__(self, path: Path, beside: Sequence[Path] = ()) -> None:
        self.path = path
        self.damaged_lines = 0
        self._rows: dict[str, Row] = {}
        for other in beside:
            self._read(other)
        self._ends_clean = self._read(path)

    @property
    def rows(self) -> Mapping[str, Row]:
        """By case_id."""
        return self._rows

    def append(self, row: Row) -> None:
        """Durable when this returns; nothing is written where the same was known already. Raises OSError."""
        known = self._rows.get(row.case_id)
        if known is not None and known.but_for_times() == row.but_for_times():
            return
        line = json.dumps(asdict(row), allow_nan=False) + "\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "ab") as stream:
            stream.write((line if self._ends_clean else "\n" + line).encode())
            self._ends_clean = False  # until it is known to be written whole
            stream.flush()
            os.fsync(stream.fileno())
        self._ends_clean = True
        self._rows[row.case_id] = row

    def _read(self, path: Path) -> bool:
        """Whether it ends with a whole line."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return True
        for line in content.splitlines():
            try:
                row = Row.from_json(json.loads(line))
            except (ValueError, TypeError, KeyError):  # cut off by a crash, or damaged: the case is done again
                self.damaged_lines += bool(line.strip())
                continue
            self._rows[row.case_id] = row
        return not content or content.endswith(b"\n")
