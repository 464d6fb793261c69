"""What a case leaves in its DICOM study: a segmentation, a report and a picture, where the scan was read from DICOM.

The headers of the sources are read once per case, for all of the objects; no pixel of them is decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from medcnn import __version__
from medcnn.batch.dicom_words import answer_report, code_of, structures_report, value_report
from medcnn.batch.masks import Grid
from medcnn.batch.names import structure_names
from medcnn.batch.results import DICOM, Results
from medcnn.inference.mask_rule import Labels, MaskRule
from medcnn.inference.prediction import Prediction
from medcnn.inference.regressor import ValueRule
from medcnn.io.content import Content, content_of
from medcnn.io.dicom.result_object import Algorithm
from medcnn.io.dicom.sc_write import sc_bytes
from medcnn.io.dicom.seg_source import source_of
from medcnn.io.dicom.seg_write import Form, seg_of
from medcnn.io.dicom.segment import Segment
from medcnn.io.dicom.source import Source, source_of_files
from medcnn.io.dicom.sr_write import Report, SegmentReference, sr_bytes
from medcnn.io.read import source_files
from medcnn.io.reference import Reference
from medcnn.model_package.opening import ModelPackage
from medcnn.model_package.regressor import RegressorPackage
from medcnn.model_package.segmenter import SegmenterPackage
from medcnn.scan import Rejection, ScanRejected

Picture = Callable[[], npt.NDArray[np.uint8]]  # (H, W, 3), drawn only where it is wanted
Seg = Literal["binary", "labelmap", "none"]


@dataclass(frozen=True)
class Objects:
    """Which are written. seg: of volumes; pictures have none, since a segmentation needs a place in the patient."""

    seg: Seg = "binary"
    sr: bool = True
    sc: bool = True

    @property
    def any(self) -> bool:
        """Whether there is anything to do."""
        return self.seg != "none" or self.sr or self.sc


def segmentation_files(rule: MaskRule, name: str, objects: Objects) -> list[str]:
    """What of_masks writes of a volume at most, as paths in the results.

    Where structures overlap, a segmentation for each, since the pixels of one hold one number.
    """
    stems = [f"{name}_{stem}" for stem in structure_names(rule.names).values()] if rule.overlapping else [name]
    return ([] if objects.seg == "none" else [_file(stem, "seg") for stem in stems]) + answer_files(name, objects)


def answer_files(name: str, objects: Objects) -> list[str]:
    """What of_answer writes at most."""
    wanted = {"sr": objects.sr, "sc": objects.sc}
    return [_file(name, kind) for kind, is_wanted in wanted.items() if is_wanted]


@dataclass(eq=False)
class _Case:
    """The objects of the case in hand, as far as they are written, and why others are not."""

    name: str
    source: Source
    written: list[str] = field(default_factory=list)
    refused: list[tuple[str, Rejection]] = field(default_factory=list)

    def why(self) -> str:
        """As a flag; "" where all that was wanted is there."""
        return _why(self.refused)


@dataclass(frozen=True, eq=False)
class DicomResults:
    """Writes them. Raises OSError where the disk refuses; a scan that cannot carry an object is no error but a reason.

    Nothing is written for a scan that was not read from DICOM.

    codes  class or structure -> SNOMED CT code
    rule   what a segmenter's labels mean; None of another
    quantity  what a regression's number means; None of another
    """

    results: Results
    objects: Objects
    algorithm: Algorithm
    codes: Mapping[str, str]
    rule: MaskRule | None = None
    quantity: ValueRule | None = None

    @classmethod
    def of(cls, package: ModelPackage, results: Results, objects: Objects) -> DicomResults:
        """For one model."""
        description = package.description
        algorithm = Algorithm(description.task or "medcnn", __version__, package.digest)
        rule = package.segmenter.rule if isinstance(package, SegmenterPackage) else None
        quantity = package.regressor.rule if isinstance(package, RegressorPackage) else None
        return cls(results, objects, algorithm, description.class_codes, rule, quantity)

    def of_masks(
        self,
        root: Path,
        reference: str,
        name: str,
        labels: Labels,
        grid: Grid,
        volumes_ml: dict[str, float] | None,
        expected_dice: dict[str, float],
        picture: Picture | None,
        notes: tuple[str, ...] = (),
    ) -> tuple[list[str], str]:
        """A segmentation (volumes), a report of what was found, the picture. Returns (the files, why some are missing).

        labels   as a Segmentation has them, on the scan's grid
        notes    flags, which the report repeats
        """
        try:
            case = self._begun(root, reference, name, grid)
        except ScanRejected as rejected:
            return [], _why([("result in the study", rejected.rejection)])
        if case is None:
            return [], ""
        assert self.rule is not None, "masks are a segmenter's"
        segments = self._write_segmentations(case, self.rule, labels, grid)
        found = {structure: bool(self.rule.mask(labels, structure).any()) for structure in self.rule.names}
        dices = {structure: dice for structure, dice in expected_dice.items() if isfinite(dice)}
        report = structures_report(found, volumes_ml or {}, dices, segments, self.codes, notes)
        self._write_report_and_picture(case, report, picture)
        return case.written, case.why()

    def of_answer(
        self, root: Path, reference: str, name: str, prediction: Prediction, picture: Picture | None
    ) -> tuple[list[str], str]:
        """A report of the answer, and the picture. Returns (the files, why some are missing)."""
        try:
            case = self._begun(root, reference, name, None)
        except ScanRejected as rejected:
            return [], _why([("result in the study", rejected.rejection)])
        if case is None:
            return [], ""
        if self.quantity is not None:
            report = value_report(prediction, self.quantity.name, self.quantity.unit)
        else:
            report = answer_report(prediction, self.codes)
        self._write_report_and_picture(case, report, picture)
        return case.written, case.why()

    def _begun(self, root: Path, reference: str, name: str, grid: Grid | None) -> _Case | None:
        """None where nothing is wanted or the scan is no DICOM. With planes where a segmentation needs them and can."""
        if not self.objects.any:
            return None
        sources = source_files(root, reference)
        if content_of(sources[0]) is not Content.DICOM:
            return None
        parsed = Reference.parse(reference)
        chosen = dict(parsed.chosen)
        refused: list[tuple[str, Rejection]] = []
        if self.objects.seg != "none" and grid is not None and grid.geometry is not None and len(grid.shape_vox) == 3:
            try:
                return _Case(name, source_of(sources, grid.geometry, chosen))
            except ScanRejected as rejected:
                refused.append(("segmentation", rejected.rejection))
        elif not (self.objects.sr or self.objects.sc):
            return None
        return _Case(name, source_of_files(sources, chosen, parsed.frame), refused=refused)

    def _write_segmentations(
        self, case: _Case, rule: MaskRule, labels: Labels, grid: Grid
    ) -> dict[str, SegmentReference]:
        """Structure -> the segment that shows it, of those that were found."""
        if not case.source.places or grid.geometry is None:
            return {}
        shown: dict[str, SegmentReference] = {}
        try:
            for file, plane, segments in self._segmentations(case.name, rule, labels):
                form = Form(
                    "LABELMAP" if self.objects.seg == "labelmap" else "BINARY",
                    "Segmentation" if len(labels) == 1 else segments[0].label,
                )
                made = seg_of(plane, grid.geometry, case.source, segments, self.algorithm, form=form)
                self._write(case, file, made.content)
                uids = made.sop_class_uid, made.sop_instance_uid, made.series_instance_uid
                shown |= {
                    one.label: SegmentReference(*uids, one.number) for one in segments if one.number in made.found
                }
        except ScanRejected as rejected:
            case.refused.append(("segmentation", rejected.rejection))
        return shown

    def _segmentations(
        self, name: str, rule: MaskRule, labels: Labels
    ) -> list[tuple[str, npt.NDArray[np.uint8], list[Segment]]]:
        """(file, label map, its segments)."""
        if not rule.overlapping:
            segments = [Segment(n, one, code_of(one, self.codes)) for n, one in enumerate(rule.names, start=1)]
            return [(_file(name, "seg"), labels[0], segments)]
        stems = structure_names(rule.names)
        return [
            (_file(f"{name}_{stems[one]}", "seg"), plane, [Segment(1, one, code_of(one, self.codes))])
            for one, plane in zip(rule.names, labels, strict=True)
        ]

    def _write_report_and_picture(self, case: _Case, report: Report, picture: Picture | None) -> None:
        makers: list[tuple[str, str, Callable[[], bytes]]] = []
        if self.objects.sr:
            makers.append(("sr", "report", lambda: sr_bytes(report, case.source, self.algorithm)))
        if self.objects.sc and picture is not None:
            makers.append(("sc", "picture", lambda: sc_bytes(picture(), case.source, self.algorithm)))
        for kind, word, make in makers:
            try:
                content = make()
            except ScanRejected as rejected:
                case.refused.append((word, rejected.rejection))
            else:
                self._write(case, _file(case.name, kind), content)

    def _write(self, case: _Case, file: str, content: bytes) -> None:
        self.results.write(file, content)
        case.written.append(file)


def _file(stem: str, kind: str) -> str:
    return f"{DICOM}/{stem}_{kind}.dcm"


def _why(refused: Sequence[tuple[str, Rejection]]) -> str:
    return "DICOM: " + " ".join(f"no {what}. {why}" for what, why in refused) if refused else ""
