"""A prediction set in words: which classes a scan may have, and a flag where that is not one answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medcnn.evaluation.calibration import apply_temperature
from medcnn.evaluation.conformal import ConformalRule

NONE_OF_THEM = "none"  # as decisions say it of findings
_NAMED = 4  # of many classes in a flag


@dataclass(frozen=True)
class AnswerSet:
    """Of one scan.

    names  the classes in the set; of findings those that are there, with a "?" those that may be, or "none"
    flags  SEVERAL_CLASSES, NO_CLASS: the set is not a single answer, so a person should decide
    """

    names: tuple[str, ...]
    flags: tuple[str, ...] = ()


def answer_sets(rule: ConformalRule, logits: npt.NDArray[np.float64], class_names: Sequence[str]) -> list[AnswerSet]:
    """(n, K) finite logits -> n sets, by the probabilities before any calibration, which the rule was fitted on."""
    inside = rule.sets(apply_temperature(logits, 1.0, kind=rule.kind))
    say = _findings if rule.kind == "multilabel" else _classes
    return [say(rule, row, class_names) for row in inside]


def _classes(rule: ConformalRule, inside: npt.NDArray[np.bool_], class_names: Sequence[str]) -> AnswerSet:
    names = tuple(name for name, there in zip(class_names, inside, strict=True) if there)
    if len(names) == 1:
        return AnswerSet(names)
    if names:
        return AnswerSet(names, (f"SEVERAL_CLASSES: {_promise(rule)} has {len(names)} classes: {_listed(names)}",))
    return AnswerSet((), (f"NO_CLASS: {_promise(rule)} is empty: no class looks as it did in the calibration cases",))


def _findings(rule: ConformalRule, inside: npt.NDArray[np.bool_], class_names: Sequence[str]) -> AnswerSet:
    """inside (K, 2): which of no and yes is in each class's set."""
    size = inside.sum(axis=1)
    open_, empty = (tuple(n for n, s in zip(class_names, size, strict=True) if s == wanted) for wanted in (2, 0))
    names = tuple(
        name if num == 1 else f"{name}?"
        for name, row, num in zip(class_names, inside, size, strict=True)
        if num != 1 or row[1]
    )
    flags = []
    if open_:
        flags.append(f"SEVERAL_CLASSES: {_promise(rule)} has both yes and no for {_listed(open_)}")
    if empty:
        flags.append(f"NO_CLASS: {_promise(rule)} has neither yes nor no for {_listed(empty)}")
    return AnswerSet(names or (NONE_OF_THEM,), tuple(flags))


def _promise(rule: ConformalRule) -> str:
    return f"the prediction set (error {rule.error:g})" if rule.claims_coverage else "the prediction set"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
