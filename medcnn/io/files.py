"""Which files of a folder may be scans: the same for whoever looks for cases and for whoever reads one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


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
