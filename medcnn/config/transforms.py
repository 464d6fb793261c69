"""Settings of what happens to a scan on its way into a network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from medcnn.config.fields import choice, number, numbers


@dataclass
class IntensityConf:
    """How intensities become network input, each scan by itself."""

    scale: str = choice("percentiles", "percentiles", "range", "zscore")
    low_percentile: float = number(0.5, at_least=0, below=100)  # percentiles -> -1 and 1, clipped a little outside
    high_percentile: float = number(99.5, above=0, at_most=100)

    def problems(self) -> Iterator[str]:
        if not self.low_percentile < self.high_percentile:
            yield f"low_percentile: must be below high_percentile, got {self.low_percentile} and {self.high_percentile}"


@dataclass
class AffineConf:
    """Rotation, scaling, shift and shear in one resampling, drawn for each scan."""

    probability: float = number(0.0, at_least=0, at_most=1)
    rotate_deg: float = number(10.0, at_least=0, at_most=180)
    scale: float = number(0.1, at_least=0, below=1)  # 0.1: from 1/1.1 to 1.1
    shift: float = number(0.05, at_least=0, at_most=1)  # share of the side
    shear: float = number(0.0, at_least=0, at_most=1)


@dataclass
class MirrorConf:
    """Mirroring along spatial axes; only where anatomy allows it (a mirrored heart is another finding)."""

    probability: float = number(0.0, at_least=0, at_most=1)
    axes: list[int] = numbers([-1])


@dataclass
class GammaConf:
    """v -> v ** gamma within the scan's own range."""

    probability: float = number(0.0, at_least=0, at_most=1)
    log_gamma: float = number(0.3, at_least=0)  # gamma from exp(-x) to exp(x)


@dataclass
class ContrastConf:
    """v -> mean + factor (v - mean) + shift."""

    probability: float = number(0.0, at_least=0, at_most=1)
    factor: float = number(0.2, at_least=0)  # 0.2: from 1/1.2 to 1.2
    shift: float = number(0.2, at_least=0)


@dataclass
class BlurConf:
    """Gaussian blur: another detector, another focal spot."""

    probability: float = number(0.0, at_least=0, at_most=1)
    sigma_px: float = number(1.0, above=0)  # up to


@dataclass
class LowResolutionConf:
    """Sampled down and up again: a scan that was taken, or exported, coarser."""

    probability: float = number(0.0, at_least=0, at_most=1)
    zoom: float = number(0.5, above=0, at_most=1)  # from x to 1


@dataclass
class SharpnessConf:
    """v -> v + amount (v - blurred v): detectors and exports sharpen and soften."""

    probability: float = number(0.0, at_least=0, at_most=1)
    soften: float = number(1.0, at_least=0, at_most=1)  # amount from -soften; -1 is the blurred scan itself
    sharpen: float = number(1.5, at_least=0)  # to sharpen
    sigma_px: float = number(0.8, above=0)


@dataclass
class WarpConf:
    """A smooth, monotone change of the grey curve within the scan's own range: another vendor's processing."""

    probability: float = number(0.0, at_least=0, at_most=1)
    amplitude: float = number(0.08, at_least=0, at_most=0.15)  # share of the range; above, the curve turns back


@dataclass
class BiasFieldConf:
    """A smooth field that multiplies: coil sensitivity in MRI, uneven exposure in X-rays."""

    probability: float = number(0.0, at_least=0, at_most=1)
    strength: float = number(0.1, at_least=0)  # standard deviation of the field


@dataclass
class NoiseConf:
    """Gaussian noise; intensities run from about -1 to 1."""

    probability: float = number(0.0, at_least=0, at_most=1)
    sigma: float = number(0.1, at_least=0)  # up to


@dataclass
class EraseConf:
    """A box set to the scan's mean: no single place may decide."""

    probability: float = number(0.0, at_least=0, at_most=1)
    side: float = number(0.3, above=0, at_most=1)  # up to, share of the scan's side


@dataclass
class RandomConf:
    """The random steps, in the order in which they run. Each is off at probability 0."""

    mirror: MirrorConf = field(default_factory=MirrorConf)
    affine: AffineConf = field(default_factory=AffineConf)
    low_resolution: LowResolutionConf = field(default_factory=LowResolutionConf)
    blur: BlurConf = field(default_factory=BlurConf)
    sharpness: SharpnessConf = field(default_factory=SharpnessConf)
    gamma: GammaConf = field(default_factory=GammaConf)
    warp: WarpConf = field(default_factory=WarpConf)
    contrast: ContrastConf = field(default_factory=ContrastConf)
    bias_field: BiasFieldConf = field(default_factory=BiasFieldConf)
    noise: NoiseConf = field(default_factory=NoiseConf)
    erase: EraseConf = field(default_factory=EraseConf)
    clip: float = number(0.0, at_least=0)  # at the end, intensities beyond ±clip are cut off; 0 leaves them


@dataclass
class TransformsConf:
    """The grid that the network sees, the intensities, and what is varied in training."""

    size_px: list[int] = numbers([96, 96], at_least=8)  # (H, W) or (I, J, K)
    spacing_mm: list[float] = numbers([], above=0)  # [] stretches to size_px; else resampled, then padded or cropped
    keep_aspect: bool = True  # pad to the target's aspect before resizing
    intensity: IntensityConf = field(default_factory=IntensityConf)
    random: RandomConf = field(default_factory=RandomConf)

    def problems(self) -> Iterator[str]:
        if len(self.size_px) not in (2, 3):
            yield f"size_px: two numbers for pictures or three for volumes, got {self.size_px}"
        if self.spacing_mm and len(self.spacing_mm) != len(self.size_px):
            yield f"spacing_mm: needs {len(self.size_px)} numbers as size_px has, got {self.spacing_mm}"
        dims, axes = len(self.size_px), self.random.mirror.axes
        if not all(-dims <= axis < dims for axis in axes) or len({axis % dims for axis in axes}) < len(axes):
            yield f"random.mirror.axes: different ones from {-dims} to {dims - 1}, as size_px has {dims}, got {axes}"
