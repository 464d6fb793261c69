"""Optimisers and schedules. A learning rate is a pure function of the step."""

from __future__ import annotations

import math

import torch
from torch import nn

from medcnn.config.trainer import TrainerConf


def build_optimizer(conf: TrainerConf, network: nn.Module) -> torch.optim.Optimizer:
    """AdamW or SGD with Nesterov's momentum; decay only on kernels and matrices, never on biases and norms."""
    decayed = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    left_alone = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": conf.weight_decay}, {"params": left_alone, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if conf.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=conf.learning_rate, momentum=conf.momentum, nesterov=conf.momentum > 0)
    return torch.optim.AdamW(groups, lr=conf.learning_rate)


def learning_rate(conf: TrainerConf, step: int, *, steps: int, warmup_steps: int) -> float:
    """At `step` of `steps`: linear warm-up, then cosine or polynomial (power 0.9) decay to final_fraction."""
    if step < warmup_steps:
        return conf.learning_rate * (step + 1) / (warmup_steps + 1)
    if conf.schedule == "constant":
        return conf.learning_rate
    done = (step - warmup_steps) / max(1, steps - warmup_steps)
    done = min(1.0, done)
    left = 0.5 * (1 + math.cos(math.pi * done)) if conf.schedule == "cosine" else (1 - done) ** 0.9
    return conf.learning_rate * (conf.final_fraction + (1 - conf.final_fraction) * left)


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """The same for every group."""
    for group in optimizer.param_groups:
        group["lr"] = value
