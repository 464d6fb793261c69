"""The last layer of a network of ordered grades: one score, and a threshold for each step from a grade to the next.

CORAL (Cao, Mirjalili and Raschka 2020), also known as proportional odds (McCullagh 1980): the logit of "above grade j"
is the score plus a threshold that falls with j, so the answers never contradict each other. What is given out are the
grades' log-probabilities, which softmax leaves as they are: whatever is made of classes' logits can be made of them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from medcnn.config.errors import ConfigError
from medcnn.networks.weights_fit import head_of

_EVEN = 0.5413  # softplus of it is 1
_LEAST_STEP = 1e-6  # where a step has closed, its logarithm would have no end


class GradeLayer(nn.Linear):
    """(B, in_features) -> log-probabilities of the grades, (B, num_grades).

    Its matrix has one row for all grades, its bias is the threshold of the first. Cao et al. let the thresholds find
    their order by themselves; here the steps between them are above 0, so it holds at every step of the training.
    """

    def __init__(self, in_features: int, num_grades: int) -> None:
        super().__init__(in_features, 1)
        if num_grades < 2:
            raise ValueError(f"ordered grades: at least 2 are needed, got {num_grades}")
        self.step = nn.Parameter(torch.full((num_grades - 2,), _EVEN))
        with torch.no_grad():
            self.bias.fill_((num_grades - 2) / 2)  # even steps around 0

    def forward(self, features: Tensor) -> Tensor:
        """In float32 from the score on, whatever the matrix is multiplied in."""
        first = super().forward(features).float()
        return grade_log_probability(first, functional.softplus(self.step.float()))


def grade_log_probability(first: Tensor, steps: Tensor) -> Tensor:
    """The logit of "above grade 0" (B, 1), and by how much each further one is lower (K - 2,) -> (B, K).

    A grade's probability is the difference of two neighbouring answers, sigmoid(a) - sigmoid(b), which is
    sigmoid(a) sigmoid(-b) (1 - exp(b - a)): its logarithm is a sum of which each part is exact.
    """
    lower = torch.cat([steps.new_zeros(1), torch.cumsum(steps, dim=0)])
    logits = first - lower  # (B, K - 1)
    yes, no = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    apart = torch.log(-torch.expm1(-steps.clamp(min=_LEAST_STEP)))
    between = yes[:, :-1] + no[:, 1:] + apart
    return torch.cat([no[:, :1], between, yes[:, -1:]], dim=1)


def with_grades(network: nn.Module, num_grades: int, *example: Tensor) -> nn.Module:
    """The network, its last layer taken by one of ordered grades.

    example  inputs for a network that nobody here knows, to see whether its last layer is its answer
    Raises ConfigError where it does not end in a linear layer with an output for each grade.
    """
    name = head_of(network)
    last = network.get_submodule(name) if name else None
    if not isinstance(last, nn.Linear) or last.out_features != num_grades:
        raise ConfigError([_NO_HEAD])
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, GradeLayer(last.in_features, num_grades))
    if example and not _answers_in_shares(network, *example):
        raise ConfigError([_NO_HEAD])
    return network


@torch.no_grad()
def _answers_in_shares(network: nn.Module, *example: Tensor) -> bool:
    """Whether the answers are log-probabilities: nothing follows the last layer."""
    training = network.training
    total = torch.logsumexp(network.eval()(*example), dim=1)
    network.train(training)
    return torch.allclose(total, torch.zeros_like(total), atol=1e-4)


_NO_HEAD = (
    "model: this network does not end in a torch.nn.Linear of one output per class, which grades need. End it in one, "
    "or take data.answers=classes"
)
