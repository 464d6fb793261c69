"""The last layer of ordered grades: its probabilities, its order, what it learns, and where it can stand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from medcnn.config.errors import ConfigError
from medcnn.config.model import MobileNetConf, PlainCNNConf, ResNetConf
from medcnn.losses.classification import cross_entropy, soft_targets
from medcnn.losses.ordinal import coral_loss
from medcnn.networks.build import build_network
from medcnn.networks.grades import GradeLayer, grade_log_probability, with_grades
from medcnn.networks.weights_fit import head_of, match


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 2


def test_probabilities_are_differences_of_the_answers() -> None:
    first, steps = torch.tensor([[2.0], [-1.0], [30.0]]), torch.tensor([2.0, 1.0])
    s = torch.sigmoid(torch.cat([first, first - 2, first - 3], dim=1).double())
    expected = torch.stack([1 - s[:, 0], s[:, 0] - s[:, 1], s[:, 1] - s[:, 2], s[:, 2]], dim=1)
    found = grade_log_probability(first.double(), steps.double()).exp()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(3).double())


@pytest.mark.parametrize("score", [-3e4, -100.0, 0.0, 100.0, 3e4])
def test_far_off_scores_have_finite_logarithms_and_slopes(score: float) -> None:
    first, steps = torch.tensor([[score]], requires_grad=True), torch.tensor([1.0, 0.0, 50.0], requires_grad=True)
    found = grade_log_probability(first, steps)
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert first.grad is not None
    assert steps.grad is not None
    assert torch.isfinite(first.grad).all()
    assert torch.isfinite(steps.grad).all()


def test_softmax_leaves_the_answers_and_their_order_holds_whatever_was_learnt() -> None:
    layer = GradeLayer(6, 5)
    with torch.no_grad():
        layer.step.copy_(drawn(3, seed=1) * 10)
    found = layer(drawn(40, 6) * 5)
    torch.testing.assert_close(torch.log_softmax(found, dim=1), found, atol=1e-4, rtol=1e-4)
    above = 1 - found.double().exp().cumsum(dim=1)[:, :-1]
    assert (above.diff(dim=1) <= 1e-6).all()


def test_an_untrained_layer_is_even_around_the_middle() -> None:
    layer = GradeLayer(3, 4)
    found = layer(torch.zeros(1, 3)).exp()[0]
    torch.testing.assert_close(found, found.flip(0), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("loss", [coral_loss, cross_entropy])
def test_grades_are_learnt_from_one_score(loss) -> None:
    """Grades of a number cut at -1, 0 and 1.5: after some steps the thresholds lie there."""
    x = drawn(800, 1)
    label = (x > torch.tensor([-1.0, 0.0, 1.5])).sum(dim=1)
    torch.manual_seed(0)
    layer = GradeLayer(1, 4)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(150):
        optimiser.zero_grad()
        loss(layer(x), soft_targets(label[:, 0] if label.ndim > 1 else label, 4, 0.0), None).backward()
        optimiser.step()
    slope = layer.weight.detach()[0, 0]
    lower = torch.cat([torch.zeros(1), torch.nn.functional.softplus(layer.step.detach()).cumsum(0)])
    assert ((lower - layer.bias.detach()) / slope).tolist() == pytest.approx([-1.0, 0.0, 1.5], abs=0.15)


@pytest.mark.parametrize(
    ("conf", "size_px"),
    [
        (PlainCNNConf(widths=[4, 8], hidden=[8]), (16, 16)),
        (ResNetConf(depth=18, width=4, dropout=0.1), (16, 16, 16)),
        (MobileNetConf(), (32, 32)),
    ],
)
def test_a_network_of_grades_is_the_family_with_another_last_layer(conf, size_px) -> None:
    made = {"in_channels": 1, "num_outputs": 4, "size_px": size_px}
    plain, graded = build_network(conf, **made), build_network(conf, **made, grades=True)
    assert isinstance(graded.get_submodule(head_of(graded)), GradeLayer)
    assert set(plain.state_dict()) < set(graded.state_dict())
    total = torch.logsumexp(graded.eval()(drawn(2, 1, *size_px)), dim=1)
    torch.testing.assert_close(total, torch.zeros(2), atol=1e-4, rtol=0)


def test_weights_of_classes_start_grades_and_the_other_way_round() -> None:
    made = {"in_channels": 1, "num_outputs": 4, "size_px": (16, 16)}
    conf = PlainCNNConf(widths=[4, 8], hidden=[8])
    plain, graded = build_network(conf, **made), build_network(conf, **made, grades=True)
    assert match(graded, copy.deepcopy(plain.state_dict())).fits
    assert match(plain, copy.deepcopy(graded.state_dict())).fits


class EndsElsewhere(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(1, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.last(image).mean(dim=(2, 3))


class DoublesItsAnswer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 3)

    def forward(self, image: Tensor) -> Tensor:
        return 2 * self.last(image.flatten(1))


@pytest.mark.parametrize("network", [EndsElsewhere(), DoublesItsAnswer()])
def test_a_network_of_ones_own_must_end_in_a_linear_layer(network: nn.Module) -> None:
    with pytest.raises(ConfigError, match=r"does not end in a torch\.nn\.Linear of one output per class"):
        with_grades(network, 3, torch.ones(2, 1, 2, 2))
