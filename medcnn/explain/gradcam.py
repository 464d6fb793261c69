"""Grad-CAM (Selvaraju et al. 2017) of one scan: where a class's score rose and fell."""

from __future__ import annotations

import numpy as np
from torch import nn

from medcnn.explain.batch_gradcam import grad_cams
from medcnn.explain.heat import Heat, Image
from medcnn.explain.layers import has_maps, target_layer

__all__ = ["Heat", "grad_cam", "has_maps", "target_layer"]


def grad_cam(network: nn.Module, image: Image, class_index: int) -> Heat:
    """image (C, *size), prepared -> (*size) from 0 to 1; all 0 where nothing speaks for the class."""
    return np.asarray(grad_cams(network, image[None], [class_index])[0], np.float32)
