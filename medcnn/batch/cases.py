"""What a folder holds, before any pixel is read: the cases, and what is none with the reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medcnn.batch.covariates import Beside
from medcnn.batch.selection import LeftOut, Selection, fit
from medcnn.data.privacy import Keyring
from medcnn.inference.expectation import Expectation
from medcnn.inference.terms import term
from medcnn.io.discover import Found, Skipped, discover
from medcnn.io.options import AS_THE_FILE_SAYS, Reading
from medcnn.io.reference import resolve
from medcnn.scan import SKIPPED_IN_A_FOLDER, Reason, Rejection, ScanRejected

EVERYTHING = Selection()

_UID = re.compile(r"[0-9.]{1,64}")  # what programs make; anonymisers write words there, and those may be anybody's


@dataclass(frozen=True)
class Case:
    """One scan to answer for.

    reference  path (and selector) below the root; private zone only
    rejection  why it cannot be used, where its header says so already
    series     Series Instance UID, where there is one
    misfits    why the model does not take it, where its header says so: nothing is asked then
    modality   DICOM's code, or ""
    covariates  what the model takes beside the image, as written; private zone only
    patient    their key, where the patient is known
    """

    case_id: str
    reference: str
    rejection: Rejection | None = None
    series: str = ""
    misfits: tuple[str, ...] = ()
    modality: str = ""
    covariates: dict[str, str] = field(default_factory=dict, repr=False, hash=False)
    patient: str = ""

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Case:
        """What asdict made of it."""
        why = found["rejection"]
        rejection = None if why is None else Rejection(Reason(why["code"]), why["found"], why["remedy"])
        return cls(**{**found, "rejection": rejection, "misfits": tuple(found["misfits"])})


@dataclass(frozen=True)
class CaseList:
    """Everything below one root, in the order of the references.

    skipped   what is no scan
    left_out  what the user did not ask about
    """

    root: Path
    cases: list[Case] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    sharing_an_identity: int = 0
    left_out: list[LeftOut] = field(default_factory=list)


@dataclass(frozen=True)
class Takes:
    """What a model takes, as far as a header shows it.

    spatial_dims  of its scans
    beside        its covariates, and where they come from
    patients      reference -> patient_id, of a manifest; where it says none, a header may
    """

    expects: Expectation
    spatial_dims: int
    beside: Beside | None = None
    patients: Mapping[str, str] = field(default_factory=dict, repr=False)


def list_cases(
    source: Path,
    keyring: Keyring,
    *,
    split_by: Sequence[str] = (),
    reading: Reading = AS_THE_FILE_SAYS,
    selection: Selection = EVERYTHING,
    takes: Takes | None = None,
    report: Callable[[int], None] = lambda number: None,
) -> CaseList:
    """The cases of a folder, or of one scan, with their keyed names. Reads headers only; split_by as in discovery.

    What is no scan is skipped in a folder, and a rejected case where it was named itself, or by the manifest.
    takes  the model's; without it no case has misfits
    """
    named_itself = source.is_file()
    root = source.parent if named_itself else source
    found: list[Found] = []
    rejected: list[Skipped] = []
    skipped: list[Skipped] = []
    left_out: list[LeftOut] = []
    for item in discover(source, split_by=split_by, reading=reading, report=report):
        in_manifest = selection.manifest is not None and item.reference in selection.manifest
        if isinstance(item, Found):
            if (why_not := selection.why_not(item)) is None:
                found.append(item)
            else:
                left_out.append(why_not)
        elif item.rejection.code in SKIPPED_IN_A_FOLDER and not named_itself and not in_manifest:
            skipped.append(item)
        elif selection.manifest is not None and not in_manifest:
            left_out.append(LeftOut(item.reference, "manifest", "not in the manifest"))
        else:
            rejected.append(item)
    seen = {item.reference for item in found} | {item.reference for item in rejected}
    unseen = (selection.manifest or frozenset()) - seen - {item.reference for item in left_out}
    cases, doubled = _named(found, keyring, takes)
    cases += [Case(keyring.case_id((), item.reference), item.reference, item.rejection) for item in rejected]
    cases += [_named_only(reference, root, keyring, takes) for reference in unseen]
    cases.sort(key=lambda case: case.reference)
    skipped.sort(key=lambda item: item.reference)
    left_out.sort(key=lambda item: item.reference)
    return CaseList(root, cases, skipped, doubled, left_out)


def _named_only(reference: str, root: Path, keyring: Keyring, takes: Takes | None) -> Case:
    """In the manifest, and not found under this name: a frame of a file, a series whose folder has changed, or nothing.

    What is there is asked for as it is named; the reader says what becomes of it.
    """
    try:
        resolve(root, reference)
    except ScanRejected as rejected:
        return Case(keyring.case_id((), reference), reference, rejected.rejection)
    values, why_not = _covariates(takes, reference, {})
    key = _patient(takes, keyring, reference, "")
    return Case(keyring.case_id((), reference), reference, why_not, covariates=values, patient=key)


def _patient(takes: Takes | None, keyring: Keyring, reference: str, in_header: str) -> str:
    listed = takes.patients.get(reference, "") if takes else ""
    return keyring.patient_key(listed or in_header)


def _covariates(
    takes: Takes | None, reference: str, facts: Mapping[str, str]
) -> tuple[dict[str, str], Rejection | None]:
    return ({}, None) if takes is None or takes.beside is None else takes.beside.of(reference, facts)


def _named(found: Iterable[Found], keyring: Keyring, takes: Takes | None) -> tuple[list[Case], int]:
    """Files that claim one identity (copies, or an anonymiser that wrote the same UID) are told apart by their path."""
    found = list(found)
    times = Counter(item.identity for item in found if item.identity)
    doubled = [item for item in found if times[item.identity] > 1]
    names = [(*item.identity, item.reference) if times[item.identity] > 1 else item.identity for item in found]
    pairs = zip(names, found, strict=True)
    return [_case(name, item, keyring, takes) for name, item in pairs], len(doubled)


def _case(name: Iterable[str], item: Found, keyring: Keyring, takes: Takes | None) -> Case:
    values, why_not = _covariates(takes, item.reference, item.facts)
    return Case(
        keyring.case_id(name, item.reference),
        item.reference,
        why_not,
        series=item.series if _UID.fullmatch(item.series) else "",
        misfits=() if takes is None else fit(item, takes.expects, takes.spatial_dims),
        modality=term(item.modality) if item.modality else "",
        covariates=values,
        patient=_patient(takes, keyring, item.reference, item.patient_id),
    )
