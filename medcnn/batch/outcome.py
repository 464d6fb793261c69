"""What becomes of one case, and what a model must be able to do so that a folder can be gone over with it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from medcnn.batch.cases import Case, CaseList
from medcnn.batch.ledger import FAILED, OK, REJECTED, Row
from medcnn.batch.reading import Read
from medcnn.scan import Reason, Rejection

_FAULTS_OF_THE_RUN = frozenset(
    {Reason.INTERNAL, Reason.MEMORY, Reason.TIMEOUT, Reason.WORKER_SIGNAL, Reason.NO_SPACE, Reason.INPUT_CHANGED}
)


@dataclass(frozen=True, eq=False)
class Outcome:
    """A case that is finished; its files, if any, are safe on disk.

    row  what goes into the ledger; None where it stands there already
    """

    case: Case
    row: Row | None


class Answering(Protocol):
    """One kind of model over a folder.

    model     its digest
    settings  a digest of what else decides an answer
    noun      what the summary counts: decisions, masks
    """

    model: str
    settings: str
    noun: str

    def outcomes(
        self, listed: CaseList, is_done: Callable[[Case, str], bool], heed: Callable[[], None]
    ) -> Generator[Outcome]:
        """Every case, in the order of the list, each written before the next is computed.

        heed is called between cases, and raises where somebody asked for the end. Raises OSError where nothing can be
        written.
        """

    def is_current(self, row: Row) -> bool:
        """Nothing but the scan, the model and the settings would make this row anew."""

    def word(self, row: Row) -> str:
        """What the summary calls an answer."""

    def header(self) -> list[str]:
        """Of predictions.csv."""

    def cells(self, row: Row) -> list[str]:
        """Its line."""


def begun_row(read: Read[Any], *, model: str, settings: str) -> Row:
    """All that is known before an answer."""
    return Row(
        case_id=read.case.case_id,
        reference=read.case.reference,
        status=OK,
        model=model,
        settings=settings,
        input_sha256=read.input_sha256,
        seconds=round(read.seconds, 3),
    )


def without_answer(row: Row, why: Rejection | None) -> Row:
    """Rejected where the input cannot be used, failed where this run could not do it."""
    why = why or Rejection(Reason.INTERNAL, "no answer", "Report this as a bug in medcnn")
    status = FAILED if why.code in _FAULTS_OF_THE_RUN else REJECTED
    return replace(row, status=status, reason_code=why.code.value, found=why.found, remedy=why.remedy)
