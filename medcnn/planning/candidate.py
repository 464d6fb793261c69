"""Networks that a plan chooses from, and how long each would take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medcnn.planning.cost import Cost, cost_of
from medcnn.planning.network_shape import NetworkShape, Sides


@dataclass(frozen=True)
class Candidate:
    """A network with the batches that it would be trained on."""

    shape: NetworkShape
    patch_px: Sides
    batch_patches: int
    precision: str

    @property
    def name(self) -> str:
        """For plan.json and logs: `width 16, patch 40x56x40, batch 2, bf16`."""
        patch = "x".join(str(side) for side in self.patch_px)
        return f"width {self.shape.widths[0]}, patch {patch}, batch {self.batch_patches}, {self.precision}"

    @property
    def cost(self) -> Cost:
        return cost_of(self.shape, self.patch_px)

    @property
    def units(self) -> float:
        """Relative duration of a step."""
        return self.cost.of_step(self.batch_patches)

    def is_same_network(self, other: Candidate) -> bool:
        """But for the precision."""
        return (self.shape, self.patch_px, self.batch_patches) == (other.shape, other.patch_px, other.batch_patches)


@dataclass(frozen=True)
class Throughput:
    """What a few steps of a candidate took, before the run.

    seconds_per_step  of one optimiser step: forward and backward of all its batches, and the update
    memory_mb         at its peak; 0 where it was not measured
    """

    candidate: Candidate
    seconds_per_step: float
    memory_mb: float = 0.0


def seconds_of(candidate: Candidate, measured: Sequence[Throughput]) -> float | None:
    """Seconds of a step: measured, or scaled from the candidate of the same precision that costs most nearly as much.

    None where nothing of this precision was measured.
    """
    alike = [found for found in measured if found.candidate.precision == candidate.precision]
    if not alike:
        return None
    own = [found for found in alike if found.candidate == candidate]
    if own:
        return own[-1].seconds_per_step
    near = min(alike, key=lambda found: _apart(found.candidate.units, candidate.units))
    return near.seconds_per_step * candidate.units / near.candidate.units


def _apart(one: float, other: float) -> float:
    return max(one, other) / min(one, other)
