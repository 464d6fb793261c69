"""How volumes are walked through at prediction: what is written into a model package beside its networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from medcnn.inference.uncertainty import KINDS

#: The axis that a 2D network does not see, of a volume in RAS order.
SLICE_AXES = {"": None, "axial": 2, "coronal": 1, "sagittal": 0}


@dataclass(frozen=True)
class SegmenterSettings:
    """Axes are those of the prepared grid: (I, J, K) of a volume, to the right, front and top; (H, W) of a picture.

    patch         a tile's sides as the network sees it, one per axis of the network
    overlap       of neighbouring tiles, in shares of a side
    slices        a 2D network on volumes: axial, coronal or sagittal; "" otherwise
    mirror_axes   answers are averaged over all combinations of mirrored axes
    mirror_swaps  pairs of structures, counted from 1, that change places when left and right are mirrored
    shifts        answers are averaged over so many copies moved by one voxel too, each mirrored alike
    batch_tiles   the most inputs (tiles times passes) in one forward pass; fewer where memory is short
    batch_memory_mb  for one forward pass, on a CPU; on a GPU half of what is free
    precision     32, bf16 or 16: the networks' arithmetic; probabilities are always float32
    uncertainty   a map beside the labels: "", entropy or disagreement
    half_above_mb  sums of one layer of tiles that take more are kept in float16 (up to 1e-3 of a probability is lost)
    """

    patch: tuple[int, ...]
    overlap: float = 0.5
    slices: str = ""
    mirror_axes: tuple[int, ...] = ()
    mirror_swaps: tuple[tuple[int, int], ...] = ()
    shifts: int = 0
    batch_tiles: int = 32
    batch_memory_mb: int = 1024
    precision: str = "32"
    uncertainty: str = ""
    half_above_mb: int = 2048

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap: must be at least 0 and below 1, got {self.overlap}")
        if self.slices not in SLICE_AXES:
            raise ValueError(
                f"slices: must be one of {', '.join(filter(None, SLICE_AXES))} or empty, got {self.slices}"
            )
        if self.uncertainty not in KINDS:
            raise ValueError(f"uncertainty: must be entropy, disagreement or empty, got {self.uncertainty}")
        if self.precision not in ("32", "bf16", "16"):
            raise ValueError(f"precision: must be 32, bf16 or 16, got {self.precision}")
        if min(self.patch) < 1 or self.batch_tiles < 1 or self.shifts < 0:
            raise ValueError("patch and batch_tiles must be at least 1, shifts at least 0")
        axes = 3 if self.slices else len(self.patch)
        if any(axis not in range(axes) or axis == SLICE_AXES[self.slices] for axis in self.mirror_axes):
            raise ValueError(f"mirror_axes: {self.mirror_axes} are not all axes that the network sees")

    def as_json(self) -> dict[str, Any]:
        """For model.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """From model.json."""
        swaps = tuple((one, other) for one, other in found["mirror_swaps"])
        plain = {**found, "patch": tuple(found["patch"]), "mirror_axes": tuple(found["mirror_axes"])}
        return cls(**{**plain, "mirror_swaps": swaps})
