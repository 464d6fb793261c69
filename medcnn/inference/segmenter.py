"""Trained networks and a prepared scan -> a mask on the scan's own grid, and how good it is likely to be.

Knows no package and no folder. A picture is walked through as a volume of one slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, lcm
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from medcnn.inference.canvas import Canvas
from medcnn.inference.ensemble import Ensemble, at_rest
from medcnn.inference.mask_rule import Labels, MaskRule
from medcnn.inference.passes import all_passes
from medcnn.inference.postprocessing import PostProcessing, voxel_ml
from medcnn.inference.quality import QualityMap
from medcnn.inference.restore import restored
from medcnn.inference.segmenter_settings import SLICE_AXES, SegmenterSettings
from medcnn.inference.sliding_window import SlidingWindow
from medcnn.inference.tile_memory import bytes_per_tile, tiles_that_fit
from medcnn.inference.tiles import Image, Tiling
from medcnn.scan import Reason, ScanRejected
from medcnn.transforms.whole_grid import OnGrid


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Of one scan, in its own axes.

    labels         uint8 (M, *scan's shape): the number of the structure (M = 1), or a plane of 0 and 1 for each
    volumes_ml     structure -> volume; None for pictures and where the spacing is not known
    expected_dice  structure -> the Dice to expect, before post-processing; nan where nothing was found
    disagreement   0 to 1: mean over the voxels of any structure; None unless the map was asked for
    uncertainty    uint8 (1, *scan's shape), 255 as unsure as can be; None unless asked for
    seconds        compute, restore, postprocess
    """

    labels: Labels
    volumes_ml: dict[str, float] | None
    expected_dice: dict[str, float]
    disagreement: float | None
    uncertainty: Labels | None
    seconds: dict[str, float]


@dataclass(frozen=True, eq=False)
class Segmenter:
    """One or several networks, on the device already, that answer together.

    quality  how expected Dice is read, where cases with a truth have shown it
    """

    networks: Sequence[nn.Module]
    rule: MaskRule
    settings: SegmenterSettings
    device: torch.device
    postprocessing: PostProcessing = field(default_factory=PostProcessing)
    quality: QualityMap | None = None
    _costs: dict[tuple[int, ...], int] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.divisor) != len(self.settings.patch):
            raise ValueError(
                f"patch: {self.settings.patch} has not as many sides as the network has axes, {len(self.divisor)}"
            )
        if any(side % whole for side, whole in zip(self.settings.patch, self.divisor, strict=True)):
            raise ValueError(f"patch: the sides {self.settings.patch} must be multiples of {self.divisor}")

    @property
    def divisor(self) -> tuple[int, ...]:
        """What a tile's sides must be multiples of for all networks; 1 where a network does not say."""
        ones = (1,) * len(self.settings.patch)
        each = [getattr(network, "divisor", ones) for network in self.networks]
        return tuple(lcm(*sides) for sides in zip(*each, strict=True))

    def probabilities(self, on_grid: OnGrid) -> Image:
        """(num_logits, *size) on the prepared grid, background first where structures exclude each other."""
        walk = _Walk.of(self, on_grid)
        found = np.empty((len(self.rule.names), *walk.image.shape[1:]), np.float32)
        target, begun = np.moveaxis(found, 1 + walk.window.slow, 1), 0
        with at_rest(self.networks):
            for rows in walk.rows():
                target[:, begun : begun + rows.shape[1]] = rows[: len(found)].float().cpu().numpy()
                begun += rows.shape[1]
        found = found.reshape(-1, *on_grid.image.shape[1:])
        return found if self.rule.overlapping else np.concatenate([1 - found.sum(axis=0, keepdims=True), found])

    def segment(self, on_grid: OnGrid, keep: Mapping[str, npt.NDArray[Any]] | None = None) -> Segmentation:
        """Labels on the scan's own grid. keep: structure -> array (*scan's shape) that takes its probabilities.

        Raises ScanRejected where an answer is no number: none would be the most probable, and all would be background.
        """
        walk, seconds = _Walk.of(self, on_grid), {"compute": 0.0, "restore": 0.0, "postprocess": 0.0}
        canvas = Canvas(on_grid.placement, self.rule, walk.window.slow, self.settings.uncertainty, keep or {})
        begun = perf_counter()
        with at_rest(self.networks):
            for first, rows in restored(_timed(walk.rows(), seconds), *walk.sizes(on_grid)):
                canvas.draw(first, rows)
        seconds["restore"] = perf_counter() - begun - seconds["compute"]
        if not np.isfinite(canvas.expected.truth).all():
            raise ScanRejected(
                Reason.INTERNAL,
                "the network's answer is not a finite number",
                "Look at the scan, and evaluate the model anew",
            )
        begun = perf_counter()
        one_ml = _scan_voxel_ml(on_grid)
        self.postprocessing.apply(canvas.labels, self.rule, one_ml or inf)  # inf: nothing is too small
        seconds["postprocess"] = perf_counter() - begun
        expected = canvas.expected.value()
        return Segmentation(
            canvas.labels,
            volumes_ml(canvas.labels, self.rule, one_ml) if one_ml and canvas.labels.ndim == 4 else None,
            self.quality(expected) if self.quality else expected,
            canvas.disputed(),
            canvas.unsure,
            seconds,
        )

    def tiles_at_once(self, channels: int, sides: Sequence[int]) -> int:
        """Inputs in one forward pass, by memory: the network's own, and three copies of what it says."""
        shape = (channels, *sides)
        if shape not in self._costs:
            said = 3 * 4 * (self.rule.num_logits + 2) * int(np.prod(sides))
            with at_rest(self.networks):
                costs = [bytes_per_tile(each, shape, self.divisor, self.device) for each in self.networks]
            self._costs[shape] = said + max(costs)
        return tiles_that_fit(self._costs[shape], self.settings.batch_memory_mb, self.settings.batch_tiles, self.device)


@dataclass(frozen=True, eq=False)
class _Walk:
    """One scan about to be walked through: (C, I, J, K), a picture as (C, 1, H, W)."""

    image: Image
    window: SlidingWindow
    ensemble: Ensemble

    @classmethod
    def of(cls, segmenter: Segmenter, on_grid: OnGrid) -> _Walk:
        settings, picture = segmenter.settings, on_grid.image.ndim == 3
        flat = 0 if picture else SLICE_AXES[settings.slices]
        image = on_grid.image[:, None] if picture else on_grid.image
        patch, divisor = (_with_flat(each, flat) for each in (settings.patch, segmenter.divisor))
        tiling = Tiling.of(image.shape[1:], patch, overlap=settings.overlap, divisor=divisor)
        seen = [axis for axis in range(3) if axis != flat]
        passes = all_passes(
            mirror_axes=[axis + picture for axis in settings.mirror_axes],
            swaps=settings.mirror_swaps,
            num_structures=len(segmenter.rule.names),
            left_right=2 if picture else 0,
            shift_axes=seen,
            shifts=settings.shifts,
        )
        inputs = segmenter.tiles_at_once(image.shape[0], [tiling.sides[axis] for axis in seen])
        ensemble = Ensemble(
            segmenter.networks,
            segmenter.rule,
            passes,
            segmenter.device,
            inputs,
            settings.precision,
            flat,
            moments=settings.uncertainty == "disagreement",
        )
        at_once = max(1, inputs // len(passes))
        window = SlidingWindow(tiling, ensemble.channels, at_once, segmenter.device, settings.half_above_mb)
        return cls(image, window, ensemble)

    def rows(self) -> Iterator[Tensor]:
        """Final rows of answers, as they become final."""
        return self.window.final_rows(self.image, self.ensemble)

    def sizes(self, on_grid: OnGrid) -> tuple[list[int], list[int]]:
        """The prepared grid's sides and the box's, rows first."""
        before, after = list(self.image.shape[1:]), list(on_grid.placement.box_shape)
        after = [1, *after] if len(after) == 2 else after
        for sides in (before, after):
            sides.insert(0, sides.pop(self.window.slow))
        return before, after


def volumes_ml(labels: Labels, rule: MaskRule, one_voxel_ml: float) -> dict[str, float]:
    """Structure -> volume. Counted row by row: bincount makes eight bytes of each voxel."""
    if rule.overlapping:
        counts = np.array([np.count_nonzero(plane) for plane in labels])
    else:
        rows = (np.bincount(row.ravel(order="K"), minlength=len(rule.names) + 1) for row in labels[0])
        counts = sum(rows, np.zeros(len(rule.names) + 1, np.int64))[1:]
    return dict(zip(rule.names, (counts * one_voxel_ml).tolist(), strict=True))


def _scan_voxel_ml(on_grid: OnGrid) -> float | None:
    """Of one voxel of the scan (cm2 of a pixel), by the prepared grid's spacing; None where that is not known."""
    if not on_grid.spacing_mm:
        return None
    placement = on_grid.placement
    sides = zip(on_grid.spacing_mm, placement.size, placement.box_shape, strict=True)
    return voxel_ml([spacing * size / length for spacing, size, length in sides])


def _with_flat(sides: Sequence[int], flat: int | None) -> tuple[int, ...]:
    return tuple(sides) if flat is None else (*sides[:flat], 1, *sides[flat:])


def _timed(rows: Iterable[Tensor], seconds: dict[str, float]) -> Iterator[Tensor]:
    """The same rows; the time that they took to come is added to seconds["compute"]."""
    begun = perf_counter()
    for row in rows:
        seconds["compute"] += perf_counter() - begun
        yield row
        begun = perf_counter()
    seconds["compute"] += perf_counter() - begun
