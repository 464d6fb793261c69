"""Settings of the training itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from medcnn.config.fields import choice, number


@dataclass
class TrainerConf:
    """How long, with what optimiser, on which device."""

    epochs: int = number(30, at_least=1)
    max_minutes: float | None = number(None, above=0)  # a budget: measured once, then a fixed number of steps
    batch_cases: int = number(32, at_least=1)
    accumulate_batches: int = number(1, at_least=1)
    members: int = number(1, at_least=1, at_most=32)  # networks trained in turn and averaged; with folds one each
    folds: int = number(0, at_least=0, at_most=20)  # cross-validation: one member per fold, each held to its own cases

    optimizer: str = choice("adamw", "adamw", "sgd")
    learning_rate: float = number(1e-3, above=0)
    momentum: float = number(0.9, at_least=0, below=1)  # SGD, Nesterov
    weight_decay: float = number(0.01, at_least=0)  # on kernels only; biases and norms are left alone
    schedule: str = choice("cosine", "cosine", "polynomial", "constant")
    warmup_fraction: float = number(0.1, at_least=0, below=1)  # of all steps
    final_fraction: float = number(0.01, at_least=0, at_most=1)  # of the learning rate, at the last step
    gradient_clip: float = number(1.0, at_least=0)  # norm; 0 does not clip

    label_smoothing: float = number(0.0, at_least=0, below=1)
    class_weighting: str = choice("none", "none", "balanced")
    sampling: str = choice("shuffled", "shuffled", "balanced")
    mixup_alpha: float = number(0.0, at_least=0)
    ema_decay: float = number(0.0, at_least=0, below=1)  # 0: no average of the weights is kept

    metric: str = choice("auroc", "auroc", "average_precision", "balanced_accuracy", "loss", "dice")
    metric_smoothing: float = number(0.3, at_least=0, below=1)  # weight of the past in the metric that picks the model
    keep: str = choice("best", "best", "last")
    patience_epochs: int = number(0, at_least=0)  # stop after so many without a better metric; 0 never stops early

    accelerator: str = choice("auto", "auto", "cpu", "gpu", "mps")
    devices: int = number(1, at_least=1)
    strategy: str = choice("auto", "auto", "ddp")
    precision: str = choice("auto", "auto", "32", "bf16", "16")
    compile: str = choice("never", "never", "auto", "always")  # auto: on a GPU, for runs long enough to repay it
    threads: int = number(0, at_least=0)  # CPU threads; 0 takes every core
    deterministic: bool = True
    checkpoint_minutes: float = number(3.0, above=0)
    skip_nonfinite_steps: int = number(5, at_least=0)  # in a row, before the training stops

    def problems(self) -> Iterator[str]:
        if self.folds == 1:
            yield "folds: must be 0, or at least 2: one fold leaves nobody to train on"
        if self.class_weighting == "balanced" and self.sampling == "balanced":
            yield "sampling: balanced sampling and balanced class weights correct twice; choose one of the two"
        if self.strategy == "fsdp":
            yield "strategy: these networks fit one GPU, and fsdp would divide one. Write trainer.strategy=ddp"
