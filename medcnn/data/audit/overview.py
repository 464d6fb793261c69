"""The data set in a few tables: what the terminal, the page and audit.json show of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from medcnn.data.audit.evidence import NO_SPLIT, Evidence, Measured
from medcnn.data.audit.shift_findings import circumstances

MOST_ROWS = 10
UNLABELLED = "no label"
_BINS = 24


@dataclass(frozen=True)
class Table:
    """header and rows of text; the first column is words, the others numbers. more: rows that were left out."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    more: int = 0


@dataclass(frozen=True)
class Histogram:
    """Of one number over cases. split -> share of its cases in each bin; low and high are the ends."""

    title: str
    low: float
    high: float
    shares: Mapping[str, tuple[float, ...]]


def split_counts(evidence: Evidence) -> dict[str, dict[str, int]]:
    """split -> class -> cases of the manifest (findings for several labels: split -> label -> positive cases)."""
    names = evidence.manifest.label_names
    found: dict[str, dict[str, int]] = {split: {} for split in evidence.splits}
    for split in evidence.splits:
        cases = [case for case in evidence.manifest.cases if (case.split or NO_SPLIT) == split]
        if names == [""]:
            counts = Counter(case.labels[""] or UNLABELLED for case in cases)
            there = [*evidence.classes, *([UNLABELLED] if counts[UNLABELLED] else [])]
            found[split] = {name: counts[name] for name in there}
        else:
            found[split] = {
                name: sum(case.labels[name].lower() in ("1", "1.0", "true", "yes", "positive") for case in cases)
                for name in names
            }
    return found


def split_table(evidence: Evidence) -> Table:
    """Splits, their classes, cases and patients."""
    counts = split_counts(evidence)
    shown = list(dict.fromkeys(name for of in counts.values() for name in of))
    classes = shown[:MOST_ROWS]
    rows = []
    for split in evidence.splits:
        cases = [case for case in evidence.manifest.cases if (case.split or NO_SPLIT) == split]
        patients = {case.patient_id for case in cases if case.patient_id}
        usable = len(evidence.by_split[split])
        cells = [f"{counts[split].get(name, 0):,}" for name in classes]
        rows.append(
            (split, *cells, f"{len(cases):,}", f"{usable:,}", f"{len(patients):,}" if patients else "not known")
        )
    header = ("split", *classes, "cases", "readable", "patients")
    return Table("Splits and classes", header, tuple(rows), len(shown) - len(classes))


def tables(evidence: Evidence) -> list[Table]:
    """What is most common: shapes, spacings, what the files and the manifest say, masks, boxes."""
    of: dict[str, Callable[[Measured], str]] = {
        "Size in pixels": lambda one: " x ".join(map(str, one.record.sides_px)),
        "Spacing in mm": lambda one: " x ".join(f"{edge:.3g}" for edge in one.record.spacing_mm) or "not known",
        "Modality": lambda one: one.record.modality or "not said",
        "Body part": lambda one: one.record.body_part or "not said",
        "Orientation of the axes": lambda one: one.record.orientation,
        "Format": lambda one: one.record.facts.get("format", ""),
    }
    found = [
        _common(evidence, title, {one.case_id: value(one) for one in evidence.measured}) for title, value in of.items()
    ]
    told = {"modality", "body part", "size in pixels", "spacing", "orientation of the axes", "format"}
    found += [_common(evidence, name, values) for name, values in circumstances(evidence).items() if name not in told]
    return [table for table in [*found, *_masks(evidence), *_boxes(evidence)] if table.rows]


def _common(evidence: Evidence, title: str, values: Mapping[str, str]) -> Table:
    """Words by how often they come in each split."""
    counts = {
        split: Counter(value for one in group if (value := values.get(one.case_id, "")))
        for split, group in evidence.by_split.items()
    }
    total: Counter[str] = sum(counts.values(), Counter())
    ranked = total.most_common(MOST_ROWS)
    rows = [(word, *(f"{counts[split][word]:,}" for split in evidence.splits), f"{count:,}") for word, count in ranked]
    splits = evidence.splits if len(evidence.splits) > 1 else []
    rows = rows if splits else [(row[0], row[-1]) for row in rows]
    return Table(title[0].upper() + title[1:], ("", *splits, "cases"), tuple(rows), len(total) - len(ranked))


def _masks(evidence: Evidence) -> list[Table]:
    found = []
    for name in sorted({name for one in evidence.measured for name in one.record.masks}):
        masks = [one.record.masks[name] for one in evidence.measured if name in one.record.masks]
        labels = sorted({value for mask in masks for value in mask.voxels if value != "0"}, key=int)
        rows = []
        for label in labels[:MOST_ROWS]:
            sizes = [mask.voxels[label] for mask in masks if label in mask.voxels]
            ml = [mask.ml[label] for mask in masks if label in mask.ml]
            volume = f"{np.median(ml):.3g} ml" if ml else "-"
            rows.append((f"label {label}", f"{len(sizes):,}", f"{np.median(sizes):,.0f}", volume))
        header = ("", "masks", "median voxels", "median volume")
        found.append(Table(f"Masks{' ' + name if name else ''}", header, tuple(rows), max(0, len(labels) - MOST_ROWS)))
    return found


def _boxes(evidence: Evidence) -> list[Table]:
    sides = [(name, edges) for one in evidence.measured for name, edges in one.record.boxes.sides]
    rows = []
    for name, count in Counter(name for name, _ in sides).most_common(MOST_ROWS):
        median = np.median(
            [sorted(edges) for word, edges in sides if word == name and len(edges) == len(sides[0][1])], axis=0
        )
        rows.append((name, f"{count:,}", " x ".join(f"{edge:.3g}" for edge in np.atleast_1d(median))))
    return [Table("Boxes", ("", "boxes", "median edges, px"), tuple(rows))] if rows else []


def histograms(evidence: Evidence) -> list[Histogram]:
    """How bright the cases are, split by split."""
    of: dict[str, Callable[[Measured], float]] = {
        "Mean value of a case": lambda one: one.record.mean,
        "Median value": lambda one: one.record.quantiles[2],
        "99.5th percentile": lambda one: one.record.quantiles[4],
        "Share of values that are not 0": lambda one: one.record.nonzero,
    }
    if not evidence.measured:
        return []
    return [_histogram(evidence, title, value) for title, value in of.items()]


def _histogram(evidence: Evidence, title: str, of: Callable[[Measured], float]) -> Histogram:
    values = {split: np.array([of(one) for one in group]) for split, group in evidence.by_split.items() if group}
    low, high = (float(end) for end in np.percentile(np.concatenate(list(values.values())), [0.5, 99.5]))
    if not high > low:
        low, high = low - 0.5, high + 0.5
    shares = {}
    for split, given in values.items():
        counts, _ = np.histogram(np.clip(given, low, high), _BINS, (low, high))
        shares[split] = tuple(round(float(count) / len(given), 5) for count in counts)
    return Histogram(title, low, high, shares)


def rejection_rows(evidence: Evidence) -> list[tuple[str, int, str, list[str]]]:
    """(reason, how many, remedy, references of the first): for the private page, since it names files."""
    named = [(rejection, next(iter(case.images.values()), "")) for case, rejection in evidence.rejected]
    named += [(skip.rejection, skip.reference) for skip in evidence.skipped]
    codes = Counter(rejection.code.value for rejection, _ in named)
    found = []
    for code, count in codes.most_common():
        those = [(rejection, reference) for rejection, reference in named if rejection.code == code]
        found.append((code, count, f"{those[0][0].found}. {those[0][0].remedy}", [ref for _, ref in those[:5]]))
    return found
