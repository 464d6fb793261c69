"""A second input: every family takes it, it starts as the image network, and it learns what the image cannot tell."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from medcnn.config.errors import ConfigError
from medcnn.config.model import (
    ConvNeXtConf,
    CustomConf,
    DenseNetConf,
    EfficientNetConf,
    MobileNetConf,
    ModelConf,
    PlainCNNConf,
    ResNetConf,
)
from medcnn.explain.build import build_explainer
from medcnn.inference.classifier import Classifier, OutputRule
from medcnn.networks.build import build_network
from medcnn.networks.covariates import CovariateNetwork, image_network

PLAIN = PlainCNNConf(widths=[4, 8], dropout=0.0)


def network(conf: ModelConf = PLAIN, size_px: tuple[int, ...] = (16, 16), num_covariates: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return build_network(
        conf, in_channels=1, num_outputs=2, size_px=size_px, num_covariates=num_covariates, modules=["covariate_mine"]
    )


def stir(made: nn.Module) -> None:
    """Covariates begin to count."""
    assert isinstance(made, CovariateNetwork)
    last = made.covariate_join[2]
    assert isinstance(last, nn.Linear)
    nn.init.normal_(last.weight)


@pytest.mark.parametrize(
    ("conf", "size_px"),
    [
        (PLAIN, (16, 16)),
        (PlainCNNConf(widths=[4], hidden=[6], head="flatten"), (12, 12, 12)),
        (ResNetConf(width=4, dropout=0.1), (16, 16)),
        (DenseNetConf(), (32, 32)),
        (MobileNetConf(variant="mobilenetv2_050"), (32, 32)),
        (EfficientNetConf(), (32, 32, 32)),
        (ConvNeXtConf(variant="convnext_atto"), (32, 32, 32)),
    ],
)
def test_every_family_takes_them_and_starts_as_the_image_network(conf: ModelConf, size_px: tuple[int, ...]) -> None:
    joined = network(conf, size_px).eval()
    assert isinstance(joined, CovariateNetwork)
    image, covariates = torch.rand(2, 1, *size_px), torch.randn(2, 3)
    with torch.no_grad():
        assert torch.equal(joined(image, covariates), image_network(joined)(image))
        stir(joined)
        assert not torch.equal(joined(image, covariates), joined(image, -covariates))
        again = copy.deepcopy(joined)
        assert torch.equal(again(image, covariates), joined(image, covariates))


def test_it_learns_that_a_finding_means_another_thing_in_the_old() -> None:
    torch.manual_seed(0)
    bright, old = torch.rand(64) > 0.5, torch.rand(64) > 0.5
    image = torch.rand(64, 1, 16, 16) * 0.2 + bright[:, None, None, None] * 0.5
    covariates, answer = functional.one_hot(old.long(), 3).float(), (bright ^ old).long()
    made = network()
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-2)
    for _ in range(60):
        loss = functional.cross_entropy(made(image, covariates), answer)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()
    assert (made.eval()(image, covariates).argmax(dim=1) == answer).float().mean() > 0.95


def test_answers_do_not_depend_on_neighbours_and_shifts_keep_covariates() -> None:
    made = network().eval()
    stir(made)
    rule = OutputRule("binary", ("no", "yes"))
    classifier = Classifier([made, made], rule, torch.device("cpu"), shifts=2)
    generator = np.random.default_rng(0)
    images = generator.random((11, 1, 16, 16)).astype(np.float32)
    covariates = generator.normal(size=(11, 3)).astype(np.float32)
    found = classifier.logits(images, covariates)
    alone = [classifier.logits(images[[n]], covariates[[n]])[0] for n in range(11)]
    np.testing.assert_allclose(found, alone, atol=1e-6)
    assert not np.allclose(found, classifier.logits(images, covariates[::-1].copy()))


@pytest.mark.parametrize("way", ["gradcam", "gradcam++", "occlusion", "integrated_gradients"])
def test_heat_is_of_the_image_with_covariates_fixed(way: str) -> None:
    made = network().eval()
    stir(made)

    class Fixed(nn.Module):
        def __init__(self, covariates: Tensor) -> None:
            super().__init__()
            self.network, self.covariates = made, covariates

        def forward(self, image: Tensor) -> Tensor:
            answer: Tensor = self.network(image, self.covariates.expand(len(image), -1))
            return answer

    classifier = Classifier([made], OutputRule("binary", ("no", "yes")), torch.device("cpu"))
    images = np.random.default_rng(1).random((2, 1, 16, 16)).astype(np.float32)
    covariates = np.array([[2, -1, 0.5], [-3, 1, 1]], np.float32)
    explainer = build_explainer(way)
    heat = explainer.heat(*classifier.for_explainers(images, covariates), [1, 0])
    assert heat.shape == (2, 16, 16)
    for row, shown in enumerate([1, 0]):
        wanted = explainer.heat([Fixed(torch.from_numpy(covariates[[row]]))], images[[row]], [shown])
        np.testing.assert_allclose(heat[[row]], wanted, atol=1e-3)


MINE = """
import torch
from torch import nn
class Ends(nn.Module):
    def __init__(self, in_channels, num_outputs):
        super().__init__()
        self.conv, self.last = nn.Conv2d(in_channels, 4, 3), nn.Linear(4, num_outputs)
    def forward(self, image):
        return self.last(self.conv(image).mean(dim=(2, 3)))
class Goes(Ends):
    def forward(self, image):
        return super().forward(image) + 1
class Takes(nn.Module):
    def __init__(self, in_channels, num_outputs, num_covariates):
        super().__init__()
        self.conv, self.last = nn.Conv2d(in_channels, 4, 3), nn.Linear(4 + num_covariates, num_outputs)
    def forward(self, image, covariates):
        return self.last(torch.cat([self.conv(image).mean(dim=(2, 3)), covariates], dim=1))
"""


def test_a_network_of_your_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "covariate_mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("covariate_mine", None)
    assert isinstance(network(CustomConf(module="covariate_mine", class_name="Ends")), CovariateNetwork)
    own = network(CustomConf(module="covariate_mine", class_name="Takes"))
    assert own(torch.rand(2, 1, 16, 16), torch.rand(2, 3)).shape == (2, 2)
    with pytest.raises(ConfigError, match=r"does not end in a torch\.nn\.Linear.*take num_covariates"):
        network(CustomConf(module="covariate_mine", class_name="Goes"))
    with pytest.raises(ConfigError, match=r"missing a required argument|takes covariates; name"):
        network(CustomConf(module="covariate_mine", class_name="Takes"), num_covariates=0)
