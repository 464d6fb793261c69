"""Whether a frame in DICOM's run-length encoding is as long as it should be, row by row (PS3.5, annex G).

RLE has no checksum, so its lengths are all that can show damage: a decoder that takes what it gets would shift pixels.
The standard ends a run at each row's end, and so does every encoder whose files we have.
"""

from __future__ import annotations

import struct
from itertools import pairwise

_HEADER_BYTES = 64
_MOST_SEGMENTS = 15
_NOTHING = 128  # a control byte without meaning


class Damaged(ValueError):  # noqa: N818  what the frame is
    """Lengths that cannot be."""


def check_lengths(code: bytes, rows: int, columns: int, segments: int) -> None:
    """Raises Damaged unless the frame has so many segments (samples times bytes of one), each of the picture's rows."""
    if len(code) < _HEADER_BYTES:
        raise Damaged("no whole header")
    count, *offsets = struct.unpack_from(f"<{1 + _MOST_SEGMENTS}I", code)
    if count != segments or any(offsets[count:]):
        raise Damaged("another number of segments")
    ends = [*offsets[:count], len(code)]
    if ends[0] != _HEADER_BYTES or any(end <= start for start, end in pairwise(ends)):
        raise Damaged("segments out of order")
    for start, end in pairwise(ends):
        _check_segment(code[start:end], rows, columns)


def _check_segment(segment: bytes, rows: int, columns: int) -> None:
    """Its runs fill each row exactly; one byte of padding may follow."""
    at, length = 0, len(segment)
    left = columns
    while rows and at < length:
        control = segment[at]
        if control < _NOTHING:
            at += control + 2
            left -= control + 1
        elif control > _NOTHING:
            at += 2
            left -= 257 - control
        else:
            at += 1
            continue
        if left <= 0:
            if left:
                raise Damaged("a run goes on past its row")
            rows -= 1
            left = columns
    padded = at == length - 1 and at % 2 == 1 and segment[at] == 0  # PS3.5 G.3.1: to an even length
    if rows or not (at == length or padded):
        raise Damaged("a segment of another length than the picture")
