"""The deterministic steps for segmentation: a whole scan on the grid that networks were trained on, and its way back.

Nothing is cut to a fixed size here; patches and tiles are cut later. The same code in training, evaluation and
prediction. Order as in nnU-Net: turned, cut, intensities scaled, resampled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from medcnn.config.transforms import TransformsConf
from medcnn.errors import DataError
from medcnn.io.options import Reading
from medcnn.scan import Reason, Scan, ScanRejected
from medcnn.transforms import scaling
from medcnn.transforms.placement import Placement, nearest_ras, turned
from medcnn.transforms.preprocessing import with_channels
from medcnn.transforms.resampling import coarse_axis, resampled_image, resampled_labels
from medcnn.transforms.scaling import Statistics

Image = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]

GRID_VERSION = 1  # raised whenever a step computes something else, so that no cache entry or package is misread
# Edges that differ by less than this share stay as they are. Resampling by a few percent blurs what it should align:
# structures of a few voxels lose a third of their Dice on the way there and back. Random scaling varies more anyway.
_SAME = 0.1
_ACROSS = {"sagittal": 0, "coronal": 1, "axial": 2}  # the RAS axis that slices of this kind are stacked along


@dataclass(frozen=True, eq=False)
class OnGrid:
    """A scan as a network sees it.

    image       (C, *size) float32
    placement   how it lies in its scan
    spacing_mm  of the prepared grid, along its turned axes; () where the scan does not say
    """

    image: Image
    placement: Placement
    spacing_mm: tuple[float, ...]


@dataclass(frozen=True)
class WholeGrid:
    """Every deterministic step with its numbers, as it travels in the model package.

    spatial_dims  of the scans: 2 or 3
    spacing_mm    along the turned axes; () keeps each scan's own. Two numbers for 2D networks on volumes: within
                  the slices only
    scale         zscore | percentiles | range, each scan by itself, or dataset: by the statistics of the training
                  foreground
    crop          none, or nonzero: the empty surround is cut off and no statistic counts it
    slices        2D networks on volumes: axial, coronal or sagittal; else ""
    """

    spatial_dims: int
    spacing_mm: tuple[float, ...]
    scale: str
    low_percentile: float
    high_percentile: float
    crop: str
    slices: str
    num_channels: int
    reading: Reading
    statistics: Statistics = field(default_factory=Statistics)
    version: int = GRID_VERSION

    @classmethod
    def of(
        cls,
        conf: TransformsConf,
        *,
        reading: Reading,
        num_channels: int,
        spatial_dims: int,
        spacing_mm: Sequence[float] = (),
        statistics: Statistics | None = None,
    ) -> WholeGrid:
        """The steps that a config and a plan ask for; spacing_mm is the plan's, the config's where it has none."""
        intensity = conf.intensity
        return cls(
            spatial_dims,
            tuple(float(edge) for edge in spacing_mm or conf.spacing_mm),
            intensity.scale,
            intensity.low_percentile,
            intensity.high_percentile,
            conf.crop,
            conf.slices,
            num_channels,
            reading,
            statistics or Statistics(),
        )

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> WholeGrid:
        """From model.json."""
        statistics = Statistics(**{name: tuple(values) for name, values in found["statistics"].items()})
        nouns = {"reading": Reading(**found["reading"]), "statistics": statistics}
        return cls(**{**found, "spacing_mm": tuple(found["spacing_mm"]), **nouns})

    def as_json(self) -> dict[str, Any]:
        """For model.json, and for the cache's key."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]  # json gives back what went in

    @property
    def across(self) -> int | None:
        """The axis of the prepared grid that slices are stacked along, or None without slices."""
        return _ACROSS.get(self.slices)

    @property
    def network_dims(self) -> int:
        """Spatial axes of the network: one fewer where it sees slices."""
        return self.spatial_dims - (self.across is not None)

    def apply(self, scan: Scan) -> OnGrid:
        """The whole scan, prepared.

        Raises DataError where a picture meets steps for volumes (or the other way round) or channels do not fit, and
        ScanRejected where millimetres are asked for and the scan does not know them.
        """
        self._check(scan)
        axes, flipped = nearest_ras(scan.geometry) if scan.geometry is not None else _as_it_is(self.spatial_dims)
        image = turned(with_channels(scan.voxels, self.num_channels), axes, flipped)
        box = _nonzero_box(image) if self.crop == "nonzero" else tuple((0, side) for side in image.shape[1:])
        lengths, edges_mm = [stop - start for start, stop in box], _edges_mm(scan, axes)
        size = self._size(lengths, edges_mm)
        placement = Placement(tuple(scan.voxels.shape[1:]), axes, flipped, box, size)
        image = self._scaled(placement.cut(image), scan.value_range)
        if size != image.shape[1:]:
            image = resampled_image(image, size, self._coarse(edges_mm))
        new_mm = tuple(edge * length / side for edge, length, side in zip(edges_mm, lengths, size, strict=False))
        return OnGrid(image, placement, new_mm)

    def apply_mask(self, target: Labels, placement: Placement) -> Labels:
        """target (M, *scan shape) of class indices or planes of 0 and 1, 255 = ignore -> (M, *size), placed alike."""
        if tuple(target.shape[1:]) != placement.shape_vox:
            raise DataError(f"the mask has {target.shape[1:]} voxels and its scan {placement.shape_vox}")
        kept = placement.cut(placement.turned(target))
        if placement.size == placement.box_shape:
            return np.ascontiguousarray(kept)
        return resampled_labels(kept, placement.size)

    def _check(self, scan: Scan) -> None:
        if scan.spatial_dims != self.spatial_dims:
            kinds = {2: "a picture", 3: "a volume"}
            found, wanted = kinds.get(scan.spatial_dims, "of unknown shape"), kinds[self.spatial_dims]
            raise DataError(f"this scan is {found} and the network takes {wanted}")
        if self.spacing_mm and scan.geometry is None and scan.spacing_mm is None:
            raise ScanRejected(
                Reason.SPACING_UNKNOWN,
                "the file does not say how large its pixels are, and transforms.spacing_mm asks for millimetres",
                "Use transforms.spacing_mm=[], or scans that say it",
            )

    def _wanted(self, edges_mm: Sequence[float]) -> tuple[float, ...]:
        """The spacing asked for along every axis; across slices, unless it is named, the scan's own."""
        wanted = list(self.spacing_mm or edges_mm)
        if self.across is not None and len(wanted) == self.network_dims:
            wanted.insert(self.across, edges_mm[self.across])
        return tuple(wanted)

    def _coarse(self, edges_mm: Sequence[float]) -> int | None:
        """The axis along which a spline would ring between thick slices: of the scan, else of the grid wanted."""
        own = coarse_axis(edges_mm)
        return own if own is not None else coarse_axis(self._wanted(edges_mm))

    def _size(self, shape: Sequence[int], edges_mm: Sequence[float]) -> tuple[int, ...]:
        if not self.spacing_mm:
            return tuple(shape)
        sides = zip(shape, edges_mm, self._wanted(edges_mm), strict=True)
        return tuple(
            side if abs(edge / wanted - 1) <= _SAME else max(1, round(side * edge / wanted))
            for side, edge, wanted in sides
        )

    def _scaled(self, image: Image, value_range: tuple[float, float] | None) -> Image:
        inside = scaling.body(image) if self.crop == "nonzero" and self.scale in ("zscore", "percentiles") else None
        result = np.empty(image.shape, np.float32)
        for number, channel in enumerate(image):
            # in one order in memory, so that sums round alike however the file's axes lay
            result[number] = self._scaled_channel(np.ascontiguousarray(channel), number, inside, value_range)
        return result

    def _scaled_channel(
        self, channel: Image, number: int, inside: scaling.Mask | None, value_range: tuple[float, float] | None
    ) -> Image:
        match self.scale:
            case "zscore":
                return scaling.zscored(channel, inside)
            case "percentiles":
                return scaling.between_percentiles(channel, inside, (self.low_percentile, self.high_percentile))
            case "range":
                low, high = value_range or (float(channel.min()), float(channel.max()))
                return scaling.between(channel, low, high)
            case "dataset":
                known = self.statistics
                if len(known.mean) != self.num_channels:
                    raise DataError(
                        "intensity.scale=dataset needs the training foreground's statistics of each channel"
                    )
                return scaling.by_statistics(
                    channel, known.low[number], known.high[number], known.mean[number], known.std[number]
                )
        raise DataError(f"no scale is called {self.scale!r}")


def _as_it_is(dims: int) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    return tuple(range(dims)), (False,) * dims


def _edges_mm(scan: Scan, axes: tuple[int, ...]) -> tuple[float, ...]:
    """Edge lengths along the turned axes; () where the scan does not say."""
    if scan.geometry is not None:
        own = scan.geometry.spacing_mm()
        return tuple(float(own[axis]) for axis in axes)
    return tuple(scan.spacing_mm or ())


def _nonzero_box(image: Image) -> tuple[tuple[int, int], ...]:
    """The smallest box (start, stop) that holds every voxel that is not 0 in some channel; an empty scan's whole."""
    something = np.asarray(image.any(axis=0))
    if not something.any():
        return tuple((0, side) for side in something.shape)
    box = []
    for axis in range(something.ndim):
        others = tuple(other for other in range(something.ndim) if other != axis)
        used = np.flatnonzero(something.any(axis=others))
        box.append((int(used[0]), int(used[-1]) + 1))
    return tuple(box)
