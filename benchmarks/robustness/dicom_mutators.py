"""Damage to the bytes and the structure of a DICOM file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from benchmarks.robustness.dicom_edit import cached_layout, edited, element_bytes, header_of, one_file, with_file
from benchmarks.robustness.dicom_layout import PIXEL_DATA, SEQUENCE_END, UNDEFINED, Element, Layout
from benchmarks.robustness.dicom_values import NEEDED
from benchmarks.robustness.mutation import Change, Mutator, Seed, flip_bit

Files = Mapping[str, bytes] | None
LENGTHS = (0, 1, 3, 2**31 - 1, UNDEFINED, 2**16 - 1, 2**16 - 2)
Span = tuple[int, int]


def spans(layout: Layout, kind: str) -> list[Span]:
    """Where the bytes of one kind lie, in the plain file."""
    body = [element for element in layout.every() if element.tag >> 16 != 2]
    match kind:
        case "meta":
            return [(132, layout.dataset_start)]
        case "tag":
            return [(one.start, one.start + 4) for one in body]
        case "VR":
            return [(one.start + 4, one.start + 6) for one in body if one.explicit]
        case "length":
            return [one.length_bytes for one in body]
        case "needed value":
            return [(one.value, one.end) for one in body if one.tag in NEEDED and one.tag != PIXEL_DATA]
        case "other value":
            return [(one.value, one.end) for one in body if one.tag not in NEEDED and not one.items]
        case "item header":
            return [(item.start, item.value) for one in body if one.tag != PIXEL_DATA for item in one.items]
        case "delimiter":
            return [(one.end - 8, one.end) for one in body if one.undefined]
    return _pixel_spans(layout, kind)


def _pixel_spans(layout: Layout, kind: str) -> list[Span]:
    data = layout.find(PIXEL_DATA)
    if data is None:
        return []
    if not data.undefined:
        return [(data.value, data.end)] if kind == "native pixels" else []
    table, *fragments = data.items
    match kind:
        case "fragment header":
            return [(one.start, one.value) for one in data.items]
        case "offset table":
            return [(table.value, table.end)]
        case "codestream start":
            return [(one.value, min(one.value + 64, one.end)) for one in fragments]
        case "codestream":
            return [(one.value, one.end) for one in fragments]
        case "codestream end":
            return [(max(one.value, one.end - 4), one.end) for one in fragments]
    return []


def flip_in(kind: str) -> Change:
    """One bit of one byte of this kind."""

    def change(rng: Random, seed: Seed) -> Files:
        name, data = one_file(rng, seed)
        layout = cached_layout(data)
        found = [(first, last) for first, last in spans(layout, kind) if last > first] if layout else []
        if layout is None or not found:
            return None
        return with_file(seed, name, layout.pack(flip_bit(rng, layout.plain, *rng.choice(found))))

    return change


def _raw(change: Callable[[Random, bytes], bytes | None]) -> Change:
    """A change that needs no layout."""

    def on_a_file(rng: Random, seed: Seed) -> Files:
        name, data = one_file(rng, seed)
        new = change(rng, data)
        return None if new is None else with_file(seed, name, new)

    return on_a_file


def _structured(change: Callable[[Random, Layout], bytes | None]) -> Change:
    """A change of a file whose structure is known."""

    def on_a_file(rng: Random, seed: Seed) -> Files:
        name, data = one_file(rng, seed)
        layout = cached_layout(data)
        new = change(rng, layout) if layout else None
        return None if new is None else with_file(seed, name, new)

    return on_a_file


def cut(rng: Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def cut_at_an_element(rng: Random, layout: Layout) -> bytes | None:
    if layout.packed:
        return None
    edges = [at for one in layout.every() for at in (one.start, one.value)]
    return layout.plain[: rng.choice(edges)]


def cut_near_the_end(rng: Random, data: bytes) -> bytes:
    return data[: -rng.randint(1, 64)]


def garbage_behind(rng: Random, data: bytes) -> bytes:
    return data + rng.choice([rng.randbytes(rng.randint(1, 600)), b"\0" * rng.randint(1, 600), data[-200:]])


def flip_anywhere(rng: Random, data: bytes) -> bytes:
    return flip_bit(rng, data, 128, len(data))


def flip_preamble(rng: Random, data: bytes) -> bytes:
    return flip_bit(rng, data, 0, 128)


def flip_several(rng: Random, data: bytes) -> bytes:
    for _ in range(rng.randint(2, 12)):
        data = flip_bit(rng, data, 128, len(data))
    return data


def stretch_overwritten(rng: Random, data: bytes) -> bytes:
    at, size = rng.randrange(128, len(data)), rng.choice([4, 16, 64, 512])
    size = min(size, len(data) - at)
    return data[:at] + rng.choice([b"\0" * size, b"\xff" * size, rng.randbytes(size)]) + data[at + size :]


def stretch_removed(rng: Random, data: bytes) -> bytes:
    at = rng.randrange(128, len(data))
    return data[:at] + data[at + rng.choice([1, 2, 8, 64, 512]) :]


def stretch_inserted(rng: Random, data: bytes) -> bytes:
    at = rng.randrange(128, len(data))
    return data[:at] + rng.randbytes(rng.choice([1, 2, 8, 64, 512])) + data[at:]


def halves_exchanged(rng: Random, data: bytes) -> bytes:
    middle = rng.randrange(len(data) // 4, 3 * len(data) // 4)
    return data[middle:] + data[:middle]


def length_lies(rng: Random, layout: Layout) -> bytes | None:
    """One length field holds 0, 1, an odd number, or far too much; nothing else moves."""
    one = rng.choice([each for each in layout.every() if each.tag != 0x00020000])
    at, last = one.length_bytes
    size, order = last - at, layout.order(one.tag)
    new = (rng.choice(LENGTHS) & (256**size - 1)).to_bytes(size, order)
    if layout.plain[at:last] == new:
        return None
    return layout.pack(layout.plain[:at] + new + layout.plain[last:])


def fragment_length_lies(rng: Random, layout: Layout) -> bytes | None:
    data = layout.find(PIXEL_DATA)
    if data is None or not data.undefined:
        return None
    at = rng.choice(data.items).start + 4
    old = int.from_bytes(layout.plain[at : at + 4], "little")
    new = rng.choice([value for value in (*LENGTHS, old + 2, max(old - 2, 0), old // 2) if value != old])
    return layout.pack(layout.plain[:at] + new.to_bytes(4, "little") + layout.plain[at + 4 :])


def fragment_shortened(rng: Random, layout: Layout) -> bytes | None:
    """The last bytes of a codestream are gone, and the fragment's length says so."""
    data = layout.find(PIXEL_DATA)
    if data is None or not data.undefined:
        return None
    item = rng.choice(data.items[1:])
    keep = (item.end - item.value) * rng.randint(0, 98) // 100 // 2 * 2
    return edited(
        layout, item.start + 4, item.end, keep.to_bytes(4, "little") + layout.plain[item.value : item.value + keep]
    )


def fragment_lost(rng: Random, layout: Layout) -> bytes | None:
    data = layout.find(PIXEL_DATA)
    if data is None or not data.undefined:
        return None
    item = rng.choice(data.items[1:])
    twice = layout.plain[item.start : item.end] * 2
    return edited(layout, item.start, item.end, rng.choice([b"", twice]))


def _any(rng: Random, layout: Layout) -> Element:
    needed = [one for one in layout.elements if one.tag in NEEDED]
    rest = [one for one in layout.elements if one.tag >> 16 > 2]
    return rng.choice(needed if needed and rng.random() < 0.6 else rest)


def element_deleted(rng: Random, layout: Layout) -> bytes:
    one = _any(rng, layout)
    return edited(layout, one.start, one.end, b"")


def element_emptied(rng: Random, layout: Layout) -> bytes:
    one = _any(rng, layout)
    return edited(layout, one.start, one.end, header_of(layout, one, 0))


def element_doubled(rng: Random, layout: Layout) -> bytes | None:
    """Twice in a row, the second with one bit changed half of the time."""
    one = _any(rng, layout)
    copy = element_bytes(layout, one)
    if rng.random() < 0.5 and one.end > one.value and not one.items:
        copy = flip_bit(rng, copy, one.value - one.start, len(copy))
    return edited(layout, one.end, one.end, copy)


def elements_swapped(rng: Random, layout: Layout) -> bytes | None:
    body = [one for one in layout.elements if one.tag >> 16 > 2]
    at = rng.randrange(len(body) - 1)
    first, second = body[at : at + 2]
    return edited(layout, first.start, second.end, element_bytes(layout, second) + element_bytes(layout, first))


def element_moved_to_the_end(rng: Random, layout: Layout) -> bytes | None:
    one = _any(rng, layout)
    if one is layout.elements[-1]:
        return None
    last = layout.elements[-1].end
    return edited(layout, one.start, last, layout.plain[one.end : last] + element_bytes(layout, one))


def nested_deep(rng: Random, layout: Layout) -> bytes | None:
    """A sequence in a sequence in a sequence, at its right place in the file."""
    if not layout.little:
        return None
    depth = rng.choice([33, 40, 200, 3000])
    tag, explicit = b"\x08\x00\x40\x11", layout.elements[-1].explicit
    opening = tag + (b"SQ\0\0" if explicit else b"") + b"\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff" + (SEQUENCE_END & 0xFFFF).to_bytes(2, "little") + b"\0\0\0\0"
    place = next((one.start for one in layout.elements if one.tag > 0x00081140), None)
    if place is None or layout.find(0x00081140) is not None:
        return None
    return edited(layout, place, place, opening * depth + closing * depth)


BYTES = (
    Mutator("cut at a random byte", _raw(cut), certain=True),
    Mutator("cut within the last 64 bytes", _raw(cut_near_the_end), certain=True),
    Mutator("cut at an element", _structured(cut_at_an_element), certain=True),
    Mutator("garbage behind the end", _raw(garbage_behind), certain=True),
    Mutator("a bit anywhere", _raw(flip_anywhere)),
    Mutator("2 to 12 bits anywhere", _raw(flip_several)),
    Mutator("a bit of the preamble", _raw(flip_preamble)),
    Mutator("a stretch overwritten", _raw(stretch_overwritten)),
    Mutator("a stretch removed", _raw(stretch_removed)),
    Mutator("a stretch inserted", _raw(stretch_inserted)),
    Mutator("halves exchanged", _raw(halves_exchanged), certain=True),
)
BITS = (
    *(Mutator(f"a bit of the {kind}", flip_in(kind)) for kind in ("meta", "tag", "VR")),
    *(Mutator(f"a bit of a {kind}", flip_in(kind)) for kind in ("length", "needed value", "other value")),
    *(Mutator(f"a bit of a {kind}", flip_in(kind), certain=True) for kind in ("item header", "delimiter")),
    *(Mutator(f"a bit of the {kind}", flip_in(kind)) for kind in ("native pixels", "offset table", "codestream")),
    *(Mutator(f"a bit of the {kind}", flip_in(kind)) for kind in ("codestream start", "codestream end")),
    Mutator("a bit of a fragment header", flip_in("fragment header"), certain=True),
)
STRUCTURE = (
    Mutator("a length that lies", _structured(length_lies), certain=True),
    Mutator("a fragment length that lies", _structured(fragment_length_lies), certain=True),
    Mutator("a codestream shortened", _structured(fragment_shortened), certain=True),
    Mutator("a fragment lost or doubled", _structured(fragment_lost), certain=True),
    Mutator("an element deleted", _structured(element_deleted)),
    Mutator("an element emptied", _structured(element_emptied)),
    Mutator("an element doubled", _structured(element_doubled), certain=True),
    Mutator("two elements exchanged", _structured(elements_swapped), certain=True),
    Mutator("an element at the end", _structured(element_moved_to_the_end), certain=True),
    Mutator("sequences 33 to 3000 deep", _structured(nested_deep), certain=True),
)
