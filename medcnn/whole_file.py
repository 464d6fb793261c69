"""Files that are whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

PART = ".part-"  # what a file is called until it is whole; readers and discovery pass over hidden files


def write_whole(path: Path, content: bytes) -> None:
    """A file with this content, readable by its owner only (mode 0600). Raises OSError, and leaves nothing then."""
    with whole(path) as stream:
        stream.write(content)


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """Written aside, to the disk, then renamed, and the rename to the disk: nobody ever sees a part of it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=PART)
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    _settle(path.parent)


def _settle(folder: Path) -> None:
    """The rename itself to the disk, where folders can be synced (not on Windows)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
