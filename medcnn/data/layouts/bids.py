"""BIDS: `sub-*/[ses-*/]anat/*_<suffix>.nii.gz`, participants.tsv, and masks in derivatives.

One case is one session. Its images become channels where every session has them all (`image.T1w`, `image.FLAIR`); what
only some sessions have is left out and counted. Where no image is in every session, each image is a case by itself.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from medcnn.data.layouts.listing import Ask, Listing, Problems, files_below, left_out, some
from medcnn.data.layouts.participants import Participants, read_participants
from medcnn.data.manifest import Case

LOOKED_FOR = "dataset_description.json and folders sub-*"
_NAME = re.compile(r"(?P<entities>(?:[a-zA-Z]+-[a-zA-Z0-9]+_)+)(?P<suffix>[a-zA-Z0-9]+)\.nii(?:\.gz)?$")
_MASKS = ("dseg", "mask")
Session = tuple[str, str]


@dataclass(frozen=True)
class _File:
    """One image or mask: whose, and what its name says beside that."""

    reference: str
    session: Session
    name: str  # the suffix, after the other entities where there are any: T1w, acq-fast_T1w
    suffix: str
    space: str


def recognise(root: Path) -> str:
    """What speaks for it, or ''."""
    subjects = [path for path in root.glob("sub-*") if path.is_dir()]
    if (root / "dataset_description.json").is_file() and subjects:
        return f"dataset_description.json and {len(subjects)} folders sub-*"
    return ""


def read(ask: Ask) -> Listing:
    """Raises DataError with every problem. ask.labels names the column of participants.tsv that is the label."""
    problems = Problems()
    images, masks = _images(ask.root, problems), _masks(ask.root, problems)
    people = read_participants(ask.root, str(ask.labels or ""), problems)
    channels, remarks = _channels(images)
    cases = []
    if channels:
        for session, own in sorted(_by_session(images).items()):
            named = {file.name: file.reference for file in own}
            columns = {channel if len(channels) > 1 else "": named[channel] for channel in channels}
            cases.append(_case(ask, session, columns, people))
    else:
        for file in images:
            cases.append(_case(ask, file.session, {"": file.reference}, people, suffix=file.name))
    cases, said = _with_masks(
        cases, [file.session for file in images] if not channels else sorted(_by_session(images)), masks
    )
    if cases and not people.label and not said and not problems.lines:
        problems.add(
            "there is neither a label nor a mask: no categorical column in participants.tsv, no *_dseg or *_mask in "
            "derivatives. Name the column with labels=<column>"
        )
    problems.stop("the BIDS layout")
    missing = sorted({case.patient_id for case in cases} - people.rows.keys()) if people.rows else []
    if missing:
        remarks.append(f"participants.tsv has no row for {len(missing)} subjects: {some(missing)}")
    used = [
        "dataset_description.json",
        "participants.tsv",
        *(path for case in cases for path in (*case.images.values(), *case.masks.values())),
    ]
    classes = sorted({case.labels[""] for case in cases if case.labels} - {""})
    return Listing("bids", cases, left_out(ask, used), [*remarks, *people.remarks, *said], classes)


def _images(root: Path, problems: Problems) -> list[_File]:
    found = []
    for subject in sorted(path for path in root.glob("sub-*") if path.is_dir() and not path.is_symlink()):
        for path in files_below(subject):
            file = _parsed(root, path, problems) if path.parent.name == "anat" else None
            if file is not None and file.suffix not in _MASKS:
                found.append(file)
    return found


def _masks(root: Path, problems: Problems) -> list[_File]:
    """In any derivatives/<pipeline>/sub-*, and beside the images; those on another grid (space-) are left out."""
    folders = [root / "derivatives", *root.glob("sub-*")]
    files = [_parsed(root, path, problems) for folder in folders for path in files_below(folder)]
    return [file for file in files if file is not None and file.suffix in _MASKS and file.space in ("", "orig", "T1w")]


def _parsed(root: Path, path: Path, problems: Problems) -> _File | None:
    found = _NAME.match(path.name)
    if found is None:
        return None
    entities = dict(part.split("-", 1) for part in found["entities"].rstrip("_").split("_"))
    reference = problems.file(root, path.relative_to(root).as_posix(), "a file")
    subject = entities.pop("sub", "")
    session, space = entities.pop("ses", ""), entities.pop("space", "")
    if reference is None or not subject:
        return None
    words = [f"{key}-{value}" for key, value in entities.items()]
    return _File(reference, (f"sub-{subject}", session), "_".join([*words, found["suffix"]]), found["suffix"], space)


def _by_session(images: list[_File]) -> dict[Session, list[_File]]:
    sessions: dict[Session, list[_File]] = defaultdict(list)
    for file in images:
        sessions[file.session].append(file)
    return sessions


def _channels(images: list[_File]) -> tuple[list[str], list[str]]:
    """Names of the images that every session has, and what was decided."""
    sessions = _by_session(images)
    counts = Counter(file.name for file in images)
    channels = sorted(name for name in counts if counts[name] == len(sessions))
    if not channels:
        return [], ["no image is in every session: each image is a case by itself, its kind in the column suffix"]
    remarks = [f"one case per session ({len(sessions)}), its images: {', '.join(channels)}"]
    for name in sorted(counts.keys() - set(channels)):
        remarks.append(f"{name} is in {counts[name]} of {len(sessions)} sessions and was left out")
    return channels, remarks


def _case(ask: Ask, session: Session, columns: dict[str, str], people: Participants, suffix: str = "") -> Case:
    subject, visit = session
    free = dict(people.rows.get(subject, {}))
    labels = {"": free.pop(people.label, "")} if people.label else {}
    free |= {"session": visit} if visit else {}
    free |= {"suffix": suffix} if suffix else {}
    return Case(ask.case_id(columns), columns, labels, subject, free=free)


def _with_masks(cases: list[Case], sessions: list[Session], masks: list[_File]) -> tuple[list[Case], list[str]]:
    """Masks of a case's session: `mask`, or `mask.<name>` where there are several kinds."""
    own: dict[Session, dict[str, str]] = defaultdict(dict)
    several = Counter((mask.session, mask.name) for mask in masks)
    for mask in masks:
        if several[mask.session, mask.name] == 1:
            own[mask.session][mask.name] = mask.reference
    names = sorted({name for found in own.values() for name in found})
    if not names:
        return cases, []
    columns = {name: name if len(names) > 1 else "" for name in names}
    masked = [
        replace(case, masks={column: own[session].get(name, "") for name, column in columns.items()})
        for case, session in zip(cases, sessions, strict=True)
    ]
    with_one = sum(any(case.masks.values()) for case in masked)
    remarks = [f"{with_one} of {len(cases)} cases have masks: {', '.join(names)}"]
    if twice := sum(count > 1 for count in several.values()):
        remarks.append(
            f"{twice} masks stand in several derivatives under one name and were left out: keep one pipeline"
        )
    return masked, remarks
