"""What MSD and nnU-Net have in common: a dataset.json with labels, folds in a file beside it, volumes in imagesTr."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from medcnn.data.layouts.listing import Problems, read_json, some
from medcnn.io.nifti.file_bytes import Source
from medcnn.io.nifti.header import checked_header
from medcnn.io.nifti.layout import read_fields

SPLIT_FILES = ("splits.json", "splits_final.json")
_NO_CLASS = ("background", "ignore")


def description(root: Path, problems: Problems) -> dict[str, Any]:
    """dataset.json, {} without one."""
    path = root / "dataset.json"
    if not path.is_file():
        return {}
    found = read_json(path, problems)
    if found is not None and not isinstance(found, dict):
        problems.add("dataset.json holds no JSON object")
    return found if isinstance(found, dict) else {}


def codes_of(labels: Any, problems: Problems) -> dict[str, tuple[int, ...]]:
    """Class -> voxel values, from MSD's {"1": "anterior"} or nnU-Net's {"anterior": 1} and {"whole": [1, 2]}."""
    if labels is None:
        return {}
    if not isinstance(labels, Mapping):
        problems.add("dataset.json: labels is no object of classes and values")
        return {}
    codes: dict[str, tuple[int, ...]] = {}
    for key, value in labels.items():
        name, numbers = (value, [key]) if isinstance(value, str) and str(key).isdecimal() else (key, value)
        numbers = numbers if isinstance(numbers, list) else [numbers]
        if not numbers or not all(_is_whole(number) for number in numbers):
            problems.add(f"dataset.json: the label {name!r} has no whole number, nor a list of them")
        elif name in codes:
            problems.add(f"dataset.json: the label {name!r} stands there twice")
        else:
            codes[name] = tuple(int(number) for number in numbers)
    return codes


def classes_of(codes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """In the order of their values; background and what is to be ignored are no classes."""
    named = [name for name in codes if name.lower() not in _NO_CLASS and codes[name] != (0,)]
    return sorted(named, key=lambda name: (min(codes[name]), -len(codes[name])))


def channels_of(names: Any, problems: Problems) -> list[str]:
    """Channel names in the order of their numbers, from {"0": "T1", "1": "T2"}; one that repeats gets its number."""
    if not isinstance(names, Mapping) or not all(str(key).isdecimal() for key in names):
        problems.add('dataset.json: the channels are no object like {"0": "T1"}')
        return []
    ordered = [str(names[key]).strip().replace(" ", "_") for key in sorted(names, key=lambda key: int(key))]
    return [
        f"{name or 'channel'}_{number}" if not name or ordered.count(name) > 1 else name
        for number, name in enumerate(ordered)
    ]


def folds_of(root: Path, names: Collection[str], problems: Problems) -> tuple[dict[str, str], list[str]]:
    """Case name -> the fold in which it is validated on, from splits.json or splits_final.json; and remarks."""
    file = next((root / name for name in SPLIT_FILES if (root / name).is_file()), None)
    if file is None:
        return {}, []
    found = read_json(file, problems)
    if not isinstance(found, list) or not all(isinstance(f, dict) and isinstance(f.get("val"), list) for f in found):
        problems.add(f'{file.name} is no list of {{"train": [...], "val": [...]}}')
        return {}, []
    folds: dict[str, str] = {}
    for number, fold in enumerate(found):
        for name in map(str, fold["val"]):
            if name in folds:
                problems.add(f"{file.name}: {name} is validated on in fold {folds[name]} and in fold {number}")
            folds.setdefault(name, str(number))
    remarks = [f"{len(found)} folds from {file.name}"]
    if absent := sorted(folds.keys() - set(names)):
        remarks.append(f"{file.name} names {len(absent)} cases that are not there: {some(absent)}")
    if missing := sorted(set(names) - folds.keys()):
        remarks.append(f"{file.name} has no fold for {len(missing)} cases: {some(missing)}")
    return folds, remarks


def volumes_in(path: Path) -> int:
    """How many volumes a NIfTI file holds, by its header. Raises ScanRejected."""
    with Source(path) as source:
        shape = checked_header(read_fields(source), source).shape
    return shape[3] if len(shape) == 4 else 1


def _is_whole(number: Any) -> bool:
    return (isinstance(number, int) and not isinstance(number, bool)) or (
        isinstance(number, str) and number.isdecimal()
    )
