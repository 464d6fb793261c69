"""Settings of the losses of segmentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from medcnn.config.fields import number, numbers


@dataclass
class LossConf:
    """A sum of parts, each with its weight; 0 leaves a part out."""

    dice: float = number(1.0, at_least=0)
    cross_entropy: float = number(1.0, at_least=0)
    tversky: float = number(0.0, at_least=0)  # Salehi et al. 2017
    focal: float = number(0.0, at_least=0)  # Lin et al. 2017
    boundary: float = number(0.0, at_least=0)  # Kervadec et al. 2019, beside a Dice

    tversky_alpha: float = number(0.3, at_least=0)  # of what was found too much
    tversky_beta: float = number(0.7, at_least=0)  # of what was missed
    focal_gamma: float = number(2.0, at_least=0)  # 0 is cross-entropy; more looks at what is hard
    boundary_warmup: float = number(0.3, at_least=0, at_most=1)  # of the training, from nothing to its whole weight
    batch_dice: bool = True  # one Dice over all patches of a batch; false: of each patch, then their mean
    label_smoothing: float = number(0.0, at_least=0, below=1)
    class_weights: list[float] = numbers([], at_least=0)  # background first where structures exclude each other
    deep_weights: list[float] = numbers([], at_least=0)  # of the resolutions, finest first; []: 1, 1/2, 1/4 ...

    def problems(self) -> Iterator[str]:
        parts = ("dice", "cross_entropy", "tversky", "focal", "boundary")
        if not any(getattr(self, part) > 0 for part in parts):
            yield f"loss: one of {', '.join(parts)} must be above 0"
        elif self.boundary and not (self.dice or self.tversky):
            yield "boundary: learns nothing alone; give dice or tversky a weight too"
