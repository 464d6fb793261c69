"""Grad-CAM of a batch: MONAI's numbers, and no traces on the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from packages import tiny_package

from medcnn.explain.batch_gradcam import grad_cams
from medcnn.explain.gradcam import grad_cam
from medcnn.model_package.opening import load_package


@pytest.mark.parametrize("size_px", [(24, 20), (12, 14, 10)])
def test_the_same_as_monai_one_by_one(tmp_path: Path, size_px: tuple[int, ...]) -> None:
    network = load_package(tiny_package(tmp_path, size_px=size_px), accelerator="cpu").classifier.networks[0]
    images = np.random.default_rng(0).normal(size=(5, 1, *size_px)).astype(np.float32)
    classes = [0, 1, 1, 0, 1]
    together = grad_cams(network, images, classes)
    alone = np.stack([grad_cam(network, image, shown) for image, shown in zip(images, classes, strict=True)])
    assert together.shape == (5, *size_px)
    assert together.max() == 1
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_nothing_stays_on_the_network(tmp_path: Path) -> None:
    network = load_package(tiny_package(tmp_path), accelerator="cpu").classifier.networks[0]
    grad_cams(network, np.ones((2, 1, 16, 16), np.float32), [0, 1])
    assert all(weight.grad is None for weight in network.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())


def test_where_nothing_speaks_for_a_class_there_is_no_heat(tmp_path: Path) -> None:
    network = load_package(tiny_package(tmp_path, weights=0.0), accelerator="cpu").classifier.networks[0]
    assert not grad_cams(network, np.ones((1, 1, 16, 16), np.float32), [0]).any()
