"""What a step costs here: a few of them with a network that is thrown away."""

from __future__ import annotations

import time
from typing import Any

import psutil
import torch

from medcnn.config.trainer import TrainerConf
from medcnn.data.batches import Batches
from medcnn.inference.classifier import choose_device
from medcnn.networks.covariates import answer
from medcnn.networks.memory_format import channels_last, network_channels_last
from medcnn.planning.plan import Speed
from medcnn.tasks.whole_scan import WholeScanTask
from medcnn.training.holding import hold

_WARM, _COUNTED = 2, 3


def measured_speed(task: WholeScanTask, batches: Batches, *, validation_cases: int, conf: TrainerConf) -> Speed:
    """Seconds of an optimiser step and of a validation, and memory at the peak."""
    device = choose_device(conf.accelerator)
    if conf.threads:
        torch.set_num_threads(conf.threads)
    task.to(device).train()
    hold(task.network, conf, conf.epochs - 1)  # unfreezing ends with the costliest steps; a budget holds with them
    loader = iter(batches.loader(0, 0, batches.order.batches_per_epoch()))
    network_channels_last(task.network, next(loader).image.ndim - 2)
    batch = next(iter(batches.loader(0, 0, 1))).to(device)
    per_step = seconds_per_step(task, batch, device, accumulate=conf.accumulate_batches)
    task.eval()
    with torch.inference_mode():
        began = time.perf_counter()
        answer(task.network, channels_last(batch.image), batch.covariates)
        _wait(device)
    per_case = (time.perf_counter() - began) / len(batch.image)
    return Speed(per_step, per_case * validation_cases, peak_memory_mb(device))


def seconds_per_step(
    task: Any, batch: Any, device: torch.device, *, accumulate: int = 1, precision: str = "32"
) -> float:
    """The least of a few optimiser steps, with a task's own step. precision: 32, bf16 or 16."""
    optimizer = task.make_optimizer(task.network)
    narrow = {"bf16": torch.bfloat16, "16": torch.float16}.get(precision)
    seconds = []
    for _ in range(_WARM + _COUNTED):
        began = time.perf_counter()
        for _ in range(accumulate):
            with torch.autocast(device.type, narrow, enabled=narrow is not None):
                loss = task.training_step(batch, 0)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        _wait(device)
        seconds.append(time.perf_counter() - began)
    return min(seconds[_WARM:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak_memory_mb(device: torch.device) -> float:
    """Of the process, or of the GPU."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated() / 1e6)
    return float(psutil.Process().memory_info().rss / 1e6)
