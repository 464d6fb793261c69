"""Change a DICOM file and keep the rest of it well-formed: lengths of what encloses a change grow with it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from random import Random

from benchmarks.robustness.dicom_layout import LONG_VR, PIXEL_DATA, UNDEFINED, Element, Layout, Malformed, layout_of
from benchmarks.robustness.mutation import Seed


@lru_cache(maxsize=128)
def cached_layout(data: bytes) -> Layout | None:
    """A seed's layout; None where it keeps not even the structure."""
    try:
        return layout_of(data)
    except Malformed:
        return None


def one_file(rng: Random, seed: Seed) -> tuple[str, bytes]:
    name = rng.choice(sorted(seed.files))
    return name, seed.files[name]


def with_file(seed: Seed, name: str, data: bytes) -> Mapping[str, bytes]:
    return {**seed.files, name: data}


def edited(layout: Layout, start: int, end: int, new: bytes) -> bytes:
    """plain[start:end] becomes new; every enclosing defined length, and the meta group's, is corrected. Packed."""
    plain, grown = bytearray(layout.plain), len(new) - (end - start)
    for at, size, old in _enclosing(layout, start, end):
        order = layout.order(PIXEL_DATA)
        plain[at : at + size] = (old + grown).to_bytes(size, order)
    if start < layout.dataset_start and start >= layout.elements[0].end:
        group = layout.elements[0]
        length = struct.unpack_from("<I", plain, group.value)[0] + grown
        struct.pack_into("<I", plain, group.value, max(length, 0))
    plain[start:end] = new
    moved = layout.dataset_start + (grown if start < layout.dataset_start else 0)
    return Layout(bytes(plain), moved, layout.syntax, (), layout.packed).pack(bytes(plain))


def _enclosing(layout: Layout, start: int, end: int) -> list[tuple[int, int, int]]:
    """(place, size, value) of each defined length around [start, end)."""
    found = []
    for element in layout.every():
        if not element.items or not element.value <= start or not end <= element.end:
            continue
        order = layout.order(PIXEL_DATA)
        if not element.undefined:
            at, last = element.length_bytes
            found.append((at, last - at, element.end - element.value))
        for item in element.items:
            length = int.from_bytes(layout.plain[item.start + 4 : item.start + 8], order)
            if length != UNDEFINED and item.value <= start and end <= item.end:
                found.append((item.start + 4, 4, length))
    return found


def header_of(layout: Layout, element: Element, length: int) -> bytes:
    """An element's tag and VR with another length."""
    at, last = element.length_bytes
    size = last - at
    order = layout.order(element.tag)
    return layout.plain[element.start : at] + (length % (1 << 8 * size)).to_bytes(size, order)


def with_value(layout: Layout, element: Element, value: bytes) -> bytes:
    """The file with another value in one element, its length and padding right."""
    if len(value) % 2:
        value += b"\0" if element.vr in ("UI", "OB", "UN") else b" "
    if not element.explicit or element.vr in LONG_VR or len(value) < 2**16:
        return edited(layout, element.start, element.end, header_of(layout, element, len(value)) + value)
    return edited(layout, element.value, element.end, value)


def element_bytes(layout: Layout, element: Element) -> bytes:
    return layout.plain[element.start : element.end]
