"""The audit as one HTML file, and its findings as CSV: private, since they name files below the data root.

The page asks nothing of the network, runs no script, and holds at most MOST_THUMBNAILS pictures however large the data.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from medcnn.data.audit.audit import Audit
from medcnn.data.audit.evidence import Evidence, Measured, label_text
from medcnn.data.audit.finding import Finding, Severity
from medcnn.data.audit.near import NEAR, NEAR_VOLUMES
from medcnn.data.audit.overview import Histogram, histograms, rejection_rows, split_table, tables
from medcnn.data.cells import to_cell
from medcnn.data.manifest import Case
from medcnn.reporting.words import how_many
from medcnn.whole_file import write_whole

TEMPLATE = "audit.html.j2"
MOST_THUMBNAILS = 300
_FOR_FINDINGS = 200
_PER_CLASS, _MOST_CLASSES = 6, 16
_WIDTH, _HEIGHT = 300, 110  # of a histogram, in the units of its view box
_COLOURS = {"train": "#0072b2", "val": "#e69f00", "calib": "#009e73", "test": "#cc79a7"}


@dataclass(frozen=True)
class Card:
    """One case on the page. thumbnail: base64 of a JPEG, or "" where the page holds enough pictures."""

    case_id: str
    reference: str
    text: str
    thumbnail: str


@dataclass(frozen=True)
class Shown:
    """A finding with its cases, group by group."""

    finding: Finding
    groups: tuple[tuple[Card, ...], ...]


class _Cards:
    """Makes cards until the pictures are used up."""

    def __init__(self, evidence: Evidence) -> None:
        self._measured = {one.case_id: one for one in evidence.measured}
        self._cases = {case.case_id: case for case in evidence.manifest.cases}
        self.left = MOST_THUMBNAILS

    def of(self, case_id: str, *, keep: int = 0) -> Card:
        """keep: how many pictures must be left for others."""
        one, case = self._measured.get(case_id), self._cases.get(case_id)
        thumbnail = one.record.thumbnail if one is not None and self.left > keep else ""
        self.left -= bool(thumbnail)
        words = [case.split, label_text(case)] if case is not None else []
        return Card(case_id, _reference(case), ", ".join(word for word in words if word), thumbnail)


def write_page(path: Path, audit: Audit) -> Path:
    """Readable for its owner only; written aside and renamed."""
    return _write(path, render(audit))


def write_csv(folder: Path, audit: Audit) -> list[Path]:
    """audit-findings.csv (a line per finding and case) and audit-rejected.csv (a line per file that cannot be used)."""
    references = {case.case_id: _reference(case) for case in audit.evidence.manifest.cases}
    findings = [
        ["severity", "code", "count", "group", "case_id", "image", "text", "remedy"],
        *_finding_rows(audit, references),
    ]
    rejected = [["case_id", "image", "reason", "found", "remedy"]]
    for case, rejection in audit.evidence.rejected:
        rejected.append([case.case_id, _reference(case), rejection.code, rejection.found, rejection.remedy])
    for skip in audit.evidence.skipped:
        rejected.append(["", skip.reference, skip.rejection.code, skip.rejection.found, skip.rejection.remedy])
    return [
        _write(folder / name, _csv_text(rows))
        for name, rows in (("audit-findings.csv", findings), ("audit-rejected.csv", rejected))
    ]


def render(audit: Audit) -> str:
    """The page as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("medcnn", "data/audit"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    evidence = audit.evidence
    cards = _Cards(evidence)
    shown = [Shown(finding, _groups(finding, cards)) for finding in audit.findings]
    return environment.get_template(TEMPLATE).render(
        audit=audit,
        evidence=evidence,
        shown=shown,
        gallery=_gallery(evidence, cards),
        splits=split_table(evidence),
        tables=tables(evidence),
        histograms=[(histogram, _bars(histogram)) for histogram in histograms(evidence)],
        rejections=rejection_rows(evidence),
        counts={severity.value: len(audit.of(severity)) for severity in Severity},
        colours=_COLOURS,
        width=_WIDTH,
        height=_HEIGHT,
        near=NEAR,
        near_volumes=NEAR_VOLUMES,
        most=MOST_THUMBNAILS,
        number=_number,
        how_many=how_many,
    )


def _groups(finding: Finding, cards: _Cards) -> tuple[tuple[Card, ...], ...]:
    keep = MOST_THUMBNAILS - _FOR_FINDINGS
    return tuple(tuple(cards.of(case_id, keep=keep) for case_id in group) for group in finding.examples)


def _gallery(evidence: Evidence, cards: _Cards) -> list[tuple[str, list[Card]]]:
    """Up to six cases of each class, spread over the data set."""
    of_class: dict[str, list[Measured]] = {}
    for one in evidence.measured:
        of_class.setdefault(label_text(one.case) or "no label", []).append(one)
    chosen = sorted(of_class.items(), key=lambda item: (-len(item[1]), item[0]))[:_MOST_CLASSES]
    found = []
    for name, group in sorted(chosen):
        step = max(1, len(group) // _PER_CLASS)
        found.append((name, [cards.of(one.case_id) for one in group[::step][:_PER_CLASS]]))
    return found


def _bars(histogram: Histogram) -> list[tuple[str, str]]:
    """(split, points of a step line) in a view box of _WIDTH x _HEIGHT."""
    highest = max((share for shares in histogram.shares.values() for share in shares), default=0) or 1.0
    found = []
    for split, shares in histogram.shares.items():
        step = _WIDTH / len(shares)
        points = [(0.0, float(_HEIGHT))]
        for index, share in enumerate(shares):
            y = _HEIGHT * (1 - 0.95 * share / highest)
            points += [(index * step, y), ((index + 1) * step, y)]
        points.append((float(_WIDTH), float(_HEIGHT)))
        found.append((split, " ".join(f"{x:.1f},{y:.1f}" for x, y in points)))
    return found


def _finding_rows(audit: Audit, references: dict[str, str]) -> Iterator[list[str]]:
    for finding in audit.findings:
        start = [finding.severity.value, finding.code, str(finding.count)]
        end = [finding.text, finding.remedy]
        for number, group in enumerate(finding.examples or ((),), start=1):
            for case_id in group or ("",):
                yield [*start, str(number) if group else "", case_id, references.get(case_id, ""), *end]


def _number(value: float) -> str:
    """Four digits, and no powers of ten where people can read it without."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def _reference(case: Case | None) -> str:
    return ", ".join(reference for reference in case.images.values() if reference) if case is not None else ""


def _csv_text(rows: Sequence[Sequence[str]]) -> str:
    """Cells that a spreadsheet would run as a formula are marked as text."""
    stream = StringIO(newline="")
    csv.writer(stream).writerows([_cell(str(value)) for value in row] for row in rows)
    return stream.getvalue()


def _cell(text: str) -> str:
    try:
        return to_cell(text.rstrip())
    except ValueError:  # a file name that no table can hold
        return to_cell(text.encode("utf-8", "replace").decode().replace("\0", "?").rstrip())


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(path, text.encode("utf-8", "backslashreplace"))
    return path
