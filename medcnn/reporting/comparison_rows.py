"""A comparison of two runs as rows: for comparison.csv and .json, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medcnn.evaluation.paired import Paired
from medcnn.evaluation.run_auroc import ComparedAuroc
from medcnn.evaluation.run_errors import ComparedErrors
from medcnn.evaluation.segmentation.run_comparison import ALL, Compared
from medcnn.reporting.figures import Row
from medcnn.reporting.page import Table
from medcnn.reporting.words import METRIC_WORDS, MISSING, interval, number

SEGMENTATION_RULES = (
    "Differences are A − B, means over the cases where both runs have the measure; a case that one of the runs missed "
    "has no distance, so it counts in Dice and NSD only.",
    "Intervals and bootstrap p-values: paired resamples of patients.",
    "Wilcoxon: signed-rank test, two-sided, one difference per patient (the mean of the patient's cases); differences "
    "of 0 are dropped, equal sizes share their mean rank, exact up to 100 differences and normal beyond.",
    "p (Holm): adjusted over the structures of one measure. The row of all structures, the mean of each case, is "
    "tested by itself. Nothing is adjusted over measures: decide beforehand which one counts.",
    "Wins: cases in which A is better, higher or, for distances and volume errors, lower.",
)
AUROC_RULES = (
    "Differences are A − B. DeLong's test where every patient has one case, else the paired bootstrap over patients.",
    "p (Holm): adjusted over the classes.",
)

ERROR_RULES = (
    "Differences are A − B of absolute errors, in the unit of the number: below 0, A is nearer the truth.",
    "Intervals and bootstrap p-values: paired resamples of patients.",
    "Wilcoxon: signed-rank test, two-sided, one difference per patient (the mean of the patient's cases).",
    "Wins: cases in which A is nearer the truth.",
)

AnyCompared = Sequence[Compared] | Sequence[ComparedAuroc] | Sequence[ComparedErrors]


def rows_of(compared: AnyCompared) -> list[Row]:
    """One row per structure (or class) and measure, undefined as None."""
    return [_row(one) for one in compared]


def _row(one: Compared | ComparedAuroc | ComparedErrors) -> Row:
    if isinstance(one, Compared):
        return _segmented(one)
    return _classified(one) if isinstance(one, ComparedAuroc) else {"metric": "absolute_error", **_pairs(one.paired)}


def tables_of(compared: AnyCompared, names: Sequence[str]) -> list[Table]:
    """For people: one table per measure."""
    errors = [one for one in compared if isinstance(one, ComparedErrors)]
    if errors:
        header = ["", *names, " − ".join(names), "95 % interval", "Wilcoxon p", "Bootstrap p"]
        return [Table("Absolute error", [*header, "Wins", "Losses", "Ties", "n"], [_error_text(one) for one in errors])]
    first = [one for one in compared if isinstance(one, ComparedAuroc)]
    if first:
        header = ["Class", *names, " − ".join(names), "95 % interval", "p", "p (Holm)", "Test", "n"]
        return [Table("AUROC", header, [_classified_text(one) for one in first])]
    segmented = [one for one in compared if isinstance(one, Compared)]
    tests = ["Wilcoxon p", "p (Holm)", "Bootstrap p", "p (Holm)"]
    header = ["Structure", *names, " − ".join(names), "95 % interval", *tests, "Wins", "Losses", "Ties", "n"]
    metrics = dict.fromkeys(one.metric for one in segmented)
    return [
        Table(METRIC_WORDS[metric], header, [_segmented_text(one) for one in segmented if one.metric == metric])
        for metric in metrics
    ]


def p_in_words(p: float) -> str:
    if not np.isfinite(p):
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _segmented(one: Compared) -> Row:
    holm = {"wilcoxon_p_holm": _known(one.wilcoxon_p_holm), "bootstrap_p_holm": _known(one.bootstrap_p_holm)}
    return {"structure": one.structure, "metric": one.metric, **_pairs(one.paired), **holm}


def _pairs(paired: Paired) -> Row:
    return {
        "mean_a": _known(paired.mean_a),
        "mean_b": _known(paired.mean_b),
        "difference": _known(paired.difference.value),
        "low": _known(paired.difference.low),
        "high": _known(paired.difference.high),
        "wilcoxon_p": _known(paired.wilcoxon_p),
        "bootstrap_p": _known(paired.bootstrap_p),
        "wins_a": paired.wins,
        "losses_a": paired.losses,
        "ties": paired.ties,
        "num_pairs": paired.num_pairs,
        "num_undefined": paired.num_undefined,
        "unit": paired.difference.unit,
    }


def _classified(one: ComparedAuroc) -> Row:
    found = one.comparison
    return {
        "class": one.class_name,
        "metric": "auroc",
        "a": _known(found.a),
        "b": _known(found.b),
        "difference": _known(found.difference.value),
        "low": _known(found.difference.low),
        "high": _known(found.difference.high),
        "p": _known(found.p_value),
        "p_holm": _known(one.p_holm),
        "method": found.method,
        "num_pairs": found.difference.n,
        "unit": found.difference.unit,
    }


def _segmented_text(one: Compared) -> list[str]:
    paired = one.paired
    alone = one.structure == ALL  # not one of the family
    return [
        "all structures" if alone else one.structure,
        *map(number, (paired.mean_a, paired.mean_b, paired.difference.value)),
        interval(paired.difference),
        p_in_words(paired.wilcoxon_p),
        "" if alone else p_in_words(one.wilcoxon_p_holm),
        p_in_words(paired.bootstrap_p),
        "" if alone else p_in_words(one.bootstrap_p_holm),
        *(f"{count:,}" for count in (paired.wins, paired.losses, paired.ties, paired.num_pairs)),
    ]


def _error_text(one: ComparedErrors) -> list[str]:
    paired = one.paired
    return [
        "all cases",
        *map(number, (paired.mean_a, paired.mean_b, paired.difference.value)),
        interval(paired.difference),
        *map(p_in_words, (paired.wilcoxon_p, paired.bootstrap_p)),
        *(f"{count:,}" for count in (paired.wins, paired.losses, paired.ties, paired.num_pairs)),
    ]


def _classified_text(one: ComparedAuroc) -> list[str]:
    found = one.comparison
    return [
        one.class_name,
        *map(number, (found.a, found.b, found.difference.value)),
        interval(found.difference),
        p_in_words(found.p_value),
        p_in_words(one.p_holm),
        "DeLong" if found.method == "delong" else found.method,
        f"{found.difference.n:,}",
    ]


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
