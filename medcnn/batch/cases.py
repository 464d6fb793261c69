"""What a folder holds, before any pixel is read: the cases, and what is none with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medcnn.data.privacy import Keyring
from medcnn.io.discover import Found, Skipped, discover
from medcnn.io.options import AS_THE_FILE_SAYS, Reading
from medcnn.scan import SKIPPED_IN_A_FOLDER, Rejection


@dataclass(frozen=True)
class Case:
    """One scan to answer for.

    reference  path (and selector) below the root; private zone only
    rejection  why it cannot be used, where its header says so already
    """

    case_id: str
    reference: str
    rejection: Rejection | None = None


@dataclass(frozen=True)
class CaseList:
    """Everything below one root, in the order of the references."""

    root: Path
    cases: list[Case] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    sharing_an_identity: int = 0


def list_cases(
    source: Path,
    keyring: Keyring,
    *,
    split_by: Sequence[str] = (),
    reading: Reading = AS_THE_FILE_SAYS,
    report: Callable[[int], None] = lambda number: None,
) -> CaseList:
    """The cases of a folder, or of one scan, with their keyed names. Reads headers only; split_by as in discovery.

    What is no scan is skipped in a folder, and a rejected case where it was named itself.
    """
    named_itself = source.is_file()
    found: list[Found] = []
    rejected: list[Skipped] = []
    skipped: list[Skipped] = []
    for item in discover(source, split_by=split_by, reading=reading, report=report):
        if isinstance(item, Found):
            found.append(item)
        elif item.rejection.code in SKIPPED_IN_A_FOLDER and not named_itself:
            skipped.append(item)
        else:
            rejected.append(item)
    cases, doubled = _named(found, keyring)
    cases += [Case(keyring.case_id((), item.reference), item.reference, item.rejection) for item in rejected]
    cases.sort(key=lambda case: case.reference)
    root = source.parent if named_itself else source
    return CaseList(root, cases, sorted(skipped, key=lambda item: item.reference), doubled)


def _named(found: Iterable[Found], keyring: Keyring) -> tuple[list[Case], int]:
    """Files that claim one identity (copies, or an anonymiser that wrote the same UID) are told apart by their path."""
    found = list(found)
    times = Counter(item.identity for item in found if item.identity)
    doubled = [item for item in found if times[item.identity] > 1]
    names = [(*item.identity, item.reference) if times[item.identity] > 1 else item.identity for item in found]
    cases = [
        Case(keyring.case_id(name, item.reference), item.reference) for name, item in zip(names, found, strict=True)
    ]
    return cases, len(doubled)
