"""A scan as a person looks at it, small enough to keep until it is answered, and where network and masks lie in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from medcnn.batch.masks import Grid
from medcnn.batch.seen import Seen
from medcnn.scan import Scan, Voxels
from medcnn.transforms.placement import Placement
from medcnn.transforms.placement import turned as turned_axes
from medcnn.transforms.preprocessing import Preprocessing

Grey = npt.NDArray[np.uint8]
Heat = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
Places = tuple[npt.NDArray[np.float64], ...]

MOST_PX = 1280  # of a picture's longer side; of a volume nothing is left out
_DARKEST, _BRIGHTEST = 0.5, 99.5  # percentiles drawn black and white


@dataclass(frozen=True)
class Step:
    """Along one axis: index in another grid (the network's, the turned scan's) = scale * index in the view + offset."""

    scale: float
    offset: float

    def to_other(self, index: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return index * self.scale + self.offset

    def to_view(self, index: float) -> float:
        return (index - self.offset) / self.scale


@dataclass(frozen=True, eq=False)
class View:
    """Grey values to look at.

    grey      (H, W) as the file shows it, bright is dense; or (X, Y, Z) turned so that the axes grow to R, A, S
    edges_mm  of its voxels, or 1 where the file does not say
    steps     per axis, into the network's grid where heat is shown, into the turned scan's where masks are
    oriented  the axes' directions in the patient are known
    slant     (D, D) what is added, times the view's index, where the scan's grid is sheared and the network's is not
    """

    grey: Grey
    edges_mm: tuple[float, ...]
    steps: tuple[Step, ...]
    oriented: bool
    slant: npt.NDArray[np.float64] | None = None

    @classmethod
    def of(cls, scan: Scan, preprocessing: Preprocessing) -> View:
        """From a scan in its true meaning."""
        values = scan.voxels[0] if len(scan.voxels) == 1 else scan.voxels.mean(axis=0)
        own = scan.geometry.spacing_mm() if scan.geometry is not None else scan.spacing_mm or (1.0,) * values.ndim
        seen = Seen.of(Grid(tuple(values.shape), scan.geometry, scan.spacing_mm), preprocessing)
        values = turned_axes(values[None], seen.axes, seen.flipped)[0]
        edges = tuple(float(own[axis]) for axis in seen.axes)
        scales = np.diag(seen.matrix)
        steps = [Step(float(scale), float(offset)) for scale, offset in zip(scales, seen.matrix[:, -1], strict=True)]
        view = cls._shrunk(values, edges, steps, oriented=scan.geometry is not None)
        slant = None if seen.is_straight(values.shape) else seen.matrix[:, :-1] - np.diag(scales)
        return replace(view, slant=slant)

    @classmethod
    def of_placed(cls, scan: Scan, placement: Placement) -> View:
        """From a scan in its true meaning, its axes turned as the placement turns them."""
        values = scan.voxels[0] if len(scan.voxels) == 1 else scan.voxels.mean(axis=0)
        values = turned_axes(values[None], placement.axes, placement.flipped)[0]
        own = scan.geometry.spacing_mm() if scan.geometry is not None else scan.spacing_mm or (1.0,) * values.ndim
        edges = tuple(float(own[axis]) for axis in placement.axes)
        return cls._shrunk(values, edges, [Step(1.0, 0.0)] * values.ndim, oriented=scan.geometry is not None)

    @classmethod
    def _shrunk(cls, values: Voxels, edges: tuple[float, ...], steps: Sequence[Step], *, oriented: bool) -> View:
        """Grey, and a large picture made smaller."""
        if values.ndim == 2 and max(values.shape) > MOST_PX:
            block = -(-max(values.shape) // MOST_PX)
            values = _block_means(values, block)
            edges = tuple(edge * block for edge in edges)
            steps = [Step(step.scale * block, step.offset + step.scale * (block - 1) / 2) for step in steps]
        return cls(_grey(values), edges, tuple(steps), oriented)

    def heat_at(self, heat: Heat, view_places: Places) -> Heat:
        """heat on the network's grid, read at view indices (one array an axis, broadcast together); 0 outside."""
        from scipy.ndimage import map_coordinates

        places = np.broadcast_arrays(*self._moved(view_places))
        found = map_coordinates(heat, np.stack(places), order=1, mode="nearest", output=np.float32)
        inside = np.ones(found.shape, bool)
        for place, size in zip(places, heat.shape, strict=True):
            inside &= (place >= -0.5) & (place <= size - 0.5)
        return np.where(inside, found, 0).astype(np.float32)

    def labels_at(self, labels: Labels, view_places: Places) -> Labels:
        """(M, *turned scan) labels, those of the nearest voxels: (M, *what view_places broadcast to)."""
        moved = zip(self._moved(view_places), labels.shape[1:], strict=True)
        nearest = tuple(np.clip(np.rint(place), 0, side - 1).astype(np.intp) for place, side in moved)
        return np.stack([plane[nearest] for plane in labels])

    def _moved(self, view_places: Places) -> list[npt.NDArray[np.float64]]:
        moved = [step.to_other(index) for step, index in zip(self.steps, view_places, strict=True)]
        if self.slant is None:
            return moved
        pairs = zip(moved, self.slant, strict=True)
        return [there + sum(by * at for by, at in zip(row, view_places, strict=True)) for there, row in pairs]

    def straightened(self, heat: Heat) -> Heat:
        """heat on a grid of the same size whose axes run along the view's: voxel p lies at each step.to_view(p)."""
        if self.slant is None:
            return heat
        sides = zip(self.steps, heat.shape, strict=True)
        return self.heat_at(heat, np.ix_(*((np.arange(side) - step.offset) / step.scale for step, side in sides)))

    def hottest(self, heat: Heat) -> tuple[int, ...]:
        """The view's voxel nearest to the hottest of the network's grid; the centre where nothing is hot."""
        if not heat.max() > 0:
            return tuple(side // 2 for side in self.grey.shape)
        peak = np.unravel_index(int(heat.argmax()), heat.shape)
        offsets = [step.offset for step in self.steps]
        matrix = np.diag([step.scale for step in self.steps]) + (0 if self.slant is None else self.slant)
        nearest = (round(float(index)) for index in np.linalg.solve(matrix, np.array(peak) - offsets))
        return tuple(min(max(index, 0), side - 1) for index, side in zip(nearest, self.grey.shape, strict=True))


def _block_means(values: Voxels, block: int) -> Voxels:
    rows, columns = (side // block * block for side in values.shape)
    blocks = values[:rows, :columns].reshape(rows // block, block, columns // block, block)
    return np.asarray(blocks.mean(axis=(1, 3)), np.float32)


def _grey(values: Voxels) -> Grey:
    # Percentiles of all voxels would cost more than reading; row by row, since one more float copy may not fit.
    thin = max(1, round((values.size / 1_000_000) ** (1 / values.ndim)))
    sample = values[(slice(None, None, thin),) * values.ndim]
    low, high = (float(value) for value in np.percentile(sample, [_DARKEST, _BRIGHTEST]))
    if not high > low:
        low, high = float(values.min()), float(max(values.max(), values.min() + 1))
    grey = np.empty(values.shape, np.uint8)
    for row, brightness in zip(values, grey, strict=True):
        brightness[...] = np.clip((row - low) * (255 / (high - low)), 0, 255)
    return grey
