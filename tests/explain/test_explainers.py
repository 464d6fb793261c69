"""Every way to draw where networks looked: by name, of one form, and of the same bytes for the same scan."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from known_networks import Linear, LooksAtOneCorner, noise, pooled, two_stages
from torch import nn

from medcnn.explain.build import EXPLAINERS, build_explainer

SIZES = [(28, 20), (12, 14, 10)]


def network(size: tuple[int, ...], seed: int = 0) -> nn.Module:
    return two_stages(len(size), channels=2, outputs=3, seed=seed)


@pytest.mark.parametrize("size", SIZES, ids=["2D", "3D"])
@pytest.mark.parametrize("name", EXPLAINERS)
def test_a_map_of_each_scan_from_0_to_1_that_its_neighbours_do_not_change(name: str, size: tuple[int, ...]) -> None:
    members, images, classes = [network(size), network(size, seed=1)], noise(5, 2, *size), [0, 2, 1, 1, 0]
    heats = build_explainer(name).heat(members, images, classes)
    assert (heats.shape, heats.dtype) == ((5, *size), np.float32)
    assert heats.min() >= 0
    assert set(heats.max(axis=tuple(range(1, heats.ndim))).tolist()) <= {0.0, 1.0}
    assert heats.max() == 1
    for index in range(0, 5, 2):
        alone = build_explainer(name).heat(members, images[[index]], [classes[index]])
        assert alone.tobytes() == heats[[index]].tobytes()


@pytest.mark.parametrize("name", EXPLAINERS)
def test_members_count_alike_and_keep_their_state(name: str) -> None:
    first, second, images = network((16, 16)), network((16, 16), seed=1), noise(2, 2, 16, 16)
    before = {key: value.clone() for key, value in first.state_dict().items()}
    alone = [build_explainer(name).heat([one], images, [0, 1]) for one in (first, second)]
    together = build_explainer(name).heat([first, second], images, [0, 1])
    mean = (alone[0] + alone[1]) / 2
    np.testing.assert_allclose(together, mean / mean.max(axis=(1, 2), keepdims=True), atol=1e-6)
    assert all(torch.equal(before[key], value) for key, value in first.state_dict().items())
    assert all(weight.grad is None for weight in first.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in first.modules())


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", EXPLAINERS)
def test_the_corner_that_decides_lights_up(name: str, dims: int) -> None:
    image = np.zeros((1, 1, *[16] * dims), np.float32)
    image[(0, 0, *[slice(0, 4)] * dims)] = 3.0
    (heat,) = build_explainer(name).heat([LooksAtOneCorner(dims)], image, [1])
    corner = (slice(0, 4),) * dims
    assert heat[corner].min() > 0.1
    outside = heat.copy()
    outside[(slice(0, 8),) * dims] = 0  # boxes reach over the edge
    assert outside.max() < 0.05
    nothing = build_explainer(name).heat([LooksAtOneCorner(dims)], image * 0, [1])
    assert not nothing.any()


def test_no_scan_no_map() -> None:
    assert build_explainer("gradcam").heat([network((16, 16))], noise(0, 2, 16, 16), []).shape == (0, 16, 16)


def test_a_name_that_there_is_not() -> None:
    with pytest.raises(ValueError, match=r"'lime': gradcam, gradcam\+\+, occlusion, integrated_gradients"):
        build_explainer("lime")


def test_without_convolutions_there_is_another_way() -> None:
    for name, needs in {"gradcam": True, "gradcam++": True, "occlusion": False, "integrated_gradients": False}.items():
        if needs:
            with pytest.raises(ValueError, match="needs a network with convolutions; ask for explain=occlusion, int"):
                build_explainer(name).check([Linear(1, (8, 8))])
        else:
            build_explainer(name).check([Linear(1, (8, 8))])
            assert build_explainer(name).heat([Linear(1, (8, 8))], noise(2, 1, 8, 8), [0, 1]).max() == 1
        build_explainer(name).check([pooled(2)])


def test_sums_that_do_not_come_out_are_said() -> None:
    class Stairs(nn.Module):
        """Its slope is nowhere what it climbs by."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            total = image.flatten(1).sum(1, keepdim=True) * self.weight
            return (total + 5 * total.detach().round()).expand(-1, 2)

    explainer = build_explainer("integrated_gradients")
    (said,) = explainer.explain([Stairs()], noise(1, 1, 8, 8), [0])[1]
    assert "more than 5%" in said
    assert explainer.explain([Linear(1, (8, 8))], noise(1, 1, 8, 8), [0])[1] == [""]


def test_none_of_it_needs_what_takes_seconds_to_import() -> None:
    program = (
        "import sys, torch, numpy as np\n"
        "from medcnn.explain import build, faithfulness, filters, sanity\n"
        "net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(72, 2)).eval()\n"
        "image = np.ones((1, 1, 8, 8), np.float32)\n"
        "[build.build_explainer(name).heat([net], image, [0]) for name in build.EXPLAINERS]\n"
        "print([name for name in ('monai', 'captum', 'scipy', 'matplotlib') if name in sys.modules])\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "[]"
