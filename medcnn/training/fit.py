"""Training on Lightning's loop: what we add is what happens around a step. Imports Lightning (seconds)."""

from __future__ import annotations

import logging
import os
import warnings
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from medcnn.config.trainer import TrainerConf
from medcnn.errors import TrainingError
from medcnn.inference.classifier import choose_device
from medcnn.networks.memory_format import network_channels_last
from medcnn.training.averaging import AveragedNetwork, exponential
from medcnn.training.callbacks import Guarding, Reporting, Saving, Validating
from medcnn.training.checkpoints import Checkpoints
from medcnn.training.holding import Holding, holds
from medcnn.training.job import Job, TrainingPlan
from medcnn.training.state import TrainingState
from medcnn.training.swa import WeightAveraging

log = logging.getLogger(__name__)


def fit(job: Job, *, resume: bool) -> TrainingState:
    """Train every member; their best (or last) weights lie in the folder as member_<n>.pt afterwards.

    resume  go on from the newest whole checkpoint. Raises TrainingError, CheckpointError, NoSpaceError, Interrupted.
    """
    checkpoints = Checkpoints(job.folder)
    found = checkpoints.newest() if resume else None
    state = TrainingState(**found["state"]) if found else TrainingState()
    while state.member < job.plan.members:
        if not _is_finished(state, job.plan):
            _fit_member(job, checkpoints, state, found)
        if state.member == job.plan.members - 1:
            break
        state, found = state.next_member(), None
    return state


def _is_finished(state: TrainingState, plan: TrainingPlan) -> bool:
    return state.step >= plan.steps or state.stopped_early


def _fit_member(job: Job, checkpoints: Checkpoints, state: TrainingState, found: dict[str, Any] | None) -> None:
    task = job.make_task(job.seed + 1000 * state.member)
    network: nn.Module = task.network  # type: ignore[assignment]  # a module, always
    network_channels_last(network, len(job.plan.size_px))
    averaged = _averaged(network, job)
    if found:
        _load_weights(found, network, averaged)
    guarding = Guarding(job.conf, job.plan, state, averaged)
    reporting = Reporting(job.plan, state, job.watcher)
    validating = Validating(job, state, averaged, guarding)
    saving = Saving(job, state, averaged, checkpoints, guarding, found)
    callbacks = [Holding(job.conf, state), guarding, reporting, validating, saving]
    trainer = build_trainer(job.conf, callbacks, epochs=job.plan.epochs - state.epoch)
    if _pays_to_compile(job.conf, job.plan):
        network.compile()
    with job.interruption.patience(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")  # of workers and loggers that are chosen on purpose
        trainer.fit(task, datamodule=_Epochs(job, state))
    del trainer


def _averaged(network: nn.Module, job: Job) -> AveragedNetwork | None:
    """As the config asks for it: exponentially, over the last epochs, or not at all."""
    if job.conf.ema_decay > 0:
        return AveragedNetwork(network, exponential(job.conf.ema_decay))
    swa = WeightAveraging.of(job.conf, job.plan)
    return AveragedNetwork(network, swa.share_of_newest) if swa else None


def _load_weights(found: dict[str, Any], network: nn.Module, averaged: AveragedNetwork | None) -> None:
    try:
        network.load_state_dict(found["network"])
        if averaged is not None:
            averaged.network.load_state_dict(found["averaged"])
    except (RuntimeError, KeyError) as error:
        raise TrainingError(
            "CKPT_MISMATCH: the checkpoint is of another model. Start a new training, or resume with its own config"
        ) from error


class _Epochs(pl.LightningDataModule):
    """Hands Lightning a loader for the rest of each epoch."""

    def __init__(self, job: Job, state: TrainingState) -> None:
        super().__init__()
        self.job, self.state = job, state

    def train_dataloader(self) -> DataLoader[Any]:
        plan, state = self.job.plan, self.state
        left = (plan.steps - state.epoch * plan.steps_per_epoch) * self.job.conf.accumulate_batches
        last = min(plan.batches_per_epoch, left)
        rank, ranks = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return self.job.batches(state.member).loader(state.epoch, state.batch, last, rank=rank, ranks=ranks)


def build_trainer(conf: TrainerConf, callbacks: list[pl.Callback], *, epochs: int) -> pl.Trainer:
    """Lightning's trainer with all that writes or prints turned off: those are ours. Raises TrainingError."""
    _require_devices(conf)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    torch.set_num_threads(conf.threads or os.cpu_count() or 1)
    return pl.Trainer(
        accelerator=conf.accelerator,
        devices=conf.devices,
        strategy=_strategy(conf),
        precision=choose_precision(conf),  # type: ignore[arg-type]  # Lightning lists them as literals
        max_epochs=epochs,
        accumulate_grad_batches=conf.accumulate_batches,
        reload_dataloaders_every_n_epochs=1,
        deterministic="warn" if conf.deterministic else False,
        benchmark=not conf.deterministic,
        use_distributed_sampler=False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
    )


def _strategy(conf: TrainerConf) -> str:
    """Where layers are held, the processes may not wait for the gradients of all; all are known from the start."""
    distributed = conf.devices > 1 or conf.strategy == "ddp"
    return "ddp_find_unused_parameters_true" if distributed and holds(conf) else conf.strategy


def _require_devices(conf: TrainerConf) -> None:
    """A CPU takes as many processes as are asked for; GPUs can be counted."""
    device = choose_device(conf.accelerator).type
    there = torch.cuda.device_count() if device == "cuda" else 1
    if device != "cpu" and conf.devices > there:
        raise TrainingError(
            f"trainer.devices={conf.devices}, and this machine has {there} GPU{'s' if there > 1 else ''} to train on. "
            f"Set trainer.devices={there}; CUDA_VISIBLE_DEVICES may hide others"
        )


def choose_precision(conf: TrainerConf) -> str:
    """What the device does well: bf16 where it has it, fp16 with scaling on older GPUs, else float32."""
    on_gpu = conf.accelerator in ("auto", "gpu") and torch.cuda.is_available()
    match conf.precision:
        case "auto":
            if not on_gpu:
                return "32-true"
            return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
        case "bf16":
            return "bf16-mixed"
        case "16":
            return "16-mixed"
    return "32-true"


def _pays_to_compile(conf: TrainerConf, plan: TrainingPlan) -> bool:
    """Compiling takes a minute or two; a GPU earns that back in a long run, a CPU rarely."""
    return conf.compile == "always" or (
        conf.compile == "auto" and plan.device.startswith("cuda") and plan.estimated_minutes > 10
    )
