"""A segmenter over a folder: one case at a time, the next read meanwhile; masks first, then the row that says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from medcnn.batch.cases import Case, CaseList
from medcnn.batch.folder import settings_digest
from medcnn.batch.ledger import Row
from medcnn.batch.masks import Grid, mask_files
from medcnn.batch.names import names_of
from medcnn.batch.outcome import Outcome, begun_row, without_answer
from medcnn.batch.probability_maps import probability_files
from medcnn.batch.reading import Read, Reader, failure
from medcnn.batch.results import Results
from medcnn.batch.segment_files import CaseFiles, SegmentFiles, Wanted
from medcnn.batch.view import View
from medcnn.model_package.segmenter import Outlined, SegmenterPackage
from medcnn.scan import Reason, Scan, ScanRejected
from medcnn.transforms.whole_grid import OnGrid

_JOINED_BYTES = 200e6  # a prepared scan that takes more has the memory for itself: the next is read after it
_MOST_SAMPLED = 10_000_000  # voxels; percentiles of more take longer than reading them
_TIMES = ("read", "compute", "restore", "write")
_PERFORMANCE = ("batch_tiles", "batch_memory_mb")  # of the settings: they decide no answer


@dataclass(frozen=True, eq=False)
class Ready:
    """A scan on the network's grid, and what is needed of it afterwards. low, high: its 1st and 99th percentile."""

    on_grid: OnGrid
    grid: Grid
    view: View | None
    modality: str
    body_part: str
    low: float
    high: float


class Segmenting:
    """Answering (medcnn/batch/outcome.py) for a segmenter."""

    noun = "masks"

    def __init__(self, package: SegmenterPackage, results: Results, wanted: Wanted) -> None:
        self.package, self.results, self.wanted = package, results, wanted
        self.rule = package.segmenter.rule
        self.model = package.digest
        asked = package.segmenter.settings.as_json()
        deciding = {name: value for name, value in asked.items() if name not in _PERFORMANCE}
        self.settings = settings_digest({**deciding, **asdict(wanted)})
        self._files = SegmentFiles(package, results, wanted)
        self._case_names: dict[str, str] = {}

    def outcomes(
        self, listed: CaseList, is_done: Callable[[Case, str], bool], heed: Callable[[], None]
    ) -> Generator[Outcome]:
        """Every case, one by one. Memory is bounded by the case."""
        self._case_names = names_of(listed.cases, listed.root.name, self._files_of)
        steps = self.package.description.preprocessing
        reader = Reader(listed.root, steps.reading, steps.spatial_dims, self._prepared, is_done)
        reads = reader.one_ahead(listed.cases, lambda ready: ready.on_grid.image.nbytes <= _JOINED_BYTES)
        try:
            for read in reads:
                heed()
                outcome = Outcome(read.case, None if read.is_done else self._row(read, listed.root))
                del read  # or it would keep its memory until the next is there
                yield outcome
        finally:
            reads.close()

    def is_current(self, row: Row) -> bool:
        """Whether its masks are called as they would be now."""
        suffix = ".png" if row.masks and row.masks[0].endswith(".png") else ".nii.gz"
        name = self._case_names.get(row.case_id, "")
        return not row.masks or list(row.masks) == mask_files(self.rule, name, suffix)

    def word(self, row: Row) -> str:
        """Of the summary."""
        if not row.masks:
            return "withheld"
        return "written" if row.expected_dice else "empty"

    def header(self) -> list[str]:
        """Of predictions.csv."""
        volumes, dices = ([f"{what}.{name}" for name in self.rule.names] for what in ("volume_ml", "expected_dice"))
        times = [f"seconds_{part}" for part in _TIMES]
        first = ["case_id", "reference", "status", "mask"]
        return [*first, *volumes, *dices, "disagreement", "flags", "reason", "seconds", *times]

    def cells(self, row: Row) -> list[str]:
        """Its line."""
        volumes = [_number(row.volume_ml.get(name), 4) for name in self.rule.names]
        dices = [_number(row.expected_dice.get(name), 4) for name in self.rule.names]
        first = [row.case_id, row.reference, row.status, " | ".join(row.masks)]
        end = [_number(row.disagreement, 4), " | ".join(row.flags), row.in_words(), f"{row.seconds:.3f}"]
        return [*first, *volumes, *dices, *end, *(_number(row.seconds_of.get(part), 3) for part in _TIMES)]

    def _files_of(self, name: str) -> list[str]:
        files = mask_files(self.rule, name, "")
        return files + probability_files(self.rule.names, name, "") if self.wanted.probabilities else files

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
        view = View.of_placed(scan, on_grid.placement) if self.wanted.overlays else None
        grid = Grid(tuple(scan.voxels.shape[1:]), scan.geometry, scan.spacing_mm)
        return Ready(on_grid, grid, view, scan.modality, scan.body_part, low, high)

    def _row(self, read: Read[Ready], root: Path) -> Row:
        """The answer, its files in place. Raises OSError; whatever else goes wrong is the case's own."""
        row = begun_row(read, model=self.model, settings=self.settings)
        if read.prepared is None:
            return without_answer(row, read.rejection)
        files = CaseFiles()
        try:
            return self._answered(row, read, read.prepared, root, files)
        except OSError:  # the results cannot be written: the run's fault, not the case's
            self._files.maps.forget()
            raise
        except Exception as error:
            self._files.take_back(files)
            return without_answer(row, failure(error))

    def _answered(self, row: Row, read: Read[Ready], ready: Ready, root: Path, files: CaseFiles) -> Row:
        expects, begun = self.package.description.expects, time.perf_counter()
        reasons = list(expects.misfits(ready.modality, ready.body_part))
        if reasons:  # nothing is computed: a mask of another kind of scan would be taken for an answer
            flags = (*reasons, *expects.oddities(ready.low, ready.high, ready.on_grid.image))
            self._files.write_withheld(files, read.case, flags, ready.view)
            return self._ended(replace(row, flags=flags, reason="; ".join(reasons)), read, files, {}, begun)
        said = self._outlined(ready)
        computed = time.perf_counter()
        placement, name = ready.on_grid.placement, self._case_names[read.case.case_id]
        self._files.write(files, root, read.case, name, said, ready.view, ready.grid, placement)
        made = said.segmentation
        restored = made.seconds["restore"] + made.seconds["postprocess"]
        parts = {
            "compute": computed - begun - restored,
            "restore": restored,
            "write": time.perf_counter() - computed,
        }
        row = replace(
            row,
            flags=(*said.flags, *files.flags),
            volume_ml=made.volumes_ml or {},
            expected_dice={name: dice for name, dice in made.expected_dice.items() if isfinite(dice)},
            disagreement=made.disagreement,
        )
        return self._ended(row, read, files, parts, begun)

    def _outlined(self, ready: Ready) -> Outlined:
        keep = self._files.maps.begun(self.rule.names, ready.grid) if self.wanted.probabilities else None
        facts: dict[str, Any] = {"modality": ready.modality, "body_part": ready.body_part}
        return self.package.segment(ready.on_grid, **facts, low=ready.low, high=ready.high, keep=keep)

    def _ended(self, row: Row, read: Read[Ready], files: CaseFiles, parts: dict[str, float], begun: float) -> Row:
        seconds = read.seconds + time.perf_counter() - begun
        split = {"read": read.seconds, **parts}
        return replace(
            row,
            masks=files.masks,
            files=self.results.digests(files.written),
            seconds=round(seconds, 3),
            seconds_of={part: round(took, 3) for part, took in split.items()},
        )


def _number(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"
