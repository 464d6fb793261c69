"""The spacing to which all cases are resampled, and how large the median case is then."""

from __future__ import annotations

from collections.abc import Sequence

from medcnn.planning.fingerprint import Fingerprint, Spread

_ANISOTROPIC = 3.0  # times coarser in mm, and times fewer voxels: nnU-Net's threshold
_ALIKE = 0.01  # spacings this close are one


def target_spacing_mm(fingerprint: Fingerprint) -> tuple[tuple[float, ...], str]:
    """Spacing and reason; () where not every case knows its own.

    nnU-Net's rule (Isensee et al. 2021): the median, but the 10th percentile along an axis that is more than three
    times as coarse as the others with less than a third of their voxels; it never gets finer than they are.
    """
    spacing = fingerprint.spacing_mm
    if spacing is None:
        return (), "not every case knows its spacing, so nothing is resampled"
    if all(high <= low * (1 + _ALIKE) for low, high in zip(spacing.smallest, spacing.largest, strict=True)):
        return _rounded(spacing.median), "all cases have this spacing"
    target, why = list(spacing.median), "the median of the cases"
    coarse = max(range(len(target)), key=lambda axis: target[axis])
    others = [axis for axis in range(len(target)) if axis != coarse]
    finest_other = max(target[axis] for axis in others)
    voxels = fingerprint.shape_vox.median
    few = voxels[coarse] * _ANISOTROPIC < min(voxels[axis] for axis in others)
    if target[coarse] > _ANISOTROPIC * finest_other and few:
        target[coarse] = max(spacing.p10[coarse], finest_other)
        why = "the median of the cases; along the coarse axis the 10th percentile, since many cases are finer there"
    return _rounded(target), why


def shape_at(extent: Sequence[float], spacing_mm: Sequence[float]) -> tuple[int, ...]:
    """Voxels of an extent; without a spacing the extent is in voxels already."""
    edges = spacing_mm or (1.0,) * len(extent)
    return tuple(max(1, round(side / edge)) for side, edge in zip(extent, edges, strict=True))


def extents(fingerprint: Fingerprint, crop: str) -> Spread:
    """What is left of the cases: crop is none or nonzero."""
    return fingerprint.cropped_extent if crop == "nonzero" else fingerprint.extent


def _rounded(spacing: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(f"{edge:.6g}") for edge in spacing)
