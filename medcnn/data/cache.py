"""Prepared scans on disk, found by what they were made from and how.

An entry's key covers the bytes of the files, the reference into them, every step with its numbers and the versions
of the libraries that run them: a changed step never reads an old entry. A damaged entry is deleted and made again.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medcnn.data.mapped import Arrays, mapped, pieces

Image = npt.NDArray[np.float32]

FORMAT = 1
_MAGIC = b"medcnn-cache-1\n"
_SETTLED_NS = 2_000_000_000  # a file that changed a moment ago can change again within one tick of its clock
_DECIDING = ("numpy", "pydicom", "nibabel", "monai", "torch", "pillow", "imagecodecs", "pyjpegls", "pylibjpeg-openjpeg")


@dataclass(frozen=True)
class Facts:
    """What is worth knowing of a prepared scan without reading it again; no patient data.

    pixels     SHA-256 of the decoded voxels and their shape: equal where two files hold one picture
    constant   all voxels alike, so that equal pixels say nothing
    low, high  the 1st and 99th percentile of the true values
    """

    pixels: str
    constant: bool
    low: float
    high: float
    modality: str = ""
    body_part: str = ""
    shape: tuple[int, ...] = ()
    spacing_mm: tuple[float, ...] = ()
    flags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Entry:
    """A prepared scan and its facts."""

    image: Image
    facts: Facts


def versions() -> dict[str, str]:
    """Of the libraries whose change could change a prepared scan."""
    found = {}
    for name in _DECIDING:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


class Cache:
    """A folder of entries, mode 0700."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._versions = versions()
        self._digests = _FileDigests(folder / "files.json")
        self._trusted: set[str] = set()  # mapped entries that were checked, or written, by this process

    def key(self, files: Sequence[Path], places: Sequence[str], steps: dict[str, Any]) -> str:
        """Of a scan: its files' content, the places in them (a frame, a row), the steps, the versions."""
        content = [self._digests.of(path) for path in files]
        recipe = {
            "content": content,
            "places": list(places),
            "steps": steps,
            "versions": self._versions,
            "format": FORMAT,
        }
        return sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()

    def read(self, key: str) -> Entry | None:
        """The entry; None where there is none or it is damaged, in which case it is gone afterwards."""
        path = self._path(key)
        try:
            return _decoded(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, struct.error):
            with suppress(OSError):  # a read-only cache keeps it; it is not used
                path.unlink(missing_ok=True)
            return None

    def derived_key(self, key: str, steps: dict[str, Any]) -> str:
        """Of what further steps make of an entry."""
        return sha256(json.dumps([key, steps], sort_keys=True).encode()).hexdigest()

    def read_arrays(self, key: str) -> Arrays | None:
        """The arrays of an entry, mapped and read-only; its checksum is compared the first time in a process.

        None where there is none or it is damaged, in which case it is gone afterwards.
        """
        path = self._path(key)
        try:
            found = mapped(path, check=key not in self._trusted)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, struct.error):
            with suppress(OSError):  # a read-only cache keeps it; it is not used
                path.unlink(missing_ok=True)
            return None
        self._trusted.add(key)
        return found

    def write_arrays(self, key: str, arrays: Arrays) -> None:
        """As `write`. Raises OSError."""
        self._write(key, pieces(arrays))
        self._trusted.add(key)

    def write(self, key: str, entry: Entry) -> None:
        """Aside, then renamed: nobody ever sees half an entry. Raises OSError."""
        self._write(key, [_encoded(entry)])

    def _write(self, key: str, content: Iterable[bytes | memoryview]) -> None:
        path = self._path(key)
        _make_private(path.parent)
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=".part-")
        try:
            with os.fdopen(handle, "wb") as stream:
                for piece in content:
                    stream.write(piece)
            Path(aside).replace(path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise

    def remember(self) -> None:
        """Keep the digests of unchanged files, so that the next command need not read them; where that can be."""
        with suppress(OSError):
            self._digests.save()

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key

    def entries(self) -> Iterator[Path]:
        """Every entry, and what a crash left half-written."""
        yield from (path for path in self.folder.glob("??/*") if path.is_file())

    def size_bytes(self) -> int:
        """Of all entries."""
        return sum(size for _, size, _ in self._aged())

    def shrink(self, quota_bytes: float) -> int:
        """Delete the oldest entries beyond the quota; how many went."""
        total, gone = 0, 0
        for _, size, path in sorted(self._aged(), reverse=True):
            total += size
            if total > quota_bytes:
                with suppress(OSError):  # another process was there first, or the folder is read-only
                    path.unlink()
                    gone += 1
        return gone

    def _aged(self) -> Iterator[tuple[float, int, Path]]:
        for path in self.entries():
            with suppress(FileNotFoundError):  # another process shrinks it too
                status = path.stat()
                yield status.st_mtime, status.st_size, path

    def clear(self) -> int:
        """Delete everything in it; how many entries went."""
        gone = self.shrink(-1)
        (self.folder / "files.json").unlink(missing_ok=True)
        return gone


def _make_private(folder: Path) -> None:
    """With every missing folder above it; mkdir's own mode is for the last one only."""
    for missing in reversed([above for above in (folder, *folder.parents) if not above.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def _encoded(entry: Entry) -> bytes:
    image = np.ascontiguousarray(entry.image, np.float32)
    head = json.dumps({"shape": image.shape, "facts": asdict(entry.facts)}).encode()
    body = _MAGIC + struct.pack("<I", len(head)) + head + image.tobytes()
    return body + sha256(body).digest()


def _decoded(content: bytes) -> Entry:
    body, digest = content[:-32], content[-32:]
    if not body.startswith(_MAGIC) or sha256(body).digest() != digest:
        raise ValueError("damaged")
    start = len(_MAGIC) + 4
    (length,) = struct.unpack("<I", body[start - 4 : start])
    head = json.loads(body[start : start + length])
    facts = head["facts"]
    facts["shape"], facts["spacing_mm"] = tuple(facts["shape"]), tuple(facts["spacing_mm"])
    image = np.frombuffer(body, np.float32, offset=start + length).reshape(head["shape"])
    return Entry(image, Facts(**facts))


class _FileDigests:
    """SHA-256 of files, remembered for as long as size, times and inode stay as they were."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = False
        try:
            known = json.loads(path.read_text())
        except (OSError, ValueError):
            known = {}
        self._known: dict[str, list[Any]] = known if isinstance(known, dict) else {}

    def of(self, file: Path) -> str:
        status = file.stat()
        mark = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        name = sha256(str(file).encode()).hexdigest()[:32]  # the cache holds no paths
        known = self._known.get(name)
        if known is not None and known[:4] == mark:
            return str(known[4])
        digest = sha256()
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NS:
            self._known[name] = [*mark, digest.hexdigest()]
            self._changed = True
        return digest.hexdigest()

    def save(self) -> None:
        if not self._changed:
            return
        _make_private(self._path.parent)
        aside = self._path.with_suffix(f".{os.getpid()}.part")
        aside.write_text(json.dumps(self._known))
        aside.replace(self._path)
        self._changed = False
