"""Cache: how large the prepared scans of a run root are, and clearing them.

python -m medcnn.cache [output=runs] [clear=true]
"""

from __future__ import annotations

import sys
from pathlib import Path

from medcnn.config.arguments import ArgumentError, key_values

USAGE = """usage: python -m medcnn.cache [output=runs] [folder=<cache folder>] [clear=true]

Prepared scans are kept so that nothing is prepared twice. They are patient data: mode 0700, below the run root.

  output=runs        the run root whose cache is meant
  folder=<folder>    a cache elsewhere (what cache.folder named)
  clear=true         delete it; the next training prepares its scans again
"""


def cache(folder: Path, *, clear: bool) -> str:
    """What there is, or what was deleted, in a sentence."""
    from medcnn.data.cache import Cache

    found = Cache(folder)
    count, size = sum(1 for _ in found.entries()), found.size_bytes()
    if clear:
        found.clear()
        return f"deleted {count} prepared scans, {size / 1e6:.1f} MB, from {folder}"
    return f"{count} prepared scans, {size / 1e6:.1f} MB, in {folder}"


def main() -> None:
    """The command."""
    words = sys.argv[1:]
    if any(word in ("-h", "--help") for word in words):
        print(USAGE)  # noqa: T201
        return
    try:
        given = key_values(words, {"output": "runs", "folder": "", "clear": "false"})
        if given["clear"] not in ("true", "false"):
            raise ArgumentError("clear is true or false")
    except ArgumentError as error:
        print(f"medcnn cache: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    folder = Path(given["folder"]) if given["folder"] else Path(given["output"]) / ".medcnn" / "cache"
    print(cache(folder.expanduser().absolute(), clear=given["clear"] == "true"))  # noqa: T201


if __name__ == "__main__":
    main()
