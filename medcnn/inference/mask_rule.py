"""How probabilities become masks, and masks the numbers written to a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Labels = npt.NDArray[np.uint8]

# Even chances are background, though it is known only as one minus a sum.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class MaskRule:
    """What a network's outputs mean.

    names        of the K structures
    overlapping  False: every voxel is one structure or background (K + 1 logits, background first, softmax), and the
                 most probable wins. True: each structure is a yes or no of its own (K logits, sigmoid)
    thresholds   overlapping only: structure -> least probability at which it holds; 0.5 where not named
    values       structure -> the values in label files that make it up; 1, 2, ... in the order of names where not named
    """

    names: tuple[str, ...]
    overlapping: bool = False
    thresholds: dict[str, float] = field(default_factory=dict)
    values: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def num_logits(self) -> int:
        """Channels that a network must have."""
        return len(self.names) + (not self.overlapping)

    @property
    def num_masks(self) -> int:
        """M: planes of a label array."""
        return len(self.names) if self.overlapping else 1

    def probability(self, logits: Tensor) -> Tensor:
        """(B, num_logits, *S) -> float32 (B, K, *S), background left out: it is one minus the rest."""
        if logits.shape[1] != self.num_logits:
            raise ValueError(
                f"the network has {logits.shape[1]} outputs, {len(self.names)} structures need {self.num_logits}"
            )
        logits = logits.float()
        return logits.sigmoid() if self.overlapping else logits.softmax(dim=1)[:, 1:]

    def decide(self, probability: Tensor) -> Tensor:
        """(K, *S) -> uint8 (M, *S): the number of the structure, 0 for background; or a plane of 0 and 1 for each."""
        if self.overlapping:
            limits = torch.tensor([self.thresholds.get(name, 0.5) for name in self.names], device=probability.device)
            return (probability >= limits.view(-1, *[1] * (probability.ndim - 1))).to(torch.uint8)
        found = probability.amax(dim=0, keepdim=True) > 1 + _ROUNDING - probability.sum(dim=0, keepdim=True)
        if not bool(found.any()):  # most rows of a scan; which one is highest takes ten times as long to find
            return found.to(torch.uint8)
        return torch.where(found, probability.argmax(dim=0, keepdim=True) + 1, 0).to(torch.uint8)

    def mask(self, labels: Labels, name: str) -> npt.NDArray[np.bool_]:
        """One structure's voxels in (M, *S) labels: (*S)."""
        number = self.names.index(name)
        mask: npt.NDArray[np.bool_] = labels[number] == 1 if self.overlapping else labels[0] == number + 1
        return mask

    def file_values(self, name: str) -> tuple[int, ...]:
        """The label values that make up a structure in files."""
        return tuple(self.values.get(name, (self.names.index(name) + 1,)))

    def painted(self) -> list[tuple[str, int]]:
        """(structure, value) in the order in which they are painted into one label map, later ones over earlier.

        Of nested regions the wider comes first; its value is the first that no narrower region inside it has.
        Raises ValueError where two structures have the same values, as masks in files of their own do.
        """
        sets = {name: frozenset(self.file_values(name)) for name in self.names}
        if len(set(sets.values())) < len(sets):
            raise ValueError("several structures have the same values in files; write a mask for each instead")
        order = sorted(self.names, key=lambda name: -len(sets[name]))
        painted = []
        for name in order:
            narrower = frozenset().union(*(other for other in sets.values() if other < sets[name]))
            left = [value for value in self.file_values(name) if value not in narrower]
            painted.append((name, (left or self.file_values(name))[0]))
        return painted

    def to_file(self, labels: Labels) -> npt.NDArray[Any]:
        """(M, *S) -> one label map (*S) with the files' values, of the smallest unsigned type that holds them."""
        painted = self.painted()
        dtype = np.min_scalar_type(max(value for _, value in painted))
        if not self.overlapping:
            table: npt.NDArray[Any] = np.zeros(256, dtype)
            for name, value in painted:
                table[self.names.index(name) + 1] = value
            painted_map: npt.NDArray[Any] = table[labels[0]]
            return painted_map
        together: npt.NDArray[Any] = np.zeros(labels.shape[1:], dtype)
        for name, value in painted:
            together[labels[self.names.index(name)] == 1] = value
        return together

    def as_json(self) -> dict[str, Any]:
        """For model.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """From model.json."""
        values = {name: tuple(numbers) for name, numbers in found["values"].items()}
        return cls(tuple(found["names"]), found["overlapping"], dict(found["thresholds"]), values)
