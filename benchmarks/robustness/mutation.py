"""What a mutated scan is: files, what was done to them, and whether that could be noticed at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any


class Label(StrEnum):
    """Decided before any reader sees the bytes.

    detectable    a length, the structure, a checksum, or two statements of the file (or of its slices) contradict
    undetectable  one plausible value stands where another stood, or pixel bytes that no checksum covers
    """

    DETECTABLE = "detectable"
    UNDETECTABLE = "undetectable"


@dataclass(frozen=True)
class Seed:
    """One good scan.

    files      relative path -> content; one file, or the files of one series
    reference  what is read, below the folder that holds the files
    options    Reading's choices; {"labels": (0, 1, 2)} instead reads a mask with these declared
    """

    name: str
    files: Mapping[str, bytes]
    reference: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Mutant:
    """One damaged scan; why says which rule made it detectable, or what makes it plausible."""

    files: Mapping[str, bytes]
    label: Label
    why: str


#: (rng, seed) -> the seed's files after one change, or None where the seed has nothing of the kind to change
Change = Callable[[Random, Seed], Mapping[str, bytes] | None]


@dataclass(frozen=True)
class Mutator:
    """A class of damage. certain: contradicts by construction, so that no rule is asked."""

    name: str
    change: Change
    certain: bool = False


def flip_bit(rng: Random, data: bytes, start: int, end: int) -> bytes:
    """One bit somewhere in [start, end) is turned over."""
    at = rng.randrange(start, end)
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
