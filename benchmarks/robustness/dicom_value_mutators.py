"""Damage to what a DICOM file says: nonsense, lies about sizes, plausible other values, elements of another file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from random import Random

from benchmarks.robustness.dicom_edit import cached_layout, edited, element_bytes, one_file, with_file, with_value
from benchmarks.robustness.dicom_layout import PIXEL_DATA, Element, Layout
from benchmarks.robustness.dicom_seeds import dicom_seeds
from benchmarks.robustness.dicom_values import (
    ALLOCATED,
    COLUMNS,
    FRAMES,
    HIGH_BIT,
    IMAGER_SPACING,
    INTERCEPT,
    NEEDED,
    ORIENTATION,
    PHOTOMETRIC,
    PLANAR,
    POSITION,
    ROWS,
    SAMPLES,
    SIGN,
    SLOPE,
    SPACING,
    STORED,
)
from benchmarks.robustness.mutation import Mutator, Seed

Files = Mapping[str, bytes] | None
_DECIMALS = (SPACING, IMAGER_SPACING, SLOPE, INTERCEPT, POSITION, ORIENTATION)
_SIZES = (ROWS, COLUMNS, FRAMES, SAMPLES, ALLOCATED, STORED, HIGH_BIT, SIGN, PLANAR)
_NONSENSE = (
    *(
        b"NaN",
        b"nan",
        b"inf",
        b"-inf",
        b"1e400",
        b"1e-400",
        b"1e38",
        b"-1",
        b"0",
        b"0.0",
        b"-0.0",
        b"abc",
        b"1,5",
        b" ",
    ),
    *(b"", b"\\", b"\\\\\\", b"1\\", b"1\\2\\3\\4\\5\\6\\7", b"1_000", b"0x10", b"\xff\xfe\xb2", b"1\x002", b"1" * 400),
    *(b"1 2", b"--5", b"+", b"1e", b"9" * 16, b"1.2.3", b"True", b"None", b"{}"),
)
_SYNTAXES = [
    f"1.2.840.10008.1.2.{tail}"
    for tail in [
        "1",
        "2",
        "5",
        "1.99",
        "4.50",
        "4.51",
        "4.57",
        "4.70",
        "4.80",
        "4.81",
        "4.90",
        "4.91",
        "4.102",
        "4.201",
        "8.1",
    ]
]
_SYNTAXES += ["1.2.840.10008.1.2", "1.2.840.10008.1.1", "1.2.3", "abc", ""]
_PHOTOMETRICS = [
    "MONOCHROME1",
    "MONOCHROME2",
    "RGB",
    "PALETTE COLOR",
    "YBR_FULL",
    "YBR_RCT",
    "MONOCHROME3",
    "",
    "\0\0",
    "HSV",
]


def _one(rng: Random, layout: Layout, tags: tuple[int, ...] | frozenset[int]) -> Element | None:
    found = [element for element in layout.every() if element.tag in tags]
    return rng.choice(found) if found else None


def nonsense(rng: Random, seed: Seed) -> Files:
    """Text that is no number, no finite one, or too many of them, where a needed number stands."""
    name, data = one_file(rng, seed)
    layout = cached_layout(data)
    one = _one(rng, layout, _DECIMALS) if layout else None
    if layout is None or one is None:
        return None
    value = rng.choice(_NONSENSE)
    if rng.random() < 0.5:  # one of several values, the others stay
        parts = layout.raw(one).strip(b"\0 ").split(b"\\")
        parts[rng.randrange(len(parts))] = value
        value = b"\\".join(parts)
    return with_file(seed, name, with_value(layout, one, value))


def sizes_lie(rng: Random, seed: Seed) -> Files:
    """Rows, Columns, Frames, bits, samples or sign hold another number."""
    name, data = one_file(rng, seed)
    layout = cached_layout(data)
    one = _one(rng, layout, _SIZES) if layout else None
    if layout is None or one is None:
        return None
    if one.tag == FRAMES:
        number = rng.choice(
            [b"0", b"-1", b"2", b"3", b"5", b"100000", b"2147483647", b"1.5", b"", b"x", b"99999999999"]
        )
        return with_file(seed, name, with_value(layout, one, number))
    order = layout.order(one.tag)
    old = int.from_bytes(layout.raw(one)[:2], order)
    new = rng.choice(
        [0, 1, 2, 3, 4, 7, 8, 12, 16, 32, 255, 65535, old + 1, max(old - 1, 0), old // 2, old * 2, rng.randrange(65536)]
    )
    value = (new & 0xFFFF).to_bytes(2, order)
    value = rng.choice([value, value, value, value * 2, b"", value + b"\0\0"])
    return with_file(seed, name, with_value(layout, one, value))


def sizes_exchanged(rng: Random, seed: Seed) -> Files:
    """Rows are halved and columns doubled, or the two exchanged: the same number of bytes."""
    name, data = one_file(rng, seed)
    layout = cached_layout(data)
    rows, columns = (layout.find(tag) if layout else None for tag in (ROWS, COLUMNS))
    if layout is None or rows is None or columns is None or layout.raw(rows) == layout.raw(columns):
        return None
    plain = bytearray(layout.plain)
    plain[rows.value : rows.end], plain[columns.value : columns.end] = layout.raw(columns), layout.raw(rows)
    return with_file(seed, name, layout.pack(bytes(plain)))


def another_digit(rng: Random, seed: Seed) -> Files:
    """One digit of a spacing, position, direction, slope or intercept is another digit."""
    name, data = one_file(rng, seed)
    layout = cached_layout(data)
    one = _one(rng, layout, _DECIMALS) if layout else None
    if layout is None or one is None:
        return None
    digits = [at for at in range(one.value, one.end) if layout.plain[at : at + 1].isdigit()]
    if not digits:
        return None
    at = rng.choice(digits)
    new = rng.choice([digit for digit in b"0123456789" if digit != layout.plain[at]])
    return with_file(seed, name, layout.pack(layout.plain[:at] + bytes([new]) + layout.plain[at + 1 :]))


def another_meaning(rng: Random, seed: Seed) -> Files:
    """Another transfer syntax or photometric interpretation, defined or not."""
    name, data = one_file(rng, seed)
    layout = cached_layout(data)
    tag = rng.choice([0x00020010, PHOTOMETRIC])
    one = layout.find(tag) if layout else None
    if layout is None or one is None or layout.packed:
        return None
    text = rng.choice(_SYNTAXES if tag == 0x00020010 else _PHOTOMETRICS).encode()
    return with_file(seed, name, with_value(layout, one, text + b"\0" * (len(text) % 2) if tag == 0x00020010 else text))


@cache
def _donors() -> list[Layout]:
    layouts = [cached_layout(data) for seed in dicom_seeds() for data in [next(iter(seed.files.values()))]]
    return [layout for layout in layouts if layout is not None and len(layout.plain) < 60_000]


def element_of_another(rng: Random, seed: Seed) -> Files:
    """A needed element with the bytes that another file has for it."""
    name, data = one_file(rng, seed)
    layout = cached_layout(data)
    one = _one(rng, layout, NEEDED) if layout else None
    if layout is None or one is None or one.depth:
        return None
    donor = rng.choice(_donors())
    other = donor.find(one.tag)
    if other is None:
        return None
    return with_file(seed, name, edited(layout, one.start, one.end, element_bytes(donor, other)))


def tail_of_another(rng: Random, seed: Seed) -> Files:
    """The start of one file and the end of another, each cut between two elements."""
    name, data = one_file(rng, seed)
    layout = cached_layout(data)
    if layout is None or layout.packed:
        return None
    donor = rng.choice(_donors())
    body = [one for one in layout.elements if one.tag >> 16 > 2]
    first = rng.choice(body).start
    last = rng.choice([one for one in donor.elements if one.tag >> 16 > 2]).start
    return with_file(seed, name, layout.plain[:first] + donor.plain[last:])


def pixels_of_another(rng: Random, seed: Seed) -> Files:
    name, data = one_file(rng, seed)
    layout = cached_layout(data)
    own = layout.find(PIXEL_DATA) if layout else None
    donor = rng.choice(_donors())
    other = donor.find(PIXEL_DATA)
    if layout is None or own is None or other is None or layout.packed:
        return None
    return with_file(seed, name, edited(layout, own.start, own.end, element_bytes(donor, other)))


VALUES = (
    Mutator("nonsense in a needed number", nonsense),
    Mutator("sizes or bits that lie", sizes_lie),
    Mutator("rows and columns exchanged", sizes_exchanged),
    Mutator("another digit in a number", another_digit),
    Mutator("another syntax or photometric", another_meaning),
    Mutator("an element of another file", element_of_another),
    Mutator("the end of another file", tail_of_another),
    Mutator("the pixels of another file", pixels_of_another),
)
