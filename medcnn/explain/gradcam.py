"""Grad-CAM (Selvaraju et al. 2017), MONAI's: where a class's score rose and fell. Imports monai (seconds)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

Heat = npt.NDArray[np.float32]

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)


def has_maps(network: nn.Module) -> bool:
    """Whether there is a convolution to look at."""
    return any(isinstance(module, _CONVOLUTIONS) for module in network.modules())


def target_layer(network: nn.Module) -> str:
    """The name of the last convolutional map: a residual stage as a whole, else the last convolution."""
    names = dict(network.named_modules())
    if "body.layer4" in names:
        return "body.layer4"
    found = [name for name, module in names.items() if isinstance(module, _CONVOLUTIONS)]
    if not found:
        raise ValueError("Grad-CAM needs a network with convolutions; ask for explain=none")
    return str(found[-1])


def grad_cam(network: nn.Module, image: npt.NDArray[np.float32], class_index: int) -> Heat:
    """image (C, *size), prepared -> (*size) from 0 to 1; all 0 where nothing speaks for the class."""
    from monai.visualize import GradCAM

    device = next(network.parameters()).device
    batch = torch.from_numpy(np.ascontiguousarray(image))[None].to(device)
    with torch.enable_grad(), _without_traces(network):
        cam = GradCAM(nn_module=network, target_layers=target_layer(network), postprocessing=_plain)
        heat = cam(x=batch, class_idx=class_index)[0, 0].detach().cpu().numpy()
    heat = np.maximum(heat, 0)
    highest = float(heat.max())
    return np.asarray(heat / highest if highest > 0 else np.zeros_like(heat), np.float32)


@contextmanager
def _without_traces(network: nn.Module) -> Iterator[None]:
    """MONAI leaves its hooks on the network, two more with every scan, and the gradients of all weights."""
    layer = network.get_submodule(target_layer(network))
    before = set(layer._forward_hooks) | set(layer._backward_hooks)
    try:
        yield
    finally:
        for hooks in (layer._forward_hooks, layer._backward_hooks):
            for added in [key for key in hooks if key not in before]:
                del hooks[added]
        network.zero_grad(set_to_none=True)


def _plain(heat: torch.Tensor) -> torch.Tensor:
    """MONAI would invert and scale; the sign is needed here."""
    return heat
