"""Settings of the training itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from medcnn.config.fields import choice, number, numbers

CLASSIFIER_LOSSES = ("cross_entropy", "focal", "asymmetric", "coral")
REGRESSION_LOSSES = ("huber", "mse", "mae")


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

    # Of classifiers that start from model.pretrained; layers count in groups, a network's stages
    frozen: str = choice("none", "none", "body")  # body: only the last layer learns, the linear probe
    unfreeze_epochs: int = number(0, at_least=0)  # first the last group learns, after so many epochs one more; 0: all
    layer_decay: float = number(1.0, above=0, at_most=1)  # each group learns so much more slowly than the one behind it

    # auto: cross_entropy of classes, coral of grades, huber of numbers
    loss: str = choice("auto", "auto", *CLASSIFIER_LOSSES, *REGRESSION_LOSSES)
    focal_gamma: float = number(2.0, at_least=0)  # Lin et al. 2017; 0 is cross-entropy, more looks at what is hard
    asymmetric_gammas: list[float] = numbers([0.0, 4.0], at_least=0)  # of positives and negatives (Ridnik et al. 2021)
    asymmetric_margin: float = number(0.05, at_least=0, below=1)  # negatives less probable than it cost nothing
    label_smoothing: float = number(0.0, at_least=0, below=1)
    class_weighting: str = choice("none", "none", "balanced")
    sampling: str = choice("shuffled", "shuffled", "balanced")
    mixup_alpha: float = number(0.0, at_least=0)  # each scan blended with another; 0.2 to 0.4 are usual
    cutmix_alpha: float = number(0.0, at_least=0)  # a box of another scan set in; with mixup, one of the two per batch
    ema_decay: float = number(0.0, at_least=0, below=1)  # 0: no average of the weights is kept
    swa_fraction: float = number(0.0, at_least=0, below=1)  # of the epochs, the last: their weights are averaged (SWA)
    swa_rate: float = number(0.25, above=0, at_most=1)  # of the learning rate, while weights are averaged
    swa_cycle_epochs: int = number(0, at_least=0)  # the rate falls to final_fraction in so many, then one is averaged

    metric: str = choice(
        "auroc", "auroc", "average_precision", "balanced_accuracy", "loss", "quadratic_kappa", "dice", "mae"
    )
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
        yield from self._loss_problems()
        if self.folds == 1:
            yield "folds: must be 0, or at least 2: one fold leaves nobody to train on"
        if self.class_weighting == "balanced" and self.sampling == "balanced":
            yield "sampling: balanced sampling and balanced class weights correct twice; choose one of the two"
        yield from self._averaging_problems()
        if self.frozen != "none" and (self.unfreeze_epochs or self.layer_decay < 1):
            yield "frozen: a body that is held has nothing to unfreeze and no learning rates; set trainer.frozen=none"
        if self.strategy == "fsdp":
            yield "strategy: these networks fit one GPU, and fsdp would divide one. Write trainer.strategy=ddp"

    def _averaging_problems(self) -> Iterator[str]:
        """SWA averages the end of a training whose length is known."""
        if not self.swa_fraction:
            return
        if self.ema_decay:
            yield "swa_fraction: weights are averaged by SWA or by ema_decay; set one of the two to 0"
        if self.patience_epochs:
            yield "swa_fraction: SWA averages the last epochs, which must come; set trainer.patience_epochs=0"
        if self.swa_fraction + self.warmup_fraction > 1:
            got = f"{self.swa_fraction} and {self.warmup_fraction}"
            yield f"swa_fraction: begins before the warm-up ends; with warmup_fraction at most 1 in all, got {got}"
        if self.swa_cycle_epochs and self.swa_rate <= self.final_fraction:
            got = f"{self.swa_rate} and {self.final_fraction}"
            yield f"swa_rate: a cycle falls from it to final_fraction, which must be lower, got {got}"

    def _loss_problems(self) -> Iterator[str]:
        if len(self.asymmetric_gammas) != 2:
            yield f"asymmetric_gammas: two numbers, of positives and of negatives, got {self.asymmetric_gammas}"
        for name, loss, is_set in (
            ("focal_gamma", "focal", self.focal_gamma != TrainerConf.focal_gamma),
            ("asymmetric_gammas", "asymmetric", self.asymmetric_gammas != [0.0, 4.0]),
            ("asymmetric_margin", "asymmetric", self.asymmetric_margin != TrainerConf.asymmetric_margin),
        ):
            if is_set and self.loss != loss:
                yield f"{name}: is of loss={loss}, which is not set. Add trainer.loss={loss}, or leave it out"
