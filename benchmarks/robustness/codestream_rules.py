"""What a compressed picture says of itself, against its DICOM header: sizes, precision, markers, lengths."""

from __future__ import annotations

import struct
from typing import Protocol


class Shape(Protocol):
    """What the header says."""

    @property
    def rows(self) -> int: ...
    @property
    def columns(self) -> int: ...
    @property
    def samples(self) -> int: ...
    @property
    def allocated(self) -> int: ...
    @property
    def stored(self) -> int: ...


RLE = "1.2.840.10008.1.2.5"
_J2K = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_JPEG = {"50": {0xC0, 0xC1}, "51": {0xC1}, "57": {0xC3}, "70": {0xC3}, "80": {0xF7}, "81": {0xF7}}
_FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}


def codestream_contradiction(syntax: str, stream: bytes, shape: Shape) -> str | None:
    """None where the stream's own statements fit; its entropy-coded bytes are not looked at, they have no checksum."""
    if syntax == RLE:
        return _rle(stream, shape)
    if syntax in _J2K:
        return _j2k(stream, shape)
    return _jpeg(stream, shape, _JPEG.get(syntax.rpartition(".")[2], set()))


def _rle(stream: bytes, shape: Shape) -> str | None:
    """PS3.5 annex G: segments of packed bytes, each of exactly rows x columns."""
    if len(stream) < 64:
        return "an RLE frame without its header"
    count, *offsets = struct.unpack_from("<16I", stream)
    if count != shape.samples * shape.allocated // 8 or offsets[0] != 64 or any(offsets[count:]):
        return "an RLE header that does not fit the pixel module"
    ends = [*offsets[1:count], len(stream)]
    if any(last <= first or last > len(stream) for first, last in zip(offsets, ends, strict=False)):
        return "RLE segments out of order"
    for first, last in zip(offsets, ends, strict=False):
        if not _packs(stream[first:last], shape.rows * shape.columns):
            return "an RLE segment of another length than the picture"
    return None


def _packs(segment: bytes, expected: int) -> bool:
    at, found = 0, 0
    while at < len(segment) and found < expected:
        head = segment[at]
        if head < 128:
            found, at = found + head + 1, at + head + 2
        elif head > 128:
            found, at = found + 257 - head, at + 2
        else:
            at += 1
    return found == expected and len(segment) - at in (0, 1) and not any(segment[at:])


def _jpeg(stream: bytes, shape: Shape, allowed: set[int]) -> str | None:
    body = stream.rstrip(b"\0")
    body = body[:-1] if body.endswith(b"\xff\xd9\xff") else body  # some writers pad with the fill byte
    if body[:2] != b"\xff\xd8" or body[-2:] != b"\xff\xd9":
        return "a JPEG without its start or end"
    at = 2
    while at + 4 <= len(body):
        marker = body[at + 1]
        if body[at] != 0xFF or marker < 0xC0:
            return "a JPEG segment that does not begin where the last one ends"
        if marker == 0xDA:
            return "a JPEG without its frame header"
        length = int.from_bytes(body[at + 2 : at + 4])
        if length < 2 or at + 2 + length > len(body):
            return "a JPEG segment longer than the picture"
        if marker in _FRAME_HEADERS:
            precision, rows, columns, components = struct.unpack_from(">BHHB", body, at + 4)
            fits = (rows, columns, components) == (shape.rows, shape.columns, shape.samples)
            exact = marker in allowed and length == 8 + 3 * components and shape.stored <= precision <= shape.allocated
            return (
                _jpeg_rest(body, at + 2 + length) if fits and exact else "a JPEG of another size than the header says"
            )
        at += 2 + length
    return "a JPEG without its frame header"


def _jpeg_rest(body: bytes, at: int) -> str | None:
    """The segments between the frame header and the first scan."""
    while at + 4 <= len(body):
        length = int.from_bytes(body[at + 2 : at + 4])
        if body[at] != 0xFF or body[at + 1] < 0xC0 or length < 2 or at + 2 + length > len(body):
            return "a JPEG segment that does not begin where the last one ends"
        if body[at + 1] == 0xDA:
            return None
        at += 2 + length
    return "a JPEG without a scan"


def _j2k(stream: bytes, shape: Shape) -> str | None:
    body = stream.rstrip(b"\0")
    at = body.find(b"\xff\x4f\xff\x51", 0, 256)
    if at < 0 or body[-2:] != b"\xff\xd9" or len(body) < at + 50:
        return "a JPEG 2000 stream without its start or end"
    length, _, right, bottom, left, top = struct.unpack_from(">HHIIII", body, at + 4)
    (components,) = struct.unpack_from(">H", body, at + 40)
    if (bottom - top, right - left, components) != (shape.rows, shape.columns, shape.samples):
        return "a JPEG 2000 stream of another size than the header says"
    if length != 38 + 3 * components or any(
        (body[at + 42 + 3 * k] & 0x7F) + 1 > shape.allocated for k in range(components)
    ):
        return "a JPEG 2000 stream of another precision than the header says"
    if any(body[at + 43 + 3 * k : at + 45 + 3 * k] != b"\1\1" for k in range(components)):
        return "a JPEG 2000 stream with subsampled components"
    return _j2k_markers(body, at + 4 + length)


def _j2k_markers(body: bytes, at: int) -> str | None:
    """Main header segments, then tile parts whose lengths lead to the end."""
    while at + 4 <= len(body):
        if body[at] != 0xFF:
            return "a JPEG 2000 marker that is none"
        if body[at + 1] == 0x90:
            (length,) = struct.unpack_from(">I", body, at + 6)
            if length == 0:
                return None
            at += length
        elif body[at + 1] == 0xD9:
            return None
        else:
            at += 2 + int.from_bytes(body[at + 2 : at + 4])
    return None if body[at:] == b"\xff\xd9" else "JPEG 2000 segments whose lengths do not lead to the end"
