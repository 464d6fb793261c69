"""Which learning rate: a range test (Smith 2017) on a network that is thrown away. Imports Lightning (seconds).

A few training steps, the rate larger at each by the same factor, and after each the loss. Where it falls fastest,
learning pays most; where it climbs again, the steps are too long. Unlike the paper's, the loss is always that of the
same few batches: the difference between batches is many times larger than what a step at a small rate changes.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from medcnn.errors import TrainingError
from medcnn.inference.classifier import choose_device
from medcnn.networks.memory_format import network_channels_last
from medcnn.training.holding import hold
from medcnn.training.job import Job
from medcnn.training.optimisation import set_learning_rate

log = logging.getLogger("medcnn.train")

LOWEST, HIGHEST, STEPS = 1e-6, 10.0, 140  # 20 steps for each factor of ten
_BREADTH = 0.15  # of the smoothing, factors of ten
_PROBED = 4  # batches that the loss is of
_FIRST = 10  # steps at rates that change next to nothing
_GIVE_UP = 4.0  # times the highest loss of the first: what comes after says nothing

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RateRange:
    """What a range test found.

    rates, losses, smoothed  of each step, the loss after it
    suggested                where the smoothed loss falls fastest; None where it does not fall
    diverges                 from where on it is above its start again, after its lowest; None where that never came
    """

    rates: Floats
    losses: Floats
    smoothed: Floats
    suggested: float | None
    diverges: float | None

    @property
    def lowest(self) -> float:
        """The rate at which the smoothed loss was lowest."""
        return float(self.rates[int(np.argmin(self.smoothed))])

    @property
    def fall(self) -> float:
        """Share of the loss at the start that was gone where it was lowest."""
        return float(1 - self.smoothed.min() / _start(np.log10(self.rates), self.smoothed))


def read_range(rates: Sequence[float], losses: Sequence[float]) -> RateRange:
    """The curve of a range test, read. losses finite, one for each rate, rates rising."""
    x, y = np.log10(np.asarray(rates, np.float64)), np.asarray(losses, np.float64)
    smoothed, slope = _local_line(x, y)
    low = int(np.argmin(smoothed))
    start = _start(x, smoothed)
    above = np.flatnonzero(smoothed[low:] > start)
    falls = slope[: low + 1]
    best = int(np.argmin(falls))
    learns = smoothed[low] < start and falls[best] < 0
    return RateRange(
        rates=10**x,
        losses=y,
        smoothed=smoothed,
        suggested=float(10 ** x[best]) if learns else None,
        diverges=float(10 ** x[low + above[0]]) if len(above) else None,
    )


def _start(log_rates: Floats, smoothed: Floats) -> float:
    """The loss before anything is learnt: at the smallest rates."""
    return float(smoothed[log_rates < log_rates[0] + 0.5].mean())


def _local_line(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """At each x the value and the slope of a line fitted to y near it (Gaussian weights): it lags behind nowhere."""
    apart = x[None] - x[:, None]
    weight = np.exp(-0.5 * (apart / _BREADTH) ** 2)
    weight /= weight.sum(1, keepdims=True)
    mean_x, mean_y = (weight * apart).sum(1), weight @ y
    spread = (weight * apart**2).sum(1) - mean_x**2
    slope = ((weight * apart) @ y - mean_x * mean_y) / np.maximum(spread, 1e-12)
    return mean_y - slope * mean_x, slope


def range_test(job: Job) -> RateRange:
    """Run it on the job's first member, in float32, as it would be trained but for the rate. Nothing is kept.

    Batches, varied and mixed as in training, come in the order of the first epochs. Raises TrainingError where the
    loss is not finite before anything could be learnt.
    """
    torch.set_num_threads(job.conf.threads or os.cpu_count() or 1)
    device = choose_device(job.conf.accelerator)
    task: Any = job.make_task(job.seed).to(device).train()
    network_channels_last(task.network, len(job.plan.size_px))
    hold(task.network, job.conf, job.plan.epochs - 1)  # as in the end, where most layers learn
    optimizer, batches = task.make_optimizer(task.network), _batches(job, device)
    probed = list(islice(_batches(job, device), min(_PROBED, job.plan.batches_per_epoch)))
    rates, losses = np.geomspace(LOWEST, HIGHEST, STEPS), list[float]()
    for number, rate in enumerate(rates, start=1):
        set_learning_rate(optimizer, float(rate))
        _step(job, task, optimizer, batches)
        loss = _loss(task, probed)
        if not math.isfinite(loss) or loss > _GIVE_UP * max(losses[:_FIRST], default=math.inf):
            break
        losses.append(loss)
        if number % 20 == 0:
            log.info("  rate %.0e, loss %.4f", rate, loss)
    if len(losses) < _FIRST:
        raise TrainingError(
            "the loss is not finite (NaN or infinite) from the first steps on, at rates that change nothing. Look at "
            "the data with debug=overfit"
        )
    found = read_range(rates[: len(losses)].tolist(), losses)
    if len(losses) < STEPS and found.diverges is None:
        found = replace(found, diverges=float(rates[len(losses)]))
    return found


def _batches(job: Job, device: torch.device) -> Iterator[Any]:
    """Without end."""
    source = job.batches(0)
    for epoch in count():
        for batch in source.loader(epoch, 0, job.plan.batches_per_epoch):
            yield batch.to(device)


def _loss(task: Any, batches: Sequence[Any]) -> float:
    """Mean of batches, each with the random numbers of its place: only the weights make a difference."""
    with torch.no_grad():
        return sum(float(task.training_step(batch, 0)) for batch in batches) / len(batches)


def _step(job: Job, task: Any, optimizer: torch.optim.Optimizer, batches: Iterator[Any]) -> None:
    """One optimiser step, clipped as in training."""
    optimizer.zero_grad()
    for _ in range(job.conf.accumulate_batches):
        (task.training_step(next(batches), 0) / job.conf.accumulate_batches).backward()
    nn.utils.clip_grad_norm_(task.parameters(), job.conf.gradient_clip or math.inf)
    optimizer.step()
