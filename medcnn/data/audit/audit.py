"""The audit of a data set: everything measured, everything found, for a terminal, a page and a file."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from medcnn.data.audit.evidence import Evidence, Measured
from medcnn.data.audit.finding import Finding, Severity
from medcnn.data.audit.findings import find
from medcnn.data.audit.measure import measure_all
from medcnn.data.audit.overview import Table, histograms, split_counts, split_table, tables
from medcnn.data.audit.records import Records
from medcnn.data.manifest import Manifest
from medcnn.io.discover import Skipped
from medcnn.io.options import Reading
from medcnn.reporting.words import how_many
from medcnn.scan import Rejection

MARKS = {Severity.STOP: "STOP", Severity.WARNING: "warning", Severity.NOTE: "note"}
_SHOWN_CASES = 3


@dataclass(frozen=True, eq=False)
class Audit:
    """What was measured and found."""

    evidence: Evidence
    findings: tuple[Finding, ...]

    @property
    def stops(self) -> bool:
        """Whether training would refuse this data."""
        return any(finding.severity is Severity.STOP for finding in self.findings)

    def of(self, severity: Severity) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity is severity]

    def verdict(self) -> str:
        """One sentence."""
        stops, warnings = len(self.of(Severity.STOP)), len(self.of(Severity.WARNING))
        if stops:
            reasons = f"for {how_many(stops, 'reason')}"
            return f"Training stops on this data {reasons}; {how_many(warnings, 'warning')}"
        return f"This data can be trained on; {how_many(warnings, 'warning')}"

    def as_json(self) -> dict[str, Any]:
        """Counts and findings by case_id: no path, no picture, no patient."""
        evidence = self.evidence
        return {
            "stops": self.stops,
            "verdict": self.verdict(),
            "cases": len(evidence.manifest),
            "readable": len(evidence.measured),
            "rejected": dict(Counter(rejection.code.value for _, rejection in evidence.rejected)),
            "skipped": dict(Counter(skip.rejection.code.value for skip in evidence.skipped)),
            "patients": len(evidence.patients()),
            "classes": split_counts(evidence),
            "tables": [asdict(table) for table in tables(evidence)],
            "histograms": [asdict(histogram) for histogram in histograms(evidence)],
            "findings": [finding.as_json() for finding in self.findings],
        }

    def lines(self) -> list[str]:
        """For a terminal or a log: the table, the findings, the verdict. Nothing but text."""
        return [*_aligned(split_table(self.evidence)), "", *map(_line, self.findings), "", self.verdict()]


def gather(
    manifest: Manifest,
    skipped: Sequence[Skipped],
    reading: Reading,
    store_folder: Path,
    *,
    report: Callable[[int, int], None] = lambda done, total: None,
    declared_labels: Collection[int] | None = None,
) -> Evidence:
    """Measure every case that is not known from before.

    store_folder     private; where measurements are kept for the next time
    report           called with (done, all) as cases are measured
    declared_labels  what masks may hold, where the task says so
    """
    records = Records(store_folder)
    measured: list[Measured] = []
    rejected: list[tuple[Any, Rejection]] = []
    for case, outcome in measure_all(manifest.cases, manifest.root, reading, records, report=report):
        if isinstance(outcome, Rejection):
            rejected.append((case, outcome))
        else:
            measured.append(Measured(case, outcome))
    records.tidy()
    return Evidence(manifest, tuple(measured), tuple(rejected), tuple(skipped), declared_labels, records.hits)


def audited(evidence: Evidence) -> Audit:
    """Say what is wrong with all of them."""
    return Audit(evidence, tuple(find(evidence)))


def show(audit: Audit, stream: TextIO | None = None) -> None:
    """Coloured where somebody watches, plain lines in a file or a pipe."""
    stream = stream or sys.stdout
    if not stream.isatty():
        stream.write("\n".join(audit.lines()) + "\n")
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as RichTable

    console = Console(file=stream, highlight=False)
    counts = split_table(audit.evidence)
    drawn = RichTable(box=None, pad_edge=False)
    for number, name in enumerate(counts.header):
        drawn.add_column(escape(name), justify="right" if number else "left")
    for row in counts.rows:
        drawn.add_row(*map(escape, row))
    console.print(drawn)
    colours = {Severity.STOP: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}
    for finding in audit.findings:
        console.print(f"[{colours[finding.severity]}]{escape(_line(finding))}[/]")
    console.print(f"[{'bold red' if audit.stops else 'bold green'}]{escape(audit.verdict())}[/]")


def _line(finding: Finding) -> str:
    shown = finding.case_ids[:_SHOWN_CASES]
    cases = f" [{', '.join(shown)}{', ...' if len(finding.case_ids) > len(shown) else ''}]" if shown else ""
    remedy = f". {finding.remedy}" if finding.severity is not Severity.NOTE else ""
    return f"{MARKS[finding.severity]:7s}  {finding.title}: {finding.text}{cases}{remedy}"


def _aligned(table: Table) -> list[str]:
    widths = [max(map(len, column)) for column in zip(table.header, *table.rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = (
            cell.ljust(w) if not n else cell.rjust(w) for n, (cell, w) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join([first, *others]).rstrip()

    return [line(table.header), line(["-" * width for width in widths]), *map(line, table.rows)]
