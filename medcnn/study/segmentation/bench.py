"""What a step of a segmenter's training is made of: the same while it is measured and while it is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log, prod

import torch
from torch import nn

from medcnn.config.model import ModelConf, UNetConf
from medcnn.config.verbs import TrainConf
from medcnn.data.patches import PatchBatches, PatchOrder, PatchShape
from medcnn.data.segmentation_cases import SegmentationCases
from medcnn.losses.segmentation import build_segmentation_loss
from medcnn.networks.build import build_network, load_encoder_weights
from medcnn.networks.unet import UNet
from medcnn.study.named_modules import named_modules
from medcnn.study.segmentation.data import trains
from medcnn.study.segmentation.package import mask_rule
from medcnn.tasks.segmentation import SegmentationTask
from medcnn.training.optimisation import build_optimizer
from medcnn.transforms.paired_steps import PairedSteps

MakeOptimizer = Callable[[nn.Module], torch.optim.Optimizer]


@dataclass(frozen=True, eq=False)
class Bench:
    """One network, one patch, one batch size.

    model   with every list filled in
    steps   of one member
    """

    conf: TrainConf
    cases: SegmentationCases
    in_channels: int
    model: ModelConf
    patch_px: tuple[int, ...]
    margin_px: tuple[int, ...]
    batch_patches: int
    foreground_share: float
    patches_per_case: int
    steps: int

    def network(self) -> nn.Module:
        """A fresh one. Raises ConfigError."""
        return build_network(
            self.model,
            in_channels=self.in_channels,
            num_outputs=mask_rule(self.cases.structures).num_logits,
            size_px=self.patch_px,
            modules=named_modules(self.conf),
            outlines=True,
        )

    def batches(self, fold: int | None) -> PatchBatches:
        """Of a member's own training cases."""
        mine = self.cases.part(lambda case: trains(case, fold))
        order = PatchOrder(len(mine), self.batch_patches, self.conf.seed, self.patches_per_case, self.foreground_share)
        shape = PatchShape(self.patch_px, self.margin_px, self.conf.plan.jitter_px, self.cases.grid.across)
        return PatchBatches(mine, order, shape, workers=self.conf.data.workers)

    def task(self, seed: int) -> SegmentationTask:
        """A member, its network fresh."""
        torch.manual_seed(seed)  # always; 0 is a seed too
        structures, grid, dims = self.cases.structures, self.cases.grid, len(self.patch_px)
        loss = build_segmentation_loss(self.conf.loss, overlapping=structures.overlapping, spatial_dims=dims)
        steps = PairedSteps(
            self.conf.transforms.random,
            dims,
            num_channels=self.in_channels,
            labels=1 if structures.overlapping else len(structures.names),
            spacing_mm=[edge for axis, edge in enumerate(grid.spacing_mm) if axis != grid.across],
        )
        network = self.network()
        if isinstance(network, UNet) and isinstance(self.model, UNetConf):
            load_encoder_weights(network, self.model)
            network.start_at(self._prior_logits())
        return SegmentationTask(
            network,
            loss=loss,
            random_steps=steps,
            patch_px=self.patch_px,
            seed=seed,
            patches=self.steps * self.batch_patches * self.conf.trainer.accumulate_batches,
            patches_per_epoch=len(self.cases) * self.patches_per_case,
            make_optimizer=lambda network: build_optimizer(self.conf.trainer, network),
        )

    def _prior_logits(self) -> list[float]:
        """What a network should say that has seen nothing: how common each structure is in the training cases."""
        train = self.cases.part(lambda case: case.split in ("train", "val"))
        every = sum(prod(size) for size in train.sizes)
        shares = [
            min(0.99, max(1e-6, sum(voxels[name] for voxels in train.voxels) / every))
            for name in self.cases.structures.names
        ]
        if self.cases.structures.overlapping:
            return [log(share / (1 - share)) for share in shares]
        return [log(max(1e-6, 1 - sum(shares))), *map(log, shares)]
