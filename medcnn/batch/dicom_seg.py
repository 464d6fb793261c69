"""Masks as DICOM segmentations, beside the NIfTI, where the scan was read from a DICOM series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from medcnn import __version__
from medcnn.batch.masks import Grid
from medcnn.batch.names import safe, structure_names
from medcnn.batch.results import DICOM, Results
from medcnn.inference.mask_rule import Labels
from medcnn.io.content import Content, content_of
from medcnn.io.dicom.seg_write import Algorithm, Form, write_seg
from medcnn.io.dicom.segment import Code, Segment
from medcnn.io.read import source_files
from medcnn.io.reference import Reference
from medcnn.model_package.segmenter import SegmenterPackage
from medcnn.scan import ScanRejected

_PRIVATE_SCHEME = "99MEDCNN"  # DICOM PS3.16 8: names that begin with 99 are for one's own codes
_LONGEST_CODE = 16  # characters of a code's value


@dataclass(frozen=True, eq=False)
class SegWriter:
    """Writes one object per case; where structures overlap, one for each, since the pixels of one hold one number.

    created  one time for all objects of a run
    """

    package: SegmenterPackage
    results: Results
    created: datetime | None

    def write(self, root: Path, reference: str, name: str, labels: Labels, grid: Grid) -> tuple[list[str], str]:
        """(the files, why there is none). Neither where the scan is no DICOM volume. Raises OSError."""
        if grid.geometry is None or len(grid.shape_vox) != 3:
            return [], ""
        try:
            sources = source_files(root, reference)
            if content_of(sources[0]) is not Content.DICOM:
                return [], ""
            return self._written(sources, dict(Reference.parse(reference).chosen), name, labels, grid), ""
        except ScanRejected as rejected:
            return [], f"DICOM_SEG: none could be written. {rejected.rejection}"

    def _written(
        self, sources: Sequence[Path], chosen: dict[str, str], name: str, labels: Labels, grid: Grid
    ) -> list[str]:
        rule, description = self.package.segmenter.rule, self.package.description
        algorithm = Algorithm(description.task or "medcnn", __version__, self.package.digest)
        segments = [self._segment(structure, n) for n, structure in enumerate(rule.names, start=1)]
        if rule.overlapping:
            stems = structure_names(rule.names)
            planes = [
                (f"{name}_{stems[structure]}", plane, [self._segment(structure, 1)])
                for structure, plane in zip(rule.names, labels, strict=True)
            ]
        else:
            planes = [(name, labels[0], segments)]
        assert grid.geometry is not None
        files = []
        for stem, plane, described in planes:
            text = "Segmentation" if len(planes) == 1 else described[0].label
            form = Form(description=text, created=self.created)
            files.append(f"{DICOM}/{stem}_seg.dcm")
            path = self.results.place(files[-1])
            write_seg(
                path, plane.astype(np.uint8), grid.geometry, sources, described, algorithm, form=form, chosen=chosen
            )
        return files

    def _segment(self, structure: str, number: int) -> Segment:
        """By its SNOMED CT code; where the package knows none, by a private one, since every segment needs a code."""
        if known := self.package.description.class_codes.get(structure):
            return Segment(number, structure, Code("SCT", known, structure))
        return Segment(number, structure, Code(_PRIVATE_SCHEME, safe(structure)[:_LONGEST_CODE], structure))
