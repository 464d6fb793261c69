"""The elements of a DICOM file, walked from the first to the last: a length that lies is found, not followed.

pydicom gives the values their meaning; which bytes they are is decided here, strictly and without recursion limits,
because pydicom skips what it cannot follow and a damaged header then reads as a shorter one.
DICOM PS3.5 section 7 (data set), PS3.10 section 7 (file).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from medcnn.io.dicom.file_bytes import Content, cut_short, inflate
from medcnn.io.dicom.vr import LONG, SHORT, checked_vr, contradicts_kind, is_sequence
from medcnn.io.files import FileStart
from medcnn.scan import Reason, ScanRejected

MAX_NESTING = 32  # sequences in sequences; real enhanced objects use about 6
MAX_FILE_BYTES = 2**34
PIXELS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
UNDEFINED = 0xFFFFFFFF
DEFLATED = "1.2.840.10008.1.2.1.99"
IMPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_SYNTAX, _GROUP_LENGTH = 0x00020010, 0x00020000
_AGAIN = "Export the file again"


@dataclass(frozen=True)
class Encoding:
    """How a data set is written."""

    implicit: bool
    little: bool


@dataclass(frozen=True)
class PixelPlace:
    """Where the pixel data's value stands in the (inflated) file, without the delimiter of an encapsulated one.

    whole  False where the file ends before it should
    """

    tag: int
    vr: str
    start: int
    length: int
    encapsulated: bool
    whole: bool


@dataclass(eq=False)
class Elements:
    """What a walk found: the wanted elements as raw bytes, and where the pixel data are."""

    meta: dict[BaseTag, RawDataElement]
    data: dict[BaseTag, RawDataElement]
    encoding: Encoding
    preamble: bytes
    pixels: PixelPlace | None
    inflated: bytes | None  # the data set of a deflated file; offsets count from its start
    count: int  # elements in front of the pixel data, kept or not


def walk_file(
    path: Path,
    wanted: frozenset[int] | None = None,
    *,
    stop: int | None = None,
    start: FileStart | None = None,
    check_head: Callable[[bytes], None] = lambda head: None,
) -> Elements:
    """The elements of one file, in its order, up to the pixel data.

    wanted  tags to keep; None keeps all. Everything is checked, whether it is kept or not
    stop    a tag at which the walk may end early: for sorting files, not for reading them
    start   the file's first bytes, where somebody has read them already
    check_head  called with the file's first bytes; raises where they are no DICOM
    Raises NOT_DICOM_PART10, TAG_INVALID, META_INVALID, NESTING, BOMB, PIXEL_DATA_TRUNCATED.
    """
    start = start or FileStart.of(path)
    size = start.size
    if size > MAX_FILE_BYTES:
        raise ScanRejected(
            Reason.SIZE_IMPLAUSIBLE, f"the file has {size / 2**30:.0f} GiB", "Split it into smaller objects"
        )
    check_head(start.head)
    with Content(start.head, size, lambda: path.open("rb")) as content:
        preamble, first = (content.bytes[:128], 132) if content.bytes[128:132] == b"DICM" else (b"", 0)
        meta, begin = _meta(content, first)
        syntax = _syntax(meta)
        inflated = None
        if syntax == DEFLATED:
            inflated = inflate(content.reach(size)[begin:])
            content, begin = Content(inflated, len(inflated)), 0
        encoding = _encoding(content, begin, syntax)
        walk = Walk(content, encoding, wanted=wanted, stop=stop)
        walk.run(begin)
        return Elements(meta, walk.found, encoding, preamble, walk.pixels, inflated, walk.count)


def read_pixels(path: Path, elements: Elements) -> bytes:
    """The value of the pixel data of a walked file; b"" where it has none."""
    place = elements.pixels
    if place is None:
        return b""
    if elements.inflated is not None:
        return elements.inflated[place.start : place.start + place.length]
    with path.open("rb") as file:
        file.seek(place.start)
        return file.read(place.length)


def _meta(content: Content, start: int) -> tuple[dict[BaseTag, RawDataElement], int]:
    """Group 0002, always explicit little endian; and where the data set begins."""
    if content.size < start + 8 or content.bytes[start : start + 2] != b"\x02\0":
        return {}, start
    walk = Walk(content, Encoding(implicit=False, little=True))
    walk.run_group(start, 2)
    told = walk.found.get(BaseTag(_GROUP_LENGTH))
    if told is not None and int.from_bytes(told.value or b"", "little") > content.size:
        raise cut_short()  # writers often miscount it by a few bytes; this much is damage
    return walk.found, walk.position


def _syntax(meta: dict[BaseTag, RawDataElement]) -> str:
    element = meta.get(BaseTag(_SYNTAX))
    return (element.value or b"").rstrip(b"\0 ").decode("ascii", "replace") if element else ""


def _encoding(content: Content, begin: int, syntax: str) -> Encoding:
    """As the transfer syntax says, unless the first element has a VR and should not, or has none and should."""
    head = content.bytes[begin : begin + 6]
    implicit = head[4:6] not in SHORT and head[4:6] not in LONG
    if syntax:
        return Encoding(implicit, syntax != BIG)
    return Encoding(implicit, little=head[:1] != b"\0" or head[1:2] == b"\0")


class Walk:
    """One pass over a data set. Positions are offsets in the content."""

    def __init__(
        self,
        content: Content,
        encoding: Encoding,
        *,
        wanted: frozenset[int] | None = None,
        stop: int | None = None,
    ) -> None:
        self._content, self._encoding = content, encoding
        self._wanted, self._stop = wanted, stop
        order: Literal["<", ">"] = "<" if encoding.little else ">"
        self._short = struct.Struct(f"{order}HH2sH").unpack_from
        self._long = struct.Struct(f"{order}I").unpack_from
        self._plain = struct.Struct(f"{order}HHI").unpack_from
        self.found: dict[BaseTag, RawDataElement] = {}
        self.pixels: PixelPlace | None = None
        self.position, self.count = 0, 0

    def run(self, begin: int, *, last: int = -1) -> None:
        """The whole data set; stands behind its last element, or at the element it stopped at. last: tag in front."""
        size, at, wanted = self._content.size, begin, self._wanted
        stop = UNDEFINED if self._stop is None else self._stop
        while at < size:
            tag, vr, start, length = self._next(at)
            if tag >= stop:
                break
            if tag <= last:
                raise _disorder()
            if vr and contradicts_kind(tag, vr):
                raise _no_vr()
            last = tag
            if tag in PIXELS:
                at = self._pixel_data(tag, vr, start, length)
                self._check_rest(at, tag)
                break
            end = start + length
            if length == UNDEFINED or vr == b"SQ" or not vr:
                end = self._end(tag, vr, start, length, depth=0, implicit=self._encoding.implicit)
            elif end > size:
                raise cut_short()
            if wanted is None or tag in wanted:
                self._keep(tag, vr, start, end, length)
            at = end
            self.count += 1
        self.position = min(at, size)

    def run_group(self, begin: int, group: int) -> None:
        """Only the elements of one group, which stand together."""
        size, at, last = self._content.size, begin, -1
        while at < size and self._tag(at) >> 16 == group:
            tag, vr, start, length = self._next(at)
            if tag <= last:
                raise _disorder()
            last = tag
            if start + length > size:
                raise cut_short()
            self._keep(tag, vr, start, start + length, length)
            at = start + length
        self.position = at

    def _next(self, at: int) -> tuple[int, bytes, int, int]:
        """As _head, fast for what nearly all elements are."""
        data = self._content.bytes
        if at + 12 > len(data):
            if self._content.size - at < 8:
                raise cut_short()
            data = self._content.reach(min(at + 12, self._content.size))
        if not self._encoding.implicit:
            group, element, vr, length = self._short(data, at)
            if vr in SHORT:
                return group << 16 | element, vr, at + 8, length
        return self._head(at, implicit=self._encoding.implicit)

    def _check_rest(self, at: int, tag: int) -> None:
        """What follows the pixel data: padding, a signature; nothing that belongs in front of them."""
        if at < self._content.size:
            rest = self._content.piece(at, self._content.size - at)
            walk = Walk(Content(rest, len(rest)), self._encoding, wanted=frozenset())
            walk.run(0, last=tag)

    def _tag(self, at: int) -> int:
        group, element, _ = self._plain(self._content.reach(at + 8), at)
        return int(group << 16 | element)

    def _head(self, at: int, *, implicit: bool) -> tuple[int, bytes, int, int]:
        """(tag, VR or b"", where the value begins, its length)."""
        data = self._content.bytes
        if at + 12 > len(data):
            data = self._content.reach(min(at + 12, self._content.size))
            if at + 8 > len(data):
                raise cut_short()
        if implicit:
            group, element, length = self._plain(data, at)
            return group << 16 | element, b"", at + 8, length
        group, element, vr, length = self._short(data, at)
        if vr in SHORT:
            return group << 16 | element, vr, at + 8, length
        if vr in LONG:
            if at + 12 > len(data):
                raise cut_short()
            if length:  # two reserved bytes, which are zero
                raise _no_vr()
            return group << 16 | element, vr, at + 12, self._long(data, at + 8)[0]
        if group == 0xFFFE:
            return group << 16 | element, b"", at + 8, self._long(data, at + 4)[0]
        raise _no_vr()

    def _end(self, tag: int, vr: bytes, start: int, length: int, *, depth: int, implicit: bool) -> int:
        """Where an element ends, its sequences checked on the way."""
        if length == UNDEFINED:
            if vr in (b"SQ", b"", b"UN"):  # PS3.5 6.2.2: of unknown VR and length is implicit inside
                return self._sequence(start, None, depth + 1, implicit=implicit or vr == b"UN")
            raise _bad_length()
        end = start + length
        if end > self._content.size:
            raise cut_short()
        if vr == b"SQ" or (not vr and is_sequence(tag)):
            self._sequence(start, end, depth + 1, implicit=implicit)
        return end

    def _sequence(self, at: int, end: int | None, depth: int, *, implicit: bool) -> int:
        """Its items one after the other; returns where it ends."""
        if depth > MAX_NESTING:
            raise nesting()
        while end is None or at < end:
            tag, length = self._item_head(at)
            at += 8
            if tag == _SEQUENCE_END and end is None and not length:
                return at
            if tag != _ITEM:
                raise _bad_length()
            item_end = None if length == UNDEFINED else at + length
            if item_end is not None and item_end > (self._content.size if end is None else end):
                raise _bad_length()
            at = self._item(at, item_end, depth, implicit=implicit)
        if at != end:
            raise _bad_length()
        return at

    def _item_head(self, at: int) -> tuple[int, int]:
        return self._tag(at), self._long(self._content.bytes, at + 4)[0]

    def _item(self, at: int, end: int | None, depth: int, *, implicit: bool) -> int:
        last = -1
        while end is None or at < end:
            tag, vr, start, length = self._head(at, implicit=implicit)
            if tag == _ITEM_END and end is None and not length:
                return start
            if tag >> 16 == 0xFFFE:
                raise _bad_length()
            if tag <= last:
                raise _disorder()
            last = tag
            if tag in PIXELS and length == UNDEFINED:  # an icon, compressed
                at, closed = self._fragments(start)
                if not closed:
                    raise cut_short()
            else:
                at = self._end(tag, vr, start, length, depth=depth, implicit=implicit)
        if at != end:
            raise _bad_length()
        return at

    def _pixel_data(self, tag: int, vr: bytes, start: int, length: int) -> int:
        size, name = self._content.size, vr.decode() or "OW"
        if length == UNDEFINED:
            end, closed = self._fragments(start)
            length = end - start - 8 * closed
            self.pixels = PixelPlace(tag, name, start, length, encapsulated=True, whole=closed)
            return end
        end = min(start + length, size)  # how much is missing shows against rows and columns
        whole = end == start + length
        self.pixels = PixelPlace(tag, name, start, end - start, encapsulated=False, whole=whole)
        return end

    def _fragments(self, at: int) -> tuple[int, bool]:
        """(behind the delimiter of an encapsulated value, True), or (the file's end, False) where it breaks off."""
        size = self._content.size
        while at + 8 <= size:
            group, element, length = self._plain(self._content.piece(at, 8))
            tag = group << 16 | element
            if tag == _SEQUENCE_END and not length:
                return at + 8, True
            if tag != _ITEM or length == UNDEFINED:
                break
            at += 8 + length
        return size, False

    def _keep(self, tag: int, vr: bytes, start: int, end: int, length: int) -> None:
        data = self._content.reach(end)
        undefined = length == UNDEFINED
        value = data[start : end - 8] if undefined else data[start:end]  # without the sequence's delimiter
        name = "SQ" if undefined else checked_vr(tag, vr.decode())
        encoding = self._encoding
        implicit = encoding.implicit or (undefined and vr == b"UN")
        kept = BaseTag(tag)
        self.found[kept] = RawDataElement(kept, name, len(value), value, start, implicit, encoding.little)


def nesting() -> ScanRejected:
    return ScanRejected(
        Reason.NESTING, f"sequences lie more than {MAX_NESTING} deep", "Export the file again from a trusted source"
    )


def _disorder() -> ScanRejected:
    return ScanRejected(Reason.TAG_INVALID, "the elements do not ascend: a length or a tag is damaged", _AGAIN)


def _no_vr() -> ScanRejected:
    return ScanRejected(
        Reason.TAG_INVALID, "an element's type is none of DICOM's: a length or the type is damaged", _AGAIN
    )


def _bad_length() -> ScanRejected:
    return ScanRejected(Reason.TAG_INVALID, "the items of a sequence do not fill its length", _AGAIN)
