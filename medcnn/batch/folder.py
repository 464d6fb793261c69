"""A trained package over every scan of a folder: each case is safe on disk, and in the ledger, before the next."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256

from medcnn import __version__
from medcnn.batch.answers import Answer, explained, heats, predictions
from medcnn.batch.cases import Case, CaseList
from medcnn.batch.ledger import FAILED, OK, REJECTED, Row
from medcnn.batch.progress import BatchProgress
from medcnn.batch.reading import Read, Reader
from medcnn.batch.results import Results, rows_of
from medcnn.errors import Interrupted
from medcnn.model_package.opening import ModelPackage
from medcnn.scan import Reason, Rejection
from medcnn.training.interruption import Interruption

log = logging.getLogger("medcnn.predict")

FORMAT = 1  # raised whenever rows or overlays come out otherwise, so that older ones are made again
_HELD_BYTES = 200e6  # prepared scans and what is shown of them that wait for one question to the network
_TABLE_EVERY_S = 60.0

_FAULTS_OF_THE_RUN = frozenset(
    {Reason.INTERNAL, Reason.MEMORY, Reason.TIMEOUT, Reason.WORKER_SIGNAL, Reason.NO_SPACE, Reason.INPUT_CHANGED}
)


@dataclass(frozen=True)
class Finished:
    """One whole pass over a folder.

    rows      of every case, in the order of their references
    computed  how many of them were answered now; the others stood in the ledger
    """

    rows: list[Row]
    computed: int


class FolderRun:
    """Goes over the cases, and can go on where it was stopped."""

    def __init__(self, package: ModelPackage, results: Results, interruption: Interruption, *, explain: bool) -> None:
        self.package, self.results, self.interruption, self.explain = package, results, interruption, explain
        self.model = package.digest
        self.settings = settings_digest(package, explain=explain)
        self.ledger = results.open_ledger()
        self._class_names = package.classifier.rule.class_names
        self._tabled = time.monotonic()

    def over(self, listed: CaseList) -> Finished:
        """Every case. Raises Interrupted after the case in hand, OSError where nothing can be written any more."""
        self._begin(listed)
        progress = BatchProgress(len(listed.cases))
        try:
            with self.interruption.patience():
                computed = self._go(listed, progress)
        except BaseException:
            with suppress(OSError):  # the ledger holds everything; the table is a service
                self.write_table(listed.cases)
            raise
        finally:
            progress.close()
        self.write_table(listed.cases)
        return Finished(rows_of(listed.cases, self.ledger, self.model, self.settings), computed)

    def _begin(self, listed: CaseList) -> None:
        if self.ledger.damaged_lines:
            log.warning("%d damaged lines of the ledger: their cases are done again", self.ledger.damaged_lines)
        if dropped := self.results.drop_overlays_of_others(self.ledger, self.model, self.settings):
            log.info("%d overlays of another model or other settings were taken away", dropped)
        self.results.write_skipped(listed.skipped)

    def _go(self, listed: CaseList, progress: BatchProgress) -> int:
        reader = Reader(listed.root, self.package.description.preprocessing, self.is_done, with_views=self.explain)
        reads = reader.all(listed.cases)
        computed = 0
        try:
            unhurried = self._until_asked(reads, progress, listed)
            for batch in batches(unhurried, self.package.classifier.batch_cases):
                for read, answer in self._answers(batch):
                    if not read.is_done:
                        self._finish(read, answer)
                        computed += 1
                    progress.case(computed=not read.is_done)
                    self._heed(progress.done, listed)
                self._keep_table(listed.cases)
        finally:
            reads.close()
        return computed

    def _until_asked(self, reads: Iterable[Read], progress: BatchProgress, listed: CaseList) -> Iterator[Read]:
        """A signal that comes while scans are read need not wait for a whole batch."""
        for read in reads:
            self._heed(progress.done, listed)
            yield read

    def is_done(self, case: Case, input_sha256: str) -> bool:
        """Answered before by this model, from these bytes, with these settings, and the output is whole."""
        row = self.ledger.rows.get(case.case_id)
        if row is None or row.status == FAILED or not input_sha256:
            return False
        same = (row.reference, row.input_sha256, row.model, row.settings)
        if same != (case.reference, input_sha256, self.model, self.settings):
            return False
        return row.is_intact(self.results.read_overlay(case.case_id))

    def _answers(self, batch: Sequence[Read]) -> Iterator[tuple[Read, Answer]]:
        """Each read case with its answer, one after the other, so that each is safe before the next is drawn."""
        asked = [read for read in batch if read.entry is not None]
        began = time.perf_counter()
        found = predictions(self.package, asked) if asked else []
        looked = iter(zip(found, heats(self.package, asked, found), strict=True))
        share = (time.perf_counter() - began) / max(1, len(asked))
        for read in batch:
            if read.entry is None:
                yield read, Answer(rejection=read.rejection)
                continue
            began, (said, heat) = time.perf_counter(), next(looked)
            made = Answer(rejection=said) if isinstance(said, Rejection) else explained(self.package, read, said, heat)
            seconds = read.seconds + share + time.perf_counter() - began
            yield replace(read, seconds=seconds), made

    def _finish(self, read: Read, answer: Answer) -> None:
        """Outputs first, then the row that says so."""
        self.results.write_overlay(read.case.case_id, answer.overlay)
        self.ledger.append(self._row(read, answer).sealed(answer.overlay))

    def _row(self, read: Read, answer: Answer) -> Row:
        row = Row(
            case_id=read.case.case_id,
            reference=read.case.reference,
            status=OK,
            model=self.model,
            settings=self.settings,
            input_sha256=read.input_sha256,
            seconds=round(read.seconds, 3),
        )
        if (said := answer.prediction) is not None:
            return replace(
                row,
                probability=said.probability,
                decision=said.decision,
                confidence=said.confidence if said.decision else None,
                flags=said.flags,
                reason=said.reason,
            )
        why = answer.rejection or Rejection(Reason.INTERNAL, "no answer", "Report this as a bug in medcnn")
        status = FAILED if why.code in _FAULTS_OF_THE_RUN else REJECTED
        return replace(row, status=status, reason_code=why.code.value, found=why.found, remedy=why.remedy)

    def _heed(self, done: int, listed: CaseList) -> None:
        if number := self.interruption.signal_number:
            raise Interrupted(
                number, f"stopped after {done} of {len(listed.cases)} cases. The same command goes on where it stopped"
            )

    def _keep_table(self, cases: Sequence[Case]) -> None:
        if time.monotonic() - self._tabled > _TABLE_EVERY_S:
            self._tabled = time.monotonic()
            self.write_table(cases)

    def write_table(self, cases: Sequence[Case]) -> None:
        """predictions.csv, from the ledger. Raises OSError."""
        self.results.write_predictions(rows_of(cases, self.ledger, self.model, self.settings), self._class_names)


def batches(reads: Iterable[Read], most_cases: int) -> Iterator[list[Read]]:
    """As many as are asked together: so many to be asked, and no more than memory should hold."""
    batch: list[Read] = []
    held = 0
    asked = 0
    for read in reads:
        batch.append(read)
        asked += read.entry is not None
        held += read.entry.image.nbytes if read.entry else 0
        held += read.view.grey.nbytes if read.view else 0
        if asked >= most_cases or held > _HELD_BYTES or len(batch) >= 4 * most_cases:
            yield batch
            batch, held, asked = [], 0, 0
    if batch:
        yield batch


def settings_digest(package: ModelPackage, *, explain: bool) -> str:
    """Of what decides an answer besides the scan and the model; neither batch nor device does."""
    deciding = {"explain": explain, "shifts": package.classifier.shifts, "format": FORMAT, "medcnn": __version__}
    return sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:16]
