"""A classifier, or a regression, over a folder: many scans to a question, an overlay each, written one by one."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from medcnn.batch.about import About
from medcnn.batch.answer_files import AnswerFiles, Wanted
from medcnn.batch.answers import Answer, Shown, WholeScanPackage, looks, predictions
from medcnn.batch.estimate import ModelNeeds, memory_check
from medcnn.batch.ledger import Row
from medcnn.batch.masks import Grid
from medcnn.batch.outcome import Asked, Outcome, begun_row, without_answer
from medcnn.batch.reading import Read, Reader
from medcnn.batch.results import Results
from medcnn.batch.standing import settings_digest, stands
from medcnn.batch.view import View
from medcnn.config.explain import USUAL
from medcnn.config.predict import PredictConf
from medcnn.data.prepared import prepared_entry
from medcnn.model_package.classifier import ClassifierPackage
from medcnn.model_package.regressor import RegressorPackage
from medcnn.scan import Rejection, Scan

_HELD_BYTES = 200e6  # prepared scans and what is shown of them that wait for one question to the network


class Classifying:
    """Answering (medcnn/batch/outcome.py) for a model that sees whole scans: a classifier, or a regression."""

    def __init__(self, package: WholeScanPackage, root: Path, results: Results, conf: PredictConf) -> None:
        self.package, self.root, self.results = package, root, results
        wanted = Wanted.of(conf)
        self._files = AnswerFiles(package, root, results, wanted)
        self._asked = package.regressor if isinstance(package, RegressorPackage) else package.classifier
        self._needs = ModelNeeds.of_json(package.description.as_json(), shifts=self._asked.shifts)
        self._memory_mb = conf.memory_mb
        self.about = _about(package, conf, asdict(wanted), asdict(self._needs))

    def outcomes(self, asked: Iterable[Asked]) -> Generator[Outcome]:
        """Every case, batch by batch."""
        steps = self.package.description.preprocessing
        check = memory_check(self.root, self._needs, steps.reading, self._memory_mb)
        reader = Reader(self.root, steps.reading, len(steps.size_px), self._prepared, self._is_done, check)
        reads = reader.all(asked)
        try:
            for batch in batches(reads, self._asked.batch_cases):
                for read, answer, seconds in self._answers(batch):
                    yield Outcome(read.case, None if read.is_done else self._row(read, answer, seconds))
        finally:
            reads.close()

    def _row(self, read: Read[Shown], answer: Answer, seconds: float) -> Row:
        begun = begun_row(read.asked, self.about, input_sha256=read.input_sha256, seconds=read.seconds)
        if answer.prediction is None or read.prepared is None:
            return without_answer(begun, answer.rejection)
        return self._files.row(begun, read.asked, read.prepared, answer.prediction, answer.heat, seconds)

    def _is_done(self, asked: Asked, input_sha256: str) -> bool:
        return stands(asked, input_sha256, self.about, self.results)

    def _prepared(self, scan: Scan) -> Shown:
        steps = self.package.description.preprocessing
        view = View.of(scan, steps) if self._files.needs_heat else None
        grid = Grid(tuple(scan.voxels.shape[1:]), scan.geometry, scan.spacing_mm)
        return Shown(prepared_entry(scan, steps), view, grid)

    def _answers(self, batch: Sequence[Read[Shown]]) -> Iterator[tuple[Read[Shown], Answer, float]]:
        """Each read case with its answer, and its share of the seconds that the batch took."""
        asked = [read for read in batch if read.prepared is not None]
        began = time.perf_counter()
        found = predictions(self.package, asked) if asked else []
        looked = iter(zip(found, looks(self.package, asked, found, self._files.explainer), strict=True))
        share = (time.perf_counter() - began) / max(1, len(asked))
        for read in batch:
            if read.prepared is None:
                yield read, Answer(rejection=read.rejection), 0.0
                continue
            said, look = next(looked)
            if isinstance(said, Rejection):
                yield read, Answer(rejection=said), share
            elif isinstance(look, Rejection):
                yield read, Answer(rejection=look), share
            elif look is None:
                yield read, Answer(said), share
            else:
                note = (f"EXPLANATION: {look.note}",) if look.note else ()
                yield read, Answer(replace(said, flags=(*said.flags, *note)), look.heat), share


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


def _about(package: WholeScanPackage, conf: PredictConf, wanted: dict[str, Any], needs: dict[str, Any]) -> About:
    description = package.description
    whole = About(
        kind="regression" if isinstance(package, RegressorPackage) else "classification",
        model=package.digest,
        settings="",
        task=description.task,
        intended_use=description.intended_use,
        names=(),
        codes=description.class_codes,
        spatial_dims=len(description.preprocessing.size_px),
        reading=description.preprocessing.reading,
        expects=description.expects,
        members=len(description.weights),
        needs=needs,
    )
    if isinstance(package, RegressorPackage):
        rule = package.regressor.rule
        settings = settings_digest({**wanted, "shifts": package.regressor.shifts})
        held = rule.range
        return replace(
            whole,
            settings=settings,
            names=(rule.name,),
            unit=rule.unit,
            digits=rule.digits,
            range=held.words() if held else "",
            coverage=held.coverage if held and held.claims_coverage else None,
        )
    classifier, beside = package.classifier, package.description.covariates
    return replace(
        whole,
        settings=settings_digest({**wanted, "shifts": classifier.shifts, "site": asdict(classifier.rule.site)}),
        names=classifier.rule.class_names,
        explained=_believed(package.description.explained, conf),
        covariates=beside.as_json() if beside else None,
        patients=_of_patients(package),
    )


def _of_patients(package: ClassifierPackage) -> dict[str, Any] | None:
    """What the leading process needs to answer for patients."""
    patients, rule = package.description.patients, package.classifier.rule
    if patients is None:
        return None
    return {"aggregate": patients.aggregate, "kind": rule.kind, "limits": patients.read_by(rule).limits()}


def _believed(explained: Mapping[str, str], conf: PredictConf) -> str:
    """What the results page says beside the maps."""
    if conf.explain == "none" and not conf.saliency:
        return ""
    way = USUAL if conf.explain == "none" else conf.explain
    nobody = f"nobody has tried whether maps of {way} can be believed of this model; evaluate explain=[{way}] does"
    return explained.get(way, nobody)
