"""Results as tables: metrics with their intervals, split beside split."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from medcnn.evaluation.intervals import Estimate
from medcnn.reporting.segmentation_tables import plain_rows, rich_table
from medcnn.reporting.segmentation_words import Counts, is_segmentation
from medcnn.reporting.words import LOWER_IS_BETTER, METRIC_WORDS, class_noun, how_many, in_words, interval, number

#: split -> metric -> Estimate
Results = Mapping[str, Mapping[str, Estimate]]

HEADER = ("Split", "Metric", "Value", "95 % interval", "n")


def overall(results: Results) -> list[tuple[str, ...]]:
    """Rows (split, metric, value, interval, n) of the metrics over all classes, in the order they were measured."""
    return [
        (split, _metric_words(name), number(one.value), interval(one), f"{one.n:,}")
        for split, estimates in results.items()
        for name, one in estimates.items()
        if "." not in name
    ]


def by_class(estimates: Mapping[str, Estimate]) -> tuple[list[str], dict[str, dict[str, Estimate]]]:
    """The metrics there are of single classes, and class -> metric -> Estimate; empty where there are none."""
    classes: dict[str, dict[str, Estimate]] = {}
    for name, one in estimates.items():
        metric, _, of_class = name.partition(".")
        if of_class:
            classes.setdefault(of_class, {})[metric] = one
    return [m for m in METRIC_WORDS if any(m in found for found in classes.values())], classes


def show_results(results: Results, *, stream: TextIO | None = None, counts: Mapping[str, Counts] | None = None) -> None:
    """Print the tables: coloured where somebody watches, plain text in a file or a pipe.

    counts  split -> structure -> state -> cases: what a segmentation missed and invented
    """
    stream = stream or sys.stdout
    if stream.isatty():
        _show_rich(results, stream, counts or {})
    else:
        stream.write(plain_results(results, counts))


def plain_results(results: Results, counts: Mapping[str, Counts] | None = None) -> str:
    """The tables as text, columns aligned, nothing but ASCII and the words of the classes."""
    classified = {split: estimates for split, estimates in results.items() if not is_segmentation(estimates)}
    parts = [aligned(HEADER, overall(classified))] if classified or not results else []
    for split, estimates in results.items():
        header, rows = _class_rows(estimates)
        header = [f"{header[0]} ({split})", *header[1:]]
        if split not in classified:
            header, rows = plain_rows(split, estimates, (counts or {}).get(split))
        if rows:
            parts.append(aligned(header, rows))
    return "\n".join(parts).replace("–", "-")


def resampled_over(estimates: Mapping[str, Estimate]) -> str:
    """One line on what the intervals rest on."""
    units = {one.unit for one in estimates.values()}
    return f"95 % intervals: stratified bootstrap over {' and '.join(sorted(f'{u}s' for u in units))}" if units else ""


def _metric_words(name: str) -> str:
    return in_words(name) + (" (lower is better)" if name in LOWER_IS_BETTER else "")


def _class_rows(estimates: Mapping[str, Estimate]) -> tuple[list[str], list[tuple[str, ...]]]:
    metrics, classes = by_class(estimates)
    rows = [(of_class, *(str(found[m]) if m in found else "-" for m in metrics)) for of_class, found in classes.items()]
    return [class_noun(estimates), *(METRIC_WORDS[m] for m in metrics)], rows


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Text with its columns one below the other; each row as long as the header."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def lines() -> Iterator[str]:
        for cells in (header, ["-" * width for width in widths], *rows):
            yield "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() + "\n"

    return "".join(lines())


def _show_rich(results: Results, stream: TextIO, counts: Mapping[str, Counts]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(file=stream, highlight=False)
    for split, estimates in results.items():
        cases = max((one.n for one in estimates.values()), default=0)
        title = f"[bold]{escape(split)}[/bold]  [dim]{how_many(cases, 'case')}; {resampled_over(estimates)}[/dim]"
        console.print(title)
        if is_segmentation(estimates):
            console.print(rich_table(estimates, counts.get(split), console))
            continue
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("Metric")
        for column in HEADER[2:]:
            table.add_column(column, justify="right")
        for _, metric, value, reach, n in overall({split: estimates}):
            table.add_row(escape(metric), f"[bold]{value}[/bold]", reach, f"[dim]{n}[/dim]")
        console.print(table)
        header, rows = _class_rows(estimates)
        if rows:
            table = Table(*header, box=SIMPLE_HEAD, pad_edge=False)
            for row in rows:
                table.add_row(*map(escape, row))
            console.print(table)
