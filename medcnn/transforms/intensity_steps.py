"""Random steps that change intensities and never move a voxel. n scans, uniform numbers (n, numbers) in [0, 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


def between(uniform: Tensor, low: float, high: float, like: Tensor) -> Tensor:
    """Uniform numbers (n,) stretched to [low, high), shaped (n, 1, 1, ...) to meet a batch."""
    values = (low + (high - low) * uniform).to(like.dtype)
    return values.reshape(-1, *[1] * (like.ndim - 1))


@dataclass(frozen=True)
class Gamma:
    """v -> v ** gamma within each scan's own range, as MONAI's AdjustContrast."""

    probability: float
    log_gamma: float
    numbers: int = 1

    def apply(self, image: Tensor, uniform: Tensor) -> Tensor:
        """Gamma from exp(-log_gamma) to exp(log_gamma)."""
        gamma = between(uniform[:, 0], -self.log_gamma, self.log_gamma, image).exp()
        return adjust_gamma(image, gamma)


def adjust_gamma(image: Tensor, gamma: Tensor) -> Tensor:
    """image (n, C, *size), gamma (n, 1, 1, ...)."""
    axes = tuple(range(1, image.ndim))
    low, high = image.amin(axes, keepdim=True), image.amax(axes, keepdim=True)
    span = (high - low).clamp(min=1e-7)
    return ((image - low) / span).pow(gamma) * span + low


@dataclass(frozen=True)
class Contrast:
    """v -> mean + factor (v - mean) + shift: another exposure, another detector."""

    probability: float
    factor: float
    shift: float
    numbers: int = 2

    def apply(self, image: Tensor, uniform: Tensor) -> Tensor:
        """Factor from 1 / (1 + self.factor) to 1 + self.factor, even on a log scale; shift within ± self.shift."""
        most = math.log1p(self.factor)
        factor = between(uniform[:, 0], -most, most, image).exp()
        shift = between(uniform[:, 1], -self.shift, self.shift, image)
        mean = image.mean(tuple(range(1, image.ndim)), keepdim=True)
        return mean + factor * (image - mean) + shift


@dataclass(frozen=True)
class Noise:
    """Gaussian noise, its strength drawn per scan. Not a plain step: it needs a field of numbers besides."""

    probability: float
    sigma: float
    numbers: int = 1

    def add(self, image: Tensor, uniform: Tensor, noise: Tensor) -> Tensor:
        """noise (n, C, *size), of unit variance."""
        return image + between(uniform[:, 0], 0.0, self.sigma, image) * noise


@dataclass(frozen=True)
class Blur:
    """Gaussian blur, sigma drawn per scan, as MONAI's GaussianSmooth but with the border continued."""

    probability: float
    sigma_px: float
    numbers: int = 1

    def apply(self, image: Tensor, uniform: Tensor) -> Tensor:
        """Sigma from 0 to sigma_px."""
        sigma = (self.sigma_px * uniform[:, 0]).clamp(min=1e-3)
        return blurred(image, sigma.to(image.dtype), radius=max(1, math.ceil(3 * self.sigma_px)))


def blurred(image: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """image (n, C, *size), sigma (n,) in pixels. Separable; one grouped convolution per axis for the whole batch."""
    n, channels, *size = image.shape
    offsets = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)  # (n C, taps)
    convolve = functional.conv2d if len(size) == 2 else functional.conv3d
    folded = image.reshape(1, n * channels, *size)
    for axis in range(len(size)):
        taps = [1] * len(size)
        taps[axis] = len(offsets)
        pad = [0] * (2 * len(size))
        pad[2 * (len(size) - 1 - axis)] = pad[2 * (len(size) - 1 - axis) + 1] = radius
        padded = functional.pad(folded, pad, mode="replicate")
        folded = convolve(padded, kernel.reshape(n * channels, 1, *taps), groups=n * channels)
    return folded.reshape(image.shape)


@dataclass(frozen=True)
class Sharpness:
    """v -> v + amount (v - blurred v), the amount drawn per scan."""

    probability: float
    soften: float
    sharpen: float
    sigma_px: float
    numbers: int = 1

    def apply(self, image: Tensor, uniform: Tensor) -> Tensor:
        """Amount from -soften to sharpen."""
        amount = between(uniform[:, 0], -self.soften, self.sharpen, image)
        sigma = torch.full((len(image),), self.sigma_px, dtype=image.dtype, device=image.device)
        return image + amount * (image - blurred(image, sigma, radius=max(1, math.ceil(2.5 * self.sigma_px))))


@dataclass(frozen=True)
class Warp:
    """v -> v + a sin(pi v) + b sin(2 pi v) with v from 0 to 1 within the scan's own range."""

    probability: float
    amplitude: float
    numbers: int = 2

    def apply(self, image: Tensor, uniform: Tensor) -> Tensor:
        """a within ± amplitude, b within half of that: the curve stays monotone."""
        bow = between(uniform[:, 0], -self.amplitude, self.amplitude, image)
        bend = between(uniform[:, 1], -self.amplitude / 2, self.amplitude / 2, image)
        axes = tuple(range(1, image.ndim))
        low, high = image.amin(axes, keepdim=True), image.amax(axes, keepdim=True)
        span = (high - low).clamp(min=1e-7)
        share = (image - low) / span
        return image + span * (bow * torch.sin(math.pi * share) + bend * torch.sin(2 * math.pi * share))


@dataclass(frozen=True)
class BiasField:
    """The scan above its darkest value, times 1 + a smooth field: three normal numbers per axis, interpolated."""

    probability: float
    strength: float
    spatial_dims: int

    @property
    def numbers(self) -> int:
        """The field's knots."""
        return int(3**self.spatial_dims)

    def apply(self, image: Tensor, uniform: Tensor) -> Tensor:
        """Standard deviation of the knots: strength."""
        normal = torch.erfinv((2 * uniform - 1).clamp(-0.999, 0.999)) * math.sqrt(2)
        knots = (self.strength * normal).to(image.dtype).reshape(-1, 1, *[3] * self.spatial_dims)
        smooth = "bicubic" if self.spatial_dims == 2 else "trilinear"
        field = functional.interpolate(knots, image.shape[2:], mode=smooth, align_corners=True)
        low = image.amin(tuple(range(1, image.ndim)), keepdim=True)
        return low + (image - low) * (1 + field)
