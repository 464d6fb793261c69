"""What a manifest calls an image: `path[#series=UID | #frame=n | #row=train/17]`, inside a root it may not leave.

A series that holds several volumes needs to be told which: `folder#series=UID&time=2`, `folder#echo=30`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath

from medcnn.config.reading import SPLIT_BY
from medcnn.scan import Reason, ScanRejected

_SELECTOR = re.compile(rf"^(?P<path>.+)#(?P<rest>(?:series|frame|row|{'|'.join(SPLIT_BY)})=[^#]+)$")


@dataclass(frozen=True)
class Reference:
    """One image under a root.

    path    POSIX, relative to the root; "." is the root itself
    series  DICOM Series Instance UID, for a folder that holds several
    frame   number of one frame of a multi-frame DICOM file, from 0
    row     (part, index from 0) in an archive of arrays
    chosen  (key, value) pairs that pick one volume of a series that holds several
    """

    path: str
    series: str | None = None
    frame: int | None = None
    row: tuple[str, int] | None = None
    chosen: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read one; a `#` that starts no selector belongs to the file's name."""
        found = _SELECTOR.match(text)
        if found is None:
            return cls(text)
        reference = cls(found["path"])
        for part in found["rest"].split("&"):
            key, _, value = part.partition("=")
            reference = reference._with(key, value)
        return reference

    def _with(self, key: str, value: str) -> Reference:
        if key == "series" and value:
            return replace(self, series=value)
        if key == "frame" and value.isdecimal():
            return replace(self, frame=int(value))
        part, slash, index = value.rpartition("/")
        if key == "row" and slash and part and index.isdecimal():
            return replace(self, row=(part, int(index)))
        if key in SPLIT_BY and value:
            return replace(self, chosen=(*self.chosen, (key, value)))
        raise ScanRejected(
            Reason.READ_ERROR,
            f"the image reference has a malformed #{key}= part" if key.isidentifier() else "the reference is malformed",
            f"Write #series=<UID>, #frame=<number from 0>, #row=<part>/<number from 0>, or {'/'.join(SPLIT_BY)}=...",
        )

    def __str__(self) -> str:
        parts = [f"{key}={value}" for key, value in self._parts()]
        return f"{self.path}#{'&'.join(parts)}" if parts else self.path

    def _parts(self) -> Iterator[tuple[str, str]]:
        if self.series is not None:
            yield "series", self.series
        if self.frame is not None:
            yield "frame", str(self.frame)
        if self.row is not None:
            yield "row", f"{self.row[0]}/{self.row[1]}"
        yield from self.chosen


def resolve(root: Path, reference: Reference | str) -> Path:
    """The absolute path of a reference's file or folder, inside the root after every link is followed."""
    path = (reference if isinstance(reference, Reference) else Reference.parse(reference)).path
    if not path or "\0" in path or PurePosixPath(path).is_absolute() or PureWindowsPath(path).drive:
        raise _escape("is not a relative path")
    if ".." in PurePosixPath(path).parts or ".." in PureWindowsPath(path).parts:
        raise _escape("climbs out with '..'")
    try:
        base = root.resolve(strict=True)
        full = (base / path).resolve(strict=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise ScanRejected(
            Reason.READ_ERROR,
            f"the file cannot be opened ({type(error).__name__})",
            "Check data.root and the path in the manifest, and that you may read the file",
        ) from None
    if not full.is_relative_to(base):
        raise _escape("is a link that leads out")
    return full


def _escape(how: str) -> ScanRejected:
    return ScanRejected(
        Reason.PATH_ESCAPE, f"the image reference {how} of the data root", "Name files by their path below data.root"
    )
