"""What is worth knowing of one case before a training is planned: its grid, its intensities, its structures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medcnn.data.structures import IGNORED, Structures, Target
from medcnn.scan import Scan, Voxels
from medcnn.transforms.placement import nearest_ras, turned

Mask = npt.NDArray[np.bool_]
Box = tuple[tuple[int, int], ...]

FINGERPRINT_VERSION = 1  # raised whenever something here is computed otherwise
_MOST_SAMPLED = 1_000_000  # voxels of one channel; more do not move a percentile
_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class CaseFingerprint:
    """One case in its own resolution, along axes that are turned to the nearest RAS. No patient data.

    spacing_mm        () where the file does not say
    intensity         per channel mean, std, low and high (the 0.5th and 99.5th percentile), min and max
    intensity_over    which voxels these are of: foreground (all structures together), or where nothing is outlined
                      nonzero (what differs from the surround), or all
    nonzero_share     of the voxels that differ from the surround, in at least one channel; the surround is the most
                      frequent value on the outer faces
    structure_voxels  structure -> voxels
    structure_ml      structure -> millilitres; None in a picture, or where the spacing is not known
    components        structure -> pieces that touch nowhere, not even at a corner
    structure_boxes   structure -> (start, stop) along each axis; None where it is not there
    ignored_share     of the voxels that nobody judged for any structure
    """

    case_id: str
    shape_vox: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    intensity: tuple[dict[str, float], ...]
    intensity_over: str
    nonzero_share: float
    structure_voxels: dict[str, int]
    structure_ml: dict[str, float | None]
    components: dict[str, int]
    structure_boxes: dict[str, Box | None]
    ignored_share: float = 0.0

    @property
    def is_empty(self) -> bool:
        """Nothing is outlined: a healthy case, and a legitimate one."""
        return not any(self.structure_voxels.values())

    def as_json(self) -> dict[str, Any]:
        """For planning, and for a cache."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]  # json gives back what went in

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> CaseFingerprint:
        """What as_json gave."""
        plain = {name: tuple(found[name]) for name in ("shape_vox", "spacing_mm", "intensity")}
        boxes = {
            name: None if box is None else tuple((start, stop) for start, stop in box)
            for name, box in found["structure_boxes"].items()
        }
        return cls(**{**found, **plain, "structure_boxes": boxes})


def fingerprint_of(case_id: str, scan: Scan, target: Target, structures: Structures) -> CaseFingerprint:
    """target (M, *the scan's spatial shape), as Structures makes it."""
    axes, flipped = nearest_ras(scan.geometry) if scan.geometry is not None else (tuple(range(scan.spatial_dims)), ())
    voxels, target = turned(scan.voxels, axes, flipped), turned(target, axes, flipped)
    spacing_mm = _spacing_mm(scan, axes)
    outlined = list(regions(target, structures))
    counts = {name: 0 if part is None else int(np.count_nonzero(part)) for name, _, part in outlined}
    surround = _surround(voxels)
    inside, over = _looked_at(target, surround, structures)
    one_ml = float(np.prod(spacing_mm)) / 1000 if len(spacing_mm) == 3 else None
    return CaseFingerprint(
        case_id=case_id,
        shape_vox=tuple(voxels.shape[1:]),
        spacing_mm=spacing_mm,
        intensity=tuple(_statistics(channel, inside) for channel in voxels),
        intensity_over=over,
        nonzero_share=1 - float(np.count_nonzero(surround)) / surround.size,
        structure_voxels=counts,
        structure_ml={name: None if one_ml is None else round(count * one_ml, 6) for name, count in counts.items()},
        components={name: 0 if part is None else _pieces(part) for name, _, part in outlined},
        structure_boxes={name: box for name, box, _ in outlined},
        ignored_share=float(np.count_nonzero((target == IGNORED).all(axis=0))) / surround.size,
    )


def regions(target: Target, structures: Structures) -> Iterator[tuple[str, Box | None, Mask | None]]:
    """Each structure's box in the target, and its voxels within the box; None and None where it is not there."""
    from scipy import ndimage

    if structures.overlapping:
        planes = [(plane, 1) for plane in target]
        found = [(ndimage.find_objects((plane == 1).view(np.uint8)) or [None])[0] for plane in target]
    else:
        planes = [(target[0], number) for number in range(1, len(structures.names) + 1)]
        found = ndimage.find_objects(target[0], max_label=len(structures.names))
    for name, (plane, value), place in zip(structures.names, planes, found, strict=True):
        if place is None:
            yield name, None, None
        else:
            yield name, tuple((part.start, part.stop) for part in place), plane[place] == value


def _pieces(part: Mask) -> int:
    from scipy import ndimage

    return int(ndimage.label(part, np.ones((3,) * part.ndim))[1])


def _spacing_mm(scan: Scan, axes: Sequence[int]) -> tuple[float, ...]:
    if scan.geometry is not None:
        own = scan.geometry.spacing_mm()
        return tuple(float(own[axis]) for axis in axes)
    return tuple(float(edge) for edge in scan.spacing_mm or ())


def _surround(voxels: Voxels) -> Mask:
    """(*size) where every channel has the value that is most frequent on its outer faces."""
    same = np.ones(voxels.shape[1:], bool)
    for channel in voxels:
        ends = [channel.take(end, axis).ravel() for axis in range(channel.ndim) for end in (0, -1)]
        values, counts = np.unique(np.concatenate(ends), return_counts=True)
        same &= channel == values[counts.argmax()]
    return same


def _looked_at(target: Target, surround: Mask, structures: Structures) -> tuple[Mask, str]:
    """The voxels whose intensities count, and what they are called."""
    planes = target == 1 if structures.overlapping else (target > 0) & (target < IGNORED)
    foreground = np.asarray(planes.any(axis=0))
    if foreground.any():
        return foreground, "foreground"
    if not surround.all():
        return ~surround, "nonzero"
    return np.ones(surround.shape, bool), "all"


def _statistics(channel: Voxels, inside: Mask) -> dict[str, float]:
    values = channel[inside]
    sample = values[:: max(1, values.size // _MOST_SAMPLED)]
    low, high = np.percentile(sample, _PERCENTILES)
    return {
        "mean": float(sample.mean(dtype=np.float64)),
        "std": float(sample.std(dtype=np.float64)),
        "low": float(low),
        "high": float(high),
        "min": float(values.min()),
        "max": float(values.max()),
    }
