"""Settings of what happens to a scan on its way into a network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from medcnn.config.fields import choice, nearest, number, numbers


@dataclass
class IntensityConf:
    """How intensities become network input, each scan by itself."""

    # dataset, for segmentation of scans with an absolute scale (CT): by the statistics of the training foreground
    scale: str = choice("percentiles", "percentiles", "range", "zscore", "dataset")
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


_FOLDS = 0.4  # of the knots' distance: a B-spline with smaller displacements never folds (Choi and Lee 2000, 3D)


@dataclass
class ElasticConf:
    """Segmentation: a smooth random displacement (cubic B-splines), in one resampling with the affine."""

    probability: float = number(0.0, at_least=0, at_most=1)
    displacement_px: float = number(4.0, at_least=0)  # of a knot along each axis, up to; between knots far less
    spacing_px: float = number(16.0, above=0)  # between knots

    def problems(self) -> Iterator[str]:
        if self.displacement_px > _FOLDS * self.spacing_px:
            most = _FOLDS * self.spacing_px
            yield f"displacement_px: above {most:g} (0.4 of spacing_px) space may fold, got {self.displacement_px}"


@dataclass
class MirrorConf:
    """Mirroring along spatial axes; only where anatomy allows it (a mirrored heart is another finding)."""

    probability: float = number(0.0, at_least=0, at_most=1)
    axes: list[int] = numbers([-1])  # classification: together; segmentation: each for itself


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
class MotionConf:
    """MRI: the patient moves during the scan; parts of k-space see another position."""

    probability: float = number(0.0, at_least=0, at_most=1)
    movements: int = number(2, at_least=1)
    rotate_deg: float = number(3.0, at_least=0, at_most=180)  # up to, each
    shift_px: float = number(1.5, at_least=0)  # up to, each, along each axis
    axes: list[int] = numbers([])  # phase encoding along one of these; [] means any


@dataclass
class GhostingConf:
    """MRI: copies along the phase encoding, from what pulsates or breathes."""

    probability: float = number(0.0, at_least=0, at_most=1)
    ghosts: int = number(5, at_least=2)  # from 2 up to; they lie one side / ghosts apart
    intensity: float = number(0.7, at_least=0, at_most=1)  # up to: the loss of each ghosts-th line of k-space
    axes: list[int] = numbers([])  # along one of these; [] means any


@dataclass
class SpikesConf:
    """MRI: sparks in k-space; stripes all over the scan."""

    probability: float = number(0.0, at_least=0, at_most=1)
    spikes: int = number(2, at_least=1)  # up to
    intensity: float = number(0.4, at_least=0)  # up to: a stripe's amplitude in standard deviations of the scan


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


# What a policy may choose, and the section that says how far it goes at most.
POLICY_SECTIONS = {
    "rotate": "affine",
    "scale": "affine",
    "shift": "affine",
    "low_resolution": "low_resolution",
    "blur": "blur",
    "sharpness": "sharpness",
    "gamma": "gamma",
    "warp": "warp",
    "contrast": "contrast",
    "brightness": "contrast",
    "bias_field": "bias_field",
    "motion": "motion",
    "ghosting": "ghosting",
    "spikes": "spikes",
    "noise": "noise",
}
_USUAL_CHOICES = ("rotate", "scale", "shift", "blur", "sharpness", "gamma", "contrast", "brightness", "noise")


@dataclass
class PolicyConf:
    """Classification, after RandAugment: each scan gets `steps` different ones of the choices, all of one strength."""

    steps: int = number(0, at_least=0)  # 0: no policy
    magnitude: float = number(0.5, at_least=0, at_most=1)  # 1: as far as the settings of each step go
    choices: list[str] = field(default_factory=lambda: list(_USUAL_CHOICES))
    mirror_axes: list[int] = numbers([])  # a mirror along each of these is a choice too; only where anatomy allows it

    def problems(self) -> Iterator[str]:
        for name in sorted({name for name in self.choices if name not in POLICY_SECTIONS}):
            near = nearest(name, list(POLICY_SECTIONS))
            yield f"choices: {name!r} is not one of {', '.join(POLICY_SECTIONS)}.{near}"
        if len(set(self.choices)) < len(self.choices):
            yield f"choices: different ones, got {self.choices}"
        if self.steps > (most := len(self.choices) + len(self.mirror_axes)):
            yield f"steps: a scan gets different ones of the {most} choices, so at most {most}, got {self.steps}"


@dataclass
class RandomConf:
    """The random steps, in the order in which they run. Each is off at probability 0, unless the policy chooses it."""

    policy: PolicyConf = field(default_factory=PolicyConf)
    mirror: MirrorConf = field(default_factory=MirrorConf)
    affine: AffineConf = field(default_factory=AffineConf)
    elastic: ElasticConf = field(default_factory=ElasticConf)
    low_resolution: LowResolutionConf = field(default_factory=LowResolutionConf)
    blur: BlurConf = field(default_factory=BlurConf)
    sharpness: SharpnessConf = field(default_factory=SharpnessConf)
    gamma: GammaConf = field(default_factory=GammaConf)
    warp: WarpConf = field(default_factory=WarpConf)
    contrast: ContrastConf = field(default_factory=ContrastConf)
    bias_field: BiasFieldConf = field(default_factory=BiasFieldConf)
    motion: MotionConf = field(default_factory=MotionConf)
    ghosting: GhostingConf = field(default_factory=GhostingConf)
    spikes: SpikesConf = field(default_factory=SpikesConf)
    noise: NoiseConf = field(default_factory=NoiseConf)
    erase: EraseConf = field(default_factory=EraseConf)
    clip: float = number(0.0, at_least=0)  # at the end, intensities beyond ±clip are cut off; 0 leaves them

    def problems(self) -> Iterator[str]:
        """A step is switched by its own probability or by the policy."""
        if not self.policy.steps:
            return
        chosen = {POLICY_SECTIONS[name] for name in self.policy.choices if name in POLICY_SECTIONS}
        chosen |= {"mirror"} if self.policy.mirror_axes else set()
        for section in sorted(name for name in chosen if getattr(self, name).probability > 0):
            yield (
                f"{section}.probability: policy.choices has this step already; set it to 0, or take a policy whole "
                f"(transforms=xray_policy, transforms=mri_policy)"
            )


@dataclass
class TransformsConf:
    """The grid that the network sees, the intensities, and what is varied in training."""

    size_px: list[int] = numbers([96, 96], at_least=8)  # (H, W) or (I, J, K); [] for segmentation: the plan decides
    spacing_mm: list[float] = numbers([], above=0)  # [] stretches to size_px; else resampled, then padded or cropped
    keep_aspect: bool = True  # pad to the target's aspect before resizing
    crop: str = choice("none", "none", "nonzero")  # segmentation: cut off the empty (zero) surround, as after stripping
    slices: str = choice("", "", "axial", "coronal", "sagittal")  # segmentation of volumes by a 2D network
    intensity: IntensityConf = field(default_factory=IntensityConf)
    random: RandomConf = field(default_factory=RandomConf)

    def problems(self) -> Iterator[str]:
        if len(self.size_px) not in (0, 2, 3):
            yield f"size_px: two numbers for pictures or three for volumes, got {self.size_px}"
        if self.size_px and self.spacing_mm and len(self.spacing_mm) != len(self.size_px):
            yield f"spacing_mm: needs {len(self.size_px)} numbers as size_px has, got {self.spacing_mm}"
        if len(self.spacing_mm) not in (0, 2, 3):
            yield f"spacing_mm: two numbers for pictures or three for volumes, got {self.spacing_mm}"
        dims, random = len(self.size_px) or 3, self.random
        for name, axes in {"mirror.axes": random.mirror.axes, "policy.mirror_axes": random.policy.mirror_axes}.items():
            if not all(-dims <= axis < dims for axis in axes) or len({axis % dims for axis in axes}) < len(axes):
                has = "as size_px has" if self.size_px else "in volumes of"
                yield f"random.{name}: different ones from {-dims} to {dims - 1}, {has} {dims}, got {axes}"
