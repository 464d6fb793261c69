"""What sizes and distances are measured in, and what the measures are therefore called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Measures of one structure in one case whose names carry a unit of length, or of volume (or area).
LENGTHS = ("hd95", "hd", "assd")
#: Measures of size, as volume_error_ml or area_error_px.
SIZES = ("error", "agreement_low", "agreement_high")


@dataclass(frozen=True)
class Units:
    """Units of one evaluation.

    length  "mm", or "px" for pictures of unknown spacing
    size    "ml" for volumes, "cm2" for pictures, or "px" for pictures of unknown spacing
    """

    length: str
    size: str

    @property
    def extent(self) -> str:
        """What the size is called."""
        return "volume" if self.size == "ml" else "area"

    def name(self, measure: str) -> str:
        """`hd95` -> hd95_mm, `error` -> volume_error_ml, `abs_error_pct` -> volume_abs_error_pct, `dice` -> dice."""
        if measure in LENGTHS:
            return f"{measure}_{self.length}"
        if measure in SIZES:
            return f"{self.extent}_{measure}_{self.size}"
        return f"{self.extent}_{measure}" if measure == "abs_error_pct" else measure


VOLUME = Units("mm", "ml")
PICTURE = Units("mm", "cm2")
PICTURE_IN_PIXELS = Units("px", "px")


def units_of(ndim: int, spacing_mm: Sequence[float] | None) -> Units:
    """The units of masks with so many axes; ValueError for a volume without spacing."""
    if ndim not in (2, 3):
        raise ValueError(f"a mask has 2 or 3 axes, got {ndim}")
    if spacing_mm is None:
        if ndim == 3:
            raise ValueError("spacing_mm: a volume is measured in mm, so its spacing must be given")
        return PICTURE_IN_PIXELS
    if len(spacing_mm) != ndim or not all(0 < edge < float("inf") for edge in spacing_mm):
        raise ValueError(f"spacing_mm: expected {ndim} numbers above 0, got {tuple(spacing_mm)}")
    return VOLUME if ndim == 3 else PICTURE


def element_size(units: Units, spacing_mm: Sequence[float] | None) -> float:
    """What one voxel or pixel measures: ml, cm2 or 1 px."""
    if spacing_mm is None:
        return 1.0
    product = 1.0
    for edge in spacing_mm:
        product *= float(edge)
    return product / (1000.0 if units.size == "ml" else 100.0)
