"""Where voxels lie in the patient, and the one place that knows LPS from RAS.

Inside medcnn every position is RAS+ in mm: x grows to the patient's Right, y to the Anterior, z to the Superior.
DICOM and ITK speak LPS+; they meet RAS+ here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

Affine = npt.NDArray[np.float64]

LPS_TO_RAS: Affine = np.diag([-1.0, -1.0, 1.0, 1.0])  # its own inverse


@dataclass(frozen=True, eq=False)  # == would raise on arrays
class Geometry:
    """The grid of one volume.

    affine (4, 4) float64, voxel index (i, j, k) -> position in mm, RAS+
    shape_vox voxels along (i, j, k)
    """

    affine: Affine
    shape_vox: tuple[int, int, int]

    def __post_init__(self) -> None:
        if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all():
            raise ValueError(f"an affine is a finite 4 x 4 matrix, got shape {self.affine.shape}")
        if not abs(np.linalg.det(self.affine[:3, :3])) > 0:
            raise ValueError("the affine is singular: at least one voxel edge has no length or two coincide")

    def spacing_mm(self) -> npt.NDArray[np.float64]:
        """Edge lengths of one voxel along (i, j, k)."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0), dtype=np.float64)

    def corners_mm(self) -> npt.NDArray[np.float64]:
        """Centres of the eight corner voxels, (8, 3), RAS+ mm, the last index running fastest."""
        corners = np.array(list(product(*((0, size - 1) for size in self.shape_vox))), dtype=np.float64)
        return np.asarray(corners @ self.affine[:3, :3].T + self.affine[:3, 3], dtype=np.float64)

    def corner_distance_mm(self, other: Geometry) -> float:
        """How far the corner voxels of two grids lie apart at most; infinite where the shapes differ."""
        if self.shape_vox != other.shape_vox:
            return float("inf")
        return float(np.linalg.norm(self.corners_mm() - other.corners_mm(), axis=1).max())
