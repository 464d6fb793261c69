"""Where a classifier's prepared grid lies in its scan, to a fraction of a voxel.

Of resampled scans MONAI itself is asked: no formula of ours could say how many voxels it makes where sides come out at
a half, and how it straightens a sheared grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medcnn.batch.masks import Grid
from medcnn.geometry import Geometry
from medcnn.transforms.preprocessing import Preprocessing

_OFF_AXIS_VOX = 0.01  # what the matrix may move a voxel sideways and still count as straight


@dataclass(frozen=True, eq=False)
class Seen:
    """How Preprocessing.apply brought a scan to the network's grid.

    axes, flipped  the turning to RAS, as medcnn/transforms/placement.py says them
    matrix         (D, D + 1): index in the turned scan -> index in the network's grid
    """

    axes: tuple[int, ...]
    flipped: tuple[bool, ...]
    matrix: npt.NDArray[np.float64]

    @classmethod
    def of(cls, grid: Grid, steps: Preprocessing) -> Seen:
        """Of a scan with this grid. Imports monai where it has a geometry."""
        count = len(grid.shape_vox)
        if grid.geometry is None:
            edges = grid.spacing_mm or (1.0,) * count
            scales = _scales(grid.shape_vox, edges, steps, has_geometry=False)
            return cls(tuple(range(count)), (False,) * count, scales[:-1])
        turned = _turned(grid.geometry)
        way = np.linalg.solve(grid.geometry.affine, turned.affine.numpy())[:3, :3]  # ones and minus ones
        axes = tuple(int(axis) for axis in np.abs(way).argmax(axis=0))
        flipped = tuple(bool(way[axis, n] < 0) for n, axis in enumerate(axes))
        if not steps.spacing_mm:
            scales = _scales(turned.shape[1:], turned.pixdim.tolist(), steps, has_geometry=True)
            return cls(axes, flipped, scales[:-1])
        made = _resampled(turned, steps.spacing_mm)
        resampling = np.linalg.solve(made.peek_pending_affine().numpy(), turned.affine.numpy())
        shape = [int(side) for side in made.peek_pending_shape()]
        cut_and_padded = _scales(shape, steps.spacing_mm, steps, has_geometry=True)  # nothing is left to resample
        return cls(axes, flipped, (cut_and_padded @ resampling)[:-1])

    def is_straight(self, shape: Sequence[int]) -> bool:
        """Each axis of the turned scan (with these sides) runs along one of the network's grid."""
        aside = self.matrix[:, :-1] - np.diag(np.diag(self.matrix))
        return bool((np.abs(aside) @ np.array(shape) < _OFF_AXIS_VOX).all())


def _scales(
    shape: Sequence[int], edges_mm: Sequence[float], steps: Preprocessing, *, has_geometry: bool
) -> npt.NDArray[np.float64]:
    """(D + 1, D + 1)."""
    pairs = placement(shape, edges_mm, steps, has_geometry=has_geometry)
    matrix = np.diag([*(scale for scale, _ in pairs), 1.0])
    matrix[:-1, -1] = [offset for _, offset in pairs]
    return matrix


def placement(
    shape: Sequence[int], edges_mm: Sequence[float], steps: Preprocessing, *, has_geometry: bool
) -> list[tuple[float, float]]:
    """(scale, offset) per axis of what Preprocessing.apply does to the grid: resize or resample, crop, pad."""
    size = steps.size_px
    if tuple(shape) == size and not steps.spacing_mm and not has_geometry:
        return [(1.0, 0.0)] * len(size)
    if steps.spacing_mm:
        ratio = [edge / wanted for edge, wanted in zip(edges_mm, steps.spacing_mm, strict=True)]
        if has_geometry:  # resampling keeps the first voxel's centre where it is
            new = [round((side - 1) * r) + 1 for side, r in zip(shape, ratio, strict=True)]
            return [(r, float(_moved(n, wanted))) for r, n, wanted in zip(ratio, new, size, strict=True)]
        new = [round(side * r) for side, r in zip(shape, ratio, strict=True)]
    elif steps.keep_aspect:
        from medcnn.transforms.regrid import fitted

        new = fitted(shape, edges_mm, size)
    else:
        new = list(size)
    scales = [n / side for n, side in zip(new, shape, strict=True)]  # resizing keeps the outer edges where they are
    return [(s, (s - 1) / 2 + _moved(n, wanted)) for s, n, wanted in zip(scales, new, size, strict=True)]


def _moved(side: int, wanted: int) -> int:
    """By how many pixels centred cropping (negative) or padding moves an axis."""
    return (wanted - side) // 2 if side <= wanted else -max(0, side // 2 - wanted // 2)


def _turned(geometry: Geometry) -> Any:
    """A MetaTensor as preprocessing turns it, of single bytes without a meaning."""
    import torch
    from monai.data import MetaTensor
    from monai.transforms import Orientation

    empty = torch.zeros(1, 1, 1, 1, dtype=torch.bool).expand(1, *geometry.shape_vox)
    tensor = MetaTensor(empty, affine=torch.from_numpy(geometry.affine))
    return Orientation(axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S")))(tensor)


def _resampled(turned: Any, spacing_mm: Sequence[float]) -> Any:
    """As preprocessing would: shape and affine stand in it, nothing is computed."""
    from monai.transforms import Spacing

    return Spacing(pixdim=tuple(spacing_mm), mode="bilinear", padding_mode="border", lazy=True)(turned)
