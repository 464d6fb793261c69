"""Grad-CAM and Grad-CAM++ of many scans at once, at the cost of a forward pass. Imports no monai."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from medcnn.explain.heat import Heat, Image, enlarged, relative
from medcnn.explain.layers import target_layer
from medcnn.inference.questions import questions

Weigh = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # maps and slopes (B, K, *map) -> weights (B, K, 1, ...)


def grad_cams(network: nn.Module, images: Image, class_indices: Sequence[int]) -> Heat:
    """images (n, C, *size) and the class to explain of each -> (n, *size), 0 to 1 (Selvaraju et al. 2017).

    The maps of the last convolution, weighed by the mean slope of the class's logit, summed and cut off below 0.
    """
    return _cams(network, images, class_indices, _mean_slope)


def grad_cams_plus_plus(network: nn.Module, images: Image, class_indices: Sequence[int]) -> Heat:
    """The same with Grad-CAM++'s weights (Chattopadhay et al. 2018), which find every instance of what is looked for.

    Their score is the exponential of the logit; its common factor falls out when the map is scaled.
    """
    return _cams(network, images, class_indices, _rising_slopes)


def _mean_slope(maps: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    return slope.mean(dim=tuple(range(2, slope.ndim)), keepdim=True)


def _rising_slopes(maps: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    """Their equations 10 and 19: sums of alpha * relu(slope), alpha = slope^2 / (2 slope^2 + sum(map) slope^3).

    Only rising slopes count, so alpha is 1 / (2 + sum(map) slope). The paper's maps follow a ReLU; of others the part
    above 0 is summed, since a sum below 0 could make alpha infinite.
    """
    axes = tuple(range(2, slope.ndim))
    rising = slope.relu()
    return (rising / (2 + maps.relu().sum(dim=axes, keepdim=True) * rising)).sum(dim=axes, keepdim=True)


def _cams(network: nn.Module, images: Image, class_indices: Sequence[int], weigh: Weigh) -> Heat:
    device = next(network.parameters()).device
    asked, heats = 0, []
    for question, count in questions(images, device):
        classes = [*class_indices[asked : asked + count], *[0] * (len(question) - count)]
        batch = torch.from_numpy(question).to(device)
        maps, slope = _maps_and_slopes(network, batch, classes)
        heat = (weigh(maps, slope) * maps).sum(dim=1).relu()
        heats.append(relative(enlarged(heat, batch.shape[2:])[:count].cpu().numpy()))
        asked += count
    return np.concatenate(heats)


def _maps_and_slopes(
    network: nn.Module, batch: torch.Tensor, class_indices: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The last convolutional maps (B, K, *map), and how the class's logit changes with them."""
    seen: list[torch.Tensor] = []

    def cut(module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        seen.append(output.detach().requires_grad_())
        return seen[0].clone()  # an activation in place must not touch what is differentiated by

    hook = network.get_submodule(target_layer(network, batch)).register_forward_hook(cut)
    try:
        with torch.enable_grad():
            logits = network(batch)
            score = logits[torch.arange(len(batch), device=batch.device), list(class_indices)].sum()
            (slope,) = torch.autograd.grad(score, seen[0])
    finally:
        hook.remove()
    return seen[0].detach().float(), slope.float()
