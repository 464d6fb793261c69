"""Every case under a folder, and everything that is none with the reason: headers only, always in the same order."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from medcnn.io.content import Content, content_of
from medcnn.io.dicom_series import Header, header_of
from medcnn.io.read import rejecting
from medcnn.io.reference import Reference
from medcnn.scan import Reason, Rejection, ScanRejected


@dataclass(frozen=True)
class Found:
    """One case, by its header.

    identity    SOP Instance UIDs (sorted), as in the Scan; () where the format has none
    patient_id  as in the header; never logged, never written
    label       an archive row's own label; () elsewhere
    """

    reference: str
    modality: str = ""
    body_part: str = ""
    identity: tuple[str, ...] = ()
    patient_id: str = field(default="", repr=False)
    label: tuple[int, ...] = ()


@dataclass(frozen=True)
class Skipped:
    """One file or folder that is no case."""

    reference: str
    rejection: Rejection


def discover(root: Path) -> Iterator[Found | Skipped]:
    """Walk root at any depth. A file as root stands for itself alone, its references relative to its folder."""
    base = root.parent if root.is_file() else root
    headers: list[Header] = []
    for path in [root] if root.is_file() else _files(root):
        if isinstance(path, Skipped):
            yield path
            continue
        try:
            content = _content(path)
            if content is Content.DICOM:
                headers.append(_header(path))
            else:
                yield from _cases(path, content, base)
        except ScanRejected as rejected:
            yield Skipped(_relative(path, base), rejected.rejection)
    yield from _dicom_cases(headers, base)


@rejecting
def _content(path: Path) -> Content:
    return content_of(path)


@rejecting
def _header(path: Path) -> Header:
    return header_of(path)


@rejecting
def _cases(path: Path, content: Content, base: Path) -> list[Found]:
    reference = _relative(path, base)
    if content is not Content.ARCHIVE:
        return [Found(reference)]
    from medcnn.io.archive import rows

    return [Found(str(Reference(reference, row=(part, index))), label=label) for part, index, label in rows(path)]


def _files(folder: Path) -> Iterator[Path | Skipped]:
    """Regular files below a folder, sorted by path; links to folders are not followed, so no walk is endless."""
    for here, folders, names in os.walk(folder, onerror=None):
        unreadable = [name for name in folders if not os.access(Path(here, name), os.R_OK | os.X_OK)]
        hidden = [name for name in folders if name.startswith(".")]
        links = [name for name in folders if Path(here, name).is_symlink()]
        for reason, skipped in ((Reason.READ_ERROR, unreadable), (Reason.NOT_REGULAR_FILE, links)):
            for name in sorted(set(skipped) - set(hidden)):
                yield Skipped(_relative(Path(here, name), folder), _unusable(reason))
        folders[:] = sorted(set(folders) - {*unreadable, *hidden, *links})
        for name in sorted(names):
            yield _file(Path(here, name), folder)


def _file(path: Path, base: Path) -> Path | Skipped:
    if path.name.startswith(".") or path.name.upper() == "DICOMDIR":
        return Skipped(_relative(path, base), _unusable(Reason.NOT_AN_IMAGE))
    if not path.is_file() or (path.is_symlink() and not path.resolve().is_relative_to(base.resolve())):
        return Skipped(_relative(path, base), _unusable(Reason.NOT_REGULAR_FILE))
    return path


def _unusable(code: Reason) -> Rejection:
    found = {
        Reason.NOT_AN_IMAGE: "a hidden file or a DICOM directory",
        Reason.NOT_REGULAR_FILE: "a pipe, device, socket, or a link to nowhere, to a folder or out of the root",
        Reason.READ_ERROR: "the folder may not be read",
    }
    remedy = "Give yourself the right to read it" if code is Reason.READ_ERROR else "Nothing, if it is no scan"
    return Rejection(code, found[code], remedy)


def _dicom_cases(headers: Iterable[Header], base: Path) -> Iterator[Found | Skipped]:
    """Slices by series wherever they lie, everything else by file."""
    series: dict[str, list[Header]] = defaultdict(list)
    in_folder: dict[Path, set[str]] = defaultdict(set)
    for header in headers:
        if header.is_localizer:
            yield Skipped(_relative(header.path, base), _localizer())
            continue
        in_folder[header.path.parent].add(header.series)
        if header.belongs_to_a_series:
            series[header.series].append(header)
        else:
            yield _found(_relative(header.path, base), [header])
    for uid, members in series.items():
        yield _found(_series_reference(uid, members, in_folder, base), members)


def _series_reference(uid: str, members: list[Header], in_folder: dict[Path, set[str]], base: Path) -> str:
    """A file alone; else its folder, where nothing else is in it; else the folder that holds them all, and the UID."""
    if len(members) == 1:
        return _relative(members[0].path, base)
    folders = {header.path.parent for header in members}
    if len(folders) == 1 and in_folder[next(iter(folders))] == {uid}:
        return _relative(next(iter(folders)), base)
    shared = Path(os.path.commonpath([str(folder) for folder in folders]))
    return str(Reference(_relative(shared, base), series=uid))


def _found(reference: str, members: list[Header]) -> Found:
    first = members[0]
    return Found(
        reference,
        modality=first.modality,
        body_part=first.body_part,
        identity=tuple(sorted({header.uid for header in members if header.uid})),
        patient_id=first.patient_id,
    )


def _localizer() -> Rejection:
    return Rejection(Reason.LOCALIZER, "a localizer, made for planning", "Nothing; name it directly to read it")


def _relative(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix()
