"""What is said about one case."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Prediction:
    """Of one scan.

    probability  class -> calibrated probability
    decision     "" where it is withheld: the scan is not of the kind the model knows; reason says why
    confidence   calibrated probability that the decision is right
    flags        what a person should look at, each `WORD: in words`
    """

    probability: dict[str, float]
    decision: str
    confidence: float
    flags: tuple[str, ...] = ()
    reason: str = field(default="")
