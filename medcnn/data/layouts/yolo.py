"""YOLO boxes: pictures in `images/`, and in `labels/` a .txt for each: `class cx cy w h` as shares of the picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import yaml

from medcnn.data.boxes import Box, write_boxes
from medcnn.data.layouts.box_edges import BoxEdges
from medcnn.data.layouts.listing import SPLIT_WORDS, Ask, Listing, Problems, files_below, left_out
from medcnn.data.manifest import Case

LOOKED_FOR = "folders images/ and labels/ with a .txt per picture"
DESCRIBED_IN = ("data.yaml", "data.yml", "dataset.yaml")
_PICTURES = (".png", ".jpg", ".jpeg")
_MOST_YAML_BYTES = 2**20


def recognise(root: Path) -> str:
    """What speaks for it, or ''."""
    texts = [path for path in _labels(root) if path.with_suffix("").name != "classes"]
    pictures = _pictures(root)
    return f"{len(pictures)} pictures below images/ and {len(texts)} .txt below labels/" if texts and pictures else ""


def read(ask: Ask) -> Listing:
    """Raises DataError with every problem."""
    problems = Problems()
    edges = BoxEdges(problems)
    names = _class_names(ask.root, problems)
    pictures, texts = _pictures(ask.root), {_key(ask.root, path): path for path in _labels(ask.root)}
    splits = {path: _split_of(path.relative_to(ask.root)) for path in pictures}
    divided = all(splits.values())
    cases, used, unlabelled, highest = [], [], 0, -1
    for path in pictures:
        reference = problems.file(ask.root, path.relative_to(ask.root).as_posix(), "a picture")
        text = texts.pop(_key(ask.root, path), None)
        size = edges.size(path, path.relative_to(ask.root).as_posix()) if reference else None
        if reference is None or size is None:
            continue
        unlabelled += text is None
        boxes: list[Box] = []
        if text is not None and problems.file(ask.root, text.relative_to(ask.root).as_posix(), "a label file"):
            used.append(text.relative_to(ask.root).as_posix())
            for number, box in _boxes(text, names, size, edges, used[-1]):
                highest = max(highest, number)
                boxes.append(box)
        images = {"": reference}
        split = splits[path] if divided else ""
        cases.append(Case(ask.case_id(images), images, {}, split=split, boxes=write_boxes(boxes)))
    for text in (path for key, path in sorted(texts.items()) if path.name != "classes.txt"):
        problems.add(f"{text.relative_to(ask.root).as_posix()}: there is no picture of this name in images/")
    problems.stop("the YOLO layout")
    classes = names or [str(number) for number in range(highest + 1)]
    remarks = [f"{len(cases)} pictures, {sum(case.boxes == '[]' for case in cases)} of them without a box"]
    remarks += [f"{unlabelled} of them have no .txt, which means: nothing to find"] if unlabelled else []
    remarks += [] if names else ["no class names (data.yaml or classes.txt): classes are called by their numbers"]
    if not divided and any(splits.values()):
        remarks.append("only some pictures lie in a folder of a split, so no split is taken from the folders")
    remarks += [*edges.remarks(), "the layout names no patients: give patient_id where two pictures are of one person"]
    used += [*DESCRIBED_IN, "classes.txt", "labels/classes.txt", *(case.images[""] for case in cases)]
    codes: dict[str, tuple[int, ...]] = {name: (number,) for number, name in enumerate(classes)}
    return Listing("yolo", cases, left_out(ask, used), remarks, classes, codes)


def _below(root: Path, folder: str) -> list[Path]:
    """Files with a folder of this name on their way."""
    return [path for path in files_below(root) if folder in path.relative_to(root).parts[:-1]]


def _pictures(root: Path) -> list[Path]:
    return [path for path in _below(root, "images") if path.suffix.lower() in _PICTURES]


def _labels(root: Path) -> list[Path]:
    return [path for path in _below(root, "labels") if path.suffix.lower() == ".txt"]


def _key(root: Path, path: Path) -> str:
    """What a picture and its labels share: the way to them with images/ and labels/ taken out, and the name."""
    parts = list(path.relative_to(root).with_suffix("").parts)
    folder = "labels" if path.suffix.lower() == ".txt" else "images"
    last = len(parts) - 2 - parts[-2::-1].index(folder)
    return "/".join([*parts[:last], "*", *parts[last + 1 :]])


def _split_of(path: Path) -> str:
    return next((SPLIT_WORDS[part.lower()] for part in path.parts[:-1] if part.lower() in SPLIT_WORDS), "")


def _class_names(root: Path, problems: Problems) -> list[str]:
    """From data.yaml, else classes.txt, else []. Paths in data.yaml are not followed: folders say the splits."""
    described = next((path for name in DESCRIBED_IN if (path := root / name).is_file()), None)
    if described is None:
        listed = next((p for p in (root / "classes.txt", root / "labels" / "classes.txt") if p.is_file()), None)
        return [line.strip() for line in listed.read_text("utf-8").splitlines() if line.strip()] if listed else []
    try:
        if described.stat().st_size > _MOST_YAML_BYTES:
            raise ValueError("too large")
        found = yaml.safe_load(described.read_text(encoding="utf-8-sig"))
        names = found.get("names") if isinstance(found, dict) else None
    except (ValueError, OSError, RecursionError, yaml.YAMLError) as error:
        problems.add(f"{described.name} cannot be read ({type(error).__name__})")
        return []
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str | int) for name in names):
        problems.add(f"{described.name}: names is no list of classes, nor numbered from 0 without gaps")
        return []
    if len(set(map(str, names))) < len(names):
        problems.add(f"{described.name}: a class stands in names twice")
    return [str(name) for name in names]


def _boxes(
    path: Path, names: list[str], size: tuple[int, int], edges: BoxEdges, shown: str
) -> Iterator[tuple[int, Box]]:
    """(class number, box in pixels) of every line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        edges.problems.add(f"{shown} cannot be read ({type(error).__name__})")
        return
    width, height = size
    for number, line in enumerate(lines, start=1):
        words, where = line.split(), f"{shown}, line {number}"
        if not words:
            continue
        try:
            kind, values = int(words[0]), [float(word) for word in words[1:]]
        except ValueError:
            kind, values = -1, []
        if kind < 0 or len(values) != 4 or not all(map(math.isfinite, values)):
            what = "an outline, not a box" if len(words) > 6 else "not `class cx cy w h`"
            edges.problems.add(f"{where}: is {what} ({len(words)} values)")
        elif names and kind >= len(names):
            edges.problems.add(f"{where}: class {kind}, and there are {len(names)} names, counted from 0")
        else:
            cx, cy, w, h = values[0] * width, values[1] * height, values[2] * width, values[3] * height
            corners = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
            box = edges.box(corners, names[kind] if names else str(kind), size, where)
            if box is not None:
                yield kind, box
