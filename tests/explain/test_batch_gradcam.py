"""Grad-CAM and Grad-CAM++ of a batch: MONAI's numbers, the papers' own, and no traces on the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from known_networks import noise, pooled, two_stages
from torch import nn

from medcnn.explain.batch_gradcam import grad_cams, grad_cams_plus_plus
from medcnn.explain.layers import target_layer

SIZES = [(24, 20), (12, 14, 10)]


def monai(kind: str, network: nn.Module, image: np.ndarray, class_index: int) -> np.ndarray:
    """Its map, cut off below 0, over its maximum."""
    import monai.visualize

    batch = torch.from_numpy(image)[None]
    cam = getattr(monai.visualize, kind)(network, target_layer(network, batch), postprocessing=lambda heat: heat)
    heat = np.maximum(cam(x=batch, class_idx=class_index)[0, 0].detach().numpy(), 0)
    return heat / max(heat.max(), 1e-12)


@pytest.mark.parametrize("size", SIZES, ids=["2D", "3D"])
def test_the_same_as_monai_one_by_one(size: tuple[int, ...]) -> None:
    images, classes = noise(5, 1, *size), [0, 1, 1, 0, 1]
    together = grad_cams(two_stages(len(size)), images, classes)
    alone = [monai("GradCAM", two_stages(len(size)), *pair) for pair in zip(images, classes, strict=True)]
    assert together.shape == (5, *size)
    assert together.max() == 1
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-4)


@pytest.mark.parametrize("size", SIZES, ids=["2D", "3D"])
def test_grad_cam_plus_plus_is_monais_where_slopes_are_the_same_all_over_a_map(size: tuple[int, ...]) -> None:
    """Elsewhere MONAI leaves the paper: it weighs the sum of the map by each place's slope."""
    images, classes = noise(4, 1, *size), [0, 1, 1, 0]
    network = pooled(len(size))
    network[-1].weight.data *= 200  # MONAI adds 1e-7 to squared slopes, which are smaller else
    together = grad_cams_plus_plus(network, images, classes)
    alone = [monai("GradCAMpp", network, *pair) for pair in zip(images, classes, strict=True)]
    assert together.max() == 1
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-3)


def test_grad_cam_plus_plus_is_the_paper_by_hand() -> None:
    """Its equations 10 and 19, the derivatives of exp(logit) taken by hand: a slope to the power of their order."""
    network, scan = two_stages(2), noise(1, 1, 24, 20)
    maps = network[:6](torch.from_numpy(scan)).detach().requires_grad_()
    logit = network[6:](maps)[0, 1]
    (slope,) = torch.autograd.grad(logit, maps)
    first, second, third = (logit.exp() * slope**order for order in (1, 2, 3))
    alpha = second / (2 * second + maps.sum(dim=(2, 3), keepdim=True) * third)
    alpha = torch.where(slope > 0, alpha, 0)
    weights = (alpha * first.relu()).sum(dim=(2, 3), keepdim=True)
    heat = (weights * maps).sum(dim=1, keepdim=True).relu()
    heat = nn.functional.interpolate(heat, size=(24, 20), mode="bilinear", align_corners=False)[0, 0].detach()
    found = grad_cams_plus_plus(network, scan, [1])[0]
    assert found.max() == 1
    np.testing.assert_allclose(found, (heat / heat.max()).numpy(), atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_with_a_single_map_that_speaks_for_the_class_both_are_that_map(dims: int) -> None:
    network = pooled(dims, maps=3)
    with torch.no_grad():
        network[-1].weight.copy_(torch.tensor([[0.0, 0.0, 0.0], [0.0, 2.0, 0.0]]))
    images = noise(3, 1, *[12] * dims)
    both = [draw(network, images, [1, 1, 1]) for draw in (grad_cams, grad_cams_plus_plus)]
    assert both[0].max() == 1
    np.testing.assert_allclose(both[0], both[1], atol=1e-5)


def test_grad_cam_plus_plus_marks_a_small_finding_beside_a_large_one() -> None:
    """The paper's section 3.1: the slope is 1 where a finding is and 0 elsewhere, and each finding has its own map.

    By Grad-CAM a map of N pixels counts as N, by Grad-CAM++ as N / (N + 2).
    """

    class TwoFindings(nn.Module):
        """The maps are the channels; half their squares have their values as slopes."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 1, bias=False)
            self.conv.weight.data = torch.eye(2)[:, :, None, None]

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            found = self.conv(image).square().flatten(1).sum(1) / 2
            return torch.stack([-found, found], dim=1)

    image = np.zeros((1, 2, 16, 16), np.float32)
    image[0, 0, 2:14, 1:7] = 1  # 72 pixels
    image[0, 1, 7:9, 11:13] = 1  # 4
    for draw, share in {grad_cams: 4 / 72, grad_cams_plus_plus: (4 / 6) / (72 / 74)}.items():
        (heat,) = draw(TwoFindings(), image, [1])
        expected = image[0, 0] + share * image[0, 1]
        np.testing.assert_allclose(heat, expected, atol=1e-5)


def test_nothing_stays_on_the_network() -> None:
    network = two_stages(2)
    grad_cams(network, np.ones((2, 1, 16, 16), np.float32), [0, 1])
    assert all(weight.grad is None for weight in network.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())


def test_where_nothing_speaks_for_a_class_there_is_no_heat() -> None:
    network = two_stages(2)
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
    for draw in (grad_cams, grad_cams_plus_plus):
        assert not draw(network, np.ones((1, 1, 16, 16), np.float32), [0]).any()
