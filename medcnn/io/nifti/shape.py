"""A NIfTI file's dimensions by its first bytes: nothing is checked, for sorting files and not for reading them."""

from __future__ import annotations

import struct
import zlib

_DIM_AT = {348: (40, "8h"), 540: (16, "8q")}  # -> where the dimensions stand, NIfTI-1 and -2
_HEAD_BYTES = 144  # as far as they reach
_MOST_PACKED_BYTES = 2048  # of gzip: more than its own header and the dimensions take


def shape_by_head(head: bytes) -> tuple[int, ...]:
    """Of a plain or gzip file's first bytes, without axes of one beyond the third; () where they do not say."""
    start = _unpacked(head)
    for order in "<>":
        (size,) = struct.unpack_from(f"{order}i", start) if len(start) >= _HEAD_BYTES else (0,)
        if size in _DIM_AT:
            at, layout = _DIM_AT[size]
            return _shape(struct.unpack_from(order + layout, start, at))
    return ()


def _shape(dim: tuple[int, ...]) -> tuple[int, ...]:
    shape = dim[1 : 1 + dim[0]] if 2 <= dim[0] <= 7 else ()
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape if shape and min(shape) > 0 else ()


def _unpacked(head: bytes) -> bytes:
    if not head.startswith(b"\x1f\x8b"):
        return head[:_HEAD_BYTES]
    try:
        return zlib.decompressobj(wbits=31).decompress(head[:_MOST_PACKED_BYTES], _HEAD_BYTES)
    except zlib.error:
        return b""
