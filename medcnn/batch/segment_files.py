"""What a segmented case leaves behind: masks, maps, pictures, objects; each file whole or not there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import cast

import numpy as np

from medcnn.batch.case_view import case_view_js
from medcnn.batch.dicom_results import DicomResults, Objects, Seg
from medcnn.batch.ledger import Row
from medcnn.batch.mask_words import mask_words, withheld_words
from medcnn.batch.masks import Grid, one_map_holds, voxels_outside, write_masks, write_values
from medcnn.batch.outcome import Asked, without_answer
from medcnn.batch.outlines import outlines_page
from medcnn.batch.page import Rgb
from medcnn.batch.peak import peak_mb
from medcnn.batch.probability_maps import ProbabilityMaps
from medcnn.batch.reading import failure
from medcnn.batch.results import OVERLAYS, THUMBNAILS, UNCERTAINTY, VIEWS, Results
from medcnn.batch.thumbnail import thumbnail
from medcnn.batch.view import View
from medcnn.config.predict import PredictConf
from medcnn.inference.quality_flags import mask_flags, patient_ends, picture_ends
from medcnn.inference.segmenter import Segmentation
from medcnn.model_package.segmenter import SegmenterPackage
from medcnn.transforms.whole_grid import OnGrid


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

    def without_image(self) -> Ready:
        """What writing needs: the image's memory goes back."""
        return replace(self, on_grid=replace(self.on_grid, image=np.empty(0, np.float32)))


@dataclass(frozen=True, eq=False)
class Said:
    """What the network said of a scan; no segmentation, and the reasons, where it does not know the kind of scan."""

    segmentation: Segmentation | None
    flags: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    maps: ProbabilityMaps | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Wanted:
    """What is written besides the masks and the table."""

    overlays: bool = True
    views: bool = True
    probabilities: bool = False
    objects: Objects = field(default_factory=Objects)

    @classmethod
    def of(cls, conf: PredictConf) -> Wanted:
        """As the config says."""
        objects = Objects(cast("Seg", conf.dicom_seg), conf.dicom_sr, conf.dicom_sc)
        return cls(conf.explain != "none", conf.views, conf.probabilities, objects)


@dataclass(eq=False)
class CaseFiles:
    """Of the case in hand, in the order in which they were written."""

    written: list[str] = field(default_factory=list)
    masks: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


class SegmentFiles:
    """Writes them."""

    def __init__(self, package: SegmenterPackage, root: Path, results: Results, wanted: Wanted) -> None:
        self.package, self.root, self.results, self.wanted = package, root, results, wanted
        self._dicom = DicomResults.of(package, results, wanted.objects)
        quality = package.segmenter.quality
        self._judged = () if quality is None else tuple(quality.curves)

    def row(self, begun: Row, asked: Asked, ready: Ready, said: Said) -> Row:
        """What goes into the ledger, its files in place. Raises OSError where the disk refuses; whatever else goes
        wrong is the case's own.
        """
        files = CaseFiles()
        try:
            return self._row(begun, asked, ready, said, files)
        except OSError:  # the results cannot be written: the run's fault, not the case's
            raise
        except Exception as error:
            self.results.drop(files.written)  # nothing stands beside a row that has no answer
            return without_answer(begun, failure(error))
        finally:
            if said.maps is not None:
                said.maps.forget()

    def _row(self, begun: Row, asked: Asked, ready: Ready, said: Said, files: CaseFiles) -> Row:
        began, made = time.perf_counter(), said.segmentation
        row = begun
        if made is None:
            self._write_withheld(files, asked, said.flags, ready.view)
            row = replace(row, flags=said.flags, reason="; ".join(said.reasons))
        else:
            self._write(files, asked, ready, said, made)
            row = replace(
                row,
                flags=files.flags,
                volume_ml=made.volumes_ml or {},
                expected_dice={name: dice for name, dice in made.expected_dice.items() if isfinite(dice)},
                disagreement=made.disagreement,
            )
        parts = _parts(begun.seconds, said, time.perf_counter() - began)
        return replace(
            row,
            masks=files.masks,
            files=self.results.digests(files.written),
            seconds=round(sum(parts.values()), 3),
            seconds_of={part: round(took, 3) for part, took in parts.items()},
            peak_mb=peak_mb(),
        )

    def _write(self, files: CaseFiles, asked: Asked, ready: Ready, said: Said, made: Segmentation) -> None:
        """Everything that is wanted of one case, noted in `files` as it comes."""
        rule, grid, name = self.package.segmenter.rule, ready.grid, asked.name
        files.flags = (*said.flags, *self._flags(made, grid))
        picture = self._draw(files, asked, ready, made)  # first: what cannot be drawn leaves nothing else behind
        files.masks = tuple(write_masks(self.results, rule, name, made.labels, grid))
        files.written.extend(files.masks)
        if made.uncertainty is not None:
            files.written.append(f"{UNCERTAINTY}/{name}{grid.suffix}")
            write_values(self.results.place(files.written[-1]), made.uncertainty[0], grid)
        if said.maps is not None:
            said.maps.write(name, grid, files.written)
        written, why_not = self._dicom.of_masks(
            self.root, asked.case.reference, name, made.labels, grid, made.volumes_ml, made.expected_dice, picture,
            files.flags,
        )  # fmt: skip
        files.written.extend(written)
        files.flags += (why_not,) if why_not else ()

    def _draw(self, files: CaseFiles, asked: Asked, ready: Ready, made: Segmentation) -> Callable[[], Rgb] | None:
        """The picture with contours, a small one, and what the page scrolls; how to draw it for the study, where a name
        that only this run's key makes has no place.
        """
        if ready.view is None:
            return None
        rule, case_id = self.package.segmenter.rule, asked.case.case_id
        labels = ready.on_grid.placement.turned(made.labels)
        if self.wanted.views and ready.view.grey.ndim == 3:
            self._put(files, f"{VIEWS}/{case_id}.js", case_view_js(ready.view, labels, rule.names))
        if not self.wanted.overlays:
            return None
        words = mask_words(self.package, case_id, made, files.flags)
        page = outlines_page(ready.view, labels, rule, words)
        self._put(files, f"{OVERLAYS}/{case_id}.png", page.png())
        self._put(files, f"{THUMBNAILS}/{case_id}.webp", thumbnail(ready.view, labels, rule))
        view = ready.view
        return lambda: outlines_page(view, labels, rule, replace(words, case_id="")).rgb()

    def _write_withheld(self, files: CaseFiles, asked: Asked, flags: tuple[str, ...], view: View | None) -> None:
        """The scan alone, and why there is no mask."""
        if view is not None and self.wanted.overlays:
            words = withheld_words(self.package, asked.case.case_id, flags)
            page = outlines_page(view, None, self.package.segmenter.rule, words)
            self._put(files, f"{OVERLAYS}/{asked.case.case_id}.png", page.png())

    def _put(self, files: CaseFiles, name: str, content: bytes) -> None:
        files.written.append(name)
        self.results.write(name, content)

    def _flags(self, made: Segmentation, grid: Grid) -> tuple[str, ...]:
        """What a person should look at."""
        rule = self.package.segmenter.rule
        ends = picture_ends() if grid.geometry is None else patient_ends(grid.geometry)
        found = mask_flags(
            made.labels, rule, made.expected_dice, made.disagreement, judged=self._judged,
            ends=ends if len(ends) == len(grid.shape_vox) else (),
        )  # fmt: skip
        return (*found, *self._regions(made))

    def _regions(self, made: Segmentation) -> tuple[str, ...]:
        """Where the label map reads back otherwise than the network said."""
        rule = self.package.segmenter.rule
        if not rule.overlapping or not one_map_holds(rule):
            return ()
        beyond = voxels_outside(rule, made.labels)
        if not beyond:
            return ()
        return (f"REGIONS: {beyond} voxels of a narrower region lie outside the wider one; the map shows them as both",)


def _parts(read_s: float, said: Said, write_s: float) -> dict[str, float]:
    """Where the time went, in seconds."""
    if said.segmentation is None:
        return {"read": read_s, "write": write_s}
    made = said.segmentation.seconds
    restore_s = made["restore"] + made["postprocess"]
    return {"read": read_s, "compute": said.seconds - restore_s, "restore": restore_s, "write": write_s}
