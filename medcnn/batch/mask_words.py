"""What stands on a segmented case's picture."""

from __future__ import annotations

from medcnn.batch.outlines import MaskWords
from medcnn.inference.segmenter import Segmentation
from medcnn.model_package.segmenter import SegmenterPackage

_NAMED = 4  # of many structures only how many were found is said in the headline


def mask_words(package: SegmenterPackage, case_id: str, made: Segmentation, flags: tuple[str, ...]) -> MaskWords:
    """Of a mask that was made."""
    names = package.segmenter.rule.names
    found = [name for name in names if made.expected_dice[name] == made.expected_dice[name]]  # nan: nothing found
    sure = " · ".join(f"{name} {made.expected_dice[name]:.2f}" for name in found)
    numbers = f"Expected Dice: {sure}" if found else ""
    if made.disagreement is not None:
        numbers += f"; disagreement {made.disagreement:.2f}"
    if not found:
        headline = "Nothing found"
    else:
        headline = ", ".join(found) if len(names) <= _NAMED else f"{len(found)} of {len(names)} structures found"
    entries = tuple(_entry(name, found, made.volumes_ml) for name in names)
    cut = "Planes are cut where most of them is found. " if len(package.segmenter.settings.patch) == 3 else ""
    caption = f"Contours of the masks that the model made. {cut}Intended use: {package.description.intended_use}"
    return MaskWords(case_id, headline, numbers, entries, caption, flags)


def withheld_words(package: SegmenterPackage, case_id: str, flags: tuple[str, ...]) -> MaskWords:
    """Of a scan that the model does not know."""
    caption = f"Intended use: {package.description.intended_use}"
    return MaskWords(case_id, "no mask: not the kind of scan this model knows", "", (), caption, flags, is_warning=True)


def _entry(name: str, found: list[str], volumes_ml: dict[str, float] | None) -> str:
    if name not in found:
        return f"{name}: not found"
    return name if volumes_ml is None else f"{name} {volumes_ml[name]:.3g} ml"
