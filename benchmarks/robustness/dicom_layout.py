"""Which bytes of a DICOM file are what: a strict walk of its own, so that labels do not depend on a reader under test.

Everything that PS3.5 and PS3.10 say of order, VR, length, nesting and the end is checked; Malformed names the rule.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from pydicom.datadict import dictionary_VM, dictionary_VR

LONG_VR = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"])
_NUMBERS = frozenset(["AT", "FL", "FD", "OB", "OD", "OF", "OL", "OV", "OW", "SL", "SS", "SV", "UL", "US", "UV"])
SHORT_VR = frozenset(
    [
        "AE",
        "AS",
        "AT",
        "CS",
        "DA",
        "DS",
        "DT",
        "FD",
        "FL",
        "IS",
        "LO",
        "LT",
        "PN",
        "SH",
        "SL",
        "SS",
        "ST",
        "TM",
        "UI",
        "UL",
        "US",
    ]
)
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010
IMPLICIT, BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
NATIVE = frozenset({IMPLICIT, "1.2.840.10008.1.2.1", BIG_ENDIAN, DEFLATED})
MOST_NESTING = 32


class Malformed(ValueError):  # noqa: N818  what a walk ends as
    """The bytes contradict the standard; the text names the rule."""


@dataclass(frozen=True)
class Item:
    """One item of a sequence, or one fragment of encapsulated pixel data. start .. value .. end, in bytes."""

    start: int
    value: int
    end: int
    elements: tuple[Element, ...] = ()


@dataclass(frozen=True)
class Element:
    """One element: tag at start, value in [value, end); end includes a sequence's delimiter."""

    tag: int
    vr: str
    start: int
    value: int
    end: int
    depth: int
    explicit: bool
    undefined: bool = False
    items: tuple[Item, ...] = ()

    @property
    def length_bytes(self) -> tuple[int, int]:
        """Where its length field lies."""
        return self.value - (4 if not self.explicit or self.vr in LONG_VR else 2), self.value


@dataclass(frozen=True)
class Layout:
    """A whole file. plain: its bytes with a deflated data set inflated; all offsets mean plain."""

    plain: bytes
    dataset_start: int
    syntax: str
    elements: tuple[Element, ...]  # group 0002 first
    packed: bool = False

    @property
    def little(self) -> bool:
        return self.syntax != BIG_ENDIAN

    def every(self) -> Iterator[Element]:
        """Each element at any depth, in the order of the file."""
        stack = list(reversed(self.elements))
        while stack:
            element = stack.pop()
            yield element
            stack += [inner for item in reversed(element.items) for inner in reversed(item.elements)]

    def order(self, tag: int) -> Literal["little", "big"]:
        """The byte order of an element's header and numbers."""
        return "little" if self.little or tag >> 16 == 2 else "big"

    def find(self, tag: int) -> Element | None:
        return next((element for element in self.elements if element.tag == tag), None)

    def raw(self, element: Element) -> bytes:
        return self.plain[element.value : element.end]

    def pack(self, plain: bytes) -> bytes:
        """The file again, deflated where it was."""
        if not self.packed:
            return plain
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = deflater.compress(plain[self.dataset_start :]) + deflater.flush()
        return plain[: self.dataset_start] + body + b"\0" * (len(body) % 2)


def layout_of(data: bytes) -> Layout:
    """Raises Malformed."""
    if data[128:132] != b"DICM":
        raise Malformed("no DICM mark")
    meta = _meta(data)
    start = meta[-1].end
    syntax = (
        next((data[one.value : one.end] for one in meta if one.tag == 0x00020010), b"").rstrip(b"\0").decode("latin1")
    )
    if not syntax:
        raise Malformed("no transfer syntax")
    plain = data if syntax != DEFLATED else data[:start] + _inflated(data[start:])
    walk = _Walk(plain, explicit=syntax != IMPLICIT, little=syntax != BIG_ENDIAN)
    elements = walk.elements(start, len(plain), depth=0)
    if any(element.tag >> 16 <= 2 for element in elements):
        raise Malformed("a meta element in the data set")
    return Layout(plain, start, syntax, (*meta, *elements), packed=syntax == DEFLATED)


def _meta(data: bytes) -> tuple[Element, ...]:
    walk = _Walk(data, explicit=True, little=True)
    first = walk.element(132, len(data), depth=0)
    if first.tag != 0x00020000 or first.end - first.value != 4:
        raise Malformed("no group length of the file meta")
    end = first.end + struct.unpack_from("<I", data, first.value)[0]
    if end > len(data):
        raise Malformed("the file meta is longer than the file")
    rest = walk.elements(first.end, end, depth=0)
    if any(element.tag >> 16 != 2 for element in rest):
        raise Malformed("the group length of the file meta is wrong")
    return first, *rest


def _inflated(packed: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(packed, 64 * 2**20)
    except zlib.error:
        raise Malformed("the deflated data set is damaged") from None
    trailer = struct.pack("<II", zlib.crc32(plain), len(plain))  # as gzip has it; some writers add it
    if not inflater.eof or inflater.unused_data not in (b"", b"\0", trailer):
        raise Malformed("the deflated data set ends early, or something follows it")
    return plain


@dataclass(frozen=True)
class _Walk:
    data: bytes
    explicit: bool
    little: bool

    def elements(self, at: int, end: int, depth: int) -> tuple[Element, ...]:
        found: list[Element] = []
        while at < end:
            element = self.element(at, end, depth)
            if found and element.tag <= found[-1].tag:
                raise Malformed("elements out of order")
            found.append(element)
            at = element.end
        return tuple(found)

    def tag(self, at: int, end: int) -> int:
        if at + 8 > end:
            raise Malformed("the end within an element's header")
        group, number = struct.unpack_from("<HH" if self.little else ">HH", self.data, at)
        return int(group << 16 | number)

    def _long(self, at: int) -> int:
        return int(struct.unpack_from("<I" if self.little else ">I", self.data, at)[0])

    def element(self, at: int, end: int, depth: int) -> Element:
        tag = self.tag(at, end)
        if tag >> 16 == 0xFFFE:
            raise Malformed("a delimiter where an element belongs")
        vr, value, length = self._header(at, end, tag)
        element = Element(tag, vr, at, value, value + length, depth, self.explicit, undefined=length == UNDEFINED)
        if not element.undefined and element.end > end:
            raise Malformed("an element is longer than what holds it")
        if vr == "SQ" or (element.undefined and vr == "UN"):
            walk = self if vr == "SQ" else replace(self, explicit=False, little=True)
            return walk.sequence(element, end)
        if element.undefined:
            if tag != PIXEL_DATA or vr not in ("OB", "OW"):
                raise Malformed("an undefined length where none may be")
            return self._fragments(element, end)
        if length % 2:
            raise Malformed("an odd length")
        return element

    def _header(self, at: int, end: int, tag: int) -> tuple[str, int, int]:
        if not self.explicit:
            return vr_of(tag), at + 8, self._long(at + 4)
        vr = self.data[at + 4 : at + 6].decode("latin1")
        if vr not in LONG_VR and vr not in SHORT_VR:
            raise Malformed("an unknown VR")
        expected = vr_of(tag)
        if expected != "UN" and vr != "UN" and vr not in expected.split(" or ") and _matters(tag, vr, expected):
            raise Malformed("another VR than the dictionary's")
        if vr in SHORT_VR:
            return vr, at + 8, int(struct.unpack_from("<H" if self.little else ">H", self.data, at + 6)[0])
        if at + 12 > end:
            raise Malformed("the end within an element's header")
        if self.data[at + 6 : at + 8] != b"\0\0":
            raise Malformed("reserved bytes that are not zero")
        return vr, at + 12, self._long(at + 8)

    def sequence(self, element: Element, end: int) -> Element:
        if element.depth >= MOST_NESTING:
            raise Malformed("sequences nested too deep")
        items: list[Item] = []
        at = element.value
        last = end if element.undefined else element.end
        while at < last:
            tag, length = self.tag(at, last), self._long(at + 4)
            if element.undefined and tag == SEQUENCE_END:
                if length:
                    raise Malformed("a delimiter with a length")
                return replace(element, items=tuple(items), end=at + 8)
            if tag != ITEM:
                raise Malformed("something else than an item in a sequence")
            items.append(self._item(at, length, last, element.depth + 1))
            at = items[-1].end
        if element.undefined:
            raise Malformed("a sequence without its end")
        return replace(element, items=tuple(items))

    def _item(self, at: int, length: int, last: int, depth: int) -> Item:
        if length != UNDEFINED:
            if at + 8 + length > last:
                raise Malformed("an item is longer than its sequence")
            return Item(at, at + 8, at + 8 + length, self.elements(at + 8, at + 8 + length, depth))
        inner: list[Element] = []
        here = at + 8
        while (tag := self.tag(here, last)) != ITEM_END:
            inner.append(self.element(here, last, depth))
            if len(inner) > 1 and tag <= inner[-2].tag:
                raise Malformed("elements out of order")
            here = inner[-1].end
        if self._long(here + 4):
            raise Malformed("a delimiter with a length")
        return Item(at, at + 8, here + 8, tuple(inner))

    def _fragments(self, element: Element, end: int) -> Element:
        items, at = [], element.value
        while (tag := self.tag(at, end)) != SEQUENCE_END:
            length = self._long(at + 4)
            if tag != ITEM or length % 2 or at + 8 + length > end:
                raise Malformed("a fragment whose tag or length cannot be")
            items.append(Item(at, at + 8, at + 8 + length))
            at += 8 + length
        if self._long(at + 4) or not items:
            raise Malformed("no fragments, or a delimiter with a length")
        return replace(element, items=tuple(items), end=at + 8)


def _matters(tag: int, vr: str, expected: str) -> bool:
    """Writers differ in the VR of text that nobody needs; numbers for text, and what places pixels, is damage."""
    return tag >> 16 in (0x0002, 0x0020, 0x0028, 0x7FE0) or (vr in _NUMBERS) != (expected.split(" or ")[0] in _NUMBERS)


def vr_of(tag: int) -> str:
    """The dictionary's VR; UN for private and unknown elements."""
    if tag & 0xFFFF == 0:
        return "UL"
    group = tag >> 16
    if group % 2:
        return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else "UN"
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"


def vm_of(tag: int) -> str:
    """The dictionary's multiplicity, as 1, 2, 3-n ..."""
    try:
        return dictionary_VM(tag)
    except KeyError:
        return "1-n"
