"""What a compressed picture says of itself: JPEG, JPEG-LS and JPEG 2000 markers, walked to the end without decoding.

Decoders fill what is missing at the end of a picture with grey and say nothing, so its end is looked for here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

JPEG_LS = 0xF7  # the frame marker that makes a JPEG a JPEG-LS
_FRAME = {*range(0xC0, 0xD0), JPEG_LS} - {0xC4, 0xC8, 0xCC}  # C4, C8, CC are tables
_SCAN, _END, _RESTART_INTERVAL, _ADOBE = 0xDA, 0xD9, 0xDD, 0xEE
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xDA)}
_AFTER_JPEG_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # FF 00 is a stuffed byte, FF D0 to D7 a restart
_AFTER_JPEG_LS_SCAN = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")  # JPEG-LS stuffs a bit: FF is followed by less than 80
_RESTARTS = re.compile(rb"\xff([\xd0-\xd7])")
_SIZ = b"\xff\x4f\xff\x51"  # the start of a codestream and its size marker
_JP2 = b"\0\0\0\x0cjP  "
_COD, _SOT, _EOC = b"\xff\x52", b"\xff\x90", b"\xff\xd9"
_PADDING = b"\0\xff"  # what writers fill the last fragment up with


@dataclass(frozen=True)
class Codestream:
    """A compressed picture by its own account.

    process            JPEG's frame marker (0xC0 baseline, 0xC1 extended, 0xC3 lossless, 0xF7 JPEG-LS); 0 for JPEG 2000
    precision          bits of a sample
    colour_transform   JPEG 2000: the codestream turns the colours itself, so that the decoder gives RGB
    adobe_transform    JPEG: what Adobe's marker says of colours, 0 as they are, 1 YCbCr; -1 where there is none
    complete           whether it goes on to its end marker, with restarts in order and every tile
    trailing           whether something else than padding follows the end marker
    """

    process: int
    rows: int
    columns: int
    components: int
    precision: int
    colour_transform: bool
    adobe_transform: int
    complete: bool
    trailing: bool

    @property
    def family(self) -> Literal["JPEG", "JPEG-LS", "JPEG 2000"]:
        return {0: "JPEG 2000", JPEG_LS: "JPEG-LS"}.get(self.process, "JPEG")  # type: ignore[return-value]


def read_codestream(code: bytes) -> Codestream | None:
    """None where the bytes are of another kind, or break off before they say how large the picture is."""
    if code[:2] == b"\xff\xd8":
        return _jpeg(code)
    if code[:8] == _JP2:
        code = _inside_jp2(code)
    return _jpeg_2000(code) if code[:4] == _SIZ else None


def _inside_jp2(code: bytes) -> bytes:
    """The codestream in a JP2 file's boxes, b"" where there is none."""
    at = 0
    while at + 8 <= len(code):
        length = _number(code, at, 4) or len(code) - at  # 0: up to the end
        if code[at + 4 : at + 8] == b"jp2c":
            return code[at + 8 : at + length] if at + length <= len(code) else code[at + 8 :]
        at += max(length, 8)
    return b""


def _number(code: bytes, at: int, width: int = 2) -> int:
    return int.from_bytes(code[at : at + width])


def _jpeg(code: bytes) -> Codestream | None:
    frame, interval, adobe, scans, whole, complete, after = -1, 0, -1, 0, True, False, len(code)
    for marker, at, end in _segments(code):
        if marker in _FRAME:
            whole, frame = frame < 0, at  # a second frame would be a picture in steps, which DICOM does not have
        elif marker == _RESTART_INTERVAL:
            interval = _number(code, at + 4, end - at - 4)
        elif marker == _ADOBE and code[at + 4 : at + 9] == b"Adobe" and end - at >= 16:
            adobe = code[at + 15]
        elif marker == _SCAN:
            scans += 1
            whole = whole and _restarts_in_order(code, at, end, interval)
        elif marker == _END:
            complete, after = whole and scans > 0, end
    if frame < 0 or frame + 10 > len(code):
        return None
    return Codestream(
        process=code[frame + 1],
        rows=_number(code, frame + 5),
        columns=_number(code, frame + 7),
        components=code[frame + 9],
        precision=code[frame + 4],
        colour_transform=False,
        adobe_transform=adobe,
        complete=complete,
        trailing=bool(code[after:].strip(_PADDING)),
    )


def _segments(code: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, where it stands, where what belongs to it ends), a scan with its data; stops where the code breaks."""
    at, scan_end = 2, _AFTER_JPEG_SCAN
    while at + 2 <= len(code) and code[at] == 0xFF:
        marker, end = code[at + 1], at + 2
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker not in _WITHOUT_LENGTH:
            length = _number(code, end)
            end += length
            if length < 2 or end > len(code):
                return
        if marker == JPEG_LS:
            scan_end = _AFTER_JPEG_LS_SCAN
        if marker == _SCAN:
            found = scan_end.search(code, end)
            if found is None:
                return
            end = found.start()
        yield marker, at, end
        if marker == _END:
            return
        at = end


def _restarts_in_order(code: bytes, start: int, end: int, interval: int) -> bool:
    """Restart markers count from 0 to 7 and round again: one that is missing is a piece of picture that is missing."""
    found = _RESTARTS.findall(code, start, end)
    if not interval:
        return not found
    return all(marker[0] == 0xD0 + number % 8 for number, marker in enumerate(found))


def _jpeg_2000(code: bytes) -> Codestream | None:
    at = 2  # the SIZ marker
    if at + 41 > len(code):
        return None
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top = (
        _number(code, at + 6 + 4 * place, 4) for place in range(8)
    )
    components = _number(code, at + 38)
    depths = {code[at + 40 + 3 * place] for place in range(components) if at + 40 + 3 * place < len(code)}
    if not depths or not tile_width or not tile_height:
        return None
    told = code[at + 40 : at + 2 + _number(code, at + 2)]  # of each component its depth and its steps, which are 1
    is_plain = len(told) == 3 * components and told[1::3] + told[2::3] == b"\1" * (2 * components)
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    first_part, transform = _main_header(code, at)
    end = _after_tiles(code, first_part, tiles) if first_part else 0
    return Codestream(
        process=0,
        rows=bottom - top,
        columns=right - left,
        components=components,
        precision=max(depth & 0x7F for depth in depths) + 1,
        colour_transform=transform,
        adobe_transform=-1,
        complete=end > 0 and is_plain,
        trailing=end > 0 and bool(code[end:].strip(_PADDING)),
    )


def _main_header(code: bytes, at: int) -> tuple[int, bool]:
    """(where the first tile part begins, 0 where it does not; whether the components are transformed)."""
    transform = False
    while code[at : at + 1] == b"\xff" and at + 4 <= len(code):
        marker = code[at : at + 2]
        if marker == _SOT:
            return at, transform
        if marker == _COD:
            transform = code[at + 8 : at + 9] == b"\1"
        at += 2 + _number(code, at + 2)
    return 0, transform


def _after_tiles(code: bytes, at: int, tiles: int) -> int:
    """Where it ends, if every tile has a part, each is as long as it says, and the end marker follows; else 0."""
    seen = set()
    while code[at : at + 2] == _SOT and at + 12 <= len(code):
        seen.add(_number(code, at + 4))
        length = _number(code, at + 6, 4)
        if length == 0:  # allowed in the last part: up to the end marker
            at = len(code.rstrip(_PADDING)) - 1
            break
        if length < 14:
            return 0
        at += length
    return at + 2 if len(seen) == tiles and code[at : at + 2] == _EOC else 0
