"""Where compressed frames lie, and every way in which that cannot be said."""

from __future__ import annotations

import struct

import pytest
from pydicom.encaps import encapsulate, encapsulate_extended

from medcnn.io.decoding.fragments import Broken, CutOff, Surplus, content, frames_of

FRAMES = [b"\xff\xd8\xff" + bytes([number]) * 10 + b"." for number in range(3)]


def item(piece: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(piece)) + piece


def joined(data: bytes, frames: int, extended: tuple[bytes, bytes] | None = None) -> list[bytes]:
    return [content(data, pieces) for pieces in frames_of(data, frames, extended)]


@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize("fragments", [1, 2])
def test_frames_by_table_and_by_their_beginnings(fragments: int, table: bool) -> None:
    data = encapsulate(FRAMES, fragments_per_frame=fragments, has_bot=table)
    assert joined(data, 3) == FRAMES
    assert joined(data + b"\xfe\xff\xdd\xe0\0\0\0\0", 3) == FRAMES


def test_one_frame_may_be_in_any_number_of_pieces() -> None:
    assert joined(item(b"") + item(b"abcd") + item(b"ef"), 1) == [b"abcdef"]


def test_frames_by_extended_table() -> None:
    data, offsets, lengths = encapsulate_extended(FRAMES)
    assert joined(data, 3, (offsets, lengths)) == FRAMES
    for tables in ((offsets, lengths[:-8]), (offsets[8:], lengths), (offsets, b"\1" * 24)):
        with pytest.raises(Broken):
            frames_of(data, 3, tables)
    with pytest.raises(Surplus):
        frames_of(data, 2, (offsets, lengths))


@pytest.mark.parametrize("table", [True, False])
def test_another_number_of_frames(table: bool) -> None:
    data = encapsulate(FRAMES, has_bot=table)
    with pytest.raises(CutOff) as caught:
        frames_of(data, 4)
    assert caught.value.present == 3
    with pytest.raises(Surplus):
        frames_of(data, 2)


def test_data_that_breaks_off() -> None:
    data = encapsulate(FRAMES)
    for end in range(len(data)):
        with pytest.raises(Broken):
            frames_of(data[:end], 3)
    with pytest.raises(CutOff):
        frames_of(data[:-1], 3)


def test_rubbish_between_and_behind_the_items() -> None:
    data = encapsulate(FRAMES)
    for wrong in (data + b"rubbish rubbish", data[:20] + b"x" + data[20:], data.replace(b"\xfe\xff", b"\xfe\xfe", 1)):
        with pytest.raises(Broken):
            frames_of(wrong, 3)


def test_a_table_that_does_not_fit() -> None:
    data = bytearray(encapsulate(FRAMES))
    for place, offset in ((8, 2), (12, 3), (16, 2**31), (16, 0)):
        wrong = data.copy()
        wrong[place : place + 4] = struct.pack("<I", offset)
        with pytest.raises(Broken):
            frames_of(bytes(wrong), 3)
    with pytest.raises(Broken):
        frames_of(item(b"abc") + item(b"de"), 1)
