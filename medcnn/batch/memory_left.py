"""How much memory this process may still take: the least of what the machine, its control group and itself allow."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

_NO_LIMIT = 2**60  # version 1 writes "none" as a number near 2^63
_FILES = {  # version of control groups -> (limit, in use, what of it are file pages that can be dropped)
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def memory_left_mb() -> float:
    """In 10^6 bytes. What a system does not say does not count."""
    return float(min([psutil.virtual_memory().available, *_group_bytes(), *_own_bytes()])) / 1e6


def _group_bytes() -> Iterator[int]:
    with suppress(OSError):
        yield from left_in_groups(Path("/proc/self/cgroup").read_text(), Path("/sys/fs/cgroup"))


def left_in_groups(groups: str, mount: Path) -> Iterator[int]:
    """Bytes below the limit of the process's control group and of each above it.

    groups  /proc/self/cgroup: a line `hierarchy:controllers:path` each (cgroups(7))
    mount   where they are mounted; in a container its own group is the mount itself, whatever the path says
    """
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        version, top = (1, mount / "memory") if controllers else (2, mount)
        place = top / path.lstrip("/")
        for folder in [place, *place.parents] if place.is_relative_to(top) else []:
            if folder.is_relative_to(top) and (left := _left_in_group(folder, version)) is not None:
                yield left


def _left_in_group(folder: Path, version: int) -> int | None:
    limit_file, use_file, droppable = _FILES[version]
    try:
        limit, use = (folder / limit_file).read_text().strip(), int((folder / use_file).read_text())
        found = re.search(rf"^{droppable} (\d+)$", (folder / "memory.stat").read_text(), re.MULTILINE)
    except (OSError, ValueError):
        return None
    if not limit.isdecimal() or int(limit) >= _NO_LIMIT:
        return None
    return max(0, int(limit) - use + (int(found[1]) if found else 0))


def _own_bytes() -> Iterator[int]:
    """Below RLIMIT_AS and RLIMIT_DATA (getrlimit(2))."""
    if sys.platform == "win32":
        return
    import resource

    for kind, field in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        limit, _ = resource.getrlimit(kind)
        if limit != resource.RLIM_INFINITY:
            yield max(0, limit - _status_bytes(field))


def _status_bytes(field: str) -> int:
    """0 where the system does not say."""
    with suppress(OSError):
        found = re.search(rf"^{field}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
    return 0
