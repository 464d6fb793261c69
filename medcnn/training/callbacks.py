"""What happens around a step: guarding it, validating, telling, saving. Order of the callbacks matters; fit sets it."""

from __future__ import annotations

import math
import signal
import time
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn

from medcnn.config.trainer import TrainerConf
from medcnn.errors import Interrupted, NoSpaceError, TrainingError
from medcnn.training.averaging import AveragedNetwork
from medcnn.training.checkpoints import Checkpoints, write_durably
from medcnn.training.job import Job, TrainingPlan, Watcher
from medcnn.training.norm_statistics import MOST_BATCHES, recompute_norm_statistics
from medcnn.training.optimisation import set_learning_rate
from medcnn.training.state import TrainingState
from medcnn.training.swa import WeightAveraging, rate_at

_EPOCH_CHECKPOINT_S = 20.0  # epochs shorter than this do not each need a checkpoint


class Guarding(pl.Callback):
    """Sets each step's learning rate, clips, leaves out steps that are not finite, averages the weights."""

    def __init__(
        self, conf: TrainerConf, plan: TrainingPlan, state: TrainingState, averaged: AveragedNetwork | None
    ) -> None:
        self.conf, self.plan, self.state, self.averaged = conf, plan, state, averaged
        self.stepped = False
        self._sound: list[torch.Tensor] | None = None

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.averaged is not None:
            self.averaged.to(module.device)  # it was copied before Lightning moved the network

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, index: int) -> None:
        self.stepped = False
        set_learning_rate(trainer.optimizers[0], rate_at(self.conf, self.plan, self.state.step))

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        parameters = [p for p in module.parameters() if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(parameters, self.conf.gradient_clip or math.inf)
        self.stepped = True
        statistics = _running_statistics(module)
        if bool(torch.isfinite(norm)):
            self.state.in_a_row = 0
            self._sound = [value.clone() for value in statistics] if self._sound is None else self._sound
            torch._foreach_copy_(self._sound, statistics) if statistics else None
            return
        self._leave_out(optimizer, statistics)

    def _leave_out(self, optimizer: torch.optim.Optimizer, statistics: list[torch.Tensor]) -> None:
        optimizer.zero_grad(set_to_none=True)  # no gradient, no change
        if self._sound:
            torch._foreach_copy_(statistics, self._sound)
        self.state.skipped += 1
        self.state.in_a_row += 1
        if self.state.in_a_row > self.conf.skip_nonfinite_steps:
            raise TrainingError(
                f"the loss is not finite (NaN or infinite) for {self.state.in_a_row} steps in a row, at step "
                f"{self.state.step}. What was learnt before is kept. Try a smaller trainer.learning_rate, or "
                f"trainer.precision=32, or look at the data with debug=overfit"
            )

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        self.state.batch += 1
        if self.stepped:
            self.state.step += 1
            if self.averaged is not None:
                self.averaged.update(module.network, self.state.step)  # type: ignore[arg-type]  # a module, always


def _running_statistics(module: nn.Module) -> list[torch.Tensor]:
    return [value for value in module.buffers() if value.is_floating_point() and value.numel()]


class Reporting(pl.Callback):
    """Sums the loss up, and tells the watcher."""

    def __init__(self, plan: TrainingPlan, state: TrainingState, watcher: Watcher) -> None:
        self.plan, self.state, self.watcher = plan, state, watcher

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        loss = float(outputs["loss"])
        if math.isfinite(loss):
            self.state.loss_sum += loss
            self.state.loss_count += 1
        if trainer.is_global_zero:
            self.watcher.step(self.state, self.plan, loss)


class Validating(pl.Callback):
    """After each epoch: the metric on validation scans, the best weights so far, and whether to go on."""

    def __init__(self, job: Job, state: TrainingState, averaged: AveragedNetwork | None, guarding: Guarding) -> None:
        self.job, self.state, self.averaged = job, state, averaged
        self.swa = WeightAveraging.of(job.conf, job.plan)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        state, conf = self.state, self.job.conf
        network: nn.Module = self.averaged.network if self.averaged else module.network  # type: ignore[assignment]
        row = {
            "member": float(state.member),
            "epoch": float(state.epoch + 1),
            "step": float(state.step),
            "train/loss": state.loss_sum / max(1, state.loss_count),
            "lr": float(trainer.optimizers[0].param_groups[-1]["lr"]),  # the head's, where each layer has its own
        }
        if self._is_due() and self.swa and self.swa.taken(state.step) > 1:
            self._fit_norms(trainer, module, network)
        improved = self._is_due() and self._improves(network, row)
        state.history.append(row)
        if (improved or conf.keep == "last" or state.best_epoch < 0) and trainer.is_global_zero:
            save_member(self.job.folder, state.member, network)
        state.epoch, state.batch, state.loss_sum, state.loss_count = state.epoch + 1, 0, 0.0, 0
        if trainer.is_global_zero:
            self.job.watcher.epoch(state, self.job.plan, row)
        if conf.patience_epochs and state.epoch - 1 - state.best_epoch >= conf.patience_epochs:
            state.stopped_early = trainer.should_stop = True

    def _fit_norms(self, trainer: pl.Trainer, module: pl.LightningModule, network: nn.Module) -> None:
        """Each process on the same batches, so that all agree."""
        last = min(MOST_BATCHES, self.job.plan.batches_per_epoch)
        batches = self.job.batches(self.state.member).loader(self.state.epoch, 0, last)
        context = trainer.precision_plugin.train_step_context()
        recompute_norm_statistics(module, network, batches, context=context)

    def _is_due(self) -> bool:
        """Where epochs are short beside a validation, not every one is followed by one; the last always is."""
        every, plan = self.job.plan.epochs_per_validation, self.job.plan
        return (self.state.epoch + 1) % every == 0 or self.state.step >= plan.steps

    def _improves(self, network: nn.Module, row: dict[str, float]) -> bool:
        """Measure, and note it in the row and the state."""
        state, training = self.state, network.training
        value, shown = self.job.measure(state.member)(network.eval())
        network.train(training)
        row.update({f"val/{name}": number for name, number in shown.items()})
        smoothed = state.smooth(value, self.job.conf.metric_smoothing)
        if not (smoothed > state.best and _is_finite(network)):
            return False
        state.best, state.best_epoch = smoothed, state.epoch
        return True


def _is_finite(network: nn.Module) -> bool:
    return all(bool(torch.isfinite(value).all()) for value in network.state_dict().values())


def member_path(folder: Any, member: int) -> Any:
    """Where a member's chosen weights wait for the package."""
    return folder / f"member_{member}.safetensors"


def save_member(folder: Any, member: int, network: nn.Module) -> None:
    """The chosen weights so far."""
    from safetensors.torch import save

    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in network.state_dict().items()}
    write_durably(member_path(folder, member), save(tensors))


class Saving(pl.Callback):
    """Checkpoints at epoch ends, every few minutes, and when somebody asks to stop; exact in mid-epoch."""

    def __init__(
        self,
        job: Job,
        state: TrainingState,
        averaged: AveragedNetwork | None,
        checkpoints: Checkpoints,
        guarding: Guarding,
        found: dict[str, Any] | None,
    ) -> None:
        self.job, self.state, self.averaged, self.checkpoints = job, state, averaged, checkpoints
        self.guarding, self.found = guarding, found
        self._saved_at = self._began = time.monotonic()
        self._seconds_before = state.seconds

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.job.interruption.take_signals()
        if self.found:
            trainer.optimizers[0].load_state_dict(self.found["optimizer"])
            if self.found["scaler"]:
                trainer.precision_plugin.load_state_dict(self.found["scaler"])
            self.found = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        if not self.guarding.stepped:
            return  # between accumulated batches there is nothing whole to save
        asked = self.job.interruption.signal_number
        due = time.monotonic() - self._saved_at > self.job.conf.checkpoint_minutes * 60
        ends_epoch = trainer.is_last_batch  # the epoch's own end saves then
        if due and not ends_epoch:
            self.save(trainer, module)
        if asked and not ends_epoch:
            self._stop(trainer, module, asked)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        finished = self.state.step >= self.job.plan.steps or self.state.stopped_early
        if finished or time.monotonic() - self._saved_at > _EPOCH_CHECKPOINT_S:
            self.save(trainer, module)
        if not finished and (asked := self.job.interruption.signal_number):
            self._stop(trainer, module, asked)

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        """Something outside the training broke (a file, memory): what was learnt so far is kept."""
        between_steps = self.guarding.stepped or self.job.conf.accumulate_batches == 1
        if (
            between_steps
            and self.found is None
            and not isinstance(exception, Interrupted | NoSpaceError | TrainingError)
        ):
            self.save(trainer, module)

    def _stop(self, trainer: pl.Trainer, module: pl.LightningModule, number: int) -> None:
        self.save(trainer, module)
        raise Interrupted(
            number, f"stopped by {signal.Signals(number).name} at step {self.state.step}; go on with resume=auto"
        )

    def save(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Everything that the rest of the training depends on."""
        self.state.seconds = self._seconds_before + time.monotonic() - self._began
        if trainer.is_global_zero:
            state = {
                "state": self.state.as_dict(),
                "network": module.network.state_dict(),  # type: ignore[union-attr]  # a module, always
                "averaged": self.averaged.network.state_dict() if self.averaged else {},
                "optimizer": trainer.optimizers[0].state_dict(),
                "scaler": trainer.precision_plugin.state_dict(),
            }
            self.checkpoints.save(state, self.state.member * 10**8 + self.state.step)
        self._saved_at = time.monotonic()
