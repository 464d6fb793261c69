"""Running statistics of batch norms for weights that no step of the training had. Imports Lightning (seconds)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

MOST_BATCHES = 64  # of an epoch: the mean over thousands of scans changes no more


def recompute_norm_statistics(
    task: pl.LightningModule,
    network: nn.Module,
    batches: Iterable[Any],
    *,
    context: AbstractContextManager[Any] | None = None,
) -> None:
    """Set the statistics of `network` to the plain mean over training batches, varied as the task varies them.

    network  of the same shape as the task's own, whose norms that are held keep what they have; in eval, and stays so
    context  precision
    """
    trained: nn.Module = task.network  # type: ignore[assignment]  # a module, always
    pairs = zip(network.modules(), trained.modules(), strict=True)
    norms = [own for own, other in pairs if isinstance(own, _BatchNorm) and other.training and own.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for the plain mean over batches
        norm.train()
    task.network = network  # the task's own step then passes through it
    try:
        with torch.no_grad(), context or nullcontext():
            for batch in batches:
                task.training_step(batch.to(task.device), 0)
    finally:
        task.network = trained
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
