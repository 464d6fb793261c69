"""Tables of a run: every class of damage, every outcome, medcnn beside the peer."""

from __future__ import annotations

import json
import subprocess
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.robustness.catalogue import Format, mutators_of, seeds_of
from benchmarks.robustness.judge import Outcome, Verdict

COLUMNS = ("A", "R", "W", "w", "U", "X", "K", "H", "M", "P", "L")
FAILURES = "WUXKHMPL"
LEGEND = (
    "A accepted and correct, R rejected with a reason, W wrong though detectable, w wrong and undetectable (one "
    "plausible value for another), U untyped error, X escaped BaseException, K killed by a signal, H hang (5 s), "
    "M memory (1 GiB), P partial, L patient data in a message. For the peer, R counts exceptions"
    " of its own; it is not asked about L and P."
)


@dataclass
class Run:
    """All verdicts of one run."""

    kind: Format
    seed: int
    peer: str
    seconds: float = 0.0
    verdicts: dict[str, list[Verdict]] = field(default_factory=lambda: defaultdict(list))

    def add(self, reader: str, verdict: Verdict) -> None:
        self.verdicts[reader].append(verdict)

    def sort(self) -> None:
        """By the inputs' numbers, whichever process was first."""
        for found in self.verdicts.values():
            found.sort(key=lambda verdict: verdict.number)

    def counts(self, reader: str) -> Counter[str]:
        return Counter(verdict.outcome for verdict in self.verdicts[reader] if verdict.outcome != Outcome.NOT_READ)

    def failures(self, reader: str) -> int:
        counts = self.counts(reader)
        return sum(counts[letter] for letter in FAILURES)

    def by_class(self, reader: str) -> dict[str, Counter[str]]:
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for verdict in self.verdicts[reader]:
            if verdict.outcome != Outcome.NOT_READ:
                found[verdict.mutator][verdict.outcome] += 1
        return found

    def summary(self) -> str:
        """One line a reader."""
        lines = []
        for reader in self.verdicts:
            counts = self.counts(reader)
            tried = sum(counts.values())
            survived = counts["A"] + counts["R"]
            each = ", ".join(f"{letter} {counts[letter]}" for letter in COLUMNS if counts[letter])
            lines.append(f"{self.kind}, seed {self.seed}, {reader}: {tried} tried, {survived} survived; {each}")
        return "\n".join([*lines, f"{self.seconds:.0f} s"])


def written(run: Run, suffix: str) -> str:
    """Markdown, or JSON with every verdict."""
    if suffix == ".json":
        readers = {reader: [verdict.as_dict() for verdict in found] for reader, found in run.verdicts.items()}
        return json.dumps(
            {"kind": run.kind, "seed": run.seed, "commit": commit(), "seconds": run.seconds, **readers}, indent=1
        )
    return _markdown(run)


def _markdown(run: Run) -> str:
    counts = run.counts("medcnn")
    tried, failed = sum(counts.values()), run.failures("medcnn")
    bound = f"0 failures: below {3 / tried:.2%} with 95 %" if tried and not failed else f"{failed} failures"
    detectable = sum(verdict.label == "detectable" for verdict in run.verdicts["medcnn"])
    lines = [
        f"# {run.kind}: {tried} damaged scans, seed {run.seed}, commit {commit()}",
        "",
        f"{detectable} of them detectable. medcnn: {bound}. {run.seconds:.0f} s for all readers.",
        *("", LEGEND, ""),
    ]
    for reader in run.verdicts:
        lines += [f"## {reader}", "", *_table(run, reader), ""]
    lines += _reasons(run)
    lines += ["## Seeds", "", *(f"- {seed.name} ({len(seed.files)} file(s))" for seed in seeds_of(run.kind)), ""]
    lines += ["## Failures", "", *_reproducers(run), ""]
    return "\n".join(lines)


def _table(run: Run, reader: str) -> list[str]:
    by_class = run.by_class(reader)
    lines = ["| damage | tried | " + " | ".join(COLUMNS) + " | survived |", "|" + "---|" * (len(COLUMNS) + 3)]
    for mutator in mutators_of(run.kind):
        if counts := by_class.get(mutator.name):
            lines.append(_row(mutator.name, counts))
    return [*lines, _row("**all**", run.counts(reader))]


def _row(name: str, counts: Counter[str]) -> str:
    tried = sum(counts.values())
    cells = [str(counts[letter]) if counts[letter] else "" for letter in COLUMNS]
    return f"| {name} | {tried} | {' | '.join(cells)} | {(counts['A'] + counts['R']) / max(tried, 1):.1%} |"


def _reasons(run: Run) -> list[str]:
    counts = Counter(verdict.code for verdict in run.verdicts["medcnn"] if verdict.outcome == "R")
    return ["## Reasons given", "", ", ".join(f"{code} {count}" for code, count in counts.most_common()), ""]


def _reproducers(run: Run) -> list[str]:
    failed = [verdict for verdict in run.verdicts["medcnn"] if verdict.outcome in FAILURES]
    return [
        f"- `--replay {one.number}`: {one.outcome} {one.code}, {one.mutator} on {one.seed} ({one.why})"
        for one in failed
    ] or ["none"]


def commit() -> str:
    """The checkout's commit, and whether it was changed since."""
    try:
        words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
