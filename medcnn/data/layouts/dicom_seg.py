"""DICOM series with DICOM segmentations of them anywhere in the tree: a mask goes to the series that it refers to."""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from pathlib import Path

from medcnn.data.layouts.listing import Ask, Listing, Problems, files_below, scans_below, shown, some
from medcnn.data.manifest import Case
from medcnn.io.content import Content, content_of
from medcnn.io.dicom.seg import referenced_series, segments
from medcnn.io.discover import Found, Skipped
from medcnn.io.reference import Reference
from medcnn.scan import Reason, ScanRejected

LOOKED_FOR = "DICOM series, and DICOM SEG objects that refer to them"
_LOOKED_AT = 2000  # files, before a folder counts as one without segmentations


def recognise(root: Path) -> str:
    """What speaks for it, or ''."""
    for path in islice(files_below(root), _LOOKED_AT):
        if _is_seg(path):
            return "DICOM SEG objects among the files"
    return ""


def read(ask: Ask) -> Listing:
    """Raises DataError with every problem. A series without a segmentation is left out, and counted."""
    problems = Problems()
    found, skipped = scans_below(ask, ask.root)
    masks, codes, used = _masks(ask.root, skipped, problems)
    of_series: dict[str, list[Found]] = defaultdict(list)
    for item in found:
        of_series[item.series].append(item)
    cases = []
    for item in found:
        own = masks.get(item.series, []) if item.series else []
        if len(own) > 1:
            problems.add(f"{shown(item.reference)}: {len(own)} segmentations refer to it ({some(own)}). Keep one")
        elif own and len(of_series[item.series]) > 1:
            problems.add(f"{own[0]}: its series is {len(of_series[item.series])} cases here. Name the mask in a CSV")
        elif own:
            images = {"": item.reference}
            case_id, patient = ask.case_id(images, item.identity), ask.keyring.patient_key(item.patient_id)
            cases.append(Case(case_id, images, {}, patient, masks={"": own[0]}, free=dict(item.facts)))
    remarks = [f"{len(cases)} of {len(found)} scans have a DICOM segmentation"]
    if without := [shown(item.reference) for item in found if item.series not in masks]:
        remarks.append(f"{len(without)} scans have no segmentation and were left out: {some(without)}")
    if astray := [path for series, paths in masks.items() if series not in of_series for path in paths]:
        remarks.append(f"{len(astray)} segmentations refer to a series that is not there: {some(astray)}")
    if not cases:
        problems.add("no scan has a segmentation that refers to it")
    problems.stop("the layout of DICOM segmentations")
    skipped = [item for item in skipped if item.reference not in used]
    return Listing("dicom_seg", cases, skipped, remarks, sorted(codes, key=lambda name: codes[name]), codes)


def _masks(
    root: Path, skipped: list[Skipped], problems: Problems
) -> tuple[dict[str, list[str]], dict[str, tuple[int, ...]], set[str]]:
    """Series -> references of its segmentations; class -> number; and which files they were."""
    masks: dict[str, list[str]] = defaultdict(list)
    codes: dict[str, tuple[int, ...]] = {}
    used: set[str] = set()
    for item in skipped:
        path = root / Reference.parse(item.reference).path
        if item.rejection.code is not Reason.NOT_AN_IMAGE or not _is_seg(path):
            continue
        try:
            masks[referenced_series(path)].append(item.reference)
            outlined = segments(path)
        except ScanRejected as rejected:
            problems.add(f"{item.reference}: {rejected.rejection}")
            continue
        used.add(item.reference)
        for segment in outlined:
            if codes.setdefault(segment.label, (segment.number,)) != (segment.number,):
                problems.add(
                    f"{item.reference}: segment {segment.number} is {segment.label!r}, which is "
                    f"{codes[segment.label][0]} in another file. Give it one number everywhere"
                )
    return masks, codes, used


def _is_seg(path: Path) -> bool:
    try:
        return content_of(path) is Content.DICOM and bool(segments(path))
    except (ScanRejected, OSError):
        return False
