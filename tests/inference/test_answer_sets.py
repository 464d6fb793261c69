"""Prediction sets in words, of rules whose limits are known."""

from __future__ import annotations

import numpy as np
import pytest

from medcnn.evaluation.conformal import ConformalRule
from medcnn.inference.answer_sets import AnswerSet, answer_sets
from medcnn.inference.classifier import OutputRule


def rule(kind: str, quantile: float, questions: int = 1) -> ConformalRule:
    """A class is in where its probability is at least 1 - quantile."""
    return ConformalRule(kind, "lac", 0.1, "marginal", ((quantile,),) * questions, ((99,),) * questions, "calib")  # type: ignore[arg-type]


def logits(*probability: float) -> np.ndarray:
    return np.log(np.array([probability]))


def odds(*probability: float) -> np.ndarray:
    p = np.array([probability])
    return np.log(p / (1 - p))


def words(found: AnswerSet) -> list[str]:
    return [flag.partition(":")[0] for flag in found.flags]


@pytest.mark.parametrize(
    ("probability", "names", "flags"),
    [
        ((0.7, 0.2, 0.1), ("a",), []),
        ((0.4, 0.35, 0.25), ("a", "b"), ["SEVERAL_CLASSES"]),
        ((0.3, 0.29, 0.41), ("c",), []),
        ((0.34, 0.33, 0.33), ("a", "b", "c"), ["SEVERAL_CLASSES"]),
    ],
)
def test_of_classes_that_exclude_each_other(
    probability: tuple[float, ...], names: tuple[str, ...], flags: list[str]
) -> None:
    limit = 0.675 if probability[0] != 0.3 else 0.6
    (found,) = answer_sets(rule("multiclass", limit), logits(*probability), ("a", "b", "c"))
    assert (found.names, words(found)) == (names, flags)


def test_an_empty_set() -> None:
    (found,) = answer_sets(rule("binary", 0.3), logits(0.5, 0.5), ("well", "ill"))
    assert (found.names, words(found)) == ((), ["NO_CLASS"])
    assert "error 0.1" in found.flags[0]


def test_of_findings_each_is_a_question() -> None:
    names = ("mass", "oedema")
    some = rule("multilabel", 0.45, 2)
    assert answer_sets(some, odds(0.9, 0.1), names) == [AnswerSet(("mass",))]
    assert answer_sets(some, odds(0.1, 0.1), names) == [AnswerSet(("none",))]
    (neither,) = answer_sets(some, odds(0.5, 0.9), names)
    assert (neither.names, words(neither)) == (("mass?", "oedema"), ["NO_CLASS"])
    (both,) = answer_sets(rule("multilabel", 0.6, 2), odds(0.5, 0.1), names)
    assert (both.names, words(both)) == (("mass?",), ["SEVERAL_CLASSES"])
    assert both.flags[0].endswith("has both yes and no for mass")


def test_calibration_and_prevalence_play_no_part_in_a_set() -> None:
    plain = OutputRule("binary", ("well", "ill"), conformal=rule("binary", 0.4))
    hot = OutputRule("binary", ("well", "ill"), temperature=5.0, conformal=rule("binary", 0.4), prevalence=(0.5, 0.5))
    asked = np.random.default_rng(0).normal(0, 2, (50, 2))
    assert plain.sets(asked) == hot.sets(asked)
    assert OutputRule("binary", ("well", "ill")).sets(asked) is None
