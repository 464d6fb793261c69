"""Regression: what the one number means to the loss. B scans. Imports Lightning (seconds)."""

from __future__ import annotations

from torch import Tensor, nn

from medcnn.config.trainer import TrainerConf
from medcnn.losses.regression import build_regression_loss
from medcnn.tasks.whole_scan import MakeOptimizer, WholeScanTask
from medcnn.transforms.random_steps import RandomSteps


class RegressionTask(WholeScanTask):
    """One number per scan. batch.image (B, C, *size), batch.target (B, 1) in standard deviations of the training."""

    def __init__(
        self,
        network: nn.Module,
        *,
        random_steps: RandomSteps,
        conf: TrainerConf,
        seed: int,
        make_optimizer: MakeOptimizer,
    ) -> None:
        super().__init__(network, random_steps=random_steps, conf=conf, seed=seed, make_optimizer=make_optimizer)
        self.loss = build_regression_loss(conf.loss)

    def loss_of(self, output: Tensor, target: Tensor) -> Tensor:
        return self.loss(output, target)
