"""The words that all layouts share: what is asked, what comes back, and how problems are gathered."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from medcnn.data.manifest import Case
from medcnn.data.manifest_checks import stop_at
from medcnn.data.privacy import Keyring
from medcnn.io.discover import Found, Skipped, discover
from medcnn.io.options import AS_THE_FILE_SAYS, Reading
from medcnn.io.reference import Reference, resolve
from medcnn.scan import Reason, Rejection, ScanRejected

FIRST = 5  # of a kind are named, the others counted
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("calib", "calibration"), "calib"),
    **dict.fromkeys(("test", "testing", "ts"), "test"),
}


@dataclass(frozen=True)
class Ask:
    """What is read, and with what.

    labels    a table beside the scans, or (BIDS) the name of a column of participants.tsv
    by_name   the user named the layout, so that what only looks unlikely is taken as meant
    split_by  what discovery may divide a series by
    reading   the choices with which scans will be read
    report    is told the number of files looked at, now and then
    """

    root: Path
    keyring: Keyring
    labels: Path | None = None
    by_name: bool = False
    split_by: tuple[str, ...] = ()
    reading: Reading = AS_THE_FILE_SAYS
    report: Callable[[int], None] = lambda count: None

    def case_id(self, images: Mapping[str, str], identity: Iterable[str] = ()) -> str:
        return self.keyring.case_id(identity, "|".join(images.values()))


@dataclass(frozen=True)
class Listing:
    """A data set's cases.

    kind         which layout it was
    skipped      files that are no case
    remarks      what was decided and left out; may name relative paths, so for the user's own terminal
    class_names  in the source's order, the background left out; [] where labels name the classes themselves
    codes        class -> its values in the source: voxel values of masks, category or class numbers
    """

    kind: str
    cases: list[Case]
    skipped: list[Skipped] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    class_names: list[str] = field(default_factory=list)
    codes: dict[str, tuple[int, ...]] = field(default_factory=dict)


class Problems:
    """Everything that is wrong, told together."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, line: str) -> None:
        self.lines.append(line)

    def stop(self, what: str) -> None:
        """Raise DataError where there was any."""
        stop_at(self.lines, what)

    def file(self, root: Path, named: Any, where: str) -> str | None:
        """The reference of a file that a table names, relative to root; None and a problem where it cannot be used."""
        if not isinstance(named, str) or not named.strip():
            self.add(f"{where}: no path, where one is needed")
            return None
        for text in dict.fromkeys((named.strip(), named.strip().replace("\\", "/"))):  # as Windows writes them
            try:
                path = resolve(root, Reference(text))
            except ScanRejected as rejected:
                said = f"{where}: {rejected.rejection.code}, {rejected.rejection.found}. {rejected.rejection.remedy}"
                if rejected.rejection.code is Reason.PATH_ESCAPE:
                    break
                continue
            if path.is_file():
                return PurePosixPath(text).as_posix()
            said = f"{where}: {text} is no file"
        self.add(said)
        return None


def read_json(path: Path, problems: Problems) -> Any:
    """The content, or None and a problem."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError, OSError) as error:
        problems.add(f"{path.name} is no readable JSON ({type(error).__name__})")
        return None


def scans_below(ask: Ask, folder: Path) -> tuple[list[Found], list[Skipped]]:
    """Discovery, its references as seen from ask.root."""
    within = folder.relative_to(ask.root).as_posix()
    found: list[Found] = []
    skipped: list[Skipped] = []
    for item in discover(folder, split_by=ask.split_by, reading=ask.reading, report=ask.report):
        reference = item.reference if within == "." else f"{within}/{item.reference}".removesuffix("/.")
        reference = reference.replace("/.#", "#") if within != "." else reference
        if isinstance(item, Found):
            found.append(replace(item, reference=reference))
        else:
            skipped.append(replace(item, reference=reference))
    return sorted(found, key=lambda item: item.reference), skipped


def files_below(folder: Path) -> list[Path]:
    """Regular files, sorted; hidden ones and what lies in hidden folders left out, links to folders not followed."""
    found: list[Path] = []
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(here, name) for name in names if not name.startswith(".") and Path(here, name).is_file()]
    return sorted(found)


def references_of(cases: Iterable[Case]) -> Iterator[str]:
    """Every image and mask that the cases name."""
    for case in cases:
        yield from (reference for reference in (*case.images.values(), *case.masks.values()) if reference)


def left_out(ask: Ask, used: Iterable[str]) -> list[Skipped]:
    """Every file below the root that no case names: what stands beside the data, hidden files too."""
    known = {shown(reference) for reference in used}
    found: list[Path] = []
    for here, folders, names in os.walk(ask.root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(here, name) for name in names]
    return [item for item in _no_part(ask, found) if item.reference not in known]


def beside(ask: Ask, folders: Iterable[Path]) -> list[Skipped]:
    """The files that lie directly in these folders."""
    return _no_part(ask, [path for folder in folders for path in folder.iterdir() if path.is_file()])


def _no_part(ask: Ask, paths: Iterable[Path]) -> list[Skipped]:
    rejection = Rejection(Reason.NOT_AN_IMAGE, "not a part of this layout", "Nothing, if it is no scan")
    return [Skipped(path.relative_to(ask.root).as_posix(), rejection) for path in sorted(paths)]


def some(names: Sequence[object]) -> str:
    """The first five, and how many more."""
    more = f" and {len(names) - FIRST} more" if len(names) > FIRST else ""
    return ", ".join(str(name) for name in names[:FIRST]) + more


def shown(reference: str) -> str:
    """A reference as it may be told: its path, without the identifier that may pick a series."""
    return Reference.parse(reference).path


def stem_of(name: str) -> str:
    """A file's name without its suffix; .nii.gz is one suffix."""
    return name[:-7] if name.lower().endswith(".nii.gz") else PurePosixPath(name).stem
