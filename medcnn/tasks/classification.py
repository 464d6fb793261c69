"""Classification: one step of training. B scans, C channels, K classes. Imports Lightning (seconds)."""

from __future__ import annotations

from collections.abc import Callable

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from medcnn.config.trainer import TrainerConf
from medcnn.data.batches import Batch
from medcnn.losses.classification import binary_cross_entropy, cross_entropy
from medcnn.networks.memory_format import channels_last
from medcnn.transforms.draws import MIXUP, NETWORK, stream
from medcnn.transforms.random_steps import RandomSteps

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]
MakeOptimizer = Callable[[nn.Module], torch.optim.Optimizer]


class ClassificationTask(pl.LightningModule):
    """One or several labels per scan. batch.image (B, C, *size), batch.target (B, K)."""

    def __init__(
        self,
        network: nn.Module,
        *,
        multilabel: bool,
        class_weight: Tensor | None,
        random_steps: RandomSteps,
        conf: TrainerConf,
        seed: int,
        make_optimizer: MakeOptimizer,
    ) -> None:
        super().__init__()
        self.network, self.conf, self.seed = network, conf, seed
        self.multilabel, self.random_steps, self.make_optimizer = multilabel, random_steps, make_optimizer
        self.loss: Loss = binary_cross_entropy if multilabel else cross_entropy
        self.register_buffer("class_weight", class_weight, persistent=False)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The loss of one batch. Every random number, dropout's too, is a function of the batch's place."""
        torch.manual_seed(self._network_seed(batch))
        image, target = self.varied(batch)
        logits = self.network(channels_last(image))
        weight = self.class_weight if isinstance(self.class_weight, Tensor) else None
        return self.loss(logits, target, weight)

    def varied(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Images after the random steps and mixup, targets after smoothing and mixup."""
        image, target = batch.image, batch.target
        if self.random_steps.steps:
            image = self.random_steps.apply(image, self.random_steps.draw(self.seed, batch.epoch, batch.positions))
        if smoothing := self.conf.label_smoothing:
            classes = 2 if self.multilabel else target.shape[1]
            target = target * (1 - smoothing) + smoothing / classes
        if self.conf.mixup_alpha > 0 and len(image) > 1:
            image, target = self._mixed(image, target, batch)
        return image, target

    def _mixed(self, image: Tensor, target: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Zhang et al. 2018: each scan with the batch's next, one share for the batch."""
        generator = stream(self.seed, batch.epoch, batch.positions[0], MIXUP)
        share = float(generator.beta(self.conf.mixup_alpha, self.conf.mixup_alpha))
        share = max(share, 1 - share)
        return torch.lerp(image.roll(1, 0), image, share), torch.lerp(target.roll(1, 0), target, share)

    def _network_seed(self, batch: Batch) -> int:
        return int(stream(self.seed, batch.epoch, batch.positions[0], NETWORK).integers(1 << 62))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Lightning asks once per fit."""
        return self.make_optimizer(self.network)
