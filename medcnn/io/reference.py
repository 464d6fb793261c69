"""What a manifest calls an image: `path[#series=UID | #frame=n | #row=train/17]`, inside a root it may not leave."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from medcnn.scan import Reason, ScanRejected

_SELECTOR = re.compile(r"^(?P<path>.+)#(?P<kind>series|frame|row)=(?P<value>[^#]+)$")


@dataclass(frozen=True)
class Reference:
    """One image under a root.

    path    POSIX, relative to the root; "." is the root itself
    series  DICOM Series Instance UID, for a folder that holds several
    frame   number of one frame of a multi-frame DICOM file, from 0
    row     (part, index from 0) in an archive of arrays
    """

    path: str
    series: str | None = None
    frame: int | None = None
    row: tuple[str, int] | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read one; a `#` that starts no selector belongs to the file's name."""
        found = _SELECTOR.match(text)
        if found is None:
            return cls(text)
        path, kind, value = found["path"], found["kind"], found["value"]
        if kind == "series":
            return cls(path, series=value)
        if kind == "frame" and value.isdecimal():
            return cls(path, frame=int(value))
        part, slash, index = value.rpartition("/")
        if kind == "row" and slash and part and index.isdecimal():
            return cls(path, row=(part, int(index)))
        raise ScanRejected(
            Reason.READ_ERROR,
            f"the image reference has a malformed #{kind}= part",
            "Write #series=<UID>, #frame=<number from 0> or #row=<part>/<number from 0>",
        )

    def __str__(self) -> str:
        if self.series is not None:
            return f"{self.path}#series={self.series}"
        if self.frame is not None:
            return f"{self.path}#frame={self.frame}"
        if self.row is not None:
            return f"{self.path}#row={self.row[0]}/{self.row[1]}"
        return self.path


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
