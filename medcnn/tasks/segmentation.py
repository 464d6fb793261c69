"""Segmentation: one step of training. B patches, C channels, M target planes, *S patch. Imports Lightning (seconds)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from medcnn.data.patches import PatchBatch
from medcnn.losses.segmentation import SegmentationLoss
from medcnn.networks.memory_format import channels_last
from medcnn.transforms.draws import NETWORK, stream
from medcnn.transforms.paired_steps import PairedSteps

MakeOptimizer = Callable[[nn.Module], torch.optim.Optimizer]


class SegmentationTask(pl.LightningModule):
    """Outlines of structures. batch.image (B, C, *cut), batch.target (B, M, *cut) uint8, cut a margin beyond the patch.

    patches, patches_per_epoch  of the whole training and of one epoch, about: a loss may change on the way
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        loss: SegmentationLoss,
        random_steps: PairedSteps,
        patch_px: Sequence[int],
        seed: int,
        patches: int,
        patches_per_epoch: int,
        make_optimizer: MakeOptimizer,
    ) -> None:
        super().__init__()
        self.network, self.loss, self.random_steps = network, loss, random_steps
        self.patch_px, self.seed, self.make_optimizer = tuple(patch_px), seed, make_optimizer
        self.patches, self.patches_per_epoch = patches, patches_per_epoch

    def training_step(self, batch: PatchBatch, batch_index: int) -> Tensor:
        """The loss of one batch. Every random number, dropout's too, is a function of the batch's place."""
        torch.manual_seed(int(stream(self.seed, batch.epoch, batch.positions[0], NETWORK).integers(1 << 62)))
        with torch.no_grad(), torch.autocast(batch.image.device.type, enabled=False):
            image, target = self.varied(batch)
        seen = batch.epoch * self.patches_per_epoch + batch.positions[0]
        self.loss.progress = min(1.0, seen / max(1, self.patches))
        return self.loss(self.network(channels_last(image)), target)  # type: ignore[no-any-return]  # nn.Module's call

    def varied(self, batch: PatchBatch) -> tuple[Tensor, Tensor]:
        """Image and target after the random steps, without the margin."""
        draws = self.random_steps.draw(self.seed, batch.epoch, batch.positions)
        return self.random_steps.apply(batch.image, batch.target, draws, self.patch_px)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Lightning asks once per fit."""
        return self.make_optimizer(self.network)
