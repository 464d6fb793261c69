"""What a step costs here: a few of them with a network that is thrown away."""

from __future__ import annotations

import time

import psutil
import torch

from medcnn.config.trainer import TrainerConf
from medcnn.data.batches import Batches
from medcnn.inference.classifier import choose_device
from medcnn.networks.memory_format import channels_last, network_channels_last
from medcnn.planning.plan import Speed
from medcnn.tasks.classification import ClassificationTask

_WARM, _COUNTED = 2, 3


def measured_speed(task: ClassificationTask, batches: Batches, *, validation_cases: int, conf: TrainerConf) -> Speed:
    """Seconds of an optimiser step and of a validation, and memory at the peak."""
    device = choose_device(conf.accelerator)
    if conf.threads:
        torch.set_num_threads(conf.threads)
    task.to(device).train()
    loader = iter(batches.loader(0, 0, batches.order.batches_per_epoch()))
    network_channels_last(task.network, next(loader).image.ndim - 2)
    optimizer = task.make_optimizer(task.network)
    seconds = []
    batch = next(iter(batches.loader(0, 0, 1))).to(device)
    for _ in range(_WARM + _COUNTED):
        began = time.perf_counter()
        for _ in range(conf.accumulate_batches):
            task.training_step(batch, 0).backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()
        optimizer.zero_grad()
        _wait(device)
        seconds.append(time.perf_counter() - began)
    task.eval()
    with torch.inference_mode():
        began = time.perf_counter()
        task.network(channels_last(batch.image))
        _wait(device)
    per_case = (time.perf_counter() - began) / len(batch.image)
    return Speed(min(seconds[_WARM:]), per_case * validation_cases, _memory_mb(device))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _memory_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated() / 1e6)
    return float(psutil.Process().memory_info().rss / 1e6)
