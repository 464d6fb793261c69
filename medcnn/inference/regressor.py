"""Trained networks and scans -> a number with its unit, and a range around it. Knows no package and no folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from medcnn.evaluation.value_range import RangeRule
from medcnn.inference.classifier import shifted
from medcnn.inference.questions import questions

Image = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ValueRule:
    """What the network's number means.

    name, unit   of the quantity; unit may be ""
    mean, sd     of the training cases: the network answers in standard deviations from the mean
    low, high    of the training cases: beyond them nothing was learnt
    range        how wide the range around a value is; None: there is none
    """

    name: str
    unit: str
    mean: float
    sd: float
    low: float
    high: float
    range: RangeRule | None = None

    def values(self, outputs: Values) -> Values:
        """(n,) of the network -> (n,) in the quantity's unit."""
        return outputs * self.sd + self.mean

    def standardised(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(n, 1) in the quantity's unit -> as the network learns it."""
        return ((values.astype(np.float64) - self.mean) / self.sd).astype(np.float32)

    def in_words(self, value: float, *, with_range: bool = False) -> str:
        """`63.2 years`, or `63.2 years (55.1 to 71.3)`: as many digits as the range, or the spread, lends a meaning."""
        digits = self.digits
        said = f"{value:.{digits}f}"
        said = f"{said} {self.unit}" if self.unit else said
        if not with_range or self.range is None:
            return said
        low, high = value - self.range.half_width, value + self.range.half_width
        return f"{said} ({low:.{digits}f} to {high:.{digits}f})"

    @property
    def digits(self) -> int:
        """Decimals: a hundredth of the training cases' standard deviation can be seen."""
        return int(np.clip(np.floor(2 - np.log10(self.sd)), 0, 6))


@dataclass(frozen=True, eq=False)
class Regressor:
    """One or several networks that answer together; the fields as a Classifier's."""

    networks: Sequence[nn.Module]
    rule: ValueRule
    device: torch.device
    batch_cases: int = 64
    shifts: int = 0

    def with_rule(self, rule: ValueRule) -> Regressor:
        """The same networks, read otherwise."""
        return replace(self, rule=rule)

    @torch.inference_mode()
    def values(self, images: Image) -> Values:
        """(n, C, *size) prepared scans -> (n,), each scan by itself: no answer depends on its neighbours."""
        rows = [
            self._outputs(torch.from_numpy(question).to(self.device))[:count].cpu().numpy()
            for question, count in questions(images, self.device)
        ]
        return self.rule.values(np.concatenate(rows).astype(np.float64) if rows else np.zeros(0))

    def _outputs(self, batch: torch.Tensor) -> torch.Tensor:
        """(B, C, *size) -> (B,): the mean over members and moved copies."""
        answers = [network(moved)[:, 0].float() for network in self.networks for moved in shifted(batch, self.shifts)]
        return torch.stack(answers).mean(dim=0)
