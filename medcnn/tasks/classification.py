"""Classification: what the row of numbers means to the loss. B scans, K classes. Imports Lightning (seconds)."""

from __future__ import annotations

from torch import Tensor, nn

from medcnn.config.trainer import TrainerConf
from medcnn.evaluation.arrays import Kind
from medcnn.tasks.classifier_loss import classifier_loss
from medcnn.tasks.whole_scan import MakeOptimizer, WholeScanTask
from medcnn.transforms.random_steps import RandomSteps


class ClassificationTask(WholeScanTask):
    """One or several labels per scan. batch.image (B, C, *size), batch.target (B, K)."""

    def __init__(
        self,
        network: nn.Module,
        *,
        kind: Kind,
        class_weight: Tensor | None,
        random_steps: RandomSteps,
        conf: TrainerConf,
        seed: int,
        make_optimizer: MakeOptimizer,
    ) -> None:
        super().__init__(network, random_steps=random_steps, conf=conf, seed=seed, make_optimizer=make_optimizer)
        self.multilabel = kind == "multilabel"
        self.loss = classifier_loss(conf, kind)
        self.register_buffer("class_weight", class_weight, persistent=False)

    def loss_of(self, output: Tensor, target: Tensor) -> Tensor:
        weight = self.class_weight if isinstance(self.class_weight, Tensor) else None
        return self.loss(output, target, weight)

    def softened(self, target: Tensor) -> Tensor:
        """Label smoothing, where the config asks for it."""
        smoothing = self.conf.label_smoothing
        if not smoothing:
            return target
        classes = 2 if self.multilabel else target.shape[1]
        return target * (1 - smoothing) + smoothing / classes
