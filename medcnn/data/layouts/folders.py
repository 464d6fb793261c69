"""A folder per class: every folder directly below the root is a class, the scans at any depth in it are its cases."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from medcnn.data.layouts.listing import SPLIT_WORDS, Ask, Listing, beside, files_below, scans_below
from medcnn.data.manifest import Case
from medcnn.errors import DataError
from medcnn.io.content import content_of
from medcnn.scan import ScanRejected

LOOKED_FOR = "two or more folders with scans, a class each, and no scan beside them"
_LOOKED_AT = 200  # files of a folder, before it counts as one without scans
_NO_CLASSES = frozenset(  # what folders of a set with masks or boxes are called
    {"images", "image", "imgs", "img", "scans", "dicom", "masks", "mask", "labels", "label", "annotations"}
    | {"segmentations", "imagestr", "labelstr", "imagests", "labelsts", "derivatives"}
)


def recognise(root: Path) -> str:
    """What speaks for a folder per class, or ''."""
    if any(_is_scan(path) for path in root.iterdir() if path.is_file()):
        return ""
    named = {name for _, name, folder in _classes(root) if any(map(_is_scan, files_below(folder)[:_LOOKED_AT]))}
    if len(named) < 2 or {name.lower() for name in named} & _NO_CLASSES:
        return ""
    return f"{len(named)} folders with scans"


def read(ask: Ask) -> Listing:
    """Raises DataError where the folders look like patients, unless the layout was named."""
    cases: list[Case] = []
    skipped = []
    patients: dict[str, set[str]] = defaultdict(set)
    counts: dict[str, int] = {}
    for split, name, folder in _classes(ask.root):
        found, others = scans_below(ask, folder)
        skipped += others
        if found:
            counts[name] = counts.get(name, 0) + len(found)
        for item in found:
            images = {"": item.reference}
            patients[name].add(item.patient_id or item.reference)
            cases.append(
                Case(
                    case_id=ask.case_id(images, item.identity),
                    images=images,
                    labels={"": name},
                    patient_id=ask.keyring.patient_key(item.patient_id),
                    split=split,
                    free=dict(item.facts),
                )
            )
    skipped += beside(ask, {ask.root, *(folder.parent for _, _, folder in _classes(ask.root))})
    alone = [name for name in counts if len(patients[name]) == 1]
    if len(counts) > 2 and len(alone) > len(counts) / 2 and not ask.by_name:
        raise DataError(
            f"{len(alone)} of {len(counts)} folders hold one patient or one scan each: they look like patients, not "
            f"classes. Give a table of labels with labels=<csv>, or say layout=folders where they are classes"
        )
    said = ", ".join(f"{name} ({count})" for name, count in list(counts.items())[:20])
    remarks = [f"each folder is a class: {said}"] if counts else []
    if splits := sorted({case.split for case in cases} - {""}):
        remarks.append(f"the folders above the classes are splits: {', '.join(splits)}")
    return Listing("folders", cases, skipped, remarks, sorted(counts))


def _classes(root: Path) -> list[tuple[str, str, Path]]:
    """(split, class, folder), sorted. Folders that are all called train, val or test hold the classes themselves."""
    above = _folders(root)
    if above and all(folder.name.lower() in SPLIT_WORDS for folder in above):
        return [(SPLIT_WORDS[one.name.lower()], folder.name, folder) for one in above for folder in _folders(one)]
    return [("", folder.name, folder) for folder in above]


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if _is_folder(path))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not path.name.startswith((".", "__MACOSX"))


def _is_scan(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    try:
        content_of(path)
    except (ScanRejected, OSError):
        return False
    return True
