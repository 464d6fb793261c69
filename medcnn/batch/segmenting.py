"""A segmenter over a folder: one case at a time, the next read and the last written meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from medcnn.batch.about import About
from medcnn.batch.estimate import ModelNeeds, memory_check
from medcnn.batch.masks import Grid
from medcnn.batch.outcome import Asked, Outcome, begun_row, without_answer
from medcnn.batch.peak import begin_peak
from medcnn.batch.probability_maps import ProbabilityMaps
from medcnn.batch.reading import Read, Reader, failure
from medcnn.batch.results import Results
from medcnn.batch.segment_files import Ready, Said, SegmentFiles, Wanted
from medcnn.batch.standing import settings_digest, stands
from medcnn.batch.tile_cost import tile_cost
from medcnn.batch.view import View
from medcnn.config.predict import PredictConf
from medcnn.model_package.segmenter import SegmenterPackage
from medcnn.scan import Reason, Scan, ScanRejected

_JOINED_BYTES = 200e6  # a prepared scan that takes more has the memory for itself: the next is read after it
_MOST_SAMPLED = 10_000_000  # voxels; percentiles of more take longer than reading them
_PERFORMANCE = ("batch_tiles", "batch_memory_mb")  # of the settings: they decide no answer


class Segmenting:
    """Answering (medcnn/batch/outcome.py) for a segmenter."""

    def __init__(self, package: SegmenterPackage, root: Path, results: Results, conf: PredictConf) -> None:
        self.package, self.root, self.results = package, root, results
        self.wanted = Wanted.of(conf)
        self.rule = package.segmenter.rule
        description, asked = package.description, package.segmenter.settings.as_json()
        deciding = {name: value for name, value in asked.items() if name not in _PERFORMANCE}
        needs = ModelNeeds.of_json(description.as_json(), **asked)
        cost = tile_cost(package.segmenter, description.preprocessing.num_channels) if conf.dry_run else None
        self._needs = replace(
            needs,
            tile_mb=None if cost is None else cost.memory_mb,
            on_gpu=package.segmenter.device.type == "cuda",
        )
        self._memory_mb = conf.memory_mb
        self.about = About(
            kind="segmentation",
            model=package.digest,
            settings=settings_digest({**deciding, **asdict(self.wanted)}),
            task=description.task,
            intended_use=description.intended_use,
            names=self.rule.names,
            codes=description.class_codes,
            spatial_dims=description.preprocessing.spatial_dims,
            reading=description.preprocessing.reading,
            expects=description.expects,
            members=len(package.segmenter.networks),
            needs=asdict(self._needs),
            seconds_per_tile=None if cost is None else cost.seconds,
        )
        self._files = SegmentFiles(package, root, results, self.wanted)

    def outcomes(self, asked: Iterable[Asked]) -> Generator[Outcome]:
        """Every case, one by one: while one is computed the next is read and the last is written, where memory lets
        them. Memory is bounded by the case.
        """
        steps = self.package.description.preprocessing
        check = memory_check(self.root, self._needs, steps.reading, self._memory_mb)
        reader = Reader(self.root, steps.reading, steps.spatial_dims, self._prepared, self._is_done, check)
        reads = reader.one_ahead(asked, _is_small)
        writer = ThreadPoolExecutor(1, thread_name_prefix="medcnn-write")
        being_written: Future[Outcome] | None = None
        try:
            for read in reads:
                is_small = read.prepared is None or _is_small(read.prepared)
                to_write = self._computed(read)
                del read  # or it would keep its memory until the next is there
                if being_written is not None:
                    yield being_written.result()
                being_written = writer.submit(to_write)
                del to_write
                if not is_small:
                    yield being_written.result()
                    being_written = None
            if being_written is not None:
                yield being_written.result()
        finally:
            reads.close()
            writer.shutdown(wait=True)

    def _is_done(self, asked: Asked, input_sha256: str) -> bool:
        return stands(asked, input_sha256, self.about, self.results)

    def _prepared(self, scan: Scan) -> Ready:
        if scan.spatial_dims == 3 and scan.geometry is None:
            raise ScanRejected(
                Reason.ORIENTATION_UNKNOWN,
                "the file does not say how the volume lies in the patient, so a mask could not either",
                "Give a file with its orientation (NIfTI: qform or sform code above 0)",
            )
        on_grid = self.package.description.preprocessing.apply(scan)
        flat = scan.voxels.reshape(-1)
        low, high = (float(value) for value in np.percentile(flat[:: max(1, flat.size // _MOST_SAMPLED)], [1, 99]))
        is_shown = self.wanted.overlays or (self.wanted.views and scan.spatial_dims == 3)
        view = View.of_placed(scan, on_grid.placement) if is_shown else None
        grid = Grid(tuple(scan.voxels.shape[1:]), scan.geometry, scan.spacing_mm)
        return Ready(on_grid, grid, view, scan.modality, scan.body_part, low, high)

    def _computed(self, read: Read[Ready]) -> Callable[[], Outcome]:
        """What is left to do when the network has answered: to write. It raises OSError alone; whatever else goes wrong
        is the case's own.
        """
        case = read.case
        if read.is_done:
            return lambda: Outcome(case, None)
        begun = begun_row(read.asked, self.about, input_sha256=read.input_sha256, seconds=read.seconds)
        if read.prepared is None:
            rejected = without_answer(begun, read.rejection)
            return lambda: Outcome(case, rejected)
        begin_peak()
        try:
            said = self._said(read.prepared)
        except Exception as error:
            failed = without_answer(begun, failure(error))
            return lambda: Outcome(case, failed)
        asked, ready = read.asked, read.prepared.without_image()
        return lambda: Outcome(asked.case, self._files.row(begun, asked, ready, said))

    def _said(self, ready: Ready) -> Said:
        expects, begun = self.package.description.expects, time.perf_counter()
        reasons = tuple(expects.misfits(ready.modality, ready.body_part))
        if reasons:  # nothing is computed: a mask of another kind of scan would be taken for an answer
            return Said(None, (*reasons, *expects.oddities(ready.low, ready.high, ready.on_grid.image)), reasons)
        maps = ProbabilityMaps(self.results)
        try:
            keep = maps.begun(self.rule.names, ready.grid) if self.wanted.probabilities else None
            facts: dict[str, Any] = {"modality": ready.modality, "body_part": ready.body_part}
            said = self.package.segment(ready.on_grid, **facts, low=ready.low, high=ready.high, keep=keep)
        except BaseException:
            maps.forget()
            raise
        return Said(said.segmentation, said.flags, (), maps, time.perf_counter() - begun)


def _is_small(ready: Ready) -> bool:
    return ready.on_grid.image.nbytes <= _JOINED_BYTES
