"""One step of training a network that sees whole scans, whatever its row of numbers means. Imports Lightning (seconds).

B scans, C channels, K numbers each.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from medcnn.config.trainer import TrainerConf
from medcnn.data.batches import Batch
from medcnn.networks.covariates import answer
from medcnn.networks.memory_format import channels_last
from medcnn.transforms.draws import NETWORK, stream
from medcnn.transforms.mixing import Mixing, mixed
from medcnn.transforms.random_steps import RandomSteps

MakeOptimizer = Callable[[nn.Module], torch.optim.Optimizer]


class WholeScanTask(pl.LightningModule):
    """Random steps, mixing, the loss. batch.image (B, C, *size), batch.target (B, K)."""

    def __init__(
        self,
        network: nn.Module,
        *,
        random_steps: RandomSteps,
        conf: TrainerConf,
        seed: int,
        make_optimizer: MakeOptimizer,
    ) -> None:
        super().__init__()
        self.network, self.conf, self.seed = network, conf, seed
        self.random_steps, self.make_optimizer = random_steps, make_optimizer

    @abstractmethod
    def loss_of(self, output: Tensor, target: Tensor) -> Tensor:
        """output (B, K) of the network, target (B, K) -> ()."""

    def softened(self, target: Tensor) -> Tensor:
        """Targets (B, K) as they are learnt; here as they are."""
        return target

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The loss of one batch. Every random number, dropout's too, is a function of the batch's place."""
        torch.manual_seed(self._network_seed(batch))
        image, target, covariates = self.varied(batch)
        return self.loss_of(answer(self.network, channels_last(image), covariates), target)

    def varied(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Images after the random steps, targets after smoothing; both, and covariates, mixed with the same share."""
        image, target = batch.image, self.softened(batch.target)
        if self.random_steps.steps:
            image = self.random_steps.apply(image, self.random_steps.draw(self.seed, batch.epoch, batch.positions))
        mixing = Mixing(self.conf.mixup_alpha, self.conf.cutmix_alpha)
        image, share = mixing.apply(image, seed=self.seed, epoch=batch.epoch, position=batch.positions[0])
        covariates = None if batch.covariates is None else mixed(batch.covariates, share)
        return image, mixed(target, share), covariates

    def _network_seed(self, batch: Batch) -> int:
        return int(stream(self.seed, batch.epoch, batch.positions[0], NETWORK).integers(1 << 62))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Lightning asks once per fit."""
        return self.make_optimizer(self.network)
