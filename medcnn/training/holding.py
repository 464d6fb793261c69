"""Which layers learn in which epoch: the linear probe and gradual unfreezing. Imports Lightning (seconds).

All layers are in the optimiser from the start, so that a resumed run finds everything in its place; those that are held
have no gradient, and the optimiser leaves out what has none.
"""

from __future__ import annotations

import lightning.pytorch as pl
from torch import nn

from medcnn.config.trainer import TrainerConf
from medcnn.networks.layers import freeze, hold_norms, layer_groups
from medcnn.training.state import TrainingState


def holds(conf: TrainerConf) -> bool:
    """Whether some layers do not learn in some epoch."""
    return conf.frozen != "none" or conf.unfreeze_epochs > 0


def held_groups(conf: TrainerConf, groups: int, epoch: int) -> int:
    """How many groups of layers from the input are held in an epoch, counted from 0.

    Gradual unfreezing (Howard and Ruder 2018): first the head alone learns; after every unfreeze_epochs epochs one more
    group, from the head backwards.
    """
    if conf.frozen == "body":
        return groups - 1
    return max(0, groups - 1 - epoch // conf.unfreeze_epochs) if conf.unfreeze_epochs else 0


def hold(network: nn.Module, conf: TrainerConf, epoch: int) -> None:
    """Make a network in training ready for an epoch: held layers have no gradient, their norms keep their statistics,
    and those of layers that are free by now follow their batches again.
    """
    if holds(conf):
        freeze(network, held_groups(conf, len(layer_groups(network)), epoch))
        network.train()
        hold_norms(network)


def in_words(network: nn.Module, conf: TrainerConf, epochs: int) -> str:
    """What a user should know of it before the training; "" where every layer learns throughout."""
    groups = layer_groups(network)
    if conf.frozen == "body":
        return f"the body is held: the last of {len(groups)} groups of layers learns, {_count(groups[-1]):,} weights"
    if not conf.unfreeze_epochs:
        return ""
    never = held_groups(conf, len(groups), epochs - 1)
    said = f"of {len(groups)} groups of layers the last learns first, and one more every {conf.unfreeze_epochs} epochs"
    if not never:
        return f"{said}; all learn from epoch {(len(groups) - 1) * conf.unfreeze_epochs + 1} of {epochs}"
    return f"{said}; in {epochs} epochs the first {never} never learn, more trainer.epochs would reach them"


def _count(parameters: list[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)


class Holding(pl.Callback):
    """Before each epoch: who learns in it. A validation leaves the whole network in training, norms too."""

    def __init__(self, conf: TrainerConf, state: TrainingState) -> None:
        self.conf, self.state = conf, state

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        hold(module.network, self.conf, self.state.epoch)  # type: ignore[arg-type]  # a module, always
