"""A classifier over a folder: many scans to a question, an overlay each, written one by one."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from medcnn.batch.about import About
from medcnn.batch.answers import Answer, Shown, explained, heats, predictions
from medcnn.batch.ledger import Row
from medcnn.batch.outcome import Asked, Outcome, begun_row, without_answer
from medcnn.batch.reading import Read, Reader
from medcnn.batch.results import OVERLAYS, Results
from medcnn.batch.standing import settings_digest, stands
from medcnn.batch.view import View
from medcnn.config.predict import PredictConf
from medcnn.data.prepared import prepared_entry
from medcnn.model_package.classifier import ClassifierPackage
from medcnn.scan import Rejection, Scan

_HELD_BYTES = 200e6  # prepared scans and what is shown of them that wait for one question to the network


class Classifying:
    """Answering (medcnn/batch/outcome.py) for a classifier."""

    def __init__(self, package: ClassifierPackage, root: Path, results: Results, conf: PredictConf) -> None:
        self.package, self.root, self.results = package, root, results
        self.explain = conf.explain == "gradcam"
        description, classifier = package.description, package.classifier
        self.about = About(
            kind="classification",
            model=package.digest,
            settings=settings_digest({"explain": self.explain, "shifts": classifier.shifts}),
            task=description.task,
            intended_use=description.intended_use,
            names=classifier.rule.class_names,
            codes=description.class_codes,
            spatial_dims=len(description.preprocessing.size_px),
            reading=description.preprocessing.reading,
            expects=description.expects,
            members=len(classifier.networks),
            preparation=description.preprocessing.as_json(),
            inference={"shifts": classifier.shifts},
        )

    def outcomes(self, asked: Iterable[Asked]) -> Generator[Outcome]:
        """Every case, batch by batch."""
        steps = self.package.description.preprocessing
        reader = Reader(self.root, steps.reading, len(steps.size_px), self._prepared, self._is_done)
        reads = reader.all(asked)
        try:
            for batch in batches(reads, self.package.classifier.batch_cases):
                for read, answer in self._answers(batch):
                    yield Outcome(read.case, None if read.is_done else self._written(read, answer))
        finally:
            reads.close()

    def _is_done(self, asked: Asked, input_sha256: str) -> bool:
        return stands(asked, input_sha256, self.about, self.results)

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
        row = begun_row(read.asked, self.about, input_sha256=read.input_sha256, seconds=read.seconds)
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
