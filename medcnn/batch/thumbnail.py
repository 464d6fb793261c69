"""A small picture of a case for the page of all cases: the scan with what was found in it, and no words."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from medcnn.batch.outlines import fullest, painted
from medcnn.batch.overlay import under_heat
from medcnn.batch.page import Rgb
from medcnn.batch.planes import Panel, panels
from medcnn.batch.view import Heat, Labels, View
from medcnn.inference.mask_rule import MaskRule

LONGER_SIDE_PX = 128
_QUALITY = 72  # of WebP: 2 to 4 KB
_FILL = 0.45  # of the colour within its contour: more than on the large picture, where there is room to look
_LINE_PX = 4  # before it is made small, about one pixel after
_ANISOTROPIC = 1.3  # thickest edge to thinnest, from which the plane of acquisition is shown


def thumbnail(
    view: View, labels: Labels | None = None, rule: MaskRule | None = None, heat: Heat | None = None
) -> bytes:
    """WebP, its longer side 128 pixels; equal inputs give equal bytes.

    labels  (M, *turned scan) with the rule that they follow: the plane with most of the masks is shown, contours filled
    heat    on the network's grid, 0 to 1: the plane through its hottest voxel is shown
    """
    panel = _panel(view, labels, heat)
    if labels is not None and rule is not None:
        picture = painted(panel, view, labels, rule, fill=_FILL, line_px=_LINE_PX)
    elif heat is not None:
        picture = under_heat(panel.grey, view.heat_at(heat, panel.places))
    else:
        picture = np.repeat(panel.grey[..., None], 3, axis=2)
    return _webp(picture)


def _panel(view: View, labels: Labels | None, heat: Heat | None) -> Panel:
    if view.grey.ndim == 2:
        return panels(view)[0]
    centre: Sequence[int] = view.hottest(heat) if labels is None and heat is not None else fullest(view, labels)
    return panels(view, centre)[_plane(view)]


def _plane(view: View) -> int:
    """Which of the panels: the plane the scan was acquired in, else the axial one."""
    edges = view.edges_mm
    through = int(np.argmax(edges)) if max(edges) > _ANISOTROPIC * min(edges) else 2
    return 2 - through  # axial cuts through the last axis, sagittal through the first


def _webp(picture: Rgb) -> bytes:
    height, width = picture.shape[:2]
    scale = LONGER_SIDE_PX / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    stream = io.BytesIO()
    Image.fromarray(picture).resize(size, Image.Resampling.BOX).save(stream, "WEBP", quality=_QUALITY, method=4)
    return stream.getvalue()
