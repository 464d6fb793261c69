"""Which files of a folder may be scans: the same for whoever looks for cases and for whoever reads one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medcnn.scan import Reason, ScanRejected

FIRST_PIECE_BYTES = 2**15  # holds the whole header of most DICOM files


@dataclass(frozen=True, slots=True)
class FileStart:
    """A file's first bytes, read once for everybody who looks at them.

    mark  changes when the file does: size, time of change, inode
    """

    path: Path
    size: int
    mark: tuple[int, int, int]
    head: bytes

    @classmethod
    def of(cls, path: Path) -> FileStart:
        """Raises NOT_REGULAR_FILE for a pipe or a device, which would never end; OSError."""
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ScanRejected(Reason.NOT_REGULAR_FILE, "a pipe, device or socket, not a file", "Leave it out")
        with path.open("rb", buffering=0) as file:
            head = file.read(FIRST_PIECE_BYTES)
        return cls(path, status.st_size, (status.st_size, status.st_mtime_ns, status.st_ino), head)


def is_passed_over(path: Path) -> bool:
    """Hidden files, and a medium's table of contents."""
    return path.name.startswith(".") or path.name.upper() == "DICOMDIR"


def is_usable(path: Path, root: Path) -> bool:
    """A regular file inside the root, links followed."""
    if not path.is_file():
        return False
    return not path.is_symlink() or path.resolve().is_relative_to(root.resolve())


def files_below(folder: Path, root: Path, *, deep: bool) -> Iterator[Path]:
    """What may be scans in a folder, or at any depth in it; links to folders are not followed, hidden ones neither."""
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if deep and not name.startswith(".")]
        for name in names:
            path = Path(here, name)
            if not is_passed_over(path) and is_usable(path, root):
                yield path
