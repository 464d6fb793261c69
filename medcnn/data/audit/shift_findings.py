"""Splits that differ, and what gives the class away: a scanner, a site, a size that a network would learn instead.

All tests of one audit are corrected together (Holm), and nothing is said of what is significant but small. A patient
counts once for each combination of values, since scans of one person are not independent.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from medcnn.data.audit.association import Association, corrected, of_numbers, of_words
from medcnn.data.audit.evidence import NO_SPLIT, Evidence, Measured
from medcnn.data.audit.finding import Finding, Severity

LEVEL = 0.01  # after correction
SPLIT_V, SPLIT_D = 0.2, 0.2  # least effects between splits that are worth a warning
SHORTCUT_V = 0.3  # least effect between a circumstance and the class
_MOST_LEVELS = 20  # a column with more words describes cases, not groups
_PRIVATE = re.compile(r"name|(^|_)(id|mrn|uid)($|_)|birth|path|file|date|accession|comment|address", re.IGNORECASE)
_SAID_LEVELS = 4


@dataclass(frozen=True)
class _Test:
    association: Association
    least_effect: float
    finding: Callable[[Association], Finding]


def shifts(evidence: Evidence) -> Iterator[Finding]:
    """Everything that was tested and is both significant and large."""
    tests = [*_between_splits(evidence), *_between_classes(evidence)]
    p_values = corrected([test.association.p_value for test in tests])
    for test, p_value in zip(tests, p_values, strict=True):
        if p_value < LEVEL and test.association.effect >= test.least_effect:
            yield test.finding(Association(p_value, test.association.effect))


def circumstances(evidence: Evidence) -> dict[str, dict[str, str]]:
    """Name -> case_id -> word: free columns of groups, and what the files say. Each has at least two words."""
    found: dict[str, dict[str, str]] = {}
    for name in _free_columns(evidence):
        found[name] = {one.case_id: value for one in evidence.measured if (value := one.case.free.get(name, ""))}
    told: dict[str, Callable[[Measured], str]] = {
        "modality": lambda one: one.record.modality,
        "body part": lambda one: one.record.body_part,
        "size in pixels": lambda one: " x ".join(map(str, one.record.sides_px)),
        "spacing": lambda one: " x ".join(f"{edge:.2g}" for edge in one.record.spacing_mm),
        "channels": lambda one: str(one.record.shape[0]),
        "format": lambda one: one.record.facts.get("format", ""),
        "photometric": lambda one: one.record.facts.get("photometric", ""),
        "bits": lambda one: one.record.facts.get("bits", ""),
        "view position": lambda one: one.record.facts.get("view_position", ""),
        "orientation of the axes": lambda one: one.record.orientation,
        "scanner": lambda one: one.record.facts.get("scanner", ""),
    }
    for name, of in told.items():
        if name not in found:
            found[name] = {one.case_id: value for one in evidence.measured if (value := of(one))}
    return {name: values for name, values in found.items() if 2 <= len(set(values.values())) <= _MOST_LEVELS}


def numbers(evidence: Evidence) -> dict[str, dict[str, float]]:
    """Name -> case_id -> number: the mean intensity, and free columns of numbers such as age."""
    found = {"mean intensity": {one.case_id: one.record.mean for one in evidence.measured}}
    for name in {column for one in evidence.measured for column in one.case.free}:
        values = {one.case_id: one.case.free.get(name, "") for one in evidence.measured}
        given = {case_id: float(value) for case_id, value in values.items() if _is_number(value)}
        if not _PRIVATE.search(name) and len(given) > 0.5 * len(values) and len(set(given.values())) > _MOST_LEVELS:
            found[name] = given
    return found


def _free_columns(evidence: Evidence) -> Iterator[str]:
    for name in dict.fromkeys(column for one in evidence.measured for column in one.case.free):
        levels = {one.case.free.get(name, "") for one in evidence.measured} - {""}
        if not _PRIVATE.search(name) and len(levels) <= min(_MOST_LEVELS, max(2, len(evidence.measured) // 5)):
            yield name


def _between_splits(evidence: Evidence) -> Iterator[_Test]:
    if len(evidence.splits) < 2:
        return
    words = {**evidence.questions(), **circumstances(evidence)}
    for name, values in words.items():
        those = [(one, one.split, values[one.case_id]) for one in evidence.measured if one.case_id in values]
        yield _Test(of_words(_once(those)), SPLIT_V, _split_words(name, those))
    for name, given in numbers(evidence).items():
        for split in (split for split in evidence.splits if split not in ("train", NO_SPLIT)):
            train, held = (_per_patient(evidence.by_split.get(part, []), given) for part in ("train", split))
            yield _Test(of_numbers(train, held), SPLIT_D, _split_numbers(name, split, train, held))


def _between_classes(evidence: Evidence) -> Iterator[_Test]:
    asked = {name: answers for name, answers in evidence.questions().items() if _is_a_class(answers)}
    told = circumstances(evidence)
    for (question, labels), (name, values) in product(asked.items(), told.items()):
        those = [
            (one, values[one.case_id], labels[one.case_id])
            for one in evidence.measured
            if one.case_id in values and one.case_id in labels
        ]
        yield _Test(of_words(_once(those)), SHORTCUT_V, _shortcut(name, question, those))


Triple = tuple[Measured, str, str]


def _once(those: Iterable[Triple]) -> list[tuple[str, str]]:
    """Each patient's combinations once."""
    return [(a, b) for _, a, b in sorted({(one.who, a, b) for one, a, b in those})]


def _per_patient(group: Iterable[Measured], given: dict[str, float]) -> list[float]:
    """Each patient's mean."""
    of: dict[str, list[float]] = {}
    for one in group:
        if one.case_id in given:
            of.setdefault(one.who, []).append(given[one.case_id])
    return [sum(values) / len(values) for values in of.values()]


def _split_words(name: str, those: list[Triple]) -> Callable[[Association], Finding]:
    def finding(found: Association) -> Finding:
        return Finding(
            Severity.WARNING,
            f"split_shift.{name}",
            f"Splits differ in {name}",
            f"The splits do not hold the same mixture of {name} (Cramér's V {found.effect:.2f}, "
            f"p {_p(found.p_value)}): {_shares(those)}",
            "Divide anew by patient (remove the split column), unless the difference is meant",
        )

    return finding


def _split_numbers(name: str, split: str, train: list[float], held: list[float]) -> Callable[[Association], Finding]:
    def finding(found: Association) -> Finding:
        return Finding(
            Severity.WARNING,
            f"split_shift.{name}.{split}",
            f"train and {split} differ in {name}",
            f"The distribution of {name} differs between train and {split} (Kolmogorov-Smirnov D {found.effect:.2f}, "
            f"p {_p(found.p_value)}; medians {_median(train):.4g} and {_median(held):.4g})",
            "Divide anew by patient, unless the difference is meant",
        )

    return finding


def _is_a_class(answers: dict[str, str]) -> bool:
    return 2 <= len(set(answers.values())) <= _MOST_LEVELS


def _shortcut(name: str, question: str, those: list[Triple]) -> Callable[[Association], Finding]:
    of = "The classes come" if question == "class" else f"The values of {question} come"

    def finding(found: Association) -> Finding:
        return Finding(
            Severity.WARNING,
            f"shortcut.{name}" if question == "class" else f"shortcut.{name}.{question}",
            f"The {question} can be told from {name}",
            f"{of} with different {name} (Cramér's V {found.effect:.2f}, p {_p(found.p_value)}): "
            f"{_shares(those)}. A network may learn this instead of the disease",
            "Balance the classes within each group, or test on data where the two do not go together",
        )

    return finding


def _shares(those: list[Triple]) -> str:
    """`train: 60 % north, 40 % south; test: ...`, the commonest first."""
    groups = Counter(first for _, first, _ in those)
    parts = []
    for group, _ in groups.most_common(_SAID_LEVELS):
        inside = Counter(second for _, first, second in those if first == group)
        total = inside.total()
        said = ", ".join(f"{100 * count / total:.0f} % {level}" for level, count in inside.most_common(3))
        parts.append(f"{group}: {said}" + (" ..." if len(inside) > 3 else ""))
    return "; ".join(parts) + (" ..." if len(groups) > _SAID_LEVELS else "")


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}"


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] if values else float("nan")


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return value.strip().lower() not in ("nan", "inf", "-inf")
