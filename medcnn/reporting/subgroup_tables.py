"""Subgroups as tables: a row per group, a column per tested metric, the gap and its test below."""

from __future__ import annotations

from medcnn.evaluation.gaps import TESTED
from medcnn.evaluation.subgroups import Group, SubgroupResult
from medcnn.reporting.page import Table
from medcnn.reporting.words import in_words


def group_tables(result: SubgroupResult) -> list[Table]:
    """One per column of the manifest, in the order asked; values with their intervals."""
    tables = []
    for column in dict.fromkeys(group.column for group in result.groups):
        groups = [group for group in result.groups if group.column == column]
        by_patient = next(iter(groups[0].estimates.values())).unit == "patient"
        who = ("Cases", "Patients") if by_patient else ("Cases",)
        rows = [
            (group.group, *_sizes(group)[: len(who)], *(str(group.estimates[metric]) for metric in TESTED))
            for group in groups
        ]
        gaps = {gap.metric: f"p = {gap.p_holm:.2g}" for gap in result.gaps if gap.column == column}
        if gaps:
            rows.append(("best against worst", *("" for _ in who), *(gaps.get(metric, "") for metric in TESTED)))
        tables.append(Table(f"By {column}", ("Group", *who, *map(in_words, TESTED)), rows))
    return tables


def _sizes(group: Group) -> tuple[str, str]:
    return f"{group.num_cases:,}", f"{group.num_patients:,}"
