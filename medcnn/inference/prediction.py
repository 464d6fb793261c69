"""What is said about one case."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Prediction:
    """Of one scan.

    probability  class -> calibrated probability
    decision     "" where it is withheld: the scan is not of the kind the model knows, or its prediction set is not
                 one answer and the user wants none then; reason says why
    confidence   calibrated probability that the decision is right
    flags        what a person should look at, each `WORD: in words`
    conformal_set  the classes that the scan may have (medcnn/inference/answer_sets.py); None where the model makes no
                 sets, or the scan is not of its kind
    value, low, high  of a regression: the number and the range around it, in its unit; None of a classifier, where it
                 is withheld, and low and high where the model makes no ranges
    """

    probability: dict[str, float]
    decision: str
    confidence: float
    flags: tuple[str, ...] = ()
    reason: str = field(default="")
    conformal_set: tuple[str, ...] | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
