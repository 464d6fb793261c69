"""The most memory that this process held since a moment."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

_HIGH_WATER = re.compile(r"VmHWM:\s+(\d+) kB")


def begin_peak() -> None:
    """From now on (Linux; elsewhere nothing is known)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float | None:
    """Resident, in MB; None where the system does not say."""
    try:
        found = _HIGH_WATER.search(Path("/proc/self/status").read_text())
    except OSError:
        return None
    return None if found is None else round(int(found[1]) * 1024 / 1e6, 1)
