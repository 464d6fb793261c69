"""A trained model over every scan of a folder: each case is safe on disk, and in the ledger, before it counts."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from medcnn.batch.about import About
from medcnn.batch.cases import Case, CaseList
from medcnn.batch.engine import Engine
from medcnn.batch.ledger import Row
from medcnn.batch.outcome import Asked, Outcome, begun_row, without_answer
from medcnn.batch.patients import write_patients
from medcnn.batch.prediction_tables import write_tables
from medcnn.batch.progress import BatchProgress
from medcnn.batch.result_file import result_file, result_json
from medcnn.batch.results import VIEWS, Results, rows_of
from medcnn.batch.results_page import write_page
from medcnn.batch.shard import Shard
from medcnn.batch.viewer import write_viewer
from medcnn.errors import Interrupted
from medcnn.scan import Reason, Rejection
from medcnn.training.interruption import Interruption

log = logging.getLogger("medcnn.predict")

_SHOW_EVERY_S = 60.0
_GRACE_S = 5.0  # for further cases that were begun when somebody asked for the end, once one is finished


@dataclass(frozen=True)
class Finished:
    """One whole pass over a folder.

    rows      of every case, in the order of their references
    computed  how many of them were answered now; the others stood in the ledger
    """

    rows: list[Row]
    computed: int


class FolderRun:
    """Goes over the cases, and can go on where it was stopped.

    shard  of a job array: its cases alone, and no tables, which the run over the whole folder writes in the end
    """

    def __init__(
        self, engine: Engine, about: About, results: Results, interruption: Interruption, shard: Shard | None = None
    ) -> None:
        self.engine, self.about, self.results, self.interruption = engine, about, results, interruption
        self.shard = shard
        self.ledger = results.open_ledger(shard)
        self._shown = time.monotonic()
        self._asked_to_stop = 0.0

    def over(self, listed: CaseList, names: Mapping[str, str]) -> Finished:
        """Every case; names: what each case's files are called. Raises Interrupted after the cases in hand, OSError
        where nothing can be written any more.
        """
        cases = [case for case in listed.cases if self.shard is None or self.shard.has(case.case_id)]
        self._begin(listed)
        progress = BatchProgress(len(cases))
        try:
            with self.interruption.patience():
                computed = self._go([self._asked(case, names) for case in cases], progress, listed)
        except BaseException:
            with suppress(OSError):  # the ledger holds everything; the tables are a service
                self._show(cases, listed)
            raise
        finally:
            progress.close()
        self.engine.close()  # its memory is free before the tables take theirs
        self._show(cases, listed)
        return Finished(self._rows(cases), computed)

    def _begin(self, listed: CaseList) -> None:
        if self.ledger.damaged_lines:
            log.warning("%d damaged lines of the ledger: their cases are done again", self.ledger.damaged_lines)
        if dropped := self.results.drop_files_of_others(self.ledger, self.about.model, self.about.settings):
            log.info("%d outputs of another model or other settings were taken away", dropped)
        if self.shard is None:
            self.results.write_skipped(listed.skipped, listed.left_out)

    def _asked(self, case: Case, names: Mapping[str, str]) -> Asked:
        return Asked(case, names[case.case_id], self.ledger.rows.get(case.case_id))

    def _go(self, asked: Sequence[Asked], progress: BatchProgress, listed: CaseList) -> int:
        computed = 0
        for one in asked:
            if one.case.misfits:
                computed += self._finish_unfit(one)
                progress.case(computed=False)
        by_id = {one.case.case_id: one for one in asked if not one.case.misfits}
        outcomes = self.engine.outcomes(list(by_id.values()), lambda: bool(self.interruption.signal_number))
        try:
            for outcome in outcomes:
                computed += outcome.row is not None
                self._finish(outcome, by_id[outcome.case.case_id])
                progress.case(computed=outcome.row is not None)
                if self._is_late():
                    break
                self._keep_showing([one.case for one in asked], listed)
        finally:
            outcomes.close()
        if (number := self.interruption.signal_number) and progress.done < progress.total:
            raise Interrupted(
                number,
                f"stopped after {progress.done} of {progress.total} cases. The same command goes on where it stopped",
            )
        return computed

    def _is_late(self) -> bool:
        """Somebody asked for the end a while ago: cases that are in hand now are dropped."""
        if not self.interruption.signal_number:
            return False
        self._asked_to_stop = self._asked_to_stop or time.monotonic()
        return time.monotonic() - self._asked_to_stop > _GRACE_S

    def _finish_unfit(self, asked: Asked) -> bool:
        """Whether it was news."""
        row, known = self._unfit_row(asked), asked.known
        if known is not None and replace(known, files={}, output_sha256="") == row and self.results.holds(known):
            return False
        self._finish(Outcome(asked.case, row), asked)
        return True

    def _unfit_row(self, asked: Asked) -> Row:
        """Of a scan whose header says that the model does not know its kind: nothing is read, nothing asked."""
        flags, row = asked.case.misfits, begun_row(asked, self.about)
        said = dict(flag.split(": ", 1) for flag in flags)
        if why := said.get(Reason.GEOMETRY_MISMATCH):
            remedy = f"Leave it out, or use a model for {'volumes' if self.about.spatial_dims == 2 else 'pictures'}"
            return without_answer(row, Rejection(Reason.GEOMETRY_MISMATCH, why, remedy))
        return replace(row, flags=flags, reason="; ".join(flags))

    def _finish(self, outcome: Outcome, asked: Asked) -> None:
        """Outputs are there already; what an older answer had besides goes, then the row says so."""
        if outcome.row is None:
            return
        row = self._with_result(outcome.row)
        known = asked.known
        if known is not None and (besides := known.files.keys() - row.files.keys()):
            others = (other for other in self.ledger.rows.values() if other.case_id != known.case_id)
            self.results.drop(besides - {name for other in others for name in other.files})
        self.ledger.append(row.sealed())

    def _with_result(self, row: Row) -> Row:
        """Its result.json, which is the last of its files."""
        name = result_file(row.name)
        self.results.write(name, result_json(row, self.about))
        return replace(row, files={**row.files, **self.results.digests([name])})

    def _keep_showing(self, cases: Sequence[Case], listed: CaseList) -> None:
        if time.monotonic() - self._shown > _SHOW_EVERY_S:
            self._shown = time.monotonic()
            self._show(cases, listed, is_over=False)

    def _show(self, cases: Sequence[Case], listed: CaseList, *, is_over: bool = True) -> None:
        """Tables and page, from the ledger. Raises OSError."""
        if self.shard is not None:
            return
        rows = self._rows(cases)
        write_tables(self.results.folder, self.about, rows, parquet=is_over)
        write_patients(self.results.folder, self.about, cases, rows)
        if any(name.startswith(f"{VIEWS}/") for row in rows for name in row.files):
            write_viewer(self.results.folder)
        facts = {"Members": str(self.about.members)}
        facts |= {"Heat maps": self.about.explained} if self.about.explained else {}
        write_page(self.results.folder, rows, self.about, listed.skipped, total=len(cases), facts=facts)

    def _rows(self, cases: Sequence[Case]) -> list[Row]:
        return rows_of(cases, self.ledger, self.about.model, self.about.settings)
