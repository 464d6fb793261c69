"""Every case under a folder, and everything that is none with the reason: headers only, always in the same order."""

from __future__ import annotations

import os
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

from medcnn.io.content import Content, content_of
from medcnn.io.dicom.series import SERIES_MODALITIES, Header, header_of
from medcnn.io.files import FileStart, is_passed_over, is_usable
from medcnn.io.nifti.kin import pair_of
from medcnn.io.nifti.shape import shape_by_head
from medcnn.io.options import AS_THE_FILE_SAYS, Reading
from medcnn.io.read import rejecting
from medcnn.io.reference import Reference
from medcnn.scan import Reason, Rejection, ScanRejected

READERS = 8  # threads: what a network drive makes wait for overlaps
_AT_ONCE = 32  # files one thread takes at a time
_SLOW_S = 3e-4  # a file; a local disk needs a tenth
Report = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Found:
    """One case, by its header.

    identity    SOP Instance UIDs (sorted) and what picks one volume of several, as in the Scan; () without UIDs
    patient_id  as in the header; never logged, never written
    series      Series Instance UID, and study its Study Instance UID: private, to match tables with scans
    label       an archive row's own label; () elsewhere
    facts       for columns of a manifest: scanner, sex, age_years, view, and what picked the volume
    description  the series' own, as somebody typed it: only to be searched in; never logged, never written
    slices      planes that the header promises: images or frames of a series, the third dimension of a NIfTI, 1 for a
                picture; 0 where only reading tells (a mosaic, a damaged header)
    spatial_dims  of the scan: 2 or 3; None where the header does not decide it
    """

    reference: str
    modality: str = ""
    body_part: str = ""
    identity: tuple[str, ...] = ()
    patient_id: str = field(default="", repr=False)
    label: tuple[int, ...] = ()
    series: str = field(default="", repr=False)
    study: str = field(default="", repr=False)
    facts: dict[str, str] = field(default_factory=dict)
    description: str = field(default="", repr=False)
    slices: int = 0
    spatial_dims: int | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """One file or folder that is no case."""

    reference: str
    rejection: Rejection


_Look = Header | list[Found] | Skipped


def discover(
    root: Path,
    *,
    split_by: Sequence[str] = (),
    reading: Reading = AS_THE_FILE_SAYS,
    report: Report = lambda number: None,
) -> Iterator[Found | Skipped]:
    """Walk root at any depth. A file as root stands for itself alone, its references relative to its folder.

    split_by  keys (orientation, image_type, echo, b_value, time) by which a series becomes several cases
    report    called with the number of files looked into so far
    """
    base = root.parent if root.is_file() else root
    headers: list[Header] = []
    for number, look in enumerate(_looks([root] if root.is_file() else _files(root), base), start=1):
        report(number)
        match look:
            case Header():
                headers.append(look)
            case Skipped():
                yield look
            case _:
                yield from look
    yield from _dicom_cases(headers, base, split_by, reading)


def _looks(files: Iterable[Path | Skipped], base: Path) -> Iterator[_Look]:
    """What each file is, in the files' order."""
    pieces = _pieces(files)
    first = next(pieces, [])
    began = time.perf_counter()
    starts = _starts(first, base)
    slow = time.perf_counter() - began > _SLOW_S * len(first)
    for piece in chain([starts], _read_ahead(pieces, base) if slow else (_starts(one, base) for one in pieces)):
        yield from (_look(start, base) for start in piece)


def _read_ahead(pieces: Iterable[Sequence[Path | Skipped]], base: Path) -> Iterator[list[FileStart | Skipped]]:
    """First bytes, read by threads a few pieces ahead, so that memory does not follow the folder.

    Only where files come slowly, from a network: on a disk that answers at once threads wait for each other instead.
    """
    waiting: deque[Future[list[FileStart | Skipped]]] = deque()
    with ThreadPoolExecutor(READERS, thread_name_prefix="medcnn-discover") as pool:
        try:
            for piece in pieces:
                waiting.append(pool.submit(_starts, piece, base))
                if len(waiting) > 2 * READERS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _starts(piece: Sequence[Path | Skipped], base: Path) -> list[FileStart | Skipped]:
    return [item if isinstance(item, Skipped) else _start(item, base) for item in piece]


def _start(path: Path, base: Path) -> FileStart | Skipped:
    try:
        return _read_start(path)
    except ScanRejected as rejected:
        return Skipped(_relative(path, base), rejected.rejection)


@rejecting
def _read_start(path: Path) -> FileStart:
    return FileStart.of(path)


def _pieces(files: Iterable[Path | Skipped]) -> Iterator[list[Path | Skipped]]:
    files = iter(files)
    while piece := list(islice(files, _AT_ONCE)):
        yield piece


def _look(start: FileStart | Skipped, base: Path) -> _Look:
    if isinstance(start, Skipped):
        return start
    try:
        return _content(start, base)
    except ScanRejected as rejected:
        return Skipped(_relative(start.path, base), rejected.rejection)


@rejecting
def _content(start: FileStart, base: Path) -> Header | list[Found]:
    path, reference = start.path, _relative(start.path, base)
    match content_of(path, start):
        case Content.DICOM:
            return header_of(path, start)
        case Content.ARCHIVE:
            return _rows(path, reference)
        case Content.NIFTI:
            shape = shape_by_head(start.head)
            slices = shape[2] if len(shape) > 2 else min(len(shape), 1)
            return [Found(reference, slices=slices, spatial_dims=min(len(shape), 3) or None)]
        case Content.PICTURE:
            return [Found(reference, slices=1, spatial_dims=2)]


def _rows(path: Path, reference: str) -> list[Found]:
    """Every row of an archive of arrays."""
    from medcnn.io.archive import members, rows

    shapes = members(path)
    found = []
    for part, row, label in rows(path):
        _, *sides = shapes[f"{part}_images"]
        is_volume = len(sides) == 3 and sides[-1] != 3  # three at the end are colours
        named = str(Reference(reference, row=(part, row)))
        found.append(Found(named, label=label, slices=sides[0] if is_volume else 1, spatial_dims=2 + is_volume))
    return found


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
            path = Path(here, name)
            if not (name.lower().endswith((".img", ".img.gz")) and pair_of(path)):  # its .hdr stands for both
                yield _file(path, folder)


def _file(path: Path, base: Path) -> Path | Skipped:
    if is_passed_over(path):
        return Skipped(_relative(path, base), _unusable(Reason.NOT_AN_IMAGE))
    if not is_usable(path, base):
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


def _dicom_cases(
    headers: Iterable[Header], base: Path, split_by: Sequence[str], reading: Reading
) -> Iterator[Found | Skipped]:
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
            yield _found(Reference(_relative(header.path, base)), [header])
    for uid, members in series.items():
        reference = _series_reference(uid, members, in_folder, base)
        if not split_by:
            yield _found(reference, members)
            continue
        try:
            yield from _parts(reference, members, split_by, reading)
        except ScanRejected as rejected:
            yield Skipped(str(reference), rejected.rejection)


def _series_reference(uid: str, members: list[Header], in_folder: dict[Path, set[str]], base: Path) -> Reference:
    """A file alone; else its folder, where nothing else is in it; else the folder that holds them all, and the UID."""
    if len(members) == 1:
        return Reference(_relative(members[0].path, base))
    folders = {header.path.parent for header in members}
    if len(folders) == 1 and in_folder[next(iter(folders))] == {uid}:
        return Reference(_relative(next(iter(folders)), base))
    shared = Path(os.path.commonpath([str(folder) for folder in folders]))
    return Reference(_relative(shared, base), series=uid)


@rejecting
def _parts(reference: Reference, members: list[Header], split_by: Sequence[str], reading: Reading) -> list[Found]:
    """The volumes, or single slices, of one series that split_by tells apart."""
    from medcnn.io.dicom.slices import open_image, slices_of
    from medcnn.io.dicom.split import split
    from medcnn.io.dicom.stack import without_copies

    detile = reading.mosaic == "detile"
    slices = without_copies([one for header in members for one in slices_of(open_image(header.path), detile=detile)])
    of_file = {header.path: header for header in members}
    return [
        _found(
            replace(reference, chosen=name),
            [of_file[path] for path in sorted({one.file.path for one in part})],
            slices=len(part),
        )
        for name, part in split(slices, split_by).items()
    ]


def _found(reference: Reference, members: list[Header], slices: int | None = None) -> Found:
    first = members[0]
    slices = _slices(members) if slices is None else slices
    chosen = tuple(f"{key}={value}" for key, value in reference.chosen)
    return Found(
        str(reference),
        modality=first.modality,
        body_part=first.body_part,
        identity=tuple(sorted({header.uid for header in members if header.uid})) + chosen,
        patient_id=first.patient_id,
        series=first.series,
        study=first.study,
        facts=dict(first.facts) | dict(reference.chosen),
        description=first.description,
        slices=slices,
        spatial_dims=_spatial_dims(first, slices),
    )


def _slices(members: list[Header]) -> int:
    """A file copied twice counts once; 0 where one is a mosaic."""
    frames = {header.uid or str(header.path): header.frames for header in members}
    return 0 if 0 in frames.values() else sum(frames.values())


def _spatial_dims(first: Header, slices: int) -> int | None:
    """As io.read takes them: slices of a series are a volume, one alone a picture; frames of an X-ray are neither."""
    if slices == 1:
        return 2
    return 3 if first.modality in SERIES_MODALITIES and slices > 1 else None


def _localizer() -> Rejection:
    return Rejection(Reason.LOCALIZER, "a localizer, made for planning", "Nothing; name it directly to read it")


def _relative(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix()
