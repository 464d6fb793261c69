"""What the terminal and a script are told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medcnn.batch.about import About
from medcnn.batch.ledger import Row
from medcnn.batch.summary import exit_code, summary
from medcnn.inference.expectation import Expectation
from medcnn.io.discover import Skipped
from medcnn.io.options import Reading
from medcnn.scan import Reason, Rejection

EXPECTS = Expectation((), (), 2, (0, 1), (0, 1), (0, 1), (0, 1))
OK = Row("c-1", "ward/a.png", "ok", "m", "s", "x", decision="ill", flags=("MODALITY: odd", "INTENSITY_RANGE: odd"))
BAD = replace(
    OK, status="rejected", decision="", flags=(), reason_code="TRUNCATED", found="it ends early", remedy="Copy again"
)
FAILED = replace(BAD, status="failed", reason_code="INTERNAL", found="unforeseen", remedy="Report it")


ABOUT = About("classification", "m", "s", "t", "Tests.", ("ill", "well"), {}, 2, Reading(), EXPECTS)


@pytest.mark.parametrize(
    ("rows", "code"),
    [([], 3), ([OK], 0), ([OK, BAD], 8), ([OK, FAILED], 8), ([BAD], 9), ([BAD, FAILED], 9)],
)
def test_exit_codes(rows: list[Row], code: int) -> None:
    assert exit_code(rows) == code


def test_counts_decisions_remedies_and_flags() -> None:
    rows = [OK, replace(OK, decision=""), replace(OK, decision="well", flags=()), BAD, BAD, FAILED]
    skipped = [Skipped("ward/notes.txt", Rejection(Reason.NOT_DICOM, "no", "-"))]
    assert list(summary(rows, skipped, ABOUT, computed=4)) == [
        "6 cases: 3 ok, 2 rejected, 1 failed; 2 stood already",
        "decisions: ill 1, withheld 1, well 1",
        "rejected 2 x TRUNCATED: it ends early. Copy again",
        "failed 1 x INTERNAL: unforeseen. Report it",
        "flags to look at: MODALITY 2, INTENSITY_RANGE 2",
        "skipped, no scans: 1 file (NOT_DICOM 1)",
    ]


def test_nothing_found_is_said() -> None:
    assert list(summary([], [], ABOUT, computed=0)) == ["0 cases: nothing to do"]
