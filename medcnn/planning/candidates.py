"""Which networks come into question: as large as memory allows, and under a time budget smaller ones too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from medcnn.config.model import UNetConf
from medcnn.config.planning import PlanConf
from medcnn.planning.candidate import Candidate
from medcnn.planning.memory import BYTES, Device, memory_mb
from medcnn.planning.network_shape import Levels, NetworkShape, Sides, doubled, with_strides
from medcnn.planning.patch_size import Patch, batch_of, given_patch, patches_from
from medcnn.planning.refusal import PlanError

BASE_WIDTHS = (32, 24, 16, 8)  # 32 is nnU-Net's; below 8 a network learns little from any number of patches
_BASE_UNTIMED = {"cpu": 16, "cuda": 32, "mps": 32}
_RESNET_LEVELS = 6  # full resolution and five halvings
_RESNET_WIDTHS = (32, 64, 64, 128, 256, 512)  # torchvision's, and a level at full resolution that it does not have
_SMALL_VOXELS = {2: 128**2, 3: 64**3}  # patches are not halved below this to save time
_FEWEST_PATCHES = 2


@dataclass(frozen=True)
class Wishes:
    """What the candidates must meet.

    median_px, spacing_mm  of the median case on the prepared grid, along the network's axes; spacing_mm () is unknown
    is_timed     a time budget will choose among several
    data_voxels  of all training cases on the prepared grid
    """

    conf: PlanConf
    model: UNetConf
    device: Device
    in_channels: int
    num_outputs: int
    precisions: tuple[str, ...]
    is_timed: bool
    median_px: Sides
    spacing_mm: tuple[float, ...]
    data_voxels: int

    @property
    def levels(self) -> int | Levels:
        """How many, where somebody said so; or which ones exactly; or 0."""
        if self.model.encoder.startswith("resnet"):
            halved = [(1,) * len(self.median_px)] + [(2,) * len(self.median_px)] * (_RESNET_LEVELS - 1)
            return with_strides(halved, [], self.median_px, self.spacing_mm)
        if self.model.strides:
            return with_strides(self.model.strides, self.model.kernels, self.median_px, self.spacing_mm)
        return len(self.model.widths) or len(self.model.kernels) or self.conf.levels

    @property
    def widths(self) -> tuple[int, ...]:
        """Of every level, where they are given: a ResNet's own are those of its weights."""
        if self.model.encoder.startswith("resnet") and not self.model.widths:
            return _RESNET_WIDTHS
        return tuple(self.model.widths)

    @property
    def base_widths(self) -> tuple[int, ...]:
        """Of the finest level, the widest first."""
        if self.widths:
            return (self.widths[0],)
        if self.conf.base_width:
            return (self.conf.base_width,)
        if not self.is_timed:
            return (_BASE_UNTIMED[self.device.kind],)
        wide = tuple(base for base in BASE_WIDTHS if base >= self.conf.narrowest_width)
        return wide or BASE_WIDTHS[:1]

    @property
    def usable_mb(self) -> float:
        return self.device.usable_mb(self.conf.memory_gb)

    def candidate(self, patch: Patch, base: int, patches: int, precision: str) -> Candidate:
        """The network of this width on this patch."""
        levels, model = patch.levels, self.model
        if model.kernels:
            levels = replace(levels, kernels=tuple(tuple(kernel) for kernel in model.kernels))
        widths = self.widths or doubled(base, len(levels), len(self.median_px))
        shape = NetworkShape(
            in_channels=self.in_channels,
            num_outputs=self.num_outputs,
            widths=widths,
            levels=levels,
            encoder=model.encoder,
            encoder_convolutions=tuple(model.encoder_convolutions),
            decoder_convolutions=tuple(model.decoder_convolutions),
            deep_supervision=max(0, min(model.deep_supervision, len(levels) - 2)),
            attention=model.attention,
        )
        return Candidate(shape, patch.sides, patches, precision)

    def needed_mb(self, patch: Patch, base: int, patches: int) -> float:
        """In the precision that needs most."""
        precision = max(self.precisions, key=lambda name: BYTES[name])
        return memory_mb(self.candidate(patch, base, patches, precision).cost, patches, precision, self.device.kind)

    def fits(self, patch: Patch, base: int, patches: int) -> bool:
        return self.needed_mb(patch, base, patches) <= self.usable_mb


def candidates_for(wishes: Wishes, reasons: dict[str, str]) -> tuple[Candidate, ...]:
    """The most able first; each network in every precision, the preferred one first. Adds its reasons.

    Raises PlanError: MEMORY where even the smallest does not fit, SETTING and TOO_SMALL.
    """
    _check_model(wishes)
    patch, bases = _patch_and_widths(wishes, reasons)
    patches = _batch(wishes, patch, bases[0], reasons)
    _say_network(wishes, patch, bases, reasons)
    networks = [(patch, base, patches) for base in bases]
    if wishes.is_timed and len(bases) > 1 and not wishes.conf.patch_px:
        networks += [(less, bases[-1], _batch(wishes, less, bases[-1], {})) for less in _halves(wishes, patch)]
    return tuple(wishes.candidate(*network, precision) for network in networks for precision in wishes.precisions)


def _patch_and_widths(wishes: Wishes, reasons: dict[str, str]) -> tuple[Patch, tuple[int, ...]]:
    """The patch shrinks to what memory holds; once it is the smallest, the network gets narrower."""
    patches, bases = wishes.conf.batch_patches or _FEWEST_PATCHES, wishes.base_widths
    ladder = list(_ladder(wishes))
    for at, patch in enumerate(ladder):
        if wishes.fits(patch, bases[0], patches):
            reasons["patch"] = _patch_reason(wishes, at)
            return patch, bases
    patch = ladder[-1]
    if not (wishes.model.widths or wishes.conf.base_width):
        bases = tuple(base for base in BASE_WIDTHS if base < bases[0])
    for at, base in enumerate(bases):
        if wishes.fits(patch, base, patches):
            reasons["patch"] = "the smallest, and a narrower network, since memory holds no more"
            return patch, bases[at:]
    raise PlanError("MEMORY", _memory_text(wishes, patch, bases[-1], patches))


def _memory_text(wishes: Wishes, patch: Patch, base: int, patches: int) -> str:
    need_gb, sides = wishes.needed_mb(patch, base, patches) / 1000, "x".join(str(side) for side in patch.sides)
    fix = "Set a smaller plan.patch_px" if wishes.conf.patch_px else "Set plan.patch_px"
    return (
        f"the smallest network (width {base}) on {patches} patches of {sides} needs about {need_gb:.1f} GB, and "
        f"{wishes.usable_mb / 1000:.1f} GB may be used. {fix} or plan.base_width, free memory or use another device; "
        "or raise plan.memory_gb if the device has more."
    )


def _ladder(wishes: Wishes) -> Iterator[Patch]:
    if wishes.conf.patch_px:
        yield given_patch(wishes.conf.patch_px, wishes.spacing_mm, wishes.levels)
        return
    yield from patches_from(wishes.median_px, wishes.spacing_mm, wishes.device.kind, wishes.levels)


def _patch_reason(wishes: Wishes, at: int) -> str:
    if wishes.conf.patch_px:
        return "as asked for"
    if at == 0:
        return "the median case rounded up to what the halvings need, or the largest that is worth its time"
    return f"the largest that {wishes.usable_mb / 1000:.1f} GB hold, with the median case's proportions"


def _batch(wishes: Wishes, patch: Patch, base: int, reasons: dict[str, str]) -> int:
    if wishes.conf.batch_patches:
        reasons["batch"] = "as asked for"
        return wishes.conf.batch_patches
    device = wishes.device.kind
    count, reasons["batch"] = batch_of(patch, wishes.data_voxels, device, lambda n: wishes.fits(patch, base, n))
    return count


def _halves(wishes: Wishes, patch: Patch) -> Iterator[Patch]:
    """Patches of half the voxels, a quarter and so on, for the case that time is too short for whole ones."""
    last = patch.voxels
    for less in patches_from(wishes.median_px, wishes.spacing_mm, wishes.device.kind, wishes.levels):
        if less.voxels <= last / 2 and less.voxels >= _SMALL_VOXELS[len(less.sides)]:
            last = less.voxels
            yield less


def _say_network(wishes: Wishes, patch: Patch, bases: Sequence[int], reasons: dict[str, str]) -> None:
    asked = wishes.levels
    if asked:
        reasons["levels"] = "as asked for"
    else:
        reasons["levels"] = "every axis is halved until fewer than 8 voxels are left; coarse axes wait for the others"
    if wishes.model.widths or wishes.conf.base_width:
        reasons["width"] = "as asked for"
    elif len(bases) == 1:
        reasons["width"] = "nnU-Net's" if bases[0] == BASE_WIDTHS[0] else "half of nnU-Net's on a CPU"


def _check_model(wishes: Wishes) -> None:
    """What contradicts the data's number of axes, or itself across two parts of the config."""
    dims, model, conf = len(wishes.median_px), wishes.model, wishes.conf
    for name, rows in (("model.kernels", model.kernels), ("model.strides", model.strides)):
        if any(len(row) != dims for row in rows):
            raise PlanError("SETTING", f"{name}: the network has {dims} axes, so every level needs {dims} numbers.")
    for name, sides in (("plan.patch_px", conf.patch_px), ("plan.margin_px", conf.margin_px)):
        if sides and len(sides) != dims:
            raise PlanError("SETTING", f"{name}: the network has {dims} axes, got {sides}.")
    counts = {"model.widths": len(model.widths), "model.kernels": len(model.kernels)}
    counts |= {"model.strides": len(model.strides), "plan.levels": conf.levels}
    given = {name: count for name, count in counts.items() if count}
    if len(set(given.values())) > 1:
        said = ", ".join(f"{name} {count}" for name, count in given.items())
        raise PlanError("SETTING", f"these name different numbers of levels: {said}.")
    if model.widths and conf.base_width not in (0, model.widths[0]):
        raise PlanError(
            "SETTING", f"plan.base_width={conf.base_width} is not the first of model.widths {model.widths}."
        )
    if not wishes.precisions or set(wishes.precisions) - BYTES.keys():
        raise PlanError("SETTING", f"precisions are 32, bf16 and 16, at least one; got {list(wishes.precisions)}.")
