"""A second input beside the image: numbers that describe the patient, joined to what a network has seen.

B cases, C channels, V covariates, K outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medcnn.config.errors import ConfigError
from medcnn.networks.weights_fit import head_of

EMBEDDED, JOINED = 16, 32
_BRANCH = ("covariate_embed.", "covariate_join.")
SETTING = "data.covariates"


class CovariateNetwork(nn.Module):
    """image (B, C, *size), covariates (B, V) -> logits (B, K).

    Features and embedded covariates go through one hidden layer, whose answer is added to the features before the last
    layer sees them, so that a finding can mean another thing in the old than in the young. It starts at 0: training
    begins with the image network as it is, pretrained or not.
    """

    def __init__(self, body: nn.Module, num_covariates: int) -> None:
        super().__init__()
        self.covariate_embed = nn.Sequential(nn.Linear(num_covariates, EMBEDDED), nn.ReLU())
        self.head_name = head_of(body)
        features = _linear(body, self.head_name).in_features
        last = nn.Linear(JOINED, features)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.covariate_join = nn.Sequential(nn.Linear(features + EMBEDDED, JOINED), nn.ReLU(), last)
        self.body = body  # behind the others: what looks for the last layer finds the image network's

    def forward(self, image: Tensor, covariates: Tensor) -> Tensor:
        """Logits, (B, K)."""
        embedded = self.covariate_embed(covariates)

        def joined(head: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor]:
            return (given[0] + self.covariate_join(torch.cat([given[0], embedded], dim=1)),)

        hook = _linear(self.body, self.head_name).register_forward_pre_hook(joined)
        try:
            logits: Tensor = self.body(image)
        finally:
            hook.remove()
        return logits


def with_covariates(body: nn.Module, num_covariates: int, example: Tensor | None = None) -> nn.Module:
    """The network with a second input. Raises ConfigError where it has no last layer to be joined at.

    example  two scans for a network that nobody here knows, to see whether its last layer is its answer
    """
    if not head_of(body) or (example is not None and not _ends_in_its_head(body, example)):
        raise ConfigError([f"{SETTING}: {_NO_HEAD}"])
    return CovariateNetwork(body, num_covariates)


@torch.no_grad()
def _ends_in_its_head(body: nn.Module, example: Tensor) -> bool:
    training, head = body.training, _linear(body, head_of(body))
    seen: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    try:
        logits = body.eval()(example)
    finally:
        hook.remove()
        body.train(training)
    shape = (len(example), head.in_features)
    return len(seen) == 1 and tuple(seen[0].shape) == shape and torch.equal(head(seen[0]), logits)


def image_network(network: nn.Module) -> nn.Module:
    """The part that sees the image, which can start from given weights."""
    return network.body if isinstance(network, CovariateNetwork) else network


def image_weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of a network's weights those of the part that sees the image."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(_BRANCH)}


def answer(network: nn.Module, image: Tensor, covariates: Tensor | None) -> Tensor:
    """Logits (B, K) of a network with or without a second input."""
    logits: Tensor = network(image) if covariates is None else network(image, covariates)
    return logits


class CovariatesAsChannels(nn.Module):
    """The network for those who know only images: covariates ride behind the image's channels, as constant ones.

    What hides or blurs a part of the scan leaves a constant channel as it is, so a heat map is drawn with the patient's
    covariates fixed.
    """

    def __init__(self, network: nn.Module, channels: int) -> None:
        super().__init__()
        self.network, self.channels = network, channels

    def forward(self, image: Tensor) -> Tensor:
        """image (B, C + V, *size) -> logits (B, K)."""
        riding = image[:, self.channels :].flatten(2)[..., 0]
        logits: Tensor = self.network(image[:, : self.channels], riding)
        return logits


def _linear(body: nn.Module, name: str) -> nn.Linear:
    found = body.get_submodule(name)
    assert isinstance(found, nn.Linear), "head_of finds nothing else"
    return found


_NO_HEAD = (
    "your network does not end in a torch.nn.Linear, so covariates cannot be joined to its features. End it in one, or "
    "let it take num_covariates when it is built, and forward(image, covariates)"
)
