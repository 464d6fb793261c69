"""A trained model over every scan of a folder: each case is safe on disk, and in the ledger, before the next."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

from medcnn import __version__
from medcnn.batch.cases import Case, CaseList
from medcnn.batch.ledger import FAILED, Row
from medcnn.batch.outcome import Answering, Outcome
from medcnn.batch.progress import BatchProgress
from medcnn.batch.results import Results, rows_of
from medcnn.errors import Interrupted
from medcnn.training.interruption import Interruption

log = logging.getLogger("medcnn.predict")

FORMAT = 2  # raised whenever rows or outputs come out otherwise, so that older ones are made again
_TABLE_EVERY_S = 60.0


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

    def __init__(self, answering: Answering, results: Results, interruption: Interruption) -> None:
        self.answering, self.results, self.interruption = answering, results, interruption
        self.ledger = results.open_ledger()
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
        return Finished(self._rows(listed.cases), computed)

    def _begin(self, listed: CaseList) -> None:
        if self.ledger.damaged_lines:
            log.warning("%d damaged lines of the ledger: their cases are done again", self.ledger.damaged_lines)
        if dropped := self.results.drop_files_of_others(self.ledger, self.answering.model, self.answering.settings):
            log.info("%d outputs of another model or other settings were taken away", dropped)
        self.results.write_skipped(listed.skipped)

    def _go(self, listed: CaseList, progress: BatchProgress) -> int:
        def heed() -> None:
            if number := self.interruption.signal_number:
                raise Interrupted(
                    number,
                    f"stopped after {progress.done} of {progress.total} cases. "
                    f"The same command goes on where it stopped",
                )

        outcomes = self.answering.outcomes(listed, self.is_done, heed)
        computed = 0
        try:
            for outcome in outcomes:
                computed += self._finish(outcome)
                progress.case(computed=outcome.row is not None)
                heed()
                self._keep_table(listed.cases)
        finally:
            outcomes.close()
        return computed

    def is_done(self, case: Case, input_sha256: str) -> bool:
        """Answered before by this model, from these bytes, with these settings, and the output is whole."""
        row = self.ledger.rows.get(case.case_id)
        if row is None or row.status == FAILED or not input_sha256:
            return False
        same = (row.reference, row.input_sha256, row.model, row.settings)
        if same != (case.reference, input_sha256, self.answering.model, self.answering.settings):
            return False
        return self.answering.is_current(row) and self.results.holds(row)

    def _finish(self, outcome: Outcome) -> bool:
        """Outputs are there already; what an older answer had besides goes, then the row says so."""
        if outcome.row is None:
            return False
        known = self.ledger.rows.get(outcome.case.case_id)
        if known is not None and (besides := known.files.keys() - outcome.row.files.keys()):
            others = (row for row in self.ledger.rows.values() if row.case_id != known.case_id)
            self.results.drop(besides - {name for row in others for name in row.files})
        self.ledger.append(outcome.row.sealed())
        return True

    def _keep_table(self, cases: Sequence[Case]) -> None:
        if time.monotonic() - self._tabled > _TABLE_EVERY_S:
            self._tabled = time.monotonic()
            self.write_table(cases)

    def write_table(self, cases: Sequence[Case]) -> None:
        """predictions.csv, from the ledger. Raises OSError."""
        lines = [self.answering.cells(row) for row in self._rows(cases)]
        self.results.write_predictions(self.answering.header(), lines)

    def _rows(self, cases: Sequence[Case]) -> list[Row]:
        return rows_of(cases, self.ledger, self.answering.model, self.answering.settings)


def settings_digest(deciding: Mapping[str, object]) -> str:
    """Of what decides an answer besides the scan and the model; neither batch nor device does."""
    whole = {**deciding, "format": FORMAT, "medcnn": __version__}
    return sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]
