"""Grad-CAM of many scans at once, without MONAI: the same numbers as `grad_cam`, at the cost of a forward pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from medcnn.explain.gradcam import Heat, target_layer
from medcnn.inference.questions import questions


def grad_cams(network: nn.Module, images: npt.NDArray[np.float32], class_indices: Sequence[int]) -> Heat:
    """images (n, C, *size) and the class to explain of each -> (n, *size): grad_cam of many scans at once.

    The same arithmetic, differentiated from the last convolutional map on only. Imports no monai.
    """
    device = next(network.parameters()).device
    asked, heats = 0, []
    for question, count in questions(images, device):
        classes = [*class_indices[asked : asked + count], *[0] * (len(question) - count)]
        heats.append(_grad_cams(network, torch.from_numpy(question).to(device), classes)[:count])
        asked += count
    return np.concatenate(heats)


def _grad_cams(network: nn.Module, batch: torch.Tensor, class_indices: Sequence[int]) -> Heat:
    maps: list[torch.Tensor] = []

    def cut(module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        maps.append(output.detach().requires_grad_())
        return maps[0].clone()  # an activation in place must not touch what is differentiated by

    hook = network.get_submodule(target_layer(network)).register_forward_hook(cut)
    try:
        with torch.enable_grad():
            logits = network(batch)
            score = logits[torch.arange(len(batch), device=batch.device), list(class_indices)].sum()
            (slope,) = torch.autograd.grad(score, maps[0])
    finally:
        hook.remove()
    weights = slope.mean(dim=tuple(range(2, slope.ndim)), keepdim=True)
    heat = (weights * maps[0].detach()).sum(dim=1, keepdim=True).float().relu()
    linear = "bilinear" if heat.ndim == 4 else "trilinear"
    large = nn.functional.interpolate(heat, size=batch.shape[2:], mode=linear, align_corners=False)[:, 0].cpu().numpy()
    highest = large.max(axis=tuple(range(1, large.ndim)), keepdims=True)
    return np.asarray(np.divide(large, highest, out=np.zeros_like(large), where=highest > 0), np.float32)
