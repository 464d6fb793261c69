"""What contradicts itself in a DICOM file or series: the rules that make a mutation detectable.

Written from the standard and from conformance, not from medcnn's reader: None means one plausible scan became another.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.robustness.codestream_rules import codestream_contradiction
from benchmarks.robustness.dicom_layout import NATIVE, PIXEL_DATA, Element, Layout, Malformed, layout_of, vm_of
from benchmarks.robustness.dicom_values import (
    ALLOCATED,
    COLUMNS,
    FRAME_OF_REFERENCE,
    FRAMES,
    HIGH_BIT,
    IMAGER_SPACING,
    INTERCEPT,
    LUT_DATA,
    LUT_DESCRIPTOR,
    MODALITY,
    MODULE,
    NEEDED,
    ORIENTATION,
    PER_FRAME,
    PHOTOMETRIC,
    PLANAR,
    POSITION,
    ROWS,
    SAMPLES,
    SERIES,
    SIGN,
    SLOPE,
    SOP_CLASS,
    SOP_UID,
    SPACING,
    STORED,
    STUDY,
    one,
    text,
    values,
)

_IDENTIFIERS = frozenset({SOP_CLASS, SOP_UID, SERIES, STUDY, FRAME_OF_REFERENCE, MODALITY})
_SAMPLES_OF = {"MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1} | dict.fromkeys(
    ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT", "YBR_PARTIAL_420"), 3
)
_DECIMAL = re.compile(r" *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)? *")
_INTEGER = re.compile(r" *[+-]?\d+ *")
_UID = re.compile(r"[A-Za-z0-9._-]+")  # public sets carry hashes and names of their own as UIDs: no sign of damage
_CODE = re.compile(r"[A-Z0-9_ ]*")
_CT = "1.2.840.10008.5.1.4.1.1.2"


def contradiction(files: Mapping[str, bytes], frame: int | None = None) -> str | None:
    """Which rule the files of one scan break, each alone or together; frame: the only one that is read."""
    layouts = []
    for data in files.values():
        try:
            layout = layout_of(data)
            check_file(layout, frame)
        except Malformed as malformed:
            return str(malformed)
        layouts.append(layout)
    try:
        check_grid([place for layout in layouts for place in places(layout)], rounding_mm(layouts))
        if len(layouts) > 1:
            check_series(layouts)
    except Malformed as malformed:
        return str(malformed)
    return None


def check_file(layout: Layout, frame: int | None = None) -> None:
    """Raises Malformed where values contradict their VR, their limits or each other."""
    for element in layout.every():
        if element.tag in NEEDED | _IDENTIFIERS and element.tag != PIXEL_DATA:
            _check_value(layout, element)
    for tag in MODULE:
        if (found := layout.find(tag)) is None or found.end == found.value:
            raise Malformed("an element that every image must have is missing or empty")
    own_class = layout.find(SOP_CLASS)  # real files leave it out
    if own_class is not None and text(layout, layout.find(0x00020002)) != text(layout, own_class):
        raise Malformed("the file meta names another kind of object than the data set")
    _check_pixel_module(layout, frame)
    _check_rescale(layout)
    if text(layout, layout.find(PHOTOMETRIC)) == "PALETTE COLOR":
        _check_palette(layout)


def _check_value(layout: Layout, element: Element) -> None:
    parts = text(layout, element).split("\\")
    vr = element.vr
    if vr in ("DS", "IS", "UI", "CS") and parts != [""]:
        form = {"DS": _DECIMAL, "IS": _INTEGER, "UI": _UID, "CS": _CODE}[vr]
        if not all(form.fullmatch(part) for part in parts) or max(map(len, parts)) > (64 if vr == "UI" else 32):
            raise Malformed("a value that its VR does not allow")
    if element.tag in NEEDED and (found := values(layout, element) if vr != "CS" else ()):
        if not all(map(math.isfinite, found)):
            raise Malformed("a number that is not finite")
        least = vm_of(element.tag).split("-")[0]
        if least.isdecimal() and len(found) != int(least):
            raise Malformed("another number of values than the dictionary's")
        unsaid = not any(found)  # some digitisers write zeros for an unknown spacing
        if element.tag in (SPACING, IMAGER_SPACING) and min(found) <= 0 and not unsaid:
            raise Malformed("a spacing that is not positive")


def _check_pixel_module(layout: Layout, frame: int | None) -> None:
    rows, columns, samples = (one(layout, tag) for tag in (ROWS, COLUMNS, SAMPLES))
    frames, allocated, stored = one(layout, FRAMES, 1), one(layout, ALLOCATED), one(layout, STORED)
    photometric = text(layout, layout.find(PHOTOMETRIC)).strip()
    if min(rows, columns, frames) < 1 or _SAMPLES_OF.get(photometric) != samples or one(layout, SIGN) not in (0, 1):
        raise Malformed("a value of the pixel module that cannot be")
    if samples > 1 and one(layout, PLANAR) not in (0, 1):
        raise Malformed("no planar configuration")
    if allocated not in (1, 8, 16, 32, 64) or not 0 < stored <= allocated or one(layout, HIGH_BIT) != stored - 1:
        raise Malformed("bits that do not fit together")
    if (groups := layout.find(PER_FRAME)) is not None and len(groups.items) != frames:
        raise Malformed("another number of functional groups than frames")
    data = layout.find(PIXEL_DATA)
    if data is None or data.undefined == (layout.syntax in NATIVE):
        raise Malformed("pixel data of another form than the transfer syntax")
    if data.undefined:
        _check_fragments(layout, data, PixelShape(rows, columns, samples, allocated, stored), frames, frame)
        return
    per_pixel = 2 if photometric == "YBR_FULL_422" else samples
    size = math.ceil(rows * columns * per_pixel * frames * allocated / 8)
    if data.end - data.value != size + size % 2:
        raise Malformed("another length of the pixel data than its header claims")


@dataclass(frozen=True)
class PixelShape:
    """What a codestream must agree with."""

    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int


def _check_fragments(layout: Layout, data: Element, shape: PixelShape, frames: int, only: int | None) -> None:
    table, *fragments = data.items
    offsets = struct.unpack(
        f"<{(table.end - table.value) // 4}I",
        layout.plain[table.value : table.value + (table.end - table.value) // 4 * 4],
    )
    starts = [one.start - table.end for one in fragments]
    if (table.end - table.value) % 4 or (offsets and (len(offsets) != frames or not set(offsets) <= set(starts))):
        raise Malformed("an offset table that does not fit the fragments")
    if offsets and (offsets[0] != 0 or list(offsets) != sorted(set(offsets))):
        raise Malformed("an offset table that does not rise from 0")
    if len(fragments) != frames and not (frames == 1 and fragments) and not offsets:
        raise Malformed("another number of fragments than frames")
    begins = offsets or (starts[:1] if frames == 1 else starts)
    for number, (first, last) in enumerate(pairwise([*begins, 1 << 40])):
        stream = b"".join(
            layout.plain[one.value : one.end]
            for one, start in zip(fragments, starts, strict=True)
            if first <= start < last
        )
        if only in (None, number) and (reason := codestream_contradiction(layout.syntax, stream, shape)):
            raise Malformed(reason)


def _check_rescale(layout: Layout) -> None:
    is_ct = text(layout, layout.find(SOP_CLASS)) == _CT
    for element in layout.every():
        if element.tag == SLOPE and values(layout, element) in ((0.0,), ()):
            raise Malformed("a rescale slope of 0 or none")
        if element.tag == LUT_DESCRIPTOR:
            _check_table(layout, element)
    if is_ct and (layout.find(SLOPE) is None or not values(layout, layout.find(INTERCEPT))):
        raise Malformed("a CT image without rescale")


def _check_table(layout: Layout, descriptor: Element) -> None:
    numbers = values(layout, descriptor)
    siblings = [each for each in layout.every() if each.tag == LUT_DATA and each.start > descriptor.start]
    entries, _, bits = (int(number) for number in numbers)
    entries = entries & 0xFFFF or 2**16
    if (
        not siblings
        or bits not in range(8, 17)
        or siblings[0].end - siblings[0].value not in (2 * entries, entries + entries % 2)
    ):
        raise Malformed("a look-up table of another length than its descriptor")


def _check_palette(layout: Layout) -> None:
    """Three tables of one kind, each as long as its descriptor says."""
    kinds = []
    for colour in (1, 2, 3):
        descriptor = values(layout, layout.find(0x00281100 + colour))
        table = layout.find(0x00281200 + colour)
        entries = int(descriptor[0]) or 2**16 if len(descriptor) == 3 else 0
        if table is None or not entries or table.end - table.value not in (2 * entries, entries + entries % 2):
            raise Malformed("a palette whose tables do not fit their descriptors")
        kinds.append(descriptor)
    if len(set(kinds)) > 1:
        raise Malformed("a palette whose descriptors differ")


def places(layout: Layout) -> list[tuple[float, ...]]:
    """Position (3) and orientation (6) of each slice of a file, where it says so."""
    found: dict[int, list[tuple[float, ...]]] = {POSITION: [], ORIENTATION: []}
    for element in layout.every():
        if element.tag in found:
            found[element.tag].append(values(layout, element))
    positions, orientations = found[POSITION], found[ORIENTATION]
    if not positions and not orientations:
        return []
    if len(orientations) == 1:
        orientations *= len(positions)
    if any(len(one) != 3 for one in positions) or any(len(one) != 6 for one in orientations):
        raise Malformed("a position or orientation with another number of values")
    if len(positions) != len(orientations) or len(positions) != max(1, one(layout, FRAMES, 1)):
        raise Malformed("another number of positions than frames")
    return [(*position, *orientation) for position, orientation in zip(positions, orientations, strict=True)]


def rounding_mm(layouts: list[Layout]) -> float:
    """How far a position can lie from where it was, by its decimals alone: half a unit of the last on each axis."""
    written = [layout.raw(one) for layout in layouts for one in layout.every() if one.tag == POSITION]
    decimals = [len(part.strip().partition(b".")[2]) for text in written for part in text.split(b"\\")]
    return math.sqrt(3) * 0.5 * 10.0 ** -max(decimals, default=9)


def check_grid(found: list[tuple[float, ...]], rounded_mm: float) -> None:
    """Unit vectors at right angles, the same for all; positions distinct, on one even straight grid."""
    for place in found:
        row, column = place[3:6], place[6:9]
        if max(abs(_dot(row, row) - 1), abs(_dot(column, column) - 1), abs(_dot(row, column))) > 2e-3:
            raise Malformed("directions that are not two unit vectors at a right angle")
        if max(abs(a - b) for a, b in zip(place[3:], found[0][3:], strict=True)) > 1e-3:
            raise Malformed("slices of several orientations")
    if len(found) < 3:
        return
    row, column = found[0][3:6], found[0][6:9]
    normal = tuple(row[i - 2] * column[i - 1] - row[i - 1] * column[i - 2] for i in range(3))
    ordered = sorted(found, key=lambda place: _dot(place[:3], normal))
    count = len(ordered) - 1
    step = tuple((ordered[-1][axis] - ordered[0][axis]) / count for axis in range(3))
    length = math.sqrt(_dot(step, step))
    for k, place in enumerate(ordered):
        off = math.dist(place[:3], [ordered[0][axis] + k * step[axis] for axis in range(3)])
        if not off <= max(0.015 * length, rounded_mm):  # conformance admits 1 %: between the two, either is right
            raise Malformed("positions off an even grid")
    along = abs(_dot(step, normal))
    if count * math.sqrt(max(length**2 - along**2, 0)) > 0.15:
        raise Malformed("a stack that drifts sideways")


def _dot(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def check_series(layouts: list[Layout]) -> None:
    """What all slices of one series share."""
    same = (
        ROWS,
        COLUMNS,
        SAMPLES,
        PHOTOMETRIC,
        ALLOCATED,
        STORED,
        HIGH_BIT,
        SIGN,
        SERIES,
        STUDY,
        FRAME_OF_REFERENCE,
        MODALITY,
        SOP_CLASS,
    )
    for tag in same:
        if len({text(layout, found) if (found := layout.find(tag)) else None for layout in layouts}) > 1:
            raise Malformed("slices of one series that differ where they cannot")
    if len({text(layout, layout.find(SOP_UID)) for layout in layouts}) < len(layouts):
        raise Malformed("two slices with one SOP Instance UID")
    spacings = [values(layout, layout.find(SPACING)) for layout in layouts]
    if any(
        len(one) != 2 or max(abs(a / b - 1) for a, b in zip(one, spacings[0], strict=True)) > 1e-3 for one in spacings
    ):
        raise Malformed("slices of several spacings")
    if len({(layout.find(SLOPE) is None, layout.find(INTERCEPT) is None) for layout in layouts}) > 1:
        raise Malformed("rescale in some slices only")
    if any(not places(layout) for layout in layouts):
        raise Malformed("a slice without a place")
