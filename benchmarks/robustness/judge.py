"""One input, one reader, one letter: the outcome classes of conformance section 9."""

from __future__ import annotations

import logging
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from benchmarks.robustness.catalogue import Format, Input
from benchmarks.robustness.mutation import Label, Seed
from benchmarks.robustness.readers import Read, Refused, Result, reader_of, same

CANARIES = ("QZXJ", "ZXJQ", "XJQZ", "JQZX", "19470213")
HANG_S, HANG_WALL_S = 5.0, 15.0  # of this process's processor time; of time altogether, its children's included
MEMORY_BYTES = 2**30


class Outcome(StrEnum):
    """A and R are survived; W is split by its label."""

    ACCEPTED = "A"
    REJECTED = "R"
    WRONG = "W"
    WRONG_PLAUSIBLE = "w"  # the mutation could not be noticed
    UNTYPED = "U"
    ESCAPED = "X"
    KILLED = "K"
    HUNG = "H"
    MEMORY = "M"
    PARTIAL = "P"
    LEAKED = "L"
    NOT_READ = "-"  # the reader has no decoder for the unharmed seed: not counted


@dataclass(frozen=True)
class Verdict:
    """What one reader made of one input. code: the reason, or the exception's name."""

    number: int
    mutator: str
    seed: str
    label: str
    why: str
    outcome: str
    code: str = ""

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def verdict_of(given: Input, outcome: Outcome, code: str = "") -> Verdict:
    mutant = given.mutant
    return Verdict(given.number, given.mutator, given.seed.name, mutant.label.value, mutant.why, outcome.value, code)


class Judge:
    """Reads inputs below one scratch folder. heard() returns what the process wrote to its outputs since last asked."""

    def __init__(self, kind: Format, reader: str, scratch: Path, heard: Callable[[], str] = lambda: "") -> None:
        self.scratch, self.heard = scratch, heard
        self._read: Read = reader_of(reader, kind)
        self._truths: dict[str, Result | None] = {}
        self._is_peer = reader != "medcnn"
        self._log = _Log()
        logging.getLogger().addHandler(self._log)

    def close(self) -> None:
        logging.getLogger().removeHandler(self._log)

    def warm_up(self, given: Input) -> None:
        """Import what reading needs, with the unharmed scan."""
        self._truth(given.seed)

    def judge(self, given: Input) -> Verdict:
        truth = self._truth(given.seed)
        if truth is None:
            return verdict_of(given, Outcome.NOT_READ)
        folder = self._written(given.seed, given.mutant.files, "input")
        self._log.lines.clear()
        reset_peak()
        resident, began, began_wall = resident_bytes(), time.process_time(), time.monotonic()
        outcome, code, said = self._outcome(folder, given, truth)
        if time.process_time() - began > HANG_S or time.monotonic() - began_wall > HANG_WALL_S:
            outcome = Outcome.HUNG
        elif peak_bytes() - resident > MEMORY_BYTES:
            outcome = Outcome.MEMORY
        elif not self._is_peer and any(canary in said for canary in CANARIES):
            outcome = Outcome.LEAKED
        elif not self._is_peer and {path.name for path in folder.rglob("*") if path.is_file()} != {
            Path(name).name for name in given.mutant.files
        }:
            outcome = Outcome.PARTIAL
        return verdict_of(given, outcome, code)

    def _outcome(self, folder: Path, given: Input, truth: Result) -> tuple[Outcome, str, str]:
        said = ""
        try:
            found = self._read(folder, given.seed)
            if not found.whole:
                outcome, code = Outcome.PARTIAL, "parts contradict"
            elif same(found, truth):
                outcome, code = Outcome.ACCEPTED, ""
            else:
                plausible = given.mutant.label is Label.UNDETECTABLE
                outcome, code = (Outcome.WRONG_PLAUSIBLE if plausible else Outcome.WRONG), ""
        except Refused as refused:
            code = refused.code
            outcome = {
                "INTERNAL": Outcome.UNTYPED,
                "MEMORY": Outcome.MEMORY,
                "TIMEOUT": Outcome.HUNG,
                "WORKER_SIGNAL": Outcome.KILLED,
            }.get(code, Outcome.REJECTED)
            cause = refused.__cause__
            said = "".join(traceback.format_exception(cause)) if cause is not None else str(refused)
        except MemoryError:
            outcome, code = Outcome.MEMORY, "MemoryError"
        except Exception as error:
            outcome, code, said = Outcome.UNTYPED, type(error).__name__, "".join(traceback.format_exception(error))
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            outcome, code, said = Outcome.ESCAPED, type(error).__name__, str(error)
        return outcome, code, "\n".join([said, *self._log.lines, self.heard()])

    def _truth(self, seed: Seed) -> Result | None:
        if seed.name not in self._truths:
            folder = self._written(seed, seed.files, "seed")
            try:
                self._truths[seed.name] = self._read(folder, seed)
            except Exception:
                if not self._is_peer:
                    raise
                self._truths[seed.name] = None
        return self._truths[seed.name]

    def _written(self, seed: Seed, files: object, name: str) -> Path:
        folder = self.scratch / name
        if folder.exists():
            shutil.rmtree(folder)
        (folder / seed.reference).parent.mkdir(parents=True)
        (folder / "s").mkdir() if seed.reference == "s" else None
        for relative, data in dict(files).items():  # type: ignore[call-overload]
            path = folder / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__(level=0)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def reset_peak() -> None:
    """Linux forgets this process's greatest resident size; elsewhere it is the greatest since the start."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _status(field: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def resident_bytes() -> int:
    return _status("VmRSS:")


def peak_bytes() -> int:
    return _status("VmHWM:")
