"""Optimisers and schedules. A learning rate is a pure function of the step."""

from __future__ import annotations

import math

import torch
from torch import nn

from medcnn.config.trainer import TrainerConf
from medcnn.networks.layers import layer_groups


def build_optimizer(conf: TrainerConf, network: nn.Module) -> torch.optim.Optimizer:
    """AdamW or SGD with Nesterov's momentum; decay only on kernels and matrices, never on biases and norms.

    A group's lr_scale is its share of the learning rate: layer_decay to the power of its distance from the head.
    """
    layers = layer_groups(network) if conf.layer_decay < 1 else [list(network.parameters())]
    groups = []
    for index, parameters in enumerate(layers, start=1):
        scale = conf.layer_decay ** (len(layers) - index)
        for decayed in (True, False):
            chosen = [p for p in parameters if p.requires_grad and (p.ndim > 1) == decayed]
            decay = conf.weight_decay if decayed else 0.0
            rate = conf.learning_rate * scale
            groups += [{"params": chosen, "weight_decay": decay, "lr": rate, "lr_scale": scale}] if chosen else []
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
    """For every group its share of it."""
    for group in optimizer.param_groups:
        group["lr"] = value * group["lr_scale"]
