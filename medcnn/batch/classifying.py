"""A classifier over a folder: many scans to a question, an overlay each, written one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace

from medcnn.batch.answers import Answer, Shown, explained, heats, predictions
from medcnn.batch.cases import Case, CaseList
from medcnn.batch.folder import settings_digest
from medcnn.batch.ledger import Row
from medcnn.batch.outcome import Outcome, begun_row, without_answer
from medcnn.batch.reading import Read, Reader
from medcnn.batch.results import OVERLAYS, Results
from medcnn.batch.view import View
from medcnn.data.prepared import prepared_entry
from medcnn.model_package.classifier import ClassifierPackage
from medcnn.scan import Rejection, Scan

_HELD_BYTES = 200e6  # prepared scans and what is shown of them that wait for one question to the network


class Classifying:
    """Answering (medcnn/batch/outcome.py) for a classifier.

    explain  an overlay per case: where the network looked
    """

    noun = "decisions"

    def __init__(self, package: ClassifierPackage, results: Results, *, explain: bool) -> None:
        self.package, self.results, self.explain = package, results, explain
        self.model = package.digest
        self.settings = settings_digest({"explain": explain, "shifts": package.classifier.shifts})
        self._names = package.classifier.rule.class_names

    def outcomes(
        self, listed: CaseList, is_done: Callable[[Case, str], bool], heed: Callable[[], None]
    ) -> Generator[Outcome]:
        """Every case, batch by batch."""
        steps = self.package.description.preprocessing
        reader = Reader(listed.root, steps.reading, len(steps.size_px), self._prepared, is_done)
        reads = reader.all(listed.cases)
        try:
            for batch in batches(_heeding(reads, heed), self.package.classifier.batch_cases):
                for read, answer in self._answers(batch):
                    yield Outcome(read.case, None if read.is_done else self._written(read, answer))
        finally:
            reads.close()

    def is_current(self, row: Row) -> bool:
        """Always: overlays are named by their case."""
        return True

    def word(self, row: Row) -> str:
        """Of the summary."""
        return row.decision or "withheld"

    def header(self) -> list[str]:
        """Of predictions.csv."""
        numbers = [f"p.{name}" for name in self._names]
        return ["case_id", "reference", *numbers, "decision", "confidence", "flags", "reason", "status", "seconds"]

    def cells(self, row: Row) -> list[str]:
        """Its line."""
        numbers = [f"{row.probability[name]:.6f}" if name in row.probability else "" for name in self._names]
        sure = "" if row.confidence is None else f"{row.confidence:.6f}"
        end = [row.decision, sure, " | ".join(row.flags), row.in_words(), row.status, f"{row.seconds:.3f}"]
        return [row.case_id, row.reference, *numbers, *end]

    def _prepared(self, scan: Scan) -> Shown:
        steps = self.package.description.preprocessing
        return Shown(prepared_entry(scan, steps), View.of(scan, steps) if self.explain else None)

    def _answers(self, batch: Sequence[Read[Shown]]) -> Iterator[tuple[Read[Shown], Answer]]:
        """Each read case with its answer, one after the other, so that each is safe before the next is drawn."""
        asked = [read for read in batch if read.prepared is not None]
        began = time.perf_counter()
        found = predictions(self.package, asked) if asked else []
        looked = iter(zip(found, heats(self.package, asked, found), strict=True))
        share = (time.perf_counter() - began) / max(1, len(asked))
        for read in batch:
            if read.prepared is None:
                yield read, Answer(rejection=read.rejection)
                continue
            began, (said, heat) = time.perf_counter(), next(looked)
            made = Answer(rejection=said) if isinstance(said, Rejection) else explained(self.package, read, said, heat)
            seconds = read.seconds + share + time.perf_counter() - began
            yield replace(read, seconds=seconds), made

    def _written(self, read: Read[Shown], answer: Answer) -> Row:
        """The row, its overlay in place."""
        row = begun_row(read, model=self.model, settings=self.settings)
        said = answer.prediction
        if said is None:
            return without_answer(row, answer.rejection)
        names = []
        if answer.overlay is not None:
            names = [f"{OVERLAYS}/{read.case.case_id}.png"]
            self.results.write(names[0], answer.overlay)
        return replace(
            row,
            probability=said.probability,
            decision=said.decision,
            confidence=said.confidence if said.decision else None,
            flags=said.flags,
            reason=said.reason,
            files=self.results.digests(names),
        )


def batches(reads: Iterable[Read[Shown]], most_cases: int) -> Iterator[list[Read[Shown]]]:
    """As many as are asked together: so many to be asked, and no more than memory should hold."""
    batch: list[Read[Shown]] = []
    held = 0
    asked = 0
    for read in reads:
        batch.append(read)
        asked += read.prepared is not None
        held += read.prepared.nbytes if read.prepared else 0
        if asked >= most_cases or held > _HELD_BYTES or len(batch) >= 4 * most_cases:
            yield batch
            batch, held, asked = [], 0, 0
    if batch:
        yield batch


def _heeding(reads: Iterable[Read[Shown]], heed: Callable[[], None]) -> Iterator[Read[Shown]]:
    """A signal that comes while scans are read need not wait for a whole batch."""
    for read in reads:
        heed()
        yield read
