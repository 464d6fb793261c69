"""Stochastic weight averaging (Izmailov et al. 2018): the plain mean of the weights that the last epochs end with.

The rate comes down to swa_rate where averaging begins, and stays there, or falls again and again from it: so weights
go on moving about the minimum, and their mean lies nearer its middle. All are pure functions of the step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from medcnn.config.trainer import TrainerConf
from medcnn.training.job import TrainingPlan
from medcnn.training.optimisation import learning_rate


@dataclass(frozen=True)
class WeightAveraging:
    """When weights are averaged.

    first_epoch   epochs done before it begins
    cycle_epochs  after so many, counted back from the last, weights are taken
    """

    first_epoch: int
    cycle_epochs: int
    epochs: int
    steps_per_epoch: int
    steps: int

    @classmethod
    def of(cls, conf: TrainerConf, plan: TrainingPlan) -> WeightAveraging | None:
        """None where nothing is averaged so."""
        if not conf.swa_fraction:
            return None
        cycle = max(1, conf.swa_cycle_epochs)
        cycles = max(1, round(conf.swa_fraction * plan.epochs / cycle))
        return cls(max(0, plan.epochs - cycles * cycle), cycle, plan.epochs, plan.steps_per_epoch, plan.steps)

    @property
    def first_step(self) -> int:
        """Steps done before it begins."""
        return self.first_epoch * self.steps_per_epoch

    def taken(self, step: int) -> int:
        """How many weights the mean is of after `step` steps."""
        epochs_done = self.epochs if step >= self.steps else step // self.steps_per_epoch
        if epochs_done <= self.first_epoch:
            return 0
        first_taken = self.epochs - (self.epochs - self.first_epoch - 1) // self.cycle_epochs * self.cycle_epochs
        return max(0, (epochs_done - first_taken) // self.cycle_epochs + 1)

    def share_of_newest(self, step: int) -> float:
        """Of the mean after `step` steps: 0 leaves the mean as it is; before the first are taken, it is a copy."""
        if step % self.steps_per_epoch and step < self.steps:
            return 0.0
        count = self.taken(step)
        if count == 0:
            return 1.0
        return 1 / count if count > self.taken(step - 1) else 0.0


def rate_at(conf: TrainerConf, plan: TrainingPlan, step: int) -> float:
    """The learning rate of a step, counted from 0."""
    averaging = WeightAveraging.of(conf, plan)
    if averaging is None:
        return learning_rate(conf, step, steps=plan.steps, warmup_steps=plan.warmup_steps)
    if step < averaging.first_step:
        down = replace(conf, final_fraction=conf.swa_rate)
        return learning_rate(down, step, steps=averaging.first_step, warmup_steps=plan.warmup_steps)
    if not conf.swa_cycle_epochs:
        return conf.learning_rate * conf.swa_rate
    cycle_steps = conf.swa_cycle_epochs * plan.steps_per_epoch
    done = (step - averaging.first_step) % cycle_steps / max(1, cycle_steps - 1)
    return conf.learning_rate * ((1 - done) * conf.swa_rate + done * conf.final_fraction)
