"""What a U-Net costs per patch, counted from its shape: multiplications, feature maps, weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from medcnn.planning.network_shape import NetworkShape, Sides

_MAP = 600  # multiply-adds that take as long on a CPU as moving one number of a feature map through its layers
_WEIGHT = 100  # likewise, as updating one weight


@dataclass(frozen=True)
class Layer:
    """One convolution: voxels that come out, channels in and out, products per voxel and pair of channels."""

    voxels: int
    entering: int
    leaving: int
    kernel: int
    is_normalised: bool
    per_voxel: int = 1  # of the kernel's products, how many one voxel gets: a transposed convolution spreads them
    has_bias: bool = False

    @property
    def multiply_adds(self) -> int:
        return self.voxels * self.entering * self.leaving * self.kernel // self.per_voxel

    @property
    def weights(self) -> int:
        own = self.entering * self.leaving * self.kernel + self.leaving * self.has_bias
        return own + 2 * self.leaving * self.is_normalised


@dataclass(frozen=True)
class Cost:
    """Of one patch, forward.

    elements   numbers in the outputs of all convolutions: what a training step keeps, two or three times over
    """

    multiply_adds: int
    elements: int
    parameters: int

    def of_step(self, patches: int) -> float:
        """How long a training step takes, in arbitrary units: three passes for each patch, then the update."""
        return patches * (3 * self.multiply_adds + _MAP * 3 * self.elements) + _WEIGHT * self.parameters


def cost_of(shape: NetworkShape, patch_px: Sequence[int]) -> Cost:
    """Exact for plain and residual U-Nets; a ResNet encoder counts as a plain one.

    patch_px  multiples of the divisor
    """
    layers = list(layers_of(shape, patch_px))
    return Cost(
        multiply_adds=sum(layer.multiply_adds for layer in layers),
        elements=sum(layer.voxels * layer.leaving for layer in layers),
        parameters=sum(layer.weights for layer in layers),
    )


def layers_of(shape: NetworkShape, patch_px: Sequence[int]) -> Iterator[Layer]:
    """Encoder, then decoder from the finest level down, then heads."""
    widths, voxels = shape.widths, _voxels(shape, patch_px)
    down = _each(shape.encoder_convolutions, len(widths))
    up = _each(shape.decoder_convolutions, len(widths))
    for at, width in enumerate(widths):
        entering = widths[at - 1] if at else shape.in_channels
        stage = _residual if shape.encoder == "residual" else _plain
        yield from stage(voxels[at], entering, width, prod(shape.levels.kernels[at]), down[at])
    for at, width in enumerate(widths[:-1]):
        stride = prod(shape.levels.strides[at + 1])
        yield Layer(voxels[at], widths[at + 1], width, stride, is_normalised=False, per_voxel=stride)
        if shape.attention:
            yield from _gate(voxels[at + 1], width, widths[at + 1], stride)
        yield from _plain(voxels[at], 2 * width, width, prod(shape.levels.kernels[at]), up[at])
    for at in range(1 + max(0, min(shape.deep_supervision, len(widths) - 2))):
        yield Layer(voxels[at], widths[at], shape.num_outputs, 1, is_normalised=False, has_bias=True)


def _voxels(shape: NetworkShape, patch_px: Sequence[int]) -> list[int]:
    count, each = prod(patch_px), []
    for stride in shape.levels.strides:
        count //= prod(stride)
        each.append(max(1, count))
    return each


def _each(given: Sides, levels: int) -> Sides:
    return given * levels if len(given) == 1 else given


def _plain(voxels: int, entering: int, width: int, kernel: int, convolutions: int) -> Iterator[Layer]:
    for at in range(convolutions):
        yield Layer(voxels, width if at else entering, width, kernel, is_normalised=True)


def _residual(voxels: int, entering: int, width: int, kernel: int, blocks: int) -> Iterator[Layer]:
    for at in range(blocks):
        yield from _plain(voxels, width if at else entering, width, kernel, 2)
    if entering != width:
        yield Layer(voxels, entering, width, 1, is_normalised=True)


def _gate(coarse_voxels: int, width: int, coarse_width: int, stride: int) -> Iterator[Layer]:
    inner = max(1, width // 2)
    yield Layer(coarse_voxels, width, inner, stride, is_normalised=False)
    yield Layer(coarse_voxels, coarse_width, inner, 1, is_normalised=False, has_bias=True)
    yield Layer(coarse_voxels, inner, 1, 1, is_normalised=False, has_bias=True)
