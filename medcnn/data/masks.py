"""The masks of a case, read the one way there is: whole numbers on the grid of the scan they were drawn on."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medcnn.data.manifest import Case
from medcnn.data.structures import IGNORED, Structures, Target
from medcnn.geometry import Geometry
from medcnn.io.content import Content, content_of
from medcnn.io.dicom.seg import read_seg, segments
from medcnn.io.nifti.reader import read_labels
from medcnn.io.options import Reading
from medcnn.io.read import read_scan, rejecting
from medcnn.io.reference import Reference, resolve
from medcnn.io.same_grid import check_same_grid
from medcnn.scan import Reason, Scan, ScanRejected

Labels = npt.NDArray[np.int32]


@rejecting
def mask_file(
    root: Path, reference: str, reading: Reading, scan_geometry: Geometry | None
) -> tuple[Labels, Geometry | None]:
    """(I, J, K) or (H, W) whole numbers as they stand in the file, and where they lie. Raises ScanRejected.

    scan_geometry  of the scan that the mask belongs to: a DICOM SEG is laid out on it, other files say it themselves
    """
    path = resolve(root, Reference.parse(reference))
    content = content_of(path) if path.is_file() else None
    if content is Content.NIFTI:
        return read_labels(path, form=reading.nifti_form)
    if content is Content.DICOM and scan_geometry is not None and _is_seg(path):
        labels, _ = read_seg(path, scan_geometry)
        return labels, scan_geometry
    scan = read_scan(root, reference, reading)
    voxels = scan.voxels[0]
    if not (scan.voxels == voxels).all():  # grey that was saved as colour is welcome
        raise ScanRejected(Reason.LABEL_VALUES, "the mask is in colour", "Save it as grey: 0 and the labels")
    labels = np.rint(voxels)
    if not np.array_equal(labels, voxels):
        raise ScanRejected(Reason.LABEL_VALUES, "the mask holds values that are not whole", "Save whole numbers")
    return labels.astype(np.int32), scan.geometry


def _is_seg(path: Path) -> bool:
    try:
        return bool(segments(path))
    except ScanRejected:
        return False


def read_mask(scan: Scan, root: Path, reference: str, reading: Reading) -> Labels:
    """A mask on the scan's own grid, voxel by voxel. Raises ScanRejected, GEOMETRY_MISMATCH where it lies elsewhere."""
    labels, geometry = mask_file(root, reference, reading, scan.geometry)
    check_same_grid(scan, labels, geometry)
    return labels


def read_target(scan: Scan, case: Case, root: Path, structures: Structures, reading: Reading) -> Target:
    """(M, *the scan's spatial shape). Raises ScanRejected.

    One label map per case, or a mask per structure: one that a case does not have was not looked for, and is ignored.
    """
    if list(case.masks) == [""]:
        return structures.target(read_mask(scan, root, case.masks[""], reading))
    target = np.full((len(structures.names), *scan.voxels.shape[1:]), IGNORED, np.uint8)
    for plane, name in zip(target, structures.names, strict=True):
        if reference := case.masks.get(name, ""):
            plane[...] = structures.own_plane(name, read_mask(scan, root, reference, reading))
    return target


def mask_values(root: Path, cases: Sequence[Case], reading: Reading) -> set[int]:
    """Every value that one label map per case holds. Masks that cannot be read, or not without their scan, tell none;
    they are rejected when they are read with it.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:
        found = pool.map(lambda case: _values(root, case.masks[""], reading), cases)
        return {value for values in found for value in values}


def _values(root: Path, reference: str, reading: Reading) -> list[int]:
    try:
        labels, _ = mask_file(root, reference, reading, None)
    except ScanRejected:
        return []
    return [int(value) for value in np.unique(labels)]


def has_mask(case: Case) -> bool:
    """Whether anything is outlined in this case, or was looked for."""
    return any(case.masks.values())
