"""One picture per segmented case: the scan, and the scan with the contours of what was found in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medcnn.batch.colours import rgb, structure_colour
from medcnn.batch.page import GAP, MARGIN, WARNING_INK, Page, Rgb
from medcnn.batch.planes import Panel, panels
from medcnn.batch.view import Labels, View
from medcnn.inference.mask_rule import MaskRule
from medcnn.reporting.figures import INK, QUIET

_LINE_PX = 2
_FILL = 0.22  # of the colour within its contour

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class MaskWords:
    """What stands on the picture; only what may be shared.

    headline  what was found, or why there is no mask
    numbers   what is known of the masks' quality
    entries   what the key says of each structure, in the order of the rule's names
    """

    case_id: str
    headline: str
    numbers: str
    entries: tuple[str, ...]
    caption: str
    flags: tuple[str, ...] = ()
    is_warning: bool = False


def outlines_page(view: View, labels: Labels | None, rule: MaskRule, words: MaskWords) -> Page:
    """The picture; equal inputs give equal pictures.

    labels  (M, *turned scan), as the view is turned; None where there is no mask, and only the scan is shown
    """
    shown = panels(view, fullest(view, labels) if view.grey.ndim == 3 else ())
    plain = [np.repeat(panel.grey[..., None], 3, axis=2) for panel in shown]
    outlined = [] if labels is None else [painted(panel, view, labels, rule) for panel in shown]
    rows = [[*plain, *outlined]] if len(shown) == 1 else [plain, outlined] if outlined else [plain]
    width = max(sum(tile.shape[1] for tile in row) + GAP * (len(row) - 1) for row in rows) + 2 * MARGIN
    page = Page(max(width, 760))
    page.heading(words.headline, words.case_id, is_warning=words.is_warning)
    if words.numbers:
        page.paragraph(words.numbers, 16, INK)
    if outlined:
        page.key([(structure_colour(n), entry) for n, entry in enumerate(words.entries)])
    page.space(8)
    titles = [["Scan", "Contours"]] if len(shown) == 1 else [["Scan"], ["Contours"]]
    for tiles, names in zip(rows, titles, strict=False):
        page.tiles(tiles, names, shown * (len(tiles) // len(shown)))
    for flag in words.flags:
        page.paragraph(flag, 15, WARNING_INK)
    page.paragraph(words.caption, 14, QUIET)
    return page


def fullest(view: View, labels: Labels | None) -> Sequence[int]:
    """Along each axis the plane that cuts most voxels of any structure; the centre where nothing was found."""
    middle = [side // 2 for side in view.grey.shape]
    if labels is None:
        return middle
    counts = [np.zeros(side, np.int64) for side in view.grey.shape]
    for index in range(view.grey.shape[0]):  # row by row: a mask of the whole scan more may not fit
        found = labels[:, index].any(axis=0)
        counts[0][index] = np.count_nonzero(found)
        counts[1] += np.count_nonzero(found, axis=1)
        counts[2] += np.count_nonzero(found, axis=0)
    return [int(count.argmax()) for count in counts] if counts[0].any() else middle


def painted(
    panel: Panel, view: View, labels: Labels, rule: MaskRule, *, fill: float = _FILL, line_px: int = _LINE_PX
) -> Rgb:
    """A panel, each structure in its colour: its contour in full, so much of it within."""
    from scipy.ndimage import binary_erosion

    picture = np.repeat(panel.grey[..., None], 3, axis=2).astype(np.float64)
    here = view.labels_at(labels, panel.places)
    for number, name in enumerate(rule.names):
        mask = rule.mask(here, name)
        if not mask.any():
            continue
        line: Mask = mask & ~binary_erosion(mask, np.ones((3, 3)), iterations=line_px, border_value=1)
        colour = np.array(rgb(structure_colour(number)), np.float64)
        picture[mask] = picture[mask] * (1 - fill) + colour * fill
        picture[line] = colour
    return np.asarray(picture, np.uint8)
