"""Lengths in run-length encoded frames, on pydicom's encoder."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import RLELossless

from medcnn.io.decoding.rle import Damaged, check_lengths

PIXELS = np.random.default_rng(0).integers(0, 4, (30, 40)).astype(np.uint16) * 257


@pytest.fixture
def code() -> bytes:
    return bytes(
        get_encoder(RLELossless).encode(
            PIXELS,
            rows=30,
            columns=40,
            samples_per_pixel=1,
            bits_allocated=16,
            bits_stored=16,
            pixel_representation=0,
            photometric_interpretation="MONOCHROME2",
            number_of_frames=1,
        )
    )


def test_a_whole_frame(code: bytes) -> None:
    check_lengths(code, 30, 40, 2)


def test_segments_of_another_number_or_place(code: bytes) -> None:
    for segments in (1, 3):
        with pytest.raises(Damaged):
            check_lengths(code, 30, 40, segments)
    for place, offset in ((4, 65), (4, 0), (8, 63), (8, 2**31), (12, 70)):
        wrong = bytearray(code)
        wrong[place : place + 4] = struct.pack("<I", offset)
        with pytest.raises(Damaged):
            check_lengths(bytes(wrong), 30, 40, 2)


def test_planes_of_another_length(code: bytes) -> None:
    for rows, columns in ((29, 40), (31, 40), (30, 39), (30, 41), (40, 30), (60, 20)):
        with pytest.raises(Damaged):
            check_lengths(code, rows, columns, 2)


def test_no_cut_goes_unnoticed(code: bytes) -> None:
    for end in range(len(code) - 2):
        with pytest.raises(Damaged):
            check_lengths(code[:end], 30, 40, 2)


def test_most_changed_run_lengths_are_noticed(code: bytes) -> None:
    """Not all: where small values follow, a data byte can pass for the control byte that was swallowed."""
    start, end = struct.unpack_from("<2I", code, 4)
    at, tried, noticed = start, 0, 0
    while at < end - 1:
        wrong = bytearray(code)
        wrong[at] = (code[at] + 1) % 256
        tried += 1
        try:
            check_lengths(bytes(wrong), 30, 40, 2)
        except Damaged:
            noticed += 1
        at += code[at] + 2 if code[at] < 128 else 2
    assert tried > 200
    assert noticed > 0.9 * tried


def test_runs_without_meaning_are_passed_over() -> None:
    header = struct.pack("<16I", 1, 64, *[0] * 14)
    check_lengths(header + b"\x80\xfd\x07\x80\x01ab", 1, 6, 1)
    check_lengths(header + b"\xfb\x07", 1, 6, 1)
    check_lengths(header + b"\x80\xfd\x07\x80\x01ab\0", 1, 6, 1)  # to an even length
    odd_end = b"\x80\xfd\x07\x80\x01ab\1"
    for wrong in (b"\xfb\x07\x00", odd_end, b"\xfb\x07\x00\x00", b"\xfa\x07", b"\xfc\x07\x00"):
        with pytest.raises(Damaged):
            check_lengths(header + wrong, 1, 6, 1)
