"""Whether a mask lies on the grid of the scan that it was drawn on."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from medcnn.geometry import Geometry
from medcnn.scan import Reason, Scan, ScanRejected

#: Corners may differ by this share of a voxel. Two programs that write one grid differ by the rounding of their
#: decimals (a pixel spacing of four, over 512 pixels: 0.05 voxel), which moves no voxel onto its neighbour; half a
#: voxel would. One file must agree with itself to SAME_CORNERS_VOX, a tenth of this.
SAME_GRID_VOX = 0.1


def check_same_grid(scan: Scan, labels: npt.NDArray[Any], geometry: Geometry | None) -> None:
    """Raises GEOMETRY_MISMATCH unless labels, with the geometry of their file, are the scan's voxels one by one.

    labels (I, J, K) or (H, W), as read_labels returns them together with geometry. Where neither file names a place
    in the patient, the shapes alone must agree; where only one does, nobody knows, and that is a mismatch.
    """
    if labels.shape != scan.voxels.shape[1:]:
        sizes = " and ".join(" x ".join(map(str, shape)) for shape in (scan.voxels.shape[1:], labels.shape))
        raise _mismatch(f"the scan and its mask have {sizes} voxels")
    if scan.geometry is None and geometry is None:
        return
    if scan.geometry is None or geometry is None:
        raise _mismatch("only one of the scan and its mask says where it lies in the patient")
    apart_vox = scan.geometry.corner_distance_mm(geometry) / float(scan.geometry.spacing_mm().min())
    if apart_vox > SAME_GRID_VOX:
        raise _mismatch(f"the corners of the scan and its mask lie {apart_vox:.2f} voxels apart")


def _mismatch(found: str) -> ScanRejected:
    return ScanRejected(
        Reason.GEOMETRY_MISMATCH, found, "Draw or export the mask on the scan's own grid; it is not shifted to fit"
    )
