"""How much memory a training takes, estimated from the network's shape before anything is built."""

from __future__ import annotations

from dataclasses import dataclass

from medcnn.planning.cost import Cost

BYTES = {"32": 4, "bf16": 2, "16": 2}
_MAPS = 3  # kept for each number that a convolution gives: itself, normalised and activated, and its gradient
_PER_WEIGHT = 20  # bytes: weight, gradient, two moments, moving average
_LOADERS_MB = 220.0  # batches that wait, and the moving parts of validation
_FIXED_MB = {"cpu": 780.0 + _LOADERS_MB, "cuda": 700.0, "mps": 700.0}  # the process; a GPU's context and workspace
_KEPT_FREE = 0.2  # of a device's memory that was measured and not asked for: loaders, validation, fragments


@dataclass(frozen=True)
class Device:
    """Where the training runs.

    kind       cpu, cuda or mps
    memory_gb  what is free on it
    """

    kind: str
    memory_gb: float

    def __post_init__(self) -> None:
        if self.kind not in _FIXED_MB or not self.memory_gb > 0:
            raise ValueError(f"a device is cpu, cuda or mps with memory, got {self.kind!r} with {self.memory_gb} GB")

    def usable_mb(self, asked_gb: float | None) -> float:
        """What the training may take: what was asked for, else four fifths of what there is."""
        return 1000 * (asked_gb if asked_gb is not None else self.memory_gb * (1 - _KEPT_FREE))


def memory_mb(cost: Cost, patches: int, precision: str, device: str) -> float:
    """Of training steps of so many patches; megabytes of 10^6 bytes.

        patches x elements x 3 x bytes per number  +  20 x parameters  +  1000 (CPU) or 700 (GPU)

    elements: numbers in the outputs of all convolutions for one patch. Measured peaks on a CPU lie up to a quarter
    below it, from 2D to 80 cubed, float32 and bf16. In 16 bit with two patches, 8 GB hold 556 million elements;
    nnU-Net's reference is 560 million.
    """
    maps = patches * cost.elements * _MAPS * BYTES[precision]
    return (maps + _PER_WEIGHT * cost.parameters) / 1e6 + _FIXED_MB[device]
