"""What size a compressed picture says it has: JPEG, JPEG-LS and JPEG 2000 markers, without decoding."""

from __future__ import annotations

_SOF = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # frame headers; C4, C8, CC are tables, F7 is JPEG-LS
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_SIZ = b"\xff\x4f\xff\x51"


def codestream_size(code: bytes) -> tuple[int, int] | None:
    """(rows, columns), or None where the bytes are of another kind or break off before saying."""
    start = code.find(_SIZ, 0, 1024)  # raw, or inside a JP2 box
    if start >= 0 and len(code) >= start + 24:
        width, height, left, top = (int.from_bytes(code[at : at + 4]) for at in range(start + 8, start + 24, 4))
        return height - top, width - left
    return _jpeg_size(code) if code[:2] == b"\xff\xd8" else None


def _jpeg_size(code: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(code):
        if code[at] != 0xFF:
            return None
        marker = code[at + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _SOF:
            return int.from_bytes(code[at + 5 : at + 7]), int.from_bytes(code[at + 7 : at + 9])
        if marker == 0xDA:
            return None
        at += 2 + int.from_bytes(code[at + 2 : at + 4])
    return None
