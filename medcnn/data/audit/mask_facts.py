"""Masks and boxes of one case, against the image they were drawn on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medcnn.data.audit.record import BoxRecord, MaskRecord
from medcnn.data.boxes import read_boxes
from medcnn.data.masks import mask_file
from medcnn.geometry import Geometry
from medcnn.io.options import Reading
from medcnn.io.same_grid import check_same_grid
from medcnn.scan import Reason, Scan, ScanRejected

MOST_VALUES = 256  # a mask with more labels is a picture


def mask_record(scan: Scan, root: Path, reference: str, reading: Reading) -> MaskRecord:
    """Never raises: what is wrong with a mask stands in the record."""
    try:
        labels, geometry = mask_file(root, reference, reading, scan.geometry)
        values, counts = np.unique(labels, return_counts=True)
        if len(values) > MOST_VALUES:
            raise ScanRejected(
                Reason.LABEL_VALUES, f"the mask holds {len(values)} different values", "Give a mask, not a picture"
            )
    except ScanRejected as rejected:
        found = rejected.rejection
        return MaskRecord(problem=found.code.value, found=found.found, remedy=found.remedy)
    voxels = {str(value): int(count) for value, count in zip(values.tolist(), counts, strict=True)}
    distance_mm = _distance_mm(scan.geometry, geometry)
    try:
        check_same_grid(scan, labels, geometry)
    except ScanRejected as rejected:
        wrong = rejected.rejection
        return MaskRecord(voxels, {}, wrong.code.value, wrong.found, wrong.remedy, distance_mm)
    return MaskRecord(voxels, _ml(voxels, scan), distance_mm=distance_mm)


def _distance_mm(image: Geometry | None, mask: Geometry | None) -> float:
    if image is None or mask is None or image.shape_vox != mask.shape_vox:
        return -1.0
    return round(image.corner_distance_mm(mask), 3)


def _ml(voxels: dict[str, int], scan: Scan) -> dict[str, float]:
    if scan.spatial_dims != 3 or not scan.spacing_mm:
        return {}
    one = float(np.prod(scan.spacing_mm)) / 1000
    return {value: round(count * one, 4) for value, count in voxels.items() if value != "0"}


def box_record(scan: Scan, cell: str) -> BoxRecord:
    """Of a manifest's cell, in pixels of the image: x along a row and y down in a picture, i, j, k in a volume."""
    try:
        boxes = read_boxes(cell)
    except ValueError as error:
        return BoxRecord(problem=str(error))
    sides_px = scan.voxels.shape[1:]
    limits = sides_px[::-1] if len(sides_px) == 2 else sides_px
    if any(len(box.corners) != 2 * len(limits) for box in boxes):
        return BoxRecord(problem=f"boxes need {2 * len(limits)} corners in an image of {len(limits)} axes")
    sides, outside = [], 0
    for box in boxes:
        low, high = box.corners[: len(limits)], box.corners[len(limits) :]
        sides.append((box.name, tuple(round(b - a, 3) for a, b in zip(low, high, strict=True))))
        outside += min(low) < 0 or any(edge > limit for edge, limit in zip(high, limits, strict=True))
    return BoxRecord(tuple(sides), outside)
