"""Segmentations on the terminal: a row per structure, a column per measure, and what was missed beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from medcnn.evaluation.intervals import Estimate
from medcnn.reporting.segmentation_words import STATE_WORDS, Counts, short_interval, states_seen, structure_table
from medcnn.reporting.words import METRIC_WORDS, number

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: A value, and its interval or "".
Cell = tuple[str, str]
_UNBOUNDED = 1000  # columns


def structure_rows(
    estimates: Mapping[str, Estimate], counts: Counts | None = None
) -> tuple[list[str], list[tuple[str, list[Cell]]]]:
    """The column heads after the first, and (structure, cells) line by line; counts add a column per state seen."""
    metrics, structures = structure_table(estimates)
    states = states_seen(counts or {})
    lines = []
    for structure, found in structures.items():
        cells = [(number(found[m].value), short_interval(found[m])) if m in found else ("", "") for m in metrics]
        counted = (counts or {}).get(structure, {})
        cells += [(f"{counted[state]:,}" if state in counted else "", "") for state in states]
        lines.append((structure, cells))
    return [*(METRIC_WORDS[m] for m in metrics), *(STATE_WORDS[s] for s in states)], lines


def plain_rows(
    split: str, estimates: Mapping[str, Estimate], counts: Counts | None = None
) -> tuple[list[str], list[tuple[str, ...]]]:
    """Header and rows of text, a line per structure."""
    header, lines = structure_rows(estimates, counts)
    rows = [
        (structure, *(f"{value} ({reach})" if reach else value for value, reach in cells)) for structure, cells in lines
    ]
    return [f"Structure ({split})", *header], rows


def rich_table(estimates: Mapping[str, Estimate], counts: Counts | None, console: Console) -> Table:
    """Two lines per structure: values, and their intervals below; values alone where the terminal is too narrow."""
    from rich.measure import Measurement

    header, lines = structure_rows(estimates, counts)
    table = _drawn(header, lines)
    if Measurement.get(console, console.options.update(width=_UNBOUNDED), table).maximum > console.width:
        table = _drawn(header, [(structure, [(value, "") for value, _ in cells]) for structure, cells in lines])
        table.caption = "intervals: metrics.json"
    return table


def _drawn(header: list[str], lines: list[tuple[str, list[Cell]]]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("Structure", overflow="fold")
    for head in header:
        table.add_column(head.replace(" (", "\n("), justify="right", no_wrap=True)
    for structure, cells in lines:
        shown = [f"[bold]{value}[/bold]\n[dim]{reach}[/dim]" if reach else value for value, reach in cells]
        table.add_row(escape(structure), *shown)
    return table
