"""The random steps of training, batched on the device. B scans, C channels, HW pixels (or IJK voxels).

A step *draws* its numbers for each scan (numpy, on the CPU) and *applies* them to a batch (torch, anywhere). The
arithmetic is that of MONAI's transforms of the same name; a test holds each beside it. They run batched because
a chain of transforms per scan takes a large part of the network's own step: 80 of 122 ms for 32 pictures of 28 pixels
on one core, against 1.4 ms batched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medcnn.config.transforms import RandomConf
from medcnn.transforms import artefacts
from medcnn.transforms import intensity_steps as intensity
from medcnn.transforms import spatial_steps as spatial
from medcnn.transforms.draws import AUGMENT, NOISE, stream
from medcnn.transforms.policy import Policy, mirrors, of_one_strength

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
        has_policy = conf.policy.steps > 0 and conf.policy.magnitude > 0
        conf = of_one_strength(conf) if has_policy else conf
        every: list[Step | intensity.Noise] = [
            spatial.Mirror(conf.mirror.probability, tuple(conf.mirror.axes)),
            *(mirrors(conf.policy) if has_policy else []),
            spatial.Affine.of(conf.affine, spatial_dims),
            *intensity_steps(conf, spatial_dims),
            spatial.Erase(conf.erase.probability, conf.erase.side, spatial_dims),
        ]
        self.steps = [step for step in every if step.probability > 0]
        self.clip = conf.clip
        self.policy = Policy(conf.policy, self.steps) if has_policy else None
        self.numbers = numbers_of(self.steps) + (self.policy.numbers if self.policy else 0)

    def draw(self, seed: int, epoch: int, positions: Sequence[int]) -> Draws:
        """One row of numbers for each position in the epoch."""
        rows = [stream(seed, epoch, position, AUGMENT).random(self.numbers) for position in positions]
        uniform = torch.from_numpy(np.array(rows).reshape(len(positions), self.numbers))
        uniform = self.policy.chosen(uniform) if self.policy else uniform
        return Draws(uniform, seed, epoch, tuple(positions))

    def apply(self, image: Tensor, draws: Draws) -> Tensor:
        """image (B, C, *size) -> a new tensor of the same shape."""
        image = run(self.steps, image.clone(), draws.uniform, lambda rows: noise_fields(draws, rows, image.shape[1:]))
        return image.clamp(-self.clip, self.clip) if self.clip else image


def intensity_steps(conf: RandomConf, spatial_dims: int) -> list[Step | intensity.Noise]:
    """The steps that never move a voxel, in their order, whether switched on or not."""
    sharpness, motion, ghosting, spikes = conf.sharpness, conf.motion, conf.ghosting, conf.spikes
    return [
        spatial.LowResolution(conf.low_resolution.probability, conf.low_resolution.zoom),
        intensity.Blur(conf.blur.probability, conf.blur.sigma_px),
        intensity.Sharpness(sharpness.probability, sharpness.soften, sharpness.sharpen, sharpness.sigma_px),
        intensity.Gamma(conf.gamma.probability, conf.gamma.log_gamma),
        intensity.Warp(conf.warp.probability, conf.warp.amplitude),
        intensity.Contrast(conf.contrast.probability, conf.contrast.factor, conf.contrast.shift),
        intensity.BiasField(conf.bias_field.probability, conf.bias_field.strength, spatial_dims),
        artefacts.Motion.of(motion, spatial_dims),
        artefacts.Ghosting(ghosting.probability, ghosting.ghosts, ghosting.intensity, tuple(ghosting.axes)),
        artefacts.Spikes(spikes.probability, spikes.spikes, spikes.intensity, spatial_dims),
        intensity.Noise(conf.noise.probability, conf.noise.sigma),
    ]


def numbers_of(steps: Sequence[Step | intensity.Noise]) -> int:
    """Uniform numbers that steps take for one scan: a switch and each one's own."""
    return sum(1 + step.numbers for step in steps)


def run(
    steps: Sequence[Step | intensity.Noise],
    image: Tensor,
    uniform: Tensor,
    noise: Callable[[Sequence[int]], Tensor],
) -> Tensor:
    """The steps on image (n, C, *size), in place where that serves. uniform (n, numbers_of(steps)), on the CPU.

    noise   gives the fields of unit variance (k, C, *size) of the named rows
    """
    used = 0
    for step in steps:
        switch, numbers = uniform[:, used], uniform[:, used + 1 : used + 1 + step.numbers]
        used += 1 + step.numbers
        chosen = torch.nonzero(switch < step.probability)[:, 0]  # on the CPU: a GPU is not made to wait
        if len(chosen) == 0:
            continue
        rows = chosen.to(image.device)
        own = numbers[chosen].to(image.device, torch.float32)  # MPS knows no float64
        if isinstance(step, intensity.Noise):
            image[rows] = step.add(image[rows], own, noise(chosen.tolist()).to(image.device))
        else:
            image[rows] = step.apply(image[rows], own)
    return image


def noise_fields(draws: Draws, rows: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Normal numbers (rows, *shape), each row a function of its place in the epoch."""
    fields = [
        stream(draws.seed, draws.epoch, draws.positions[row], NOISE).standard_normal(tuple(shape), np.float32)
        for row in rows
    ]
    return torch.from_numpy(np.stack(fields))
