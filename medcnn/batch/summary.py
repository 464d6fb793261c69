"""What became of a folder, in a few lines, and the exit code that says it to a script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from medcnn.batch.about import About
from medcnn.batch.ledger import FAILED, OK, REJECTED, Row
from medcnn.errors import NOTHING_TO_DO_EXIT_CODE
from medcnn.io.discover import Skipped

SOME_REJECTED_EXIT_CODE = 8
ALL_REJECTED_EXIT_CODE = 9


def exit_code(rows: Sequence[Row]) -> int:
    """0 all ok, 3 there was no case, 8 some rejected or failed, 9 all of them."""
    if not rows:
        return NOTHING_TO_DO_EXIT_CODE
    good = sum(row.status == OK for row in rows)
    if good == len(rows):
        return 0
    return SOME_REJECTED_EXIT_CODE if good else ALL_REJECTED_EXIT_CODE


def answer(row: Row, kind: str) -> str:
    """What an answered case is counted as."""
    if kind == "classification":
        return row.decision or "withheld"
    if kind == "regression":
        return "withheld" if row.value is None else "predicted"
    if not row.masks:
        return "withheld"
    return "written" if row.expected_dice else "empty"


def summary(rows: Sequence[Row], skipped: Sequence[Skipped], about: About, *, computed: int) -> Iterator[str]:
    """Lines for the terminal: counts, answers, what was rejected and what to do, flags. No references, no names."""
    by_status = Counter(row.status for row in rows)
    counts = ", ".join(f"{by_status[status]} {status}" for status in (OK, REJECTED, FAILED) if by_status[status])
    before = len(rows) - computed
    yield f"{_many(len(rows), 'case')}: {counts or 'nothing to do'}" + (f"; {before} stood already" if before else "")
    decided = Counter(answer(row, about.kind) for row in rows if row.status == OK)
    if decided:
        yield f"{about.noun}: " + ", ".join(f"{word} {count}" for word, count in decided.most_common())
    for status in (REJECTED, FAILED):
        yield from _reasons([row for row in rows if row.status == status], status)
    flags = Counter(flag.partition(":")[0] for row in rows for flag in row.flags)
    if flags:
        yield "flags to look at: " + ", ".join(f"{word} {count}" for word, count in flags.most_common())
    passed_over = Counter(item.rejection.code.value for item in skipped)
    if passed_over:
        kinds = ", ".join(f"{code} {count}" for code, count in passed_over.most_common())
        yield f"skipped, no scans: {_many(len(skipped), 'file')} ({kinds})"


def _reasons(rows: Sequence[Row], status: str) -> Iterator[str]:
    by_code: dict[str, list[Row]] = {}
    for row in rows:
        by_code.setdefault(row.reason_code, []).append(row)
    for code, of_it in sorted(by_code.items(), key=lambda pair: -len(pair[1])):
        yield f"{status} {len(of_it)} x {code}: {of_it[0].found}. {of_it[0].remedy}"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
