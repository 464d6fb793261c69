"""Losses of segmentation: a weighted sum of parts, on one resolution or on several. B cases, *S spatial axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medcnn.config.losses import LossConf
from medcnn.losses.boundary import boundary_loss
from medcnn.losses.overlap import dice_loss, overlap, tversky_loss
from medcnn.losses.voxelwise import binary_cross_entropy, binary_focal_loss, cross_entropy, focal_loss

IGNORED = 255  # in a target: this voxel counts nowhere


def build_segmentation_loss(
    conf: LossConf, *, overlapping: bool, spatial_dims: int, class_weights: Sequence[float] | None = None
) -> SegmentationLoss:
    """The loss of these settings.

    class_weights  of background and structures (exclusive) or of the structures (overlapping); None takes conf's
    """
    given = list(conf.class_weights if class_weights is None else class_weights)
    return SegmentationLoss(conf, overlapping=overlapping, spatial_dims=spatial_dims, class_weights=given)


class SegmentationLoss(nn.Module):
    """(logits, target) -> a number.

    logits  (B, K + 1, *S) exclusive, (B, K, *S) overlapping; or a list of them, finest first, each coarser by whole
            factors
    target  (B, M, *S) uint8: one map of class indices, or K planes of 0 and 1; 255 is ignored

    progress  how much of the training is over, 0 to 1; whoever trains may set it, for the boundary part to start gently
    """

    class_weights: Tensor | None

    def __init__(
        self, conf: LossConf, *, overlapping: bool, spatial_dims: int, class_weights: Sequence[float] = ()
    ) -> None:
        super().__init__()
        self.conf, self.overlapping, self.spatial_dims = conf, overlapping, spatial_dims
        self.progress = 1.0
        weights = torch.tensor(class_weights, dtype=torch.float32) if len(class_weights) else None
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, logits: Tensor | list[Tensor], target: Tensor) -> Tensor:
        """The loss over all resolutions; float32 whatever the network computes in."""
        levels = [logits] if isinstance(logits, Tensor) else logits
        weights = deep_weights(len(levels), self.conf.deep_weights)
        loss = levels[0].new_zeros((), dtype=torch.float32)
        with torch.autocast(target.device.type, enabled=False):
            for at, (level, weight) in enumerate(zip(levels, weights, strict=True)):
                if weight:
                    loss = loss + weight * self._of_level(
                        level.float(), coarser(target, level.shape[2:]), finest=at == 0
                    )
                else:
                    loss = loss + 0.0 * level.sum()  # its head has a gradient all the same, which DDP waits for
        return loss

    def _of_level(self, logits: Tensor, target: Tensor, *, finest: bool) -> Tensor:
        of = self._overlapping if self.overlapping else self._exclusive
        voxelwise, probability, truth, valid, weight = of(logits.flatten(2), target.flatten(2))
        conf, loss = self.conf, voxelwise
        if conf.dice or conf.tversky:
            counts = overlap(probability, truth, valid, batch=conf.batch_dice)
            if conf.dice:
                loss = loss + conf.dice * dice_loss(counts, weight)
            if conf.tversky:
                loss = loss + conf.tversky * tversky_loss(counts, conf.tversky_alpha, conf.tversky_beta, weight)
        if finest and (share := self._boundary_share()):
            size = logits.shape[2:]
            parts = (part.reshape(*part.shape[:2], *size) for part in (probability, truth, valid))
            loss = loss + share * boundary_loss(*parts)
        return loss

    def _boundary_share(self) -> float:
        warmup = self.conf.boundary_warmup
        return self.conf.boundary * (min(1.0, self.progress / warmup) if warmup else 1.0)

    def _exclusive(self, logits: Tensor, target: Tensor) -> _Parts:
        conf, weight = self.conf, self._weights(logits.shape[1])
        log_probability = logits.log_softmax(dim=1)
        index = target[:, 0].long()
        loss = logits.new_zeros(())
        if conf.cross_entropy:
            smoothing = conf.label_smoothing
            entropy = cross_entropy(log_probability, index, IGNORED, weight=weight, smoothing=smoothing)
            loss = loss + conf.cross_entropy * entropy
        if conf.focal:
            loss = loss + conf.focal * focal_loss(log_probability, index, IGNORED, conf.focal_gamma, weight=weight)
        structures = torch.arange(1, logits.shape[1], dtype=target.dtype, device=target.device)
        truth = target == structures[:, None]
        return loss, log_probability[:, 1:].exp(), truth, target != IGNORED, None if weight is None else weight[1:]

    def _overlapping(self, logits: Tensor, target: Tensor) -> _Parts:
        conf, weight = self.conf, self._weights(logits.shape[1])
        truth, valid = target == 1, target != IGNORED
        loss = logits.new_zeros(())
        if conf.cross_entropy:
            smoothing = conf.label_smoothing
            entropy = binary_cross_entropy(logits, truth, valid, weight=weight, smoothing=smoothing)
            loss = loss + conf.cross_entropy * entropy
        if conf.focal:
            loss = loss + conf.focal * binary_focal_loss(logits, truth, valid, conf.focal_gamma, weight=weight)
        return loss, logits.sigmoid(), truth, valid, weight

    def _weights(self, classes: int) -> Tensor | None:
        if self.class_weights is not None and len(self.class_weights) != classes:
            raise ValueError(f"class_weights: needs {classes} numbers, got {len(self.class_weights)}")
        return self.class_weights


_Parts = tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]  # loss so far, probability, truth, valid, class weights


def deep_weights(outputs: int, given: Sequence[float] = ()) -> list[float]:
    """Of each resolution, their sum 1: halved from one to the next (Isensee et al. 2021).

    The coarsest of three or more counts nothing: it learns from the finer ones.
    """
    weights = list(given) or [0.5**at for at in range(outputs)]
    if not given and outputs > 2:
        weights[-1] = 0.0
    if len(weights) != outputs or sum(weights) <= 0:
        raise ValueError(f"deep_weights: needs {outputs} numbers, not all 0, got {list(given)}")
    return [weight / sum(weights) for weight in weights]


def coarser(target: Tensor, size: Sequence[int]) -> Tensor:
    """The target (B, M, *S) at the voxels in the middle of each block of a coarser grid: nothing is mixed."""
    for axis, (fine, coarse) in enumerate(zip(target.shape[2:], size, strict=True), start=2):
        if fine == coarse:
            continue
        if fine % coarse:
            raise ValueError(f"a target of {tuple(target.shape[2:])} voxels does not divide into {tuple(size)}")
        step = fine // coarse
        index = torch.arange((step - 1) // 2, fine, step, device=target.device)
        target = target.index_select(axis, index)
    return target
