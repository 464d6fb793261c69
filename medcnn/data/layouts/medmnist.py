"""One `.npz` in the MedMNIST layout: an explicit row for each of its images, its parts as splits."""

from __future__ import annotations

from pathlib import Path

from medcnn.data.layouts.listing import Ask, Listing, Problems, left_out
from medcnn.data.manifest import Case
from medcnn.io.archive import members, rows
from medcnn.scan import ScanRejected

LOOKED_FOR = "one .npz with train_images, val_images or test_images"


def recognise(root: Path) -> str:
    """What speaks for it, or ''."""
    found = []
    for path in _archives(root):
        try:
            found.append(f"{path.name} with {', '.join(name for name in members(path) if name.endswith('_images'))}")
        except (ScanRejected, OSError):
            continue
    return "; ".join(found)


def read(ask: Ask) -> Listing:
    """Raises DataError where the archive is damaged, or where there are several."""
    archives = _archives(ask.root)
    problems = Problems()
    if len(archives) != 1:
        problems.add(f"{len(archives)} .npz files, where one is needed. Put each into a folder of its own")
    problems.stop("the archive layout")
    path = archives[0]
    try:
        found = rows(path)
    except ScanRejected as rejected:
        problems.add(str(rejected))
    problems.stop(path.name)
    cases = []
    for part, index, label in found:
        images = {"": f"{path.name}#row={part}/{index}"}
        words = [str(value) for value in label]
        labels = {str(k): word for k, word in enumerate(words)} if len(words) > 1 else {"": "".join(words)}
        cases.append(Case(ask.case_id(images), images, labels, split=part))
    values = sorted({label[0] for _, _, label in found if len(label) == 1})
    several = max((len(label) for _, _, label in found), default=0)
    names = [str(value) for value in (range(several) if several > 1 else values)]
    remarks = ["classes are numbers: name them with data.class_names", "the archive names no patients"]
    return Listing(
        "medmnist",
        cases,
        left_out(ask, [path.name]),
        remarks,
        names,
        {name: (int(name),) for name in names},
    )


def _archives(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("*.npz") if path.is_file() and not path.name.startswith("."))
