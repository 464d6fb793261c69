"""Damage to a series: slices lost, doubled, moved, exchanged, or of another series."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from benchmarks.robustness.dicom_edit import cached_layout, with_value
from benchmarks.robustness.dicom_layout import PIXEL_DATA, Layout
from benchmarks.robustness.dicom_seeds import dicom_seeds
from benchmarks.robustness.dicom_values import (
    ALLOCATED,
    COLUMNS,
    ORIENTATION,
    POSITION,
    ROWS,
    SERIES,
    SLOPE,
    SOP_UID,
    SPACING,
    values,
)
from benchmarks.robustness.mutation import Mutator, Seed

Files = Mapping[str, bytes] | None
_DIRECTIONS: list[list[float]] = [
    [0, 1, 0, 0, 0, -1],
    [1, 0, 0, 0, 0, -1],
    [-1, 0, 0, 0, 1, 0],
    [0.8, 0.6, 0, -0.6, 0.8, 0],
]


def _in_order(seed: Seed) -> list[str]:
    """File names by position along z, for a series; [] for a single file."""
    if len(seed.files) < 3:
        return []

    def height(name: str) -> float:
        layout = cached_layout(seed.files[name])
        return values(layout, layout.find(POSITION))[2] if layout else 0.0

    return sorted(seed.files, key=height)


def slice_lost(rng: Random, seed: Seed) -> Files:
    """One from the middle: the gap shows."""
    names = _in_order(seed)
    return (
        {name: data for name, data in seed.files.items() if name != lost}
        if names and (lost := rng.choice(names[1:-1]))
        else None
    )


def end_slice_lost(rng: Random, seed: Seed) -> Files:
    """The first or last: no DICOM element says how many there were."""
    names = _in_order(seed)
    return (
        {name: data for name, data in seed.files.items() if name != lost}
        if names and (lost := rng.choice([names[0], names[-1]]))
        else None
    )


def slice_copied(rng: Random, seed: Seed) -> Files:
    """The same file twice, under two names."""
    names = _in_order(seed)
    return {**seed.files, "s/copy.dcm": seed.files[rng.choice(names)]} if names else None


def _changed(change: Callable[[Random, Layout], bytes | None]) -> Callable[[Random, Seed], Files]:
    """One slice, changed."""

    def on_a_slice(rng: Random, seed: Seed) -> Files:
        names = _in_order(seed)
        layout = cached_layout(seed.files[name]) if names and (name := rng.choice(names)) else None
        new = change(rng, layout) if layout else None
        return None if new is None else {**seed.files, name: new}

    return on_a_slice


def slice_doubled(rng: Random, seed: Seed) -> Files:
    """A second slice at a place, with a UID and pixels of its own."""
    names = _in_order(seed)
    if not names:
        return None
    layout = cached_layout(seed.files[rng.choice(names)])
    if layout is None or (uid := layout.find(SOP_UID)) is None:
        return None
    plain = bytearray(layout.plain)
    plain[uid.end - 2 : uid.end - 1] = b"9" if plain[uid.end - 2] != 0x39 else b"8"
    pixels = layout.find(PIXEL_DATA)
    if pixels is not None:
        plain[pixels.value] ^= 1
    return {**seed.files, "s/second.dcm": bytes(plain)}


def _text(parts: list[float]) -> bytes:
    return b"\\".join(f"{part:.10g}".encode()[:16] for part in parts)


def moved(rng: Random, layout: Layout) -> bytes | None:
    """Off its place, by 4 % of a millimetre to 50 mm, along any axis."""
    one = layout.find(POSITION)
    if one is None:
        return None
    place = list(values(layout, one))
    place[rng.randrange(3)] += rng.choice([-1, 1]) * rng.choice([0.04, 0.3, 1.25, 2.5, 5.0, 50.0])
    return with_value(layout, one, _text(place))


def turned(rng: Random, layout: Layout) -> bytes | None:
    one = layout.find(ORIENTATION)
    new = rng.choice(_DIRECTIONS)
    return None if one is None else with_value(layout, one, _text(new))


def other_spacing(rng: Random, layout: Layout) -> bytes | None:
    one = layout.find(SPACING)
    if one is None:
        return None
    factor = rng.choice([0.5, 0.9, 1.01, 1.1, 2.0])
    return with_value(layout, one, _text([value * factor for value in values(layout, one)]))


def other_matrix(rng: Random, layout: Layout) -> bytes | None:
    """The last row is missing, in the pixel data and in what the header says of it."""
    rows, columns, allocated = layout.find(ROWS), layout.find(COLUMNS), layout.find(ALLOCATED)
    if rows is None or columns is None or allocated is None or layout.packed:
        return None
    order = layout.order(ROWS)
    count, width = (int.from_bytes(layout.raw(each)[:2], order) for each in (rows, columns))
    short = with_value(layout, rows, (count - 1).to_bytes(2, order))
    again = cached_layout(short)
    pixels = again.find(PIXEL_DATA) if again else None
    if again is None or pixels is None or pixels.undefined:
        return None
    keep = width * (count - 1) * (int.from_bytes(layout.raw(allocated)[:2], order) // 8)
    return with_value(again, pixels, again.raw(pixels)[:keep])


def other_series(rng: Random, layout: Layout) -> bytes | None:
    one = layout.find(SERIES)
    return None if one is None else with_value(layout, one, f"1.2.3.{rng.randrange(10**6)}".encode())


def same_uid(rng: Random, seed: Seed) -> Files:
    """A slice takes the SOP Instance UID of its neighbour."""
    names = _in_order(seed)
    if not names:
        return None
    at = rng.randrange(len(names) - 1)
    one, other = (cached_layout(seed.files[name]) for name in names[at : at + 2])
    if one is None or other is None or (old := one.find(SOP_UID)) is None or (new := other.find(SOP_UID)) is None:
        return None
    return {**seed.files, names[at]: with_value(one, old, other.raw(new))}


def other_slope(rng: Random, layout: Layout) -> bytes | None:
    """Each slice may have its own: plausible."""
    one = layout.find(SLOPE)
    return None if one is None else with_value(layout, one, rng.choice([b"2", b"0.5", b"1.01", b"-1"]))


def places_exchanged(rng: Random, seed: Seed) -> Files:
    """Two slices change their positions: plausible."""
    names = _in_order(seed)
    if not names:
        return None
    first, second = rng.sample(names, 2)
    one, other = cached_layout(seed.files[first]), cached_layout(seed.files[second])
    if one is None or other is None or (here := one.find(POSITION)) is None or (there := other.find(POSITION)) is None:
        return None
    return {
        **seed.files,
        first: with_value(one, here, other.raw(there)),
        second: with_value(other, there, one.raw(here)),
    }


def mixed(rng: Random, seed: Seed) -> Files:
    """A slice of another series lies in the folder."""
    others = [
        other for other in dicom_seeds() if len(other.files) > 2 and other.name.split(",")[0] != seed.name.split(",")[0]
    ]
    if not _in_order(seed):
        return None
    donor = rng.choice(others)
    return {**seed.files, "s/stray.dcm": donor.files[rng.choice(sorted(donor.files))]}


def emptied(rng: Random, seed: Seed) -> Files:
    """A slice's file has no bytes, or only zeros."""
    names = _in_order(seed)
    if not names:
        return None
    name = rng.choice(names)
    return {**seed.files, name: rng.choice([b"", b"\0" * len(seed.files[name])])}


SERIES_MUTATORS = (
    Mutator("a slice lost", slice_lost, certain=True),
    Mutator("an end slice lost", end_slice_lost),
    Mutator("a slice copied", slice_copied),
    Mutator("a second slice at a place", slice_doubled, certain=True),
    Mutator("a slice moved", _changed(moved)),
    Mutator("a slice turned", _changed(turned)),
    Mutator("a slice of another spacing", _changed(other_spacing), certain=True),
    Mutator("a slice of another matrix", _changed(other_matrix), certain=True),
    Mutator("a slice of another series UID", _changed(other_series), certain=True),
    Mutator("a slice with its neighbour's UID", same_uid, certain=True),
    Mutator("a slice of another slope", _changed(other_slope)),
    Mutator("places of two slices exchanged", places_exchanged),
    Mutator("a slice of another scan", mixed, certain=True),
    Mutator("a slice emptied", emptied, certain=True),
)
