"""Which elements decide what a scan means, and what they say."""

from __future__ import annotations

import struct

from benchmarks.robustness.dicom_layout import PIXEL_DATA, Element, Layout, Malformed

ROWS, COLUMNS, FRAMES = 0x00280010, 0x00280011, 0x00280008
SAMPLES, PHOTOMETRIC, PLANAR = 0x00280002, 0x00280004, 0x00280006
ALLOCATED, STORED, HIGH_BIT, SIGN = 0x00280100, 0x00280101, 0x00280102, 0x00280103
SPACING, IMAGER_SPACING, POSITION, ORIENTATION = 0x00280030, 0x00181164, 0x00200032, 0x00200037
SLOPE, INTERCEPT, MODALITY_LUT, LUT_DESCRIPTOR, LUT_DATA = 0x00281053, 0x00281052, 0x00283000, 0x00283002, 0x00283006
MODALITY, SOP_CLASS, SOP_UID, SERIES, STUDY, FRAME_OF_REFERENCE = (
    *(0x00080060, 0x00080016, 0x00080018, 0x0020000E, 0x0020000D),
    0x00200052,
)
PER_FRAME = 0x52009230
MODULE = (ROWS, COLUMNS, SAMPLES, PHOTOMETRIC, ALLOCATED, STORED, HIGH_BIT, SIGN, PIXEL_DATA)  # all of them Type 1
NEEDED = frozenset(
    {*MODULE, FRAMES, PLANAR, SPACING, IMAGER_SPACING, POSITION, ORIENTATION, SLOPE, INTERCEPT, LUT_DESCRIPTOR}
)
_WIDE = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}


def values(layout: Layout, element: Element | None) -> tuple[float, ...]:
    """Numbers of a text or binary element; () where there is none."""
    if element is None or element.end == element.value:
        return ()
    raw, vr = layout.raw(element), element.vr.split(" or ")[0]
    if vr in _WIDE:
        count = len(raw) // struct.calcsize(_WIDE[vr])
        return struct.unpack_from(f"{'<' if layout.little else '>'}{count}{_WIDE[vr]}", raw)
    try:
        return tuple(float(part) for part in raw.decode("latin1").strip("\0 ").split("\\"))
    except ValueError:
        raise Malformed("text where a number belongs") from None


def text(layout: Layout, element: Element | None) -> str:
    return "" if element is None else layout.raw(element).decode("latin1").rstrip("\0 ")


def one(layout: Layout, tag: int, default: float | None = None) -> int:
    """A whole number of the pixel module."""
    found = values(layout, layout.find(tag)) or (() if default is None else (default,))
    if len(found) != 1:
        raise Malformed("a number of the pixel module is missing")
    return int(found[0])
