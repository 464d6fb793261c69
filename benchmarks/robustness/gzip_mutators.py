"""Damage to a packed NIfTI as it lies on the disk: its checksums cover everything but ten header bytes."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from random import Random

from benchmarks.robustness.mutation import Change, Mutator, Seed, flip_bit

Files = Mapping[str, bytes] | None
HEADER_BYTES, TRAILER_BYTES = 10, 8


def _on_packed(change: Callable[[Random, bytes], bytes | None]) -> Change:
    def on_a_file(rng: Random, seed: Seed) -> Files:
        name = rng.choice(sorted(seed.files))
        new = change(rng, seed.files[name]) if name.endswith(".gz") else None
        return None if new is None else {**seed.files, name: new}

    return on_a_file


def flip(rng: Random, data: bytes) -> bytes:
    return flip_bit(rng, data, HEADER_BYTES, len(data))


def flip_header(rng: Random, data: bytes) -> bytes:
    return flip_bit(rng, data, 0, HEADER_BYTES)


def flip_trailer(rng: Random, data: bytes) -> bytes:
    return flip_bit(rng, data, len(data) - TRAILER_BYTES, len(data))


def cut(rng: Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def cut_trailer(rng: Random, data: bytes) -> bytes:
    return data[: -rng.randint(1, TRAILER_BYTES)]


def garbage_behind(rng: Random, data: bytes) -> bytes:
    size = rng.choice([1, 2, 8, 512, 4096])
    return data + rng.choice([b"\0" * size, rng.randbytes(size), b"\x1f\x8b" + rng.randbytes(size)])


def member_doubled(rng: Random, data: bytes) -> bytes:
    return data + data


def split_in_members(rng: Random, data: bytes) -> bytes:
    """The same content in two members: good."""
    plain = gzip.decompress(data)
    at = rng.randrange(1, len(plain))
    return gzip.compress(plain[:at], mtime=0) + gzip.compress(plain[at:], mtime=0)


def member_lost(rng: Random, data: bytes) -> bytes:
    """The content was in two members, of which one is there."""
    plain = gzip.decompress(data)
    at = rng.randrange(1, len(plain))
    return gzip.compress(rng.choice([plain[:at], plain[at:]]), mtime=0)


def stretch_removed(rng: Random, data: bytes) -> bytes:
    at = rng.randrange(HEADER_BYTES, len(data))
    return data[:at] + data[at + rng.choice([1, 2, 16, 64]) :]


def stretch_overwritten(rng: Random, data: bytes) -> bytes:
    size = rng.choice([1, 4, 16])
    at = rng.randrange(HEADER_BYTES, len(data) - size)
    return data[:at] + rng.randbytes(size) + data[at + size :]


def not_packed(rng: Random, data: bytes) -> bytes:
    """Plain content under the suffix .gz, or packed twice."""
    return rng.choice([gzip.decompress(data), gzip.compress(data, mtime=0)])


GZIP = (
    Mutator("gz: a bit of the stream", _on_packed(flip), certain=True),
    Mutator("gz: a bit of its header", _on_packed(flip_header)),
    Mutator("gz: a bit of CRC or length", _on_packed(flip_trailer), certain=True),
    Mutator("gz: cut at a random byte", _on_packed(cut), certain=True),
    Mutator("gz: cut within the trailer", _on_packed(cut_trailer), certain=True),
    Mutator("gz: garbage behind it", _on_packed(garbage_behind), certain=True),
    Mutator("gz: the member twice", _on_packed(member_doubled), certain=True),
    Mutator("gz: split in two members", _on_packed(split_in_members)),
    Mutator("gz: a member lost", _on_packed(member_lost), certain=True),
    Mutator("gz: a stretch removed", _on_packed(stretch_removed), certain=True),
    Mutator("gz: a stretch overwritten", _on_packed(stretch_overwritten)),
    Mutator("gz: not packed, or twice", _on_packed(not_packed), certain=True),
)
