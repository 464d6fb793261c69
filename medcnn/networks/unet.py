"""The U-Net (Ronneberger et al. 2015) in the form that nnU-Net gave it (Isensee et al. 2021), for pictures and volumes.

B cases, C channels, *S the spatial axes (two or three).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt

import torch
from torch import Tensor, nn

from medcnn.networks.encoders import RESNET_BLOCKS, resnet_stages
from medcnn.networks.memory_format import channels_last
from medcnn.networks.unet_blocks import (
    AttentionGate,
    Style,
    VoxelwiseLinear,
    plain_stage,
    residual_stage,
    upsampling,
)


class UNet(nn.Module):
    """An encoder, a decoder, and what the one saw handed to the other at every level.

    widths   channels of each level, finest first
    kernels  of each level, one side per axis, all odd
    strides  into each level, one per axis; those of the first are all 1
    encoder  plain: convolutions; residual: blocks of two convolutions (then encoder_convolutions counts blocks);
             resnet18, resnet34: pictures only, see encoders.resnet_stages
    encoder_convolutions, decoder_convolutions  of each level, or one number for all
    norm  instance, group or batch
    dropout  the chance of a channel to be left out behind every stage
    deep_supervision  how many coarser levels answer too while training; fewer where there are not as many
    attention  gates on the skip connections

    image (B, in_channels, *S), every side a multiple of the divisor -> logits (B, num_outputs, *S); in training with
    deep supervision a list of them, the full resolution first, each coarser by the strides of its level
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        num_outputs: int,
        widths: Sequence[int],
        kernels: Sequence[Sequence[int]],
        strides: Sequence[Sequence[int]],
        encoder: str = "plain",
        encoder_convolutions: int | Sequence[int] = 2,
        decoder_convolutions: int | Sequence[int] = 2,
        norm: str = "instance",
        activation: str = "leaky_relu",
        dropout: float = 0.0,
        deep_supervision: int = 0,
        attention: bool = False,
    ) -> None:
        super().__init__()
        levels = len(widths)
        down = per_level(encoder_convolutions, levels, "encoder_convolutions")
        up = per_level(decoder_convolutions, levels - 1, "decoder_convolutions")
        check_levels(spatial_dims, widths, kernels, strides)
        self.strides = [tuple(stride) for stride in strides]
        self.spatial_dims, self.in_channels, self.num_outputs = spatial_dims, in_channels, num_outputs
        style = Style(spatial_dims, norm, activation, dropout)
        self.encoder = nn.ModuleList(_encoder(encoder, style, [in_channels, *widths], kernels, self.strides, down))
        self.levels_of_image = 2 if encoder in RESNET_BLOCKS and len(self.encoder) == 6 else 1
        fine = range(levels - 1)
        self.ups = nn.ModuleList(upsampling(spatial_dims, widths[at + 1], widths[at], strides[at + 1]) for at in fine)
        self.gates = nn.ModuleList(
            AttentionGate(spatial_dims, widths[at], widths[at + 1], strides[at + 1]) for at in fine if attention
        )
        whole = [1] * spatial_dims
        self.decoder = nn.ModuleList(
            plain_stage(style, 2 * widths[at], widths[at], kernels[at], whole, up[at]) for at in fine
        )
        answering = range(1 + max(0, min(deep_supervision, levels - 2)))
        self.heads = nn.ModuleList(VoxelwiseLinear(widths[at], num_outputs) for at in answering)
        self._initialise()

    @property
    def divisor(self) -> tuple[int, ...]:
        """What the sides of an input must be multiples of."""
        return tuple(prod(sides) for sides in zip(*self.strides, strict=True))

    @property
    def features(self) -> nn.Module:
        """The last stage before the head: where Grad-CAM looks."""
        return self.decoder[0] if len(self.decoder) else self.encoder[0]

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Logits; in training with deep supervision those of every level that answers, finest first."""
        self.check_size(image.shape[2:])
        if image.device.type == "cpu":
            image = channels_innermost(image)  # what its convolutions are fastest on
        seen: list[Tensor] = []
        for at, stage in enumerate(self.encoder):
            seen.append(stage(image if at < self.levels_of_image else seen[-1]))
        x = seen[-1]
        answers: list[Tensor] = []
        wanted = len(self.heads) if self.training else 1
        for at in reversed(range(len(seen))):
            if at < len(self.decoder):
                skip = self.gates[at](seen[at], x) if len(self.gates) else seen[at]
                x = self.decoder[at](torch.cat([self.ups[at](x), skip], dim=1))
            if at < wanted:
                answers.append(self.heads[at](x))
        return answers[0] if wanted == 1 else answers[::-1]

    @torch.no_grad()
    def start_at(self, logits: Sequence[float]) -> None:
        """Let every head begin with these answers everywhere: how common each class is need not be learnt then."""
        for head in self.heads:
            head.linear.bias.copy_(torch.tensor(logits))  # type: ignore[union-attr, operator]  # VoxelwiseLinear's

    def check_size(self, size: Sequence[int]) -> None:
        """Raises ValueError where an image of these sides cannot go through all levels."""
        whole = self.divisor
        if len(size) != len(whole):
            raise ValueError(f"strides: this U-Net has {len(whole)} axes, the image {len(size)}")
        if tuple(size) == whole or any(side < least for side, least in zip(size, whole, strict=True)):
            raise ValueError(
                f"strides: sides of {tuple(size)} are too small for {len(self.strides)} levels, which need at least "
                f"{whole} and one side twice as long. Take fewer levels or a larger patch"
            )
        if any(side % least for side, least in zip(size, whole, strict=True)):
            raise ValueError(f"strides: sides of {tuple(size)} must be multiples of {whole}, as all levels divide them")

    def _initialise(self) -> None:
        """He et al. 2015; the heads too, since heads that start near zero cost a hundred steps."""
        for layer in self.modules():
            if isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d):
                nn.init.normal_(layer.weight, std=sqrt(1 / layer.in_channels))  # each voxel has one coarse voxel
            elif isinstance(layer, nn.Conv2d | nn.Conv3d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, a=0.01)
            else:
                continue
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def channels_innermost(image: Tensor) -> Tensor:
    """channels_last also for a single channel, where no number moves but the strides must tell the layers behind."""
    if image.shape[1] > 1:
        return channels_last(image)
    inner = image.contiguous()
    return inner.as_strided(image.shape, (inner.stride(0), 1, *inner.stride()[2:]))


def _encoder(
    name: str,
    style: Style,
    channels: Sequence[int],
    kernels: Sequence[Sequence[int]],
    strides: Sequence[Sequence[int]],
    convolutions: Sequence[int],
) -> list[nn.Module]:
    """One stage a level; channels are those of the image and then of the levels."""
    levels = range(len(kernels))
    if name in RESNET_BLOCKS:
        if style.spatial_dims != 2:
            raise ValueError(f"encoder: {name} is for pictures; volumes take plain or residual")
        stages = resnet_stages(name, channels[0], channels[1:], strides)
        levels = range(len(kernels) - len(stages))
    else:
        stages = []
    stage = residual_stage if name == "residual" else plain_stage
    own = [stage(style, channels[at], channels[at + 1], kernels[at], strides[at], convolutions[at]) for at in levels]
    return [*own, *stages]


def per_level(given: int | Sequence[int], levels: int, name: str) -> list[int]:
    """One number for each level."""
    each = [given] * levels if isinstance(given, int) else list(given)
    each = each * levels if len(each) == 1 else each
    if len(each) != levels or any(number < 1 for number in each):
        raise ValueError(f"{name}: needs one number, 1 or more, for each of {levels} levels, got {given}")
    return each


def check_levels(
    spatial_dims: int, widths: Sequence[int], kernels: Sequence[Sequence[int]], strides: Sequence[Sequence[int]]
) -> None:
    """Raises ValueError where the levels contradict each other."""
    for name, values in (("kernels", kernels), ("strides", strides)):
        if len(values) != len(widths) or any(len(value) != spatial_dims for value in values):
            raise ValueError(f"{name}: needs {len(widths)} levels of {spatial_dims} numbers, got {values}")
    if any(side % 2 == 0 for kernel in kernels for side in kernel):
        raise ValueError(f"kernels: every side must be odd, got {kernels}")
    if len(widths) < 1 or max(strides[0]) != 1:
        raise ValueError(f"strides: those of the first level must all be 1, got {strides}")
