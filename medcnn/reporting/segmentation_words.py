"""How measures of segmentations are said: rows of structures, cells with intervals, counts of what was missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medcnn.evaluation.intervals import Estimate
from medcnn.evaluation.segmentation.result import SegmentationResult
from medcnn.reporting.words import METRIC_WORDS, how_many, number

#: structure -> state -> cases
Counts = Mapping[str, Mapping[str, int]]
STATE_WORDS = {"missed": "Missed", "false_positive": "False alarms", "true_negative": "Rightly none"}
_LEFT_TO_FIGURES = ("agreement_low", "agreement_high")  # limits of agreement: in the figure of volumes
_MEAN = "mean"


def is_segmentation(estimates: Mapping[str, Estimate]) -> bool:
    return "dice" in estimates


def structure_table(estimates: Mapping[str, Estimate]) -> tuple[list[str], dict[str, dict[str, Estimate]]]:
    """The metrics in order, and structure -> metric -> Estimate; several structures end with the row of their mean."""
    rows: dict[str, dict[str, Estimate]] = {}
    for name, one in estimates.items():
        metric, _, structure = name.partition(".")
        if structure and not any(word in metric for word in _LEFT_TO_FIGURES):
            rows.setdefault(structure, {})[metric] = one
    if len(rows) > 1:
        rows[_MEAN if _MEAN not in rows else "mean of structures"] = {
            n: e for n, e in estimates.items() if "." not in n
        }
    return [m for m in METRIC_WORDS if any(m in found for found in rows.values())], rows


def states_seen(counts: Counts) -> list[str]:
    """Which kinds of empty masks there were at all."""
    return [state for state in STATE_WORDS if any(of.get(state) for of in counts.values())]


def short_interval(estimate: Estimate) -> str:
    """`0.889–0.904`, or `-0.02 to 0.10` where a minus would be taken for the dash."""
    if not estimate.defined:
        return ""
    low, high = number(estimate.low), number(estimate.high)
    return f"{low} to {high}" if "-" in low + high else f"{low}–{high}"


def rests_on(result: SegmentationResult) -> str:
    """What stands below a figure."""
    who = how_many(result.num_cases, "case")
    if result.unit == "patient":
        who += f" of {how_many(result.num_patients, 'patient')}"
    return f"n = {who}"


def missed_in_words(counts: Counts, structures: Sequence[str]) -> str:
    """`left missed in 2 cases, right: 1 false alarm`; empty where there is nothing to say."""
    parts = []
    for structure in structures:
        counted = counts[structure]
        if counted["missed"]:
            parts.append(f"{structure} missed in {how_many(counted['missed'], 'case')}")
        if counted["false_positive"]:
            parts.append(f"{structure}: {how_many(counted['false_positive'], 'false alarm')}")
    return ", ".join(parts)
