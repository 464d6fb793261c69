"""What a case will cost, from its header and the model's description: memory at its peak, and tiles. Imports no torch.

Bytes per voxel below are counts of the arrays that a step holds at once, checked against peaks of real processes:
volumes of 128 to 512 voxels a side, 2 and 20 structures, with and without resampling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, prod
from pathlib import Path
from typing import Any

from medcnn.batch.memory_left import memory_left_mb
from medcnn.io.options import AS_THE_FILE_SAYS, Reading
from medcnn.io.size import ScanSize, scan_size
from medcnn.scan import Reason, ScanRejected
from medcnn.transforms.placement import nearest_ras

SURE = 0.85  # of the arrays that are counted here: no measured case took less, so that what fits is never refused
_SURE_OF_A_BATCH = 0.35  # of a forward pass as tile_memory reckons it, from above; U-Nets take about all of it
_KEPT_MB = 100  # that an allocator may hold between cases: measured up to 120, and no limit counts it as left
_UNKNOWN_BATCH = 0.5  # of the memory for a forward pass, where nobody tried the network
_FLOAT = 4
_KEPT_EDGES = 0.1  # as transforms/whole_grid.py: edges that differ by less are not resampled
_STRETCH = 1.25  # as inference/tiles.py: one longer tile in place of two
_ACROSS = {"sagittal": 0, "coronal": 1, "axial": 2}  # the axis that a 2D network on volumes does not see
_SMALL_RING_BYTES = 256 * 2**20  # as inference/sliding_window.py
_RESTORING_BYTES = 48 * 2**20  # three pieces of rows, of 16 MiB each
_SLAB_BYTES = 3 * 2**25  # what resampling holds of the piece in hand
_REGRIDDING_BYTES = 84  # a voxel of the new grid, as MONAI finds it
_MOST_PACKED = 1100  # what deflate makes of zeros, a little more: unpacked bytes for each in the file
_CASE_SECONDS = 0.05  # for files, tables and pictures of the smallest case
_BYTES_A_SECOND = 150e6  # of voxels read, prepared, restored and written


@dataclass(frozen=True)
class ModelNeeds:
    """What decides the cost of a case, as model.json has it and this run asks for it.

    kind         classification, segmentation or regression
    preparation  model.json's preprocessing
    inference    its settings, with what this run asks otherwise
    structures   how many; of a classifier 0
    overlapping  each structure has a plane of its own
    mends        masks are post-processed
    tile_mb      what one input takes in a forward pass (batch/tile_cost.py measures it); None unknown
    on_gpu       forward passes take the GPU's memory
    """

    kind: str
    preparation: Mapping[str, Any]
    inference: Mapping[str, Any] = field(default_factory=dict)
    structures: int = 0
    overlapping: bool = False
    mends: bool = False
    tile_mb: float | None = None
    on_gpu: bool = False

    @property
    def spatial_dims(self) -> int:
        """Of the scans that the model takes."""
        steps = self.preparation
        return int(steps["spatial_dims"]) if self.kind == "segmentation" else len(steps["size_px"])

    @classmethod
    def of_json(cls, found: Mapping[str, Any], **asked: Any) -> ModelNeeds:
        """From model.json; asked: settings of inference that this run wants otherwise."""
        structures = found["output"].get("structures", {"names": (), "overlapping": False})
        return cls(
            found["kind"],
            found["preprocessing"],
            {**found["inference"], **asked},
            len(structures["names"]),
            structures["overlapping"],
            bool(found["output"].get("postprocessing", {}).get("mendings")),
        )


@dataclass(frozen=True)
class Estimate:
    """Of one case.

    memory_mb      at its peak, above what the process holds between cases; 10^6 bytes
    least_mb       of that, what it needs for certain
    tiles          how many inputs of the patch's size the networks see: longer tiles count for more, each mirrored or
                   moved copy for one
    prepared_size  of the scan on the network's grid
    """

    memory_mb: float
    least_mb: float
    tiles: float
    prepared_size: tuple[int, ...]
    voxels: int

    def fits(self, left_mb: float) -> bool:
        """Whether it may fit into what is left. What a process kept of earlier cases it uses again."""
        return self.least_mb <= left_mb + _KEPT_MB

    def seconds(self, seconds_per_tile: float) -> float:
        """All of it: reading, networks, writing."""
        return self.tiles * seconds_per_tile + self.voxels * _FLOAT / _BYTES_A_SECOND + _CASE_SECONDS


def estimate(size: ScanSize, needs: ModelNeeds) -> Estimate:
    """What one scan will cost with a model."""
    read = size.stored_bytes + 5 * size.voxels * size.channels
    if needs.kind != "segmentation":
        prepared = tuple(needs.preparation["size_px"])
        peak = max(read, _shrinking_bytes(size, needs))
        copies = 1.0 + min(int(needs.inference.get("shifts", 0)), 2 * len(prepared))
        return Estimate(peak / 1e6, SURE * read / 1e6, copies, prepared, size.voxels)
    prepared = prepared_size(size, needs)
    walk = _Walk.over(prepared, needs)
    preparing, held = _preparing_bytes(size, prepared, needs), _held_bytes(size, prepared, needs) + walk.ring_bytes
    mending = held - walk.ring_bytes + 6 * size.voxels * needs.mends
    restoring = min(_RESTORING_BYTES, 3 * _FLOAT * needs.structures * size.voxels)
    peak = max(read, preparing, held + walk.network_bytes + restoring, mending)
    least = SURE * read
    if needs.preparation["crop"] == "none":  # else the box that is kept may be small
        network = 0.0 if needs.tile_mb is None else _SURE_OF_A_BATCH * walk.network_bytes
        least = max(least, SURE * preparing, SURE * held + network)
    return Estimate(peak / 1e6, least / 1e6, walk.tiles * walk.passes, prepared, size.voxels)


def require_memory(size: ScanSize, needs: ModelNeeds, limit_mb: float = 0) -> Estimate:
    """The estimate. Raises ScanRejected(MEMORY) where the case cannot fit into what is left, before anything is taken.

    limit_mb  that the case may take, where it is less than what is left; 0 no limit
    """
    wanted = estimate(size, needs)
    left = min(memory_left_mb(), limit_mb or float("inf"))
    if not wanted.fits(left):
        sides = " x ".join(map(str, size.shape_vox))
        raise ScanRejected(
            Reason.MEMORY,
            f"{sides} voxels take about {wanted.memory_mb:.0f} MB, more than is left",
            "Give the process more memory, or cut the scan",
        )
    return wanted


def memory_check(
    root: Path, needs: ModelNeeds, reading: Reading = AS_THE_FILE_SAYS, limit_mb: float = 0
) -> Callable[[str], None]:
    """A question to ask before a reference is read: it raises ScanRejected(MEMORY) where the scan cannot fit.

    What a header does not say, or says wrong, is left to the reader.
    """

    def check(reference: str) -> None:
        try:
            size = scan_size(root, reference, reading)
        except ScanRejected:
            return
        if size is not None and len(size.shape_vox) == needs.spatial_dims and _is_plausible(size):
            require_memory(size, needs, limit_mb)

    return check


def _is_plausible(size: ScanSize) -> bool:
    """Whether the file can hold what its header claims; where it cannot, the reader says so better."""
    return max(size.stored_bytes, size.voxels) <= _MOST_PACKED * max(1, size.file_bytes)


def prepared_size(size: ScanSize, needs: ModelNeeds) -> tuple[int, ...]:
    """A segmenter's grid: the scan in the order right, front, top, brought to the model's spacing, uncut."""
    axes = nearest_ras(size.geometry)[0] if size.geometry is not None else tuple(range(len(size.shape_vox)))
    shape = [size.shape_vox[axis] for axis in axes]
    wanted = list(needs.preparation["spacing_mm"])
    if not wanted or size.spacing_mm is None:
        return tuple(shape)
    edges_mm = [size.spacing_mm[axis] for axis in axes]
    across = _ACROSS.get(needs.preparation["slices"])
    if across is not None and len(wanted) < len(shape):
        wanted.insert(across, edges_mm[across])
    return tuple(
        side if abs(edge / new - 1) <= _KEPT_EDGES else max(1, round(side * edge / new))
        for side, edge, new in zip(shape, edges_mm, wanted, strict=True)
    )


def tiles_along(length: int, side: int, overlap: float) -> tuple[int, int]:
    """(number of tiles, a tile's side) along one axis, as inference/tiles.py has them, but for rounding the side."""
    if side < length <= _STRETCH * side:
        return 1, length
    if side >= length:
        return 1, side
    return ceil((length - side) / max(1.0, side * (1 - overlap))) + 1, side


@dataclass(frozen=True)
class _Walk:
    """One volume, tile by tile. tiles: in patches' worth. Bytes of the rows summed up, and of one forward pass."""

    tiles: float
    passes: int
    ring_bytes: float
    network_bytes: float

    @classmethod
    def over(cls, prepared: Sequence[int], needs: ModelNeeds) -> _Walk:
        asked = needs.inference
        size, patch, flat = _in_three_axes(prepared, asked["patch"], asked["slices"])
        counts, sides = zip(
            *(tiles_along(length, side, asked["overlap"]) for length, side in zip(size, patch, strict=True)),
            strict=True,
        )
        stretch = prod(sides) / prod(patch)
        moves = 1 + min(int(asked["shifts"]), 2 * (3 - (flat is not None)))
        passes = 2 ** len(asked["mirror_axes"]) * moves
        at_once, batch_bytes = _batch(needs, stretch)
        inputs = min(at_once, prod(counts) * passes)
        ring = 0.0 if needs.on_gpu else _ring_bytes(size, counts, sides, needs, max(1, at_once // passes))
        network = 0.0 if needs.on_gpu else batch_bytes * inputs / at_once
        return cls(prod(counts) * stretch, passes, ring, network)


def _in_three_axes(
    prepared: Sequence[int], patch: Sequence[int], slices: str
) -> tuple[tuple[int, ...], tuple[int, ...], int | None]:
    """(size, patch, the axis that the network does not see): a picture is a volume of one slice."""
    size = (1, *prepared) if len(prepared) == 2 else tuple(prepared)
    flat = 0 if len(prepared) == 2 else _ACROSS.get(slices)
    return size, tuple(patch) if flat is None else (*patch[:flat], 1, *patch[flat:]), flat


def _batch(needs: ModelNeeds, stretch: float) -> tuple[int, float]:
    """(inputs in one forward pass, their bytes as tile_memory reckons them)."""
    asked, most = needs.inference, int(needs.inference["batch_tiles"])
    room = asked["batch_memory_mb"] * 2**20
    if needs.tile_mb is None:
        return most, _UNKNOWN_BATCH * room
    one = needs.tile_mb * 1e6 * stretch
    at_once = max(1, min(most, floor(room / max(1.0, one))))
    return at_once, at_once * one


def _ring_bytes(
    size: Sequence[int], counts: Sequence[int], sides: Sequence[int], needs: ModelNeeds, tiles_at_once: int
) -> float:
    """Rows that are being summed up: a layer of tiles, and those of further layers that are answered together."""
    slow = min(range(3), key=lambda axis: min(sides[axis], size[axis]) / size[axis])
    channels = needs.structures + 2 * (needs.inference["uncertainty"] == "disagreement")
    row_bytes: float = _FLOAT * channels * prod(size) / size[slow]
    step = (size[slow] - sides[slow]) / max(1, counts[slow] - 1)
    layers = ceil((tiles_at_once - 1) / max(1, prod(counts) // counts[slow]))
    most_rows = max(sides[slow], _SMALL_RING_BYTES / row_bytes)
    if step > 0:
        layers = min(layers, floor((most_rows - sides[slow]) / step))
    rows: float = min(size[slow], sides[slow] + layers * max(0.0, step))
    is_half = rows * row_bytes > float(needs.inference["half_above_mb"]) * 2**20
    return rows * row_bytes / (2 if is_half else 1)


def _preparing_bytes(size: ScanSize, prepared: Sequence[int], needs: ModelNeeds) -> float:
    """Scan, channel in order, channel scaled, and what looking for its range or its body takes; then the resampled scan
    beside scan and scaled scan.
    """
    scan, one = _FLOAT * size.voxels * size.channels, _FLOAT * size.voxels
    copies = 2 + (needs.preparation["scale"] in ("percentiles", "range")) + 2 * (needs.preparation["crop"] != "none")
    slabs = min(_SLAB_BYTES, 3 * _FLOAT * max(size.voxels, prod(prepared)))
    resampling = slabs + _FLOAT * prod(prepared) if prod(prepared) != size.voxels else 0
    return float(max(scan + copies * one, scan + one + resampling))


def _held_bytes(size: ScanSize, prepared: Sequence[int], needs: ModelNeeds) -> float:
    """The prepared scan; a byte a voxel for each map, and for what is shown of the scan."""
    maps: int = (needs.structures if needs.overlapping else 1) + bool(needs.inference["uncertainty"]) + 1
    return float(_FLOAT * prod(prepared) + maps * size.voxels)


def _shrinking_bytes(size: ScanSize, needs: ModelNeeds) -> float:
    """Onto a classifier's grid: the scan and two grey copies, two more on the way from colours; where millimetres are
    asked for also where each voxel of the new grid comes from, in double precision.
    """
    voxels = size.voxels * _FLOAT * (size.channels + (4 if size.channels > 1 else 2))
    wanted = needs.preparation["spacing_mm"]
    if not wanted or size.geometry is None:
        return float(voxels)
    factor = prod(float(edge) for edge in size.geometry.spacing_mm()) / prod(wanted)
    return float(voxels + _REGRIDDING_BYTES * factor * size.voxels)
