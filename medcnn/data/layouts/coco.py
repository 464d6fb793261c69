"""COCO boxes: a JSON with `images`, `annotations` and `categories`; its boxes are [x, y, width, height]."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from medcnn.data.boxes import Box, write_boxes
from medcnn.data.layouts.box_edges import BoxEdges, is_number
from medcnn.data.layouts.listing import SPLIT_WORDS, Ask, Listing, Problems, left_out, read_json, some, stem_of
from medcnn.data.manifest import Case

LOOKED_FOR = "a .json with images, annotations and categories, in the root or in annotations/"
_KEYS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class _File:
    """One annotation file; split is '' where its name says none."""

    path: Path
    split: str
    content: dict[str, list[Any]]


def recognise(root: Path) -> str:
    """What speaks for it, or ''."""
    found = [path.name for path in _annotation_files(root)]
    return f"{some(found)} with images, annotations and categories" if found else ""


def read(ask: Ask) -> Listing:
    """Raises DataError with every problem."""
    problems = Problems()
    files = list(_files(ask.root, problems))
    codes = _classes(files, problems)
    edges = BoxEdges(problems)
    cases: list[Case] = []
    crowds = 0
    for file in files:
        boxes, left = _boxes_by_image(file, codes, problems)
        crowds += left
        cases += _cases(ask, file, boxes, edges)
    twice = len(cases) - len({case.images[""] for case in cases})
    if twice:
        problems.add(f"{twice} pictures are named in more than one place. A case must be in one split")
    problems.stop("the COCO layout")
    used = [*(case.images[""] for case in cases), *(file.path.relative_to(ask.root).as_posix() for file in files)]
    remarks = [f"{len(cases)} pictures, {sum(case.boxes == '[]' for case in cases)} of them without a box"]
    remarks += edges.remarks()
    remarks += [f"{crowds} annotations of crowds (iscrowd) were left out"] if crowds else []
    if len(files) > 1 and not all(file.split for file in files):
        remarks.append("not every annotation file's name says train, val or test, so no split is taken from them")
    remarks.append("the layout names no patients: give patient_id where two pictures are of one person")
    names = sorted(codes.values(), key=lambda name: min(key for key in codes if codes[key] == name))
    numbers = {name: tuple(sorted(key for key in codes if codes[key] == name)) for name in dict.fromkeys(names)}
    return Listing("coco", cases, left_out(ask, used), remarks, list(numbers), numbers)


def _annotation_files(root: Path) -> list[Path]:
    """Where some are called instances, as COCO's own are, the others (of keypoints) repeat them."""
    there = sorted(path for folder in (root, root / "annotations") for path in folder.glob("*.json") if path.is_file())
    found = [path for path in there if _holds_the_keys(path)]
    return [path for path in found if path.name.startswith("instances")] or found


def _holds_the_keys(path: Path) -> bool:
    """By the words alone, since a file may be hundreds of megabytes; reading it tells for certain."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return all(f'"{key}"'.encode() in content for key in _KEYS)


def _files(root: Path, problems: Problems) -> Iterator[_File]:
    """Annotation files. Splits only where each of several files has one of its own."""
    found = _annotation_files(root)
    splits = [_split_of(path) for path in found]
    if not all(splits) or len(set(splits)) < len(splits):
        splits = [""] * len(splits)
    for path, split in zip(found, splits, strict=True):
        content = read_json(path, problems)
        if isinstance(content, dict) and all(isinstance(content.get(key), list) for key in _KEYS):
            yield _File(path, split, content)
        elif content is not None:
            problems.add(f"{path.name}: images, annotations and categories are no lists")


def _split_of(path: Path) -> str:
    words = "".join(c if c.isalpha() else " " for c in stem_of(path.name).lower()).split()
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), "")


def _classes(files: list[_File], problems: Problems) -> dict[int, str]:
    """Category id -> name; files must agree."""
    names: dict[int, str] = {}
    for file in files:
        for entry in file.content["categories"]:
            key, name = (entry.get("id"), entry.get("name")) if isinstance(entry, dict) else (None, None)
            if not isinstance(key, int) or not isinstance(name, str) or not name:
                problems.add(f"{file.path.name}: a category without a number `id` and a `name`")
            elif names.setdefault(key, name) != name:
                problems.add(f"{file.path.name}: category {key} is {name!r}, and {names[key]!r} elsewhere")
    return names


_Marked = list[tuple[list[Any], str]]  # [x, y, width, height] and the class


def _boxes_by_image(file: _File, codes: dict[int, str], problems: Problems) -> tuple[dict[Any, _Marked], int]:
    """Boxes by image id, and how many crowds were left out."""
    known = {entry.get("id") for entry in file.content["images"] if isinstance(entry, dict)}
    found: dict[Any, _Marked] = defaultdict(list)
    crowds = 0
    for number, entry in enumerate(file.content["annotations"]):
        where = f"{file.path.name}, annotation {number}"
        if not isinstance(entry, dict):
            problems.add(f"{where}: is no object")
            continue
        bbox, category, image = entry.get("bbox"), entry.get("category_id"), entry.get("image_id")
        if entry.get("iscrowd"):
            crowds += 1
        elif not isinstance(bbox, list) or len(bbox) != 4 or not all(map(is_number, bbox)):
            problems.add(f"{where}: bbox is not [x, y, width, height]")
        elif category not in codes:
            problems.add(f"{where}: its category is not among the categories")
        elif image not in known:
            problems.add(f"{where}: its image is not among the images")
        else:
            found[image].append((bbox, codes[category]))
    return found, crowds


def _cases(ask: Ask, file: _File, boxes: dict[Any, _Marked], edges: BoxEdges) -> Iterator[Case]:
    seen: set[Any] = set()
    folders = _folders(ask.root, file)
    for number, entry in enumerate(file.content["images"]):
        where = f"{file.path.name}, image {number}"
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), int | str) or entry["id"] in seen:
            edges.problems.add(f"{where}: has no id, or one that stands there twice")
            continue
        seen.add(entry["id"])
        reference = edges.problems.file(ask.root, _placed(ask.root, folders, entry.get("file_name")), where)
        if reference is None:
            continue
        size = _size(entry, edges, ask.root / reference, f"{where} ({reference})")
        if size is None:
            continue
        own: list[Box] = []
        for (x, y, w, h), name in boxes.get(entry["id"], []):
            box = edges.box((x, y, x + w, y + h), name, size, f"{where} ({reference})")
            own += [box] if box else []
        images = {"": reference}
        yield Case(ask.case_id(images), images, {}, split=file.split, boxes=write_boxes(own))


def _size(entry: dict[str, Any], edges: BoxEdges, picture: Path, where: str) -> tuple[int, int] | None:
    """(width, height) as the entry and the picture say; None and a problem where they differ, or neither does."""
    width, height = entry.get("width"), entry.get("height")
    stated = (width, height) if isinstance(width, int) and isinstance(height, int) and min(width, height) > 0 else None
    actual = edges.size(picture, where, needed=stated is None)
    if stated and actual and stated != actual:
        said = f"the annotations say {stated[0]} x {stated[1]} pixels, the picture has {actual[0]} x {actual[1]}"
        edges.problems.add(f"{where}: {said}")
        return None
    return actual or stated


def _folders(root: Path, file: _File) -> list[Path]:
    """Where pictures lie beside annotations, the nearest first."""
    beside, name = file.path.parent, stem_of(file.path.name)
    part = name.split("_")[-1]
    below = [f"images/{part}", part, *([f"images/{file.split}", file.split] if file.split else []), "images", "."]
    return [beside, *(root / folder for folder in below)]


def _placed(root: Path, folders: list[Path], name: Any) -> Any:
    """The path below root of a picture that is named from one of the folders; as it stands where it is in none."""
    if (
        not isinstance(name, str)
        or ".." in PurePosixPath(name.replace("\\", "/")).parts
        or PurePosixPath(name).is_absolute()
    ):
        return name
    for folder in folders:
        if folder.is_relative_to(root) and (folder / name).is_file():
            return (folder / name).relative_to(root).as_posix()
    return name
