"""What becomes of one case, and what a model must be able to do so that a folder can be gone over with it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from medcnn.batch.about import About
from medcnn.batch.cases import Case
from medcnn.batch.ledger import FAILED, OK, REJECTED, Row
from medcnn.scan import Reason, Rejection

_FAULTS_OF_THE_RUN = frozenset(
    {Reason.INTERNAL, Reason.MEMORY, Reason.TIMEOUT, Reason.WORKER_SIGNAL, Reason.NO_SPACE, Reason.INPUT_CHANGED}
)


@dataclass(frozen=True, eq=False)
class Asked:
    """A case to answer for.

    name   what its files are called
    known  what the ledger says of it
    """

    case: Case
    name: str
    known: Row | None = None

    def as_json(self) -> dict[str, Any]:
        """For another process."""
        return {**asdict(self.case), "name": self.name, "known": None if self.known is None else asdict(self.known)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Asked:
        """As it was sent."""
        fields = dict(found)
        name, known = fields.pop("name"), fields.pop("known")
        return cls(Case.from_json(fields), name, None if known is None else Row.from_json(known))


@dataclass(frozen=True, eq=False)
class Outcome:
    """A case that is finished; its files, if any, are safe on disk.

    row  what goes into the ledger; None where it stands there already
    """

    case: Case
    row: Row | None


class Answering(Protocol):
    """One kind of model, opened; where it answers, and who asks, is an Engine's (medcnn/batch/engine.py)."""

    about: About

    def outcomes(self, asked: Iterable[Asked]) -> Generator[Outcome]:
        """Every case, in the order they come, each with its files written. A few are taken ahead, so that reading,
        computing and writing overlap. Raises OSError where nothing can be written.
        """


def begun_row(asked: Asked, about: About, *, input_sha256: str = "", seconds: float = 0.0) -> Row:
    """All that is known before an answer."""
    case = asked.case
    return Row(
        case_id=case.case_id,
        reference=case.reference,
        name=asked.name,
        status=OK,
        model=about.model,
        settings=about.settings,
        input_sha256=input_sha256,
        seconds=round(seconds, 3),
        series=case.series,
    )


def without_answer(row: Row, why: Rejection | None) -> Row:
    """Rejected where the input cannot be used, failed where this run could not do it."""
    why = why or Rejection(Reason.INTERNAL, "no answer", "Report this as a bug in medcnn")
    status = FAILED if why.code in _FAULTS_OF_THE_RUN else REJECTED
    return replace(row, status=status, reason_code=why.code.value, found=why.found, remedy=why.remedy)
