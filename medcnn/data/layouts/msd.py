"""The Medical Segmentation Decathlon's layout: dataset.json, or its folders imagesTr and labelsTr alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from medcnn.data.layouts.dataset_json import (
    SPLIT_FILES,
    channels_of,
    classes_of,
    codes_of,
    description,
    folds_of,
    volumes_in,
)
from medcnn.data.layouts.listing import Ask, Listing, Problems, files_below, left_out, references_of, stem_of
from medcnn.data.layouts.nnunet import has_channel_numbers
from medcnn.data.manifest import Case
from medcnn.io.reference import Reference
from medcnn.scan import ScanRejected

LOOKED_FOR = "dataset.json with a list `training`, or folders imagesTr and labelsTr"
_NIFTI = (".nii", ".nii.gz")


def recognise(root: Path) -> str:
    """What speaks for it, or ''."""
    if has_channel_numbers(root):
        return ""
    if isinstance(description(root, Problems()).get("training"), list):
        return "dataset.json with a list `training`"
    if (root / "imagesTr").is_dir() and (root / "labelsTr").is_dir():
        return "folders imagesTr and labelsTr" + ("" if (root / "dataset.json").is_file() else ", no dataset.json")
    return ""


def read(ask: Ask) -> Listing:
    """Raises DataError with every problem."""
    problems = Problems()
    about = description(ask.root, problems)
    remarks = [] if about else ["no dataset.json: images and masks are paired by their names, classes are not known"]
    codes = codes_of(about.get("labels"), problems)
    channels = channels_of(about.get("modality") or about.get("channel_names") or {"0": "image"}, problems)
    pairs = list(_pairs(ask.root, about, problems))
    folds, said = folds_of(ask.root, [stem_of(PurePosixPath(image).name) for image, _ in pairs], problems)
    cases = []
    for image, mask in pairs:
        images = _images(ask.root, image, channels, problems)
        fold = folds.get(stem_of(PurePosixPath(image).name), "")
        cases.append(Case(ask.case_id(images), images, {}, masks={"": mask}, fold=fold))
    test = about.get("test")
    without_truth = len(test) if isinstance(test, list) else len(_volumes(ask.root / "imagesTs"))
    if without_truth:
        said.append(f"{without_truth} test images have no mask and are left out; ask predict about them")
    said.append("the layout names no patients: give patient_id where two scans are of one person")
    problems.stop("the MSD layout")
    used = ["dataset.json", *SPLIT_FILES, *references_of(cases)]
    return Listing("msd", cases, left_out(ask, used), [*remarks, *said], classes_of(codes), codes)


def _pairs(root: Path, about: dict[str, Any], problems: Problems) -> Iterator[tuple[str, str]]:
    """(image, mask), sorted."""
    training = about.get("training")
    if training is None:
        yield from _pairs_by_name(root, problems)
        return
    found: dict[str, str] = {}
    for number, entry in enumerate(training if isinstance(training, list) else []):
        where = f"dataset.json, training {number}"
        if not isinstance(entry, dict):
            problems.add(f'{where}: is no {{"image": ..., "label": ...}}')
            continue
        image = problems.file(root, entry.get("image"), f"{where}, image")
        mask = problems.file(root, entry.get("label"), f"{where}, label")
        if image in found:
            problems.add(f"{where}: {image} is named before")
        elif image is not None and mask is not None:
            found[image] = mask
    yield from sorted(found.items())


def _pairs_by_name(root: Path, problems: Problems) -> Iterator[tuple[str, str]]:
    images, masks = _volumes(root / "imagesTr"), _volumes(root / "labelsTr")
    for name in sorted(images.keys() | masks.keys()):
        if name not in masks:
            problems.add(f"imagesTr/{images[name].name} has no mask in labelsTr")
        elif name not in images:
            problems.add(f"labelsTr/{masks[name].name} has no image in imagesTr")
        else:
            paths = images[name].relative_to(root).as_posix(), masks[name].relative_to(root).as_posix()
            found = [problems.file(root, path, path) for path in paths]
            if found[0] is not None and found[1] is not None:
                yield found[0], found[1]


def _volumes(folder: Path) -> dict[str, Path]:
    """Name without suffix -> NIfTI file; Mac's `._` shadows left out."""
    return {stem_of(path.name): path for path in files_below(folder) if path.name.lower().endswith(_NIFTI)}


def _images(root: Path, image: str, channels: list[str], problems: Problems) -> dict[str, str]:
    """One column, or one per modality of a 4D file."""
    if len(channels) < 2:
        return {"": image}
    try:
        count = volumes_in(root / image)
    except ScanRejected as rejected:
        problems.add(f"{image}: {rejected.rejection}")
        return {"": image}
    if count != len(channels):
        problems.add(f"{image}: {count} volumes, and dataset.json names {len(channels)} modalities")
    return {name: str(Reference(image, frame=number)) for number, name in enumerate(channels)}
