"""What the user states of the place that asks: how frequent the classes are there, and who decides unclear cases.

It changes how a model's answers are read there and is never stored in its package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from medcnn.config.errors import ConfigError
from medcnn.config.fields import nearest
from medcnn.errors import PackageError
from medcnn.evaluation.prior_shift import Follow, PriorShift

if TYPE_CHECKING:
    from medcnn.inference.classifier import OutputRule


@dataclass(frozen=True)
class Site:
    """Nothing is stated by default.

    shift    from the prevalence that the probabilities were fitted at to that of the place
    follow   whether thresholds move with the probabilities (medcnn/evaluation/prior_shift.py)
    abstain  no decision where the prediction set has not exactly one class
    """

    shift: PriorShift | None = None
    follow: Follow = "same_decisions"
    abstain: bool = False


def stated_site(rule: OutputRule, prevalence: Mapping[str, float], follow: str, *, abstain: bool = False) -> Site:
    """From what a user writes: class -> share, {} for nothing.

    Of two classes one share is enough; several that exclude each other are all stated; of findings those that are not
    named keep theirs. Raises ConfigError for classes and shares that cannot be, PackageError where the package does
    not carry what is needed.
    """
    if follow not in ("same_decisions", "same_thresholds"):
        raise ConfigError([f"follow: {follow!r} is not one of same_decisions, same_thresholds"])
    if abstain and rule.conformal is None:
        raise PackageError("abstain: this model makes no prediction sets. Train it with more calib cases, or leave it")
    shift = _shift(rule, dict(prevalence)) if prevalence else None
    return Site(shift, "same_thresholds" if follow == "same_thresholds" else "same_decisions", abstain)


def _shift(rule: OutputRule, stated: dict[str, float]) -> PriorShift:
    names = list(rule.class_names)
    if unknown := [name for name in stated if name not in names]:
        raise ConfigError(
            [f"prevalence: this model has no {n!r}, it has {', '.join(names)}.{nearest(n, names)}" for n in unknown]
        )
    if not rule.prevalence:
        raise PackageError(
            "prevalence: this package does not say at which prevalence its probabilities were fitted, as older ones do "
            "not. Train again, or leave prevalence out"
        )
    fitted = rule.prevalence
    if rule.kind == "binary" and len(stated) == 1:
        (name, share), (first, last) = next(iter(stated.items())), names
        stated = {name: share, (first if name == last else last): 1 - share}
    if rule.kind == "multilabel":
        stated = {name: stated.get(name, before) for name, before in zip(names, fitted, strict=True)}
    if missing := [name for name in names if name not in stated]:
        raise ConfigError([f"prevalence: state a share of every class; missing are {', '.join(missing)}"])
    if bare := [n for n, share in zip(names, fitted, strict=True) if not (isfinite(share) and 0 < share < 1)]:
        raise PackageError(
            "prevalence: the cases that this model's probabilities were fitted on had none of, or nothing but, "
            + ", ".join(bare)
        )
    try:
        return PriorShift(rule.kind, fitted, tuple(float(stated[name]) for name in names))
    except ValueError as error:
        raise ConfigError([str(error)]) from error
