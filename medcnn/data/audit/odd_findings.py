"""Scans that are not like the others: constant, another modality, another size, another spacing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from medcnn.data.audit.evidence import Evidence, Measured
from medcnn.data.audit.finding import Finding, Severity, singles
from medcnn.reporting.words import how_many

_RARE = 0.05  # share of the cases
_ENOUGH = 20  # cases: among fewer nothing is usual
_TIMES = 3.0  # a side or a spacing so many times the median, or less than one of so many


def constant_images(evidence: Evidence) -> Iterator[Finding]:
    """One value everywhere."""
    those = [one.case_id for one in evidence.measured if one.record.is_constant]
    if those:
        yield Finding(
            Severity.WARNING,
            "constant",
            "Images without content",
            f"{how_many(len(those), 'image')} with one value everywhere",
            "Take them out, or export them again",
            singles(those),
            len(those),
        )


def strangers(evidence: Evidence) -> Iterator[Finding]:
    """What a few cases are and nearly all others are not."""
    kinds: tuple[tuple[str, Callable[[Measured], str], Severity, str], ...] = (
        ("axes", lambda one: f"{len(one.record.sides_px)}D", Severity.WARNING, "Train on pictures and volumes apart"),
        ("channels", lambda one: f"{one.record.shape[0]}", Severity.WARNING, "Save all with the same channels"),
        ("modality", lambda one: one.record.modality, Severity.WARNING, "Take them out, or say why they belong here"),
        ("body_part", lambda one: one.record.body_part, Severity.WARNING, "Check that these show the same region"),
        ("orientation", lambda one: one.record.orientation, Severity.NOTE, "Nothing: scans are turned to one order"),
        ("format", lambda one: one.record.facts.get("format", ""), Severity.NOTE, "Check that all are the same data"),
    )
    for name, of, severity, remedy in kinds:
        yield from _rare(evidence.measured, name, of, severity, remedy)


def _rare(
    measured: Sequence[Measured], name: str, of: Callable[[Measured], str], severity: Severity, remedy: str
) -> Iterator[Finding]:
    known = [(one, value) for one in measured if (value := of(one))]
    counts = Counter(value for _, value in known)
    if len(known) < _ENOUGH or len(counts) < 2:
        return
    usual, most = counts.most_common(1)[0]
    if most < 0.5 * len(known):
        return
    rare = {value for value, count in counts.items() if count < _RARE * len(known)}
    those = [one.case_id for one, value in known if value in rare]
    if those:
        said = ", ".join(f"{counts[value]:,} {value}" for value in sorted(rare, key=lambda v: -counts[v])[:6])
        words = name.replace("_", " ")
        yield Finding(
            severity,
            f"stranger.{name}",
            f"Few of another kind: {words}",
            f"{said} among {most:,} {usual} ({words})",
            remedy,
            singles(those),
            len(those),
        )


def odd_sizes(evidence: Evidence) -> Iterator[Finding]:
    """Sides in pixels and edges in mm, far from the median of their kind."""
    yield from _far_off(
        evidence, "shape", "px", lambda one: one.record.sides_px, Severity.NOTE, "Look at them before training"
    )
    yield from _far_off(
        evidence,
        "spacing",
        "mm",
        lambda one: one.record.spacing_mm,
        Severity.WARNING,
        "Check the unit and the header: a wrong spacing gives wrong sizes, volumes and resampled images",
    )


def _far_off(
    evidence: Evidence,
    name: str,
    unit: str,
    of: Callable[[Measured], Sequence[float]],
    severity: Severity,
    remedy: str,
) -> Iterator[Finding]:
    for axes in (2, 3):
        group = [one for one in evidence.measured if len(of(one)) == axes and len(one.record.sides_px) == axes]
        if len(group) < _ENOUGH:
            continue
        # sorted, so that a portrait and a landscape film, or a volume in another order of axes, are no strangers
        values = np.sort(np.array([of(one) for one in group], float), axis=1)
        median = np.median(values, axis=0)
        times = np.maximum(values / median, median / np.maximum(values, 1e-9)).max(axis=1)
        far = [index for index in np.argsort(-times) if times[index] >= _TIMES]
        if far and len(far) < 0.5 * len(group):
            worst = " x ".join(f"{value:g}" for value in values[far[0]])
            usual = " x ".join(f"{value:.3g}" for value in median)
            yield Finding(
                severity,
                f"odd_{name}",
                f"Unusual {name}",
                f"{len(far):,} of {len(group):,} cases are {_TIMES:g} times or more off the median of {usual} {unit}; "
                f"the farthest has {worst} {unit}, {times[far[0]]:.1f} times",
                remedy,
                singles([group[index].case_id for index in far]),
                len(far),
            )


def unknown_spacing(evidence: Evidence) -> Iterator[Finding]:
    """A mixture is worse than none."""
    without = [one.case_id for one in evidence.measured if not one.record.spacing_mm]
    total = len(evidence.measured)
    if without and len(without) < total:
        yield Finding(
            Severity.WARNING,
            "spacing_unknown",
            "Spacing known of some only",
            f"{len(without):,} of {total:,} cases do not say how large a pixel is",
            "Give the spacing of all of them, or train on a fixed size in pixels (transforms.spacing_mm empty)",
            singles(without),
            len(without),
        )
    elif without:
        yield Finding(
            Severity.NOTE,
            "spacing_unknown",
            "No spacing",
            f"None of the {total:,} cases says how large a pixel is: nothing can be measured in mm",
            "Nothing, for a fixed size in pixels",
            count=total,
        )
