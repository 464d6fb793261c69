"""Settings of the plan of a segmentation: what may be said instead of being decided from the data and the budget.

The network's own lists (widths, kernels, strides, deep supervision) are settings of the model, the spacing and the
slices of the transforms; the plan heeds them there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from medcnn.config.fields import choice, number, numbers


@dataclass
class PlanConf:
    """Overrides. 0, [], auto and null leave a decision to the plan, which writes its reasons into plan.json."""

    memory_gb: float | None = number(None, above=0)  # for the training; null: four fifths of what the device has
    min_samples: int = number(4000, at_least=1)  # patches a network should see; sets its width under max_minutes

    normalisation: str = choice("auto", "auto", "zscore", "dataset", "percentiles", "range")
    crop: str = choice("auto", "auto", "none", "nonzero")
    patch_px: list[int] = numbers([], at_least=1)  # one side per axis of the network
    margin_px: list[int] = numbers([], at_least=0)  # read around a patch, so that a rotated one has no empty corners
    jitter_px: int = number(2, at_least=0)  # how far a scan smaller than a patch may lie from its middle
    batch_patches: int = number(0, at_least=0)

    levels: int = number(0, at_least=0, at_most=10)  # resolutions of the network, the finest included
    narrowest_width: int = number(8, at_least=1)  # of a base under max_minutes, however few they are
    base_width: int = number(0, at_least=0)  # channels of the finest level; they double with each level

    foreground_share: float | None = number(None, at_least=0, at_most=1)  # of the patches that must hold a structure
    patches_per_case: int = number(0, at_least=0)  # in one epoch
    steps: int = number(0, at_least=0)  # of one member; 0: trainer.epochs or trainer.max_minutes
    validation_share: float = number(0.05, above=0, at_most=1)  # of the training time: sets how often is validated
    average: bool = True  # keep a moving average of the weights, fitted to the number of steps

    def problems(self) -> Iterator[str]:
        """What contradicts itself; what contradicts the data comes with the plan."""
        for name, sides in (("patch_px", self.patch_px), ("margin_px", self.margin_px)):
            if len(sides) not in (0, 2, 3):
                yield f"{name}: two numbers for pictures and slices or three for volumes, got {sides}"
        if self.patch_px and self.margin_px and len(self.patch_px) != len(self.margin_px):
            yield f"margin_px: needs {len(self.patch_px)} numbers as patch_px has, got {self.margin_px}"
