"""Why a person should look at an answer, said by the answer itself: `WORD: in words`, with numbers.

Each limit is a number that stands for something; none was fitted to make a table look good.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import inf, isfinite, log
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medcnn.geometry import Geometry
from medcnn.inference.extents import Counts, cross_sections
from medcnn.transforms.placement import nearest_ras

if TYPE_CHECKING:  # both know torch
    from medcnn.inference.classifier import OutputRule
    from medcnn.inference.mask_rule import Labels, MaskRule

#: Of a structure's largest cross-section, what an outermost plane may show. A ball that shows a quarter there has lost
#: 1.3 % of its volume beyond the edge, one that shows half 5.8 %; one cut in two shows it all. Organs that only touch
#: the edge show less.
CUT_OFF_SHARE = 0.25
#: Of planes along an axis: with fewer, every structure is at its end.
FEWEST_PLANES = 4
#: Mean over the outlined voxels (medcnn/inference/uncertainty.py). A voxel that one of three sure networks denies
#: counts 0.94, so at 0.2 a fifth of the mask is denied by one of them. Three networks on hippocampus crops that they
#: had learnt from said 0.02 to 0.03, on one of the crops upside down 0.7.
DISAGREEMENT_LIMIT = 0.2
#: Dice above 0.7 is commonly called good agreement (Zijdenbos et al. 1994, IEEE Trans Med Imaging 13:716).
LOW_DICE = 0.7
#: How many times the odds must be off those of the threshold. Where that is one half, and probabilities are calibrated,
#: a decision below is right less than six times in ten.
CLEAR_ODDS = 1.5
#: Of an ensemble's networks, so many may decide otherwise: one of five is what an ensemble is there to outvote.
DISSENTING_SHARE = 0.25

_NAMED = 3  # of many structures or classes, those that are worst

Ends = Sequence[tuple[str, str]]


def mask_flags(
    labels: Labels,
    rule: MaskRule,
    expected_dice: Mapping[str, float],
    disagreement: float | None,
    *,
    judged: Collection[str] = (),
    ends: Ends = (),
) -> tuple[str, ...]:
    """Of one scan's masks, (M, *S) labels in its own axes.

    judged  structures whose expected Dice was fitted to what it turned out to be; of others it is a network's own word
    ends    what the two ends of each axis are called, ("left", "right"); without it by number
    """
    counts = cross_sections(labels, len(rule.names))
    found = [name for name, of in zip(rule.names, counts[0], strict=True) if of.any()]
    if not found:
        return (f"EMPTY: nothing was found of {_listed(list(rule.names))}",)
    flags = [_cut_off(counts, rule.names, ends), _low_quality(expected_dice, [n for n in found if n in judged])]
    if disagreement is not None and disagreement > DISAGREEMENT_LIMIT:
        flags.append(
            f"DISAGREEMENT: members, passes or tiles differ by {disagreement:.2f} on what was outlined "
            f"(0: agreed, 1: half against half; at most {DISAGREEMENT_LIMIT:g})"
        )
    return tuple(flag for flag in flags if flag)


def decision_flags(probability: Mapping[str, float], rule: OutputRule) -> tuple[str, ...]:
    """Of one scan's calibrated probabilities: a decision that could as well be another."""
    chances = [probability[name] for name in rule.class_names]
    if not all(isfinite(chance) for chance in chances):
        return ()
    if rule.kind == "multiclass":
        second, first = sorted(chances)[-2:]
        if not first < CLEAR_ODDS * second:
            return ()
        names = sorted(rule.class_names, key=lambda name: -probability[name])[:2]
        return (f"BORDERLINE: {names[0]} {first:.2f} is hardly likelier than {names[1]} {second:.2f}",)
    if rule.kind == "ordinal":
        return _between_grades(chances, rule.class_names)
    asked = rule.class_names[-1:] if rule.kind == "binary" else rule.class_names
    near = {name: _off(probability[name], rule.threshold(name)) for name in asked}
    close = sorted((name for name in asked if near[name] < log(CLEAR_ODDS)), key=lambda name: near[name])
    if not close:
        return ()
    said = [f"{name} {probability[name]:.2f} is close to its threshold {rule.threshold(name):.2f}" for name in close]
    return (f"BORDERLINE: {_listed(said)}",)


def _between_grades(chances: Sequence[float], names: Sequence[str]) -> tuple[str, ...]:
    """The median grade turns where the chance of a grade or a higher one passes one half."""
    above = {name: sum(chances[grade:]) for grade, name in enumerate(names) if grade}
    near = {name: _off(min(chance, 1.0), 0.5) for name, chance in above.items()}
    close = sorted((name for name in near if near[name] < log(CLEAR_ODDS)), key=lambda name: near[name])
    if not close:
        return ()
    return (f"BORDERLINE: {_listed([f'{name} or above {above[name]:.2f}' for name in close])} is close to one half",)


def member_flags(probability: npt.NDArray[np.float64], rule: OutputRule) -> tuple[str, ...]:
    """Of one scan, (members, K) as each network says by itself: some decide otherwise than most."""
    if len(probability) < 2 or not np.isfinite(probability).all():
        return ()
    decisions = rule.decisions(probability)
    usual = max(sorted(set(decisions)), key=decisions.count)
    others = len(decisions) - decisions.count(usual)
    if others <= DISSENTING_SHARE * len(decisions):
        return ()
    said = ", ".join(
        f"{name} {decisions.count(name)}" for name in sorted(set(decisions), key=lambda n: (n != usual, n))
    )
    return (f"DISAGREEMENT: {others} of {len(decisions)} networks decide otherwise than the others ({said})",)


def picture_ends() -> Ends:
    """Of rows and columns, as the file shows them."""
    return (("upper edge", "lower edge"), ("left edge", "right edge"))


def patient_ends(geometry: Geometry) -> Ends:
    """Of a volume's own axes, by the direction in the patient that each is nearest to."""
    words = (("left end", "right end"), ("back", "front"), ("foot end", "head end"))
    ends = [("", "")] * 3
    for (low, high), axis, is_flipped in zip(words, *nearest_ras(geometry), strict=True):
        ends[axis] = (high, low) if is_flipped else (low, high)
    return ends


def _cut_off(counts: Counts, names: Sequence[str], ends: Ends) -> str:
    """Structures that go on beyond the field of view; of each the end where most of it does."""
    worst: dict[str, tuple[float, str]] = {}
    for axis, of_axis in enumerate(counts):
        if of_axis.shape[1] < FEWEST_PLANES:
            continue
        for end, plane in enumerate((0, -1)):
            where = ends[axis][end] if ends else f"{('first', 'last')[end]} plane of axis {axis + 1}"
            for name, share in zip(names, of_axis[:, plane] / np.maximum(of_axis.max(axis=1), 1), strict=True):
                if share > max(CUT_OFF_SHARE, worst.get(name, (0.0, ""))[0]):
                    worst[name] = (float(share), f"{name} at the {where} ({share:.0%} of its largest cross-section)")
    if not worst:
        return ""
    ranked = sorted(worst.values(), key=lambda found: -found[0])
    return f"CUT_OFF: the field of view ends within {_listed([words for _, words in ranked])}"


def _low_quality(expected_dice: Mapping[str, float], names: Sequence[str]) -> str:
    dices = {name: expected_dice.get(name, inf) for name in names}
    low = sorted((name for name in names if dices[name] < LOW_DICE), key=lambda name: dices[name])
    if not low:
        return ""
    return f"LOW_QUALITY: expected Dice of {_listed([f'{n} {dices[n]:.2f}' for n in low])}, below {LOW_DICE:g}"


def _off(probability: float, threshold: float) -> float:
    """The logarithm of how many times the odds are off the threshold's, either way."""
    sides = (probability, 1 - threshold, 1 - probability, threshold)
    if min(sides) <= 0:
        return inf if probability != threshold else 0.0
    return abs(log(sides[0] * sides[1] / (sides[2] * sides[3])))


def _listed(words: list[str]) -> str:
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return ", ".join(words[:_NAMED]) + more
