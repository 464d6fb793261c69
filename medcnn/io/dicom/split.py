"""One series that holds several volumes: what tells them apart, and taking one of them, on request only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby

import numpy as np

from medcnn.config.reading import SPLIT_BY
from medcnn.io.dicom.header import text
from medcnn.io.dicom.slices import SAME_DIRECTION, Slice
from medcnn.io.dicom.stack import in_order, places_of
from medcnn.scan import Reason, ScanRejected

_KEYWORDS = {  # what may tell repeated positions apart; the first that does is the one
    "image_type": ("ImageType",),
    "echo": ("EchoTime", "EchoNumbers"),
    "b_value": ("DiffusionBValue",),
    "time": ("TemporalPositionIdentifier", "AcquisitionNumber", "TriggerTime"),
}
Chosen = tuple[tuple[str, str], ...]  # (key, value) pairs, in the order of SPLIT_BY


def split(slices: Sequence[Slice], keys: Iterable[str]) -> dict[Chosen, list[Slice]]:
    """The parts of a series by the keys in which it really varies; one part without a name where it does not."""
    parts: dict[Chosen, list[Slice]] = {(): list(slices)}
    wanted = set(keys)
    for key in (key for key in SPLIT_BY if key in wanted):
        parts = {
            (*name, *((key, value),)) if len(values) > 1 else name: group
            for name, part in parts.items()
            for values in [_parted(part, key)]
            for value, group in values.items()
        }
    return parts


def select(slices: Sequence[Slice], chosen: Mapping[str, str]) -> list[Slice]:
    """The part that a reference names. READ_ERROR, with what there is, where it names none."""
    parts = split(slices, chosen)
    for name, part in parts.items():
        if all(chosen[key] == value for key, value in name):
            return part
    there = "; ".join(", ".join(f"{key}={value}" for key, value in name) for name in parts)
    raise ScanRejected(
        Reason.READ_ERROR,
        f"the series holds no part with the {' and '.join(chosen)} asked for",
        f"Name one of these: {there}",
    )


def check_repeats(slices: Sequence[Slice]) -> None:
    """Each position once. Slices in order."""
    places = places_of(slices)
    most = max(map(len, places))
    if most == 1:
        return
    if told := _told_apart(slices):
        listed = "; ".join(f"{key}: {', '.join(values)}" for key, values in told.items())
        key = next(iter(told))
        raise ScanRejected(
            Reason.FOUR_D_AMBIGUOUS,
            f"{len(places)} positions are taken up to {most} times; they differ in {listed}",
            f"Make a case of each with split_by=[{','.join(told)}], or name one with #{key}={told[key][0]}",
        )
    repeated = next(number for number, group in enumerate(places) if len(group) > 1)
    raise ScanRejected(
        Reason.SLICE_DUPLICATE,
        f"position {repeated} of {len(places)} ({_along_mm(places, repeated):.2f} mm from the first) is taken by "
        f"{len(places[repeated])} different slices",
        "Remove the wrong one, or export the series again",
    )


def _along_mm(places: Sequence[Sequence[Slice]], number: int) -> float:
    return float(np.linalg.norm(places[number][0].position_mm - places[0][0].position_mm))


def _told_apart(slices: Sequence[Slice]) -> dict[str, list[str]]:
    """Keys with more than one value among the repeats of a position, and the values."""
    told = {}
    for key in SPLIT_BY[1:]:
        values = _parted(slices, key)
        if len(values) > 1:
            told[key] = list(values)
    if len(told) > 1 and "time" in told and _counted(slices) is not None and _keyword(slices, "time") is None:
        del told["time"]  # the n-th repeat is another name for what the others say in clear
    return told


def _parted(slices: Sequence[Slice], key: str) -> dict[str, list[Slice]]:
    """value -> slices, values in their natural order; one value where the key tells nothing apart."""
    if key == "orientation":
        values = _orientations(slices)
    elif (keyword := _keyword(slices, key)) is not None:
        values = [_public(text(one.header, keyword)) for one in slices]
    elif key == "time" and (counted := _counted(slices)) is not None:
        values = counted
    else:
        return {"": list(slices)}
    together = sorted(zip(values, slices, strict=True), key=lambda pair: _natural(pair[0]))
    return {value: [one for _, one in group] for value, group in groupby(together, key=lambda pair: pair[0])}


def _keyword(slices: Sequence[Slice], key: str) -> str | None:
    """The element that differs between slices at one position, or None."""
    places = [group for group in places_of(in_order(slices)) if len(group) > 1]
    for keyword in _KEYWORDS[key]:
        if any(len({_public(text(one.header, keyword)) for one in group}) > 1 for group in places):
            return keyword
    return None


def _counted(slices: Sequence[Slice]) -> list[str] | None:
    """The n-th repeat by InstanceNumber, where all positions repeat equally often and the numbers tell them apart."""
    places = places_of(in_order(slices))
    evenly = len({len(group) for group in places}) == 1 and len(places[0]) > 1 and len(places) > 1
    if not evenly or any(len({one.number for one in group}) < len(group) for group in places):
        return None
    turn = {
        one.name: str(turn)
        for group in places
        for turn, one in enumerate(sorted(group, key=lambda one: one.number), start=1)
    }
    return [turn[one.name] for one in slices]


def _orientations(slices: Sequence[Slice]) -> list[str]:
    """Each slice's orientation by its number, counted in the order of the direction cosines."""
    directions = np.array([np.concatenate([one.row, one.column]) for one in slices])
    kinds: list[np.ndarray] = []
    for direction in sorted(directions.tolist(), reverse=True):
        if not kinds or min(np.abs(kind - direction).max() for kind in kinds) > SAME_DIRECTION:
            kinds.append(np.array(direction))
    return [str(1 + int(np.argmin([np.abs(kind - direction).max() for kind in kinds]))) for direction in directions]


def _public(value: str) -> str:
    """As it may stand in a message and in a reference: image types by their coded parts, numbers in one notation."""
    with suppress(ValueError):
        return f"{float(value):.10g}"
    kept = value.replace("\\", "/")
    return "".join(sign for sign in kept if sign.isalnum() or sign in "/._-+ ")[:80]


def _natural(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return float("inf"), value
