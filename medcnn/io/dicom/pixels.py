"""From stored values to what they mean: modality LUT or rescale, grey, window if asked, MONOCHROME1 inverted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels.processing import apply_color_lut

from medcnn.io.dicom.decode import PixelFormat, Stored, decode_frame
from medcnn.io.dicom.header import first_item, numbers, reader_errors, text
from medcnn.io.options import Voi
from medcnn.scan import Reason, ScanRejected

Values = npt.NDArray[np.floating[Any]]
_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma


@dataclass(frozen=True)
class Meaning:
    """Pixel values in their unit, (rows, columns) float32, and the range that the format can represent."""

    values: npt.NDArray[np.float32]
    value_range: tuple[float, float]


def frame_values(dataset: FileDataset, form: PixelFormat, index: int, header: Dataset, voi: Voi) -> Meaning:
    """One frame in its meaning. header: where rescale and window stand (the frame's own, in enhanced objects)."""
    stored = decode_frame(dataset, form, index)
    if form.samples > 1:
        return _finish(stored[..., :3] @ GREY, (0.0, float(2**form.bits_stored - 1)))
    if form.photometric == "PALETTE COLOR":
        return _palette_values(stored, dataset)
    values, value_range = modality_values(stored, header, form)
    if voi != "none":
        values, value_range = voi_values(values, value_range, header, voi)
    if form.photometric == "MONOCHROME1":
        values = value_range[0] + value_range[1] - values
    return _finish(values, value_range)


def _finish(values: npt.NDArray[Any], value_range: tuple[float, float]) -> Meaning:
    finished = values.astype(np.float32, copy=False)
    if values.dtype != np.float32 and not np.isfinite(finished).all():
        raise ScanRejected(Reason.NONFINITE, "some pixel values are not finite numbers", "Export the file again")
    return Meaning(finished, value_range)


def _palette_values(stored: Stored, dataset: FileDataset) -> Meaning:
    with reader_errors():
        colour = apply_color_lut(stored, _native_palette(dataset))
    if colour.shape[:-1] != stored.shape or colour.shape[-1] < 3:
        raise ScanRejected(Reason.TAG_INVALID, "a colour of the palette is missing", "Export the file again")
    return _finish(colour[..., :3] @ GREY, (0.0, float(np.iinfo(colour.dtype).max)))


def _native_palette(dataset: FileDataset) -> Dataset:
    """Pydicom reads palettes in the machine's byte order, whatever the file's is."""
    if dataset.original_encoding[1] or "SegmentedRedPaletteColorLookupTableData" in dataset:
        return dataset
    palette = Dataset()
    for name in ("Red", "Green", "Blue"):
        descriptor, data = f"{name}PaletteColorLookupTableDescriptor", f"{name}PaletteColorLookupTableData"
        palette[descriptor] = dataset[descriptor]
        words = dataset[data].value
        if isinstance(words, bytes) and len(words) > dataset[descriptor].value[0]:
            words = np.frombuffer(words, dtype=">u2").astype("<u2").tobytes()
        palette.add_new(dataset[data].tag, "OW", words)
    return palette


def modality_values(stored: Stored, header: Dataset, form: PixelFormat) -> tuple[Values, tuple[float, float]]:
    """Modality LUT where there is one, else slope and intercept; once only."""
    lut = first_item(header, "ModalityLUTSequence")
    if lut is not None:
        table, first = lookup_table(lut, signed=form.signed)
        return look_up(stored, table, first), (float(table.min()), float(table.max()))
    slope, intercept = rescale(header)
    if form.is_float:
        values = stored.astype(np.float64) * slope + intercept
        return values, (float(values.min()), float(values.max()))
    ends = sorted(slope * end + intercept for end in form.stored_range())
    value_range = ends[0], ends[1]
    if slope == 1 and intercept.is_integer() and max(map(abs, ends)) < 2**24:  # exact in 32 bits already
        return np.add(stored, np.float32(intercept), dtype=np.float32), value_range
    return stored.astype(np.float64) * slope + intercept, value_range


def rescale(header: Dataset) -> tuple[float, float]:
    """(slope, intercept); absent means 1 and 0. RESCALE_INVALID where either cannot be used."""
    try:
        slope, intercept = numbers(header, "RescaleSlope", 1), numbers(header, "RescaleIntercept", 1)
    except ScanRejected:
        raise _rescale_invalid("is no single finite number") from None
    if (slope is None and "RescaleSlope" in header) or (intercept is None and "RescaleIntercept" in header):
        raise _rescale_invalid("is there without a value")
    if (slope is None or intercept is None) and text(header, "SOPClassUID") == _CT_IMAGE:
        raise _rescale_invalid("is missing, without which a CT's values are no Hounsfield units")
    slope, intercept = slope or (1.0,), intercept or (0.0,)
    if slope[0] == 0:
        raise _rescale_invalid("has slope 0, which makes every pixel the same")
    return slope[0], intercept[0]


def _rescale_invalid(how: str) -> ScanRejected:
    return ScanRejected(Reason.RESCALE_INVALID, f"the rescale {how}", "Export the file again, or leave it out")


def lookup_table(item: Dataset, *, signed: bool) -> tuple[Values, int]:
    """A LUT's outputs and the first stored value that it maps."""
    with reader_errors():
        entries, first, bits = (int(number) for number in item.LUTDescriptor)
        data = item.LUTData
        if isinstance(data, bytes):
            order = "<" if item.original_encoding[1] is not False else ">"
            data = np.frombuffer(
                data, dtype="u1" if len(data) in (entries, entries + 1) and bits <= 8 else f"{order}u2"
            )
        table = np.atleast_1d(np.asarray(data, dtype=np.float64))[: entries or 2**16]
    if table.size != (entries or 2**16):
        raise ScanRejected(Reason.TAG_INVALID, "a look-up table is shorter than it says", "Export the file again")
    return table, first - 2**16 if signed and first >= 2**15 else first


def look_up(values: npt.NDArray[Any], table: Values, first: int) -> Values:
    """Values below and above the table take its ends."""
    return np.asarray(table[np.clip(np.rint(values).astype(np.int64) - first, 0, table.size - 1)])


def voi_values(
    values: Values, value_range: tuple[float, float], header: Dataset, voi: Voi
) -> tuple[Values, tuple[float, float]]:
    """Values of interest as the scanner set them: a LUT if asked, else the first window on 0..1, else unchanged."""
    lut = first_item(header, "VOILUTSequence") if voi == "lut" else None
    if lut is not None:
        table, first = lookup_table(lut, signed=value_range[0] < 0)
        return look_up(values, table, first), (0.0, float(2 ** int(lut.LUTDescriptor[2]) - 1))
    try:
        centre, width = numbers(header, "WindowCenter"), numbers(header, "WindowWidth")
    except ScanRejected:
        raise _window_invalid("cannot be read") from None
    if centre is None or width is None:
        return values, value_range
    return window(values, centre[0], width[0], text(header, "VOILUTFunction") or "LINEAR"), (0.0, 1.0)


def window(values: Values, centre: float, width: float, function: str) -> Values:
    """DICOM PS3.3 C.11.2.1.2 and .3, on 0..1."""
    if not width > 0 or (function == "LINEAR" and width < 1):
        raise _window_invalid(f"has width {width:g}")
    match function:
        case "LINEAR" if width == 1:
            return np.where(values <= centre - 0.5, 0.0, 1.0)
        case "LINEAR":
            return np.asarray(np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1))
        case "LINEAR_EXACT":
            return np.asarray(np.clip((values - centre) / width + 0.5, 0, 1))
        case "SIGMOID":
            return np.asarray(1 / (1 + np.exp(-4 * (values - centre) / width)))
    raise _window_invalid("names a function that is not DICOM's")


def _window_invalid(how: str) -> ScanRejected:
    return ScanRejected(Reason.WINDOW_INVALID, f"the VOI window {how}", "Read the scan with data.voi=none")
