"""How large a patch is, and how many make a batch. After nnU-Net (Isensee et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, cos, prod, radians, sin

from medcnn.planning.network_shape import Levels, Sides, pooled, rounded_up
from medcnn.planning.refusal import PlanError

_MOST_VOXELS = {("cuda", 3): 192**3, ("cpu", 3): 128**3, ("cuda", 2): 1024**2, ("cpu", 2): 512**2}
_SMALLEST_SIDE = {2: 64, 3: 32}  # a smaller patch shows too little around a voxel
_GPU_BATCH_VOXELS = {2: 12 * 512**2, 3: 2 * 128**3}  # nnU-Net's batches at its reference sizes
_CPU_BATCH_VOXELS = 180_000  # a CPU gains nothing from more at once, and more steps teach more
_MOST_CPU_PATCHES = 16
_MOST_OF_THE_DATA = 0.05  # of all voxels in one batch
_FEWEST_PATCHES = 2


@dataclass(frozen=True)
class Patch:
    """Sides in voxels, and the levels that they allow."""

    sides: Sides
    levels: Levels

    @property
    def voxels(self) -> int:
        return prod(self.sides)


def patches_from(median: Sides, spacing_mm: Sequence[float], device: str, levels: int | Levels = 0) -> Iterator[Patch]:
    """Ever smaller patches, the first as large as the median case rounded up; each has every side <= the one before.

    Cases too large for one patch begin with a cube of as many millimetres. The side that is largest beside the median
    case shrinks first; where all are alike, the one with most voxels.
    """
    dims = len(median)
    start = _cube_of(median, spacing_mm, _MOST_VOXELS["cpu" if device == "cpu" else "cuda", dims])
    smallest = tuple(min(side, _SMALLEST_SIDE[dims]) for side in start)
    patch: Patch | None = fitted(start, spacing_mm, levels)
    while patch is not None:
        yield patch
        patch = _smaller(patch, median, smallest, spacing_mm, levels)


def _cube_of(median: Sides, spacing_mm: Sequence[float], most: int) -> Sides:
    """A cube in mm of so many voxels; what the median case lacks along one axis the others get."""
    edges = tuple(spacing_mm) or (1.0,) * len(median)
    order = sorted(range(len(median)), key=lambda axis: median[axis] * edges[axis])
    sides, left = list(median), float(most)
    for place, axis in enumerate(order):
        rest = order[place:]
        cube_mm = (left * prod(edges[n] for n in rest)) ** (1 / len(rest))
        sides[axis] = min(median[axis], max(1, round(cube_mm / edges[axis])))
        left /= sides[axis]
    return tuple(sides)


def fitted(size: Sequence[int], spacing_mm: Sequence[float], levels: int | Levels = 0) -> Patch:
    """The size, rounded up to what its own levels need. Raises PlanError where there is nothing to halve."""
    found = pooled(size, spacing_mm, levels)
    if isinstance(levels, Levels):
        return Patch(rounded_up(size, found.divisor), found)
    if len(found) < 2 and levels != 1:
        raise PlanError(
            "TOO_SMALL",
            f"the median case has {_x(size)} voxels along the network's axes; a U-Net needs 8 or more along two of "
            "them, or 12 along one. Give larger images, or a finer transforms.spacing_mm.",
        )
    if levels and len(found) != levels:
        raise PlanError(
            "SETTING", f"{levels} levels cannot be halved out of {_x(size)} voxels; at most {len(found)} can."
        )
    return Patch(rounded_up(size, found.divisor), found)


def _smaller(
    patch: Patch, median: Sides, smallest: Sides, spacing_mm: Sequence[float], levels: int | Levels
) -> Patch | None:
    """One axis less by what its levels divide it into; None where every axis is as small as may be."""
    order = sorted(range(len(median)), key=lambda axis: (-patch.sides[axis] / median[axis], -patch.sides[axis]))
    for axis in order:
        sides = list(patch.sides)
        sides[axis] -= patch.levels.divisor[axis]
        if sides[axis] < smallest[axis]:
            continue
        try:
            smaller = fitted(sides, spacing_mm, levels)  # with fewer halvings the step can be finer than the divisor
        except PlanError:  # not so many levels out of this
            continue
        if all(new <= old for new, old in zip(smaller.sides, patch.sides, strict=True)) and smaller != patch:
            return smaller
    return None


def given_patch(sides: Sequence[int], spacing_mm: Sequence[float], levels: int | Levels = 0) -> Patch:
    """A patch that somebody asked for. Raises PlanError where the levels do not divide it."""
    found = pooled(sides, spacing_mm, levels)
    if any(side % whole for side, whole in zip(sides, found.divisor, strict=True)):
        raise PlanError(
            "SETTING",
            f"plan.patch_px: {_x(sides)} is not divisible by {_x(found.divisor)}, which {len(found)} levels need. "
            f"Take {_x(rounded_up(sides, found.divisor))}, or fewer plan.levels.",
        )
    return Patch(tuple(sides), found)


def batch_of(patch: Patch, data_voxels: float, device: str, fits: Callable[[int], bool]) -> tuple[int, str]:
    """How many patches make a batch, and why.

    data_voxels  of all training cases on the prepared grid
    fits         whether so many patches fit into memory
    """
    if device == "cpu":
        wanted, why = min(_MOST_CPU_PATCHES, round(_CPU_BATCH_VOXELS / patch.voxels)), "more at once gain a CPU nothing"
    else:
        wanted, why = round(_GPU_BATCH_VOXELS[len(patch.sides)] / patch.voxels), "as many voxels as nnU-Net's batches"
    if (share := round(_MOST_OF_THE_DATA * data_voxels / patch.voxels)) < wanted:
        wanted, why = share, f"{_MOST_OF_THE_DATA:.0%} of all voxels"
    if wanted <= _FEWEST_PATCHES:
        return _FEWEST_PATCHES, f"the fewest that a batch has; {why} would be less" if wanted < 2 else why
    while wanted > _FEWEST_PATCHES and not fits(wanted):
        wanted, why = wanted - 1, "as many as fit into memory"
    return wanted, why


def margin_of(
    patch: Sides, largest: Sides, spacing_mm: Sequence[float], *, rotate_deg: float, zoom: float, shift: float
) -> Sides:
    """Voxels to read on either side of a patch, so that a rotated, shrunk and shifted one has no empty corners.

    largest  the largest case; what a patch already covers needs no margin. Never more than half a side.
    """
    edges = tuple(spacing_mm) or (1.0,) * len(patch)
    half = [side * edge / 2 for side, edge in zip(patch, edges, strict=True)]
    turn = radians(min(rotate_deg, 45.0))
    margins = []
    for axis, side in enumerate(patch):
        other = max((half[n] for n in range(len(patch)) if n != axis and patch[n] > 1), default=0.0)
        reach = (half[axis] * cos(turn) + other * sin(turn)) * (1 + zoom) / edges[axis] + shift * side
        wanted = max(0, ceil(reach - side / 2 - 1e-6)) if side > 1 else 0
        margins.append(min(wanted, max(0, ceil((largest[axis] - side) / 2)), side // 2))
    return tuple(margins)


def _x(sides: Sequence[int]) -> str:
    return "x".join(str(side) for side in sides)
