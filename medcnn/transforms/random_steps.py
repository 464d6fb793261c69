"""The random steps of training, batched on the device. B scans, C channels, HW pixels (or IJK voxels).

A step *draws* its numbers for each scan (numpy, on the CPU) and *applies* them to a batch (torch, anywhere). The
arithmetic is that of MONAI's transforms of the same name; a test holds each beside it. They run batched because
a chain of transforms per scan takes a large part of the network's own step: 80 of 122 ms for 32 pictures of 28 pixels
on one core, against 1.4 ms batched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medcnn.config.transforms import RandomConf
from medcnn.transforms import intensity_steps as intensity
from medcnn.transforms import spatial_steps as spatial
from medcnn.transforms.draws import AUGMENT, NOISE, stream

Uniform = npt.NDArray[np.float64]


class Step(Protocol):
    """One random step. `numbers` uniform numbers in [0, 1) decide everything but noise."""

    @property
    def probability(self) -> float: ...

    @property
    def numbers(self) -> int: ...

    def apply(self, image: Tensor, uniform: Tensor) -> Tensor:
        """image (n, C, *size), uniform (n, numbers) -> (n, C, *size)."""
        ...


@dataclass(frozen=True)
class Draws:
    """What was drawn for a batch: uniform (B, all numbers), and the noise's generators' places."""

    uniform: Tensor
    seed: int
    epoch: int
    positions: tuple[int, ...]


class RandomSteps:
    """The steps that are switched on, in their order."""

    def __init__(self, conf: RandomConf, spatial_dims: int) -> None:
        every: list[Step | intensity.Noise] = [
            spatial.Mirror(conf.mirror.probability, tuple(conf.mirror.axes)),
            spatial.Affine.of(conf.affine, spatial_dims),
            spatial.LowResolution(conf.low_resolution.probability, conf.low_resolution.zoom),
            intensity.Blur(conf.blur.probability, conf.blur.sigma_px),
            intensity.Sharpness(
                conf.sharpness.probability, conf.sharpness.soften, conf.sharpness.sharpen, conf.sharpness.sigma_px
            ),
            intensity.Gamma(conf.gamma.probability, conf.gamma.log_gamma),
            intensity.Warp(conf.warp.probability, conf.warp.amplitude),
            intensity.Contrast(conf.contrast.probability, conf.contrast.factor, conf.contrast.shift),
            intensity.BiasField(conf.bias_field.probability, conf.bias_field.strength, spatial_dims),
            intensity.Noise(conf.noise.probability, conf.noise.sigma),
            spatial.Erase(conf.erase.probability, conf.erase.side, spatial_dims),
        ]
        self.steps = [step for step in every if step.probability > 0]
        self.clip = conf.clip
        self.numbers = sum(1 + step.numbers for step in self.steps)

    def draw(self, seed: int, epoch: int, positions: Sequence[int]) -> Draws:
        """One row of numbers for each position in the epoch."""
        rows = [stream(seed, epoch, position, AUGMENT).random(self.numbers) for position in positions]
        uniform = np.array(rows).reshape(len(positions), self.numbers)
        return Draws(torch.from_numpy(uniform), seed, epoch, tuple(positions))

    def apply(self, image: Tensor, draws: Draws) -> Tensor:
        """image (B, C, *size) -> a new tensor of the same shape."""
        image, used = image.clone(), 0
        for step in self.steps:
            switch, numbers = draws.uniform[:, used], draws.uniform[:, used + 1 : used + 1 + step.numbers]
            used += 1 + step.numbers
            chosen = torch.nonzero(switch < step.probability)[:, 0]  # on the CPU: a GPU is not made to wait
            if len(chosen) == 0:
                continue
            rows = chosen.to(image.device)
            piece = image[rows]
            own = numbers[chosen].to(image.device, torch.float32)  # MPS knows no float64
            if isinstance(step, intensity.Noise):
                noise = self._noise(draws, chosen.tolist(), piece.shape[1:]).to(image.device)
                image[rows] = step.add(piece, own, noise)
            else:
                image[rows] = step.apply(piece, own)
        return image.clamp(-self.clip, self.clip) if self.clip else image

    def _noise(self, draws: Draws, chosen: Sequence[int], shape: Sequence[int]) -> Tensor:
        fields = [
            stream(draws.seed, draws.epoch, draws.positions[row], NOISE).standard_normal(tuple(shape), np.float32)
            for row in chosen
        ]
        return torch.from_numpy(np.stack(fields))
