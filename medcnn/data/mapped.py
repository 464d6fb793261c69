"""Arrays in one file that are mapped, not read: a patch of a large volume costs its own bytes only.

magic, length of the head, head (JSON: what the writer wants to say, and where each array lies), the arrays, each at a
multiple of 64 bytes, and the SHA-256 of all that.
"""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_MAGIC = b"medcnn-arrays-1\n"
_START = len(_MAGIC) + 8
_ALIGNED = 64
_DIGEST = 32


@dataclass(frozen=True, eq=False)
class Arrays:
    """Named arrays, read-only when they are mapped, and a head of plain JSON."""

    head: dict[str, Any]
    arrays: Mapping[str, npt.NDArray[Any]]


def pieces(given: Arrays) -> Iterator[bytes | memoryview]:
    """The file's content, a piece after the other, so that no volume is copied."""
    digest = sha256()
    arrays = {name: np.ascontiguousarray(array) for name, array in given.arrays.items()}
    places, end = {}, 0
    for name, array in arrays.items():
        places[name] = [array.dtype.str, list(array.shape), end]
        end = _up(end + array.nbytes)
    head = json.dumps({"head": given.head, "places": places}).encode()
    begin = _MAGIC + struct.pack("<Q", len(head)) + head
    for piece in (begin.ljust(_up(len(begin)), b"\0"), *(part for array in arrays.values() for part in _padded(array))):
        digest.update(piece)
        yield piece
    yield digest.digest()


def mapped(path: Path, *, check: bool) -> Arrays:
    """The arrays of a file, as views of it; check compares its SHA-256, which reads it once.

    Raises OSError, and ValueError (of some kind), KeyError or TypeError where the file is damaged.
    """
    with path.open("rb") as stream:
        content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    if check and sha256(memoryview(content)[:-_DIGEST]).digest() != content[-_DIGEST:]:
        raise ValueError("damaged")
    if content[: len(_MAGIC)] != _MAGIC:
        raise ValueError("another kind of file")
    (length,) = struct.unpack("<Q", content[len(_MAGIC) : _START])
    found = json.loads(content[_START : _START + length])
    data = _up(_START + length)
    arrays = {
        name: np.ndarray(tuple(shape), np.dtype(kind), buffer=content, offset=data + offset)
        for name, (kind, shape, offset) in found["places"].items()
    }
    return Arrays(found["head"], arrays)


def _up(position: int) -> int:
    return -(-position // _ALIGNED) * _ALIGNED


def _padded(array: npt.NDArray[Any]) -> Iterator[bytes | memoryview]:
    yield array.reshape(-1).view(np.uint8).data
    yield bytes(_up(array.nbytes) - array.nbytes)
