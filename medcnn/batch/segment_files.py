"""What a segmented case leaves behind: masks, maps, a picture; each file whole or not there."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from medcnn.batch.cases import Case
from medcnn.batch.dicom_seg import SegWriter
from medcnn.batch.mask_words import mask_words, withheld_words
from medcnn.batch.masks import Grid, one_map_holds, voxels_outside, write_masks, write_values
from medcnn.batch.outlines import outlines_png
from medcnn.batch.probability_maps import ProbabilityMaps
from medcnn.batch.results import OVERLAYS, UNCERTAINTY, Results
from medcnn.batch.view import View
from medcnn.inference.segmenter import Segmentation
from medcnn.model_package.segmenter import Outlined, SegmenterPackage
from medcnn.transforms.placement import Placement


@dataclass(frozen=True)
class Wanted:
    """What is written besides the masks and the table."""

    overlays: bool = True
    probabilities: bool = False
    dicom_seg: bool = True


@dataclass(eq=False)
class CaseFiles:
    """Of the case in hand, in the order in which they were written."""

    written: list[str] = field(default_factory=list)
    masks: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


class SegmentFiles:
    """Writes them. Raises OSError where the disk refuses."""

    def __init__(self, package: SegmenterPackage, results: Results, wanted: Wanted) -> None:
        self.package, self.results, self.wanted = package, results, wanted
        self.maps = ProbabilityMaps(results)
        self._seg = SegWriter(package, results, datetime.now())

    def write(
        self, files: CaseFiles, root: Path, case: Case, name: str, said: Outlined, view: View | None, grid: Grid,
        placement: Placement,
    ) -> None:  # fmt: skip
        """Everything that is wanted of one case, noted in `files` as it comes."""
        made, rule = said.segmentation, self.package.segmenter.rule
        if view is not None:  # first: what cannot be drawn fails its case before anything lies there
            words = mask_words(self.package, case.case_id, said)
            self._picture(files, case, outlines_png(view, placement.turned(made.labels), rule, words))
        files.masks = tuple(write_masks(self.results, rule, name, made.labels, grid))
        files.written.extend(files.masks)
        if self.wanted.dicom_seg:
            written, why_not = self._seg.write(root, case.reference, name, made.labels, grid)
            files.written.extend(written)
            files.flags += (why_not,) if why_not else ()
        if made.uncertainty is not None:
            files.written.append(f"{UNCERTAINTY}/{name}{grid.suffix}")
            write_values(self.results.place(files.written[-1]), made.uncertainty[0], grid)
        self.maps.write(name, grid, files.written)
        files.flags += self._warnings(made)

    def write_withheld(self, files: CaseFiles, case: Case, flags: tuple[str, ...], view: View | None) -> None:
        """The scan alone, and why there is no mask."""
        if view is not None:
            words = withheld_words(self.package, case.case_id, flags)
            self._picture(files, case, outlines_png(view, None, self.package.segmenter.rule, words))

    def take_back(self, files: CaseFiles) -> None:
        """After a failure: nothing stands beside a row that has no answer."""
        self.maps.forget()
        self.results.drop(files.written)

    def _picture(self, files: CaseFiles, case: Case, content: bytes) -> None:
        files.written.append(f"{OVERLAYS}/{case.case_id}.png")
        self.results.write(files.written[-1], content)

    def _warnings(self, made: Segmentation) -> tuple[str, ...]:
        """Where the label map reads back otherwise than the network said."""
        rule = self.package.segmenter.rule
        if not rule.overlapping or not one_map_holds(rule):
            return ()
        beyond = voxels_outside(rule, made.labels)
        if not beyond:
            return ()
        return (f"REGIONS: {beyond} voxels of a narrower region lie outside the wider one; the map shows them as both",)
