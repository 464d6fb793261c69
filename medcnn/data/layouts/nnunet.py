"""nnU-Net's raw layout: `imagesTr/<id>_0000.nii.gz`, a file per channel, and `labelsTr/<id>.nii.gz`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from medcnn.data.layouts.dataset_json import SPLIT_FILES, channels_of, classes_of, codes_of, description, folds_of
from medcnn.data.layouts.listing import Ask, Listing, Problems, files_below, left_out
from medcnn.data.manifest import Case

LOOKED_FOR = "imagesTr/<id>_0000.nii.gz and labelsTr/<id>.nii.gz"
ENDINGS = (".nii.gz", ".nii", ".png", ".jpg", ".jpeg")
_NUMBERED = re.compile(r"(?P<name>.+)_(?P<channel>\d{4})$")


def has_channel_numbers(root: Path) -> bool:
    """Whether every image of imagesTr ends in _0000 or another channel's number."""
    names = [name for path in files_below(root / "imagesTr") if (name := _without_ending(path, ENDINGS))]
    return bool(names) and all(_NUMBERED.match(name) for name in names)


def recognise(root: Path) -> str:
    """What speaks for it, or ''."""
    if has_channel_numbers(root) and (root / "labelsTr").is_dir():
        return "imagesTr with numbered channels, and labelsTr"
    if (root / "imagesTr").is_dir() or "channel_names" not in description(root, Problems()):
        return ""
    return "dataset.json with channel_names"


def read(ask: Ask) -> Listing:
    """Raises DataError with every problem."""
    problems = Problems()
    about = description(ask.root, problems)
    remarks = [] if about else ["no dataset.json: channels are called by their numbers, classes are not known"]
    codes = codes_of(about.get("labels"), problems)
    ending = about.get("file_ending", ".nii.gz")
    if ending not in ENDINGS:
        problems.add(f"dataset.json: file_ending is {str(ending)[:20]!r}; medcnn reads {', '.join(ENDINGS)}")
    problems.stop("the nnU-Net layout")
    train = dict(
        _part(ask.root, "Tr", str(ending), problems) if "dataset" not in about else _listed(ask.root, about, problems)
    )
    test = dict(_part(ask.root, "Ts", str(ending), problems)) if (ask.root / "labelsTs").is_dir() else {}
    names = _channel_names(about, [*train.values(), *test.values()], problems)
    folds, said = folds_of(ask.root, list(train), problems)
    cases = [_case(ask, name, one, names, "train" if test else "", problems) for name, one in train.items()]
    cases = [_with_fold(case, folds.get(name, "")) for name, case in zip(train, cases, strict=True)]
    cases += [_case(ask, name, one, names, "test", problems) for name, one in test.items()]
    if test:
        said.append(f"{len(test)} cases of imagesTs have masks in labelsTs: they are the test split")
    elif without_truth := len(files_below(ask.root / "imagesTs")):
        said.append(f"{without_truth} files of imagesTs have no mask and are left out; ask predict about them")
    if any(len(values) > 1 for values in codes.values()):
        said.append("some classes are regions of several values: voxels can be in more than one of them")
    said.append("the layout names no patients: give patient_id where two scans are of one person")
    problems.stop("the nnU-Net layout")
    used = [
        "dataset.json",
        *SPLIT_FILES,
        *(path for case in cases for path in (*case.images.values(), *case.masks.values())),
    ]
    return Listing("nnunet", cases, left_out(ask, used), [*remarks, *said], classes_of(codes), codes)


_Files = tuple[dict[int, str], str]  # channel number -> image, and the mask


def _part(root: Path, part: str, ending: str, problems: Problems) -> Iterator[tuple[str, _Files]]:
    """(case name, its files), sorted, for imagesTr or imagesTs."""
    images: dict[str, dict[int, str]] = defaultdict(dict)
    for path in files_below(root / f"images{part}"):
        if (name := _without_ending(path, (ending,))) and (found := _NUMBERED.match(name)):
            reference = path.relative_to(root).as_posix()
            images[found["name"]][int(found["channel"])] = reference
    masks = {
        name: path.relative_to(root).as_posix()
        for path in files_below(root / f"labels{part}")
        if (name := _without_ending(path, (ending,)))
    }
    for name in sorted(images.keys() | masks.keys()):
        if name not in masks:
            problems.add(f"images{part}: {name} has no mask labels{part}/{name}{ending}")
        elif name not in images:
            problems.add(f"labels{part}: {name} has no image images{part}/{name}_0000{ending}")
        else:
            yield from _checked(root, name, dict(sorted(images[name].items())), masks[name], problems)


def _listed(root: Path, about: dict[str, Any], problems: Problems) -> Iterator[tuple[str, _Files]]:
    """dataset.json's own list: `"dataset": {"id": {"images": [...], "label": ...}}`."""
    listed = about["dataset"] if isinstance(about["dataset"], dict) else {}
    for name, entry in sorted(listed.items()):
        if not isinstance(entry, dict) or not isinstance(entry.get("images"), list):
            problems.add(f'dataset.json, dataset {name}: is no {{"images": [...], "label": ...}}')
        else:
            yield from _checked(root, name, dict(enumerate(entry["images"])), entry.get("label"), problems)


def _checked(
    root: Path, name: str, images: dict[int, Any], mask: Any, problems: Problems
) -> Iterator[tuple[str, _Files]]:
    found = {number: problems.file(root, image, f"{name}, channel {number}") for number, image in images.items()}
    label = problems.file(root, mask, f"{name}, mask")
    if label is not None and None not in found.values():
        yield name, ({number: image for number, image in found.items() if image is not None}, label)


def _channel_names(about: dict[str, Any], found: list[_Files], problems: Problems) -> list[str]:
    given = about.get("channel_names") or about.get("modality")
    if given is not None:
        return channels_of(given, problems)
    return [str(number) for number in range(1 + max((max(images) for images, _ in found), default=0))]


def _case(ask: Ask, name: str, files: _Files, channels: list[str], split: str, problems: Problems) -> Case:
    images, mask = files
    fits = sorted(images) == list(range(len(channels)))
    if not fits:
        there = ", ".join(f"{number:04d}" for number in images)
        problems.add(f"{name}: {len(channels)} channels are expected, the files are numbered {there}")
    columns = {"" if len(channels) == 1 else channels[number]: images[number] for number in images if fits}
    return Case(ask.case_id(columns), columns, {}, split=split, masks={"": mask})


def _with_fold(case: Case, fold: str) -> Case:
    return replace(case, fold=fold)


def _without_ending(path: Path, endings: tuple[str, ...]) -> str:
    """The name without its ending; '' where it has another."""
    return next((path.name[: -len(ending)] for ending in endings if path.name.lower().endswith(ending)), "")
