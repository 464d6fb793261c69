"""The items that compressed pixel data lie in: where each frame's fragments are, or why that cannot be said."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise

_ITEM = b"\xfe\xff\x00\xe0"
_END = b"\xfe\xff\xdd\xe0\0\0\0\0"
_BEGINNINGS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")  # JPEG and JPEG-LS, JPEG 2000, in a JP2

Piece = tuple[int, int]
"""Where a fragment's content begins in the pixel data, and how many bytes it has."""


class Broken(ValueError):  # noqa: N818  what the items are
    """The items do not follow one another to the end, or do not make up the frames that they should.

    present  whole frames, or fragments where frames cannot be told, that are there
    """

    def __init__(self, text: str, present: int) -> None:
        super().__init__(text)
        self.present = present


class CutOff(Broken):
    """The items end too early, or hold too few frames."""


class Surplus(Broken):
    """The items hold more frames than there should be."""


def frames_of(data: bytes, frames: int, extended: tuple[bytes, bytes] | None = None) -> list[list[Piece]]:
    """The fragments of each frame. Raises Broken, CutOff or Surplus.

    data      the value of an encapsulated Pixel Data element, from its offset table on
    extended  the Extended Offset Table and its lengths, 8 bytes a frame, where the data set has them
    """
    table, pieces = _items(data)
    if len(table) % 4:
        raise Broken("the offset table is no list of offsets", len(pieces))
    offsets = struct.unpack(f"<{len(table) // 4}I", table)
    if extended is not None:
        return _by_extended_table(pieces, frames, extended, offsets)
    if offsets:
        if len(offsets) != frames:
            raise _other_count(min(len(offsets), len(pieces)), frames)
        return _by_table(pieces, offsets)
    if frames == 1:
        return [pieces]
    return [[piece] for piece in pieces] if len(pieces) == frames else _by_beginnings(data, pieces, frames)


def content(data: bytes, pieces: Sequence[Piece]) -> bytes:
    """One frame's fragments, joined."""
    return b"".join(data[start : start + length] for start, length in pieces)


def _items(data: bytes) -> tuple[bytes, list[Piece]]:
    """(the basic offset table, all fragments)."""
    at = 0
    pieces: list[Piece] = []
    while at < len(data):
        whole = max(len(pieces) - 1, 0)
        if data.startswith(_END, at) and at + 8 == len(data):
            break
        if len(data) - at < 8:
            raise CutOff("an item breaks off", whole)
        if not data.startswith(_ITEM, at):
            raise Broken(f"there is no item after fragment {whole}", whole)
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + length > len(data):
            raise CutOff("the last fragment is shorter than it says", whole)
        pieces.append((at + 8, length))
        at += 8 + length
    if len(pieces) < 2:
        raise CutOff("there is no fragment", 0)
    start, length = pieces[0]
    return data[start : start + length], pieces[1:]


def _by_table(pieces: list[Piece], offsets: Sequence[int]) -> list[list[Piece]]:
    """A basic offset table counts bytes from the first fragment's item to each frame's first."""
    base = pieces[0][0]
    place = {start - base: number for number, (start, _) in enumerate(pieces)}
    firsts = [place.get(offset, -1) for offset in offsets]
    if firsts[0] != 0 or any(later <= earlier for earlier, later in pairwise(firsts)):
        raise Broken("the offset table does not point at fragments, one after another", len(pieces))
    return [pieces[first:end] for first, end in pairwise([*firsts, len(pieces)])]


def _by_extended_table(
    pieces: list[Piece], frames: int, extended: tuple[bytes, bytes], offsets: Sequence[int]
) -> list[list[Piece]]:
    """With an extended table each frame is one fragment and the basic one is empty."""
    starts, lengths = (struct.unpack(f"<{len(part) // 8}Q", part[: len(part) // 8 * 8]) for part in extended)
    if len(pieces) != frames:
        raise _other_count(len(pieces), frames)
    base = pieces[0][0]
    same = len(starts) == len(lengths) == frames and all(
        start - base == told_start and 0 <= length - told_length <= 1  # a fragment may be padded to an even length
        for (start, length), told_start, told_length in zip(pieces, starts, lengths, strict=True)
    )
    if offsets or not same:
        raise Broken("the extended offset table does not fit the fragments", len(pieces))
    return [[piece] for piece in pieces]


def _by_beginnings(data: bytes, pieces: list[Piece], frames: int) -> list[list[Piece]]:
    """Without any table, and with another number of fragments than frames, a frame begins where a picture does."""
    groups: list[list[Piece]] = []
    for piece in pieces:
        if data.startswith(_BEGINNINGS, piece[0]) or not groups:
            groups.append([piece])
        else:
            groups[-1].append(piece)
    if len(groups) != frames:
        raise _other_count(len(groups), frames)
    return groups


def _other_count(present: int, frames: int) -> Broken:
    return (CutOff if present < frames else Surplus)(f"{present} frame(s) are there, {frames} are claimed", present)
