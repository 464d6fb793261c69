"""Masks and boxes that cannot be right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from medcnn.data.audit.evidence import Evidence, Measured
from medcnn.data.audit.finding import Finding, Severity, singles
from medcnn.data.audit.record import MaskRecord
from medcnn.reporting.words import how_many
from medcnn.scan import Reason

_RARE = 0.05  # share of the masks: a label rarer than this is odd, where masks are many enough to say so
_ENOUGH_MASKS = 20
_OFTEN_EMPTY = 0.1  # share: empty masks as frequent as this are meant

One = tuple[Measured, MaskRecord]


def mask_problems(evidence: Evidence) -> Iterator[Finding]:
    """Channel by channel."""
    names = sorted({name for one in evidence.measured for name in one.record.masks})
    for name in names:
        masks = [(one, one.record.masks[name]) for one in evidence.measured if name in one.record.masks]
        of = f" of {name!r}" if name else ""
        yield from _unreadable(masks, of)
        yield from _elsewhere(masks, of)
        readable = [(one, mask) for one, mask in masks if mask.voxels]
        yield from _odd_values(evidence, readable, of)
        yield from _empty(readable, of)
        yield from _full(readable, of)
    without = [one.case_id for one in evidence.measured if one.case.masks and not any(one.case.masks.values())]
    if without:
        yield Finding(
            Severity.NOTE,
            "mask_missing",
            "Cases without a mask",
            f"{len(without):,} of {len(evidence.measured):,} cases have no mask",
            "Nothing for classification; for segmentation they cannot be used",
            singles(without),
            len(without),
        )


def _unreadable(masks: list[One], of: str) -> Iterator[Finding]:
    broken = [(one, mask) for one, mask in masks if not mask.voxels]
    for code, count in Counter(mask.problem for _, mask in broken).most_common():
        those = [(one, mask) for one, mask in broken if mask.problem == code]
        first = those[0][1]
        yield Finding(
            Severity.WARNING,
            f"mask_rejected.{code}",
            f"Masks{of} that cannot be used: {code}",
            f"{count:,} of {len(masks):,} masks cannot be used; the first: {first.found}",
            first.remedy,
            singles([one.case_id for one, _ in those]),
            count,
        )


def _elsewhere(masks: list[One], of: str) -> Iterator[Finding]:
    apart = [(one, mask) for one, mask in masks if mask.voxels and mask.problem == Reason.GEOMETRY_MISMATCH]
    if not apart:
        return
    distances = sorted(mask.distance_mm for _, mask in apart if mask.distance_mm >= 0)
    far = f", their corners {distances[0]:.2f} to {distances[-1]:.2f} mm apart" if distances else ""
    yield Finding(
        Severity.WARNING,
        "mask_geometry",
        f"Masks{of} on another grid than their image",
        f"{len(apart):,} of {len(masks):,} masks do not lie on their image{far}; the first: {apart[0][1].found}",
        apart[0][1].remedy,
        singles([one.case_id for one, _ in apart]),
        len(apart),
    )


def _odd_values(evidence: Evidence, masks: list[One], of: str) -> Iterator[Finding]:
    """Outside the declared labels; without any declared, what hardly any other mask holds."""
    held = Counter(value for _, mask in masks for value in mask.voxels if value != "0")
    if evidence.declared is not None:
        expected = {str(value) for value in evidence.declared} | {"0"}
        against = f"the declared {', '.join(sorted(expected - {'0'}))}"
    elif len(masks) >= _ENOUGH_MASKS:
        usual = _usual_set(masks)
        strangers = {v for _, mask in masks if _labels(mask) and not _labels(mask) & usual for v in _labels(mask)}
        expected = {value for value, count in held.items() if count >= _RARE * len(masks)} - (strangers - usual) | {"0"}
        against = f"what nearly all others hold ({', '.join(sorted(usual, key=int)) or 'nothing'})"
    else:
        return
    odd = [(one, _labels(mask) - expected) for one, mask in masks if _labels(mask) - expected]
    if odd:
        values = sorted({int(value) for _, those in odd for value in those})
        shown = ", ".join(map(str, values[:8])) + (" ..." if len(values) > 8 else "")
        yield Finding(
            Severity.WARNING,
            "mask_values",
            f"Odd labels in masks{of}",
            f"{len(odd):,} of {len(masks):,} masks hold labels outside {against}: {shown}",
            "Check whether these masks were saved with other numbers (255 for 1?), or declare the labels in the task",
            singles([one.case_id for one, _ in odd]),
            len(odd),
        )


def _usual_set(masks: list[One]) -> set[str]:
    sets = Counter(frozenset(_labels(mask)) for _, mask in masks if _labels(mask))
    return set(sets.most_common(1)[0][0]) if sets else set()


def _labels(mask: MaskRecord) -> set[str]:
    return set(mask.voxels) - {"0"}


def _empty(masks: list[One], of: str) -> Iterator[Finding]:
    empty = [one.case_id for one, mask in masks if mask.is_empty]
    if empty:
        often = len(empty) >= _OFTEN_EMPTY * len(masks)
        yield Finding(
            Severity.NOTE if often else Severity.WARNING,
            "mask_empty",
            f"Empty masks{of}",
            f"{len(empty):,} of {len(masks):,} masks hold nothing but background",
            "Right where the structure is absent; else these masks were lost",
            singles(empty),
            len(empty),
        )


def _full(masks: list[One], of: str) -> Iterator[Finding]:
    full = [one.case_id for one, mask in masks if len(mask.voxels) == 1 and not mask.is_empty]
    if full:
        yield Finding(
            Severity.WARNING,
            "mask_full",
            f"Masks{of} without background",
            f"{len(full):,} of {len(masks):,} masks hold one label everywhere",
            "Check how they were saved: a mask that covers all teaches nothing",
            singles(full),
            len(full),
        )


def box_problems(evidence: Evidence) -> Iterator[Finding]:
    """Boxes that leave their image, cannot be read, or have hardly any extent."""
    outside = [one for one in evidence.measured if one.record.boxes.outside]
    if outside:
        count = sum(one.record.boxes.outside for one in outside)
        yield Finding(
            Severity.WARNING,
            "box_outside",
            "Boxes outside their image",
            f"Boxes that leave their image: {count:,}, in {how_many(len(outside), 'case')}",
            "Check that corners are in pixels of this very file, x along a row and y down, and not of a resized copy",
            singles([one.case_id for one in outside]),
            count,
        )
    broken = [one for one in evidence.measured if one.record.boxes.problem]
    if broken:
        yield Finding(
            Severity.WARNING,
            "box_invalid",
            "Boxes that cannot be read",
            f"{how_many(len(broken), 'case')} with boxes that cannot be used; the first: "
            f"{broken[0].record.boxes.problem}",
            'Write [{"box": [x0, y0, x1, y1], "class": "..."}], low corners first',
            singles([one.case_id for one in broken]),
            len(broken),
        )
    thin = [one for one in evidence.measured if any(min(edges) < 2 for _, edges in one.record.boxes.sides)]
    if thin:
        yield Finding(
            Severity.NOTE,
            "box_thin",
            "Boxes thinner than two pixels",
            f"{how_many(len(thin), 'case')} with a box of which an edge is below 2 pixels",
            "Look at them: they may be slips of the mouse",
            singles([one.case_id for one in thin]),
            len(thin),
        )
