"""Chest X-ray phantoms: phantom(i) is the i-th image of an endless made-up population.

    image = phantom(1)
    image.pixels, image.header, image.label, image.mask, image.boxes

Nothing in the header hangs together with the label: each has a stream of random numbers of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from chest_anatomy import Anatomy, chest_of, frontal, lateral, texture
from chest_disease import Box, benign, opacities
from cohort import Visit, visit_of
from draws import Field, generator, pick
from scipy.ndimage import gaussian_filter

CLASSES = ("normal", "opacity")
AIR_TRAPPING = 0.6  # share of the opacities' attenuation that the lungs around them lack


@dataclass(frozen=True)
class Header:
    """What the file says about the picture.

    spacing_mm   edge of a pixel in the patient's middle plane; times magnification on the detector
    spacing_tag  "PixelSpacing", "ImagerPixelSpacing" or "both"
    window       pairs of centre and width, in rescaled values; may be empty
    """

    sop_class: str
    view: str
    rows: int
    columns: int
    spacing_mm: float
    magnification: float
    spacing_tag: str
    bits: int
    photometric: str
    slope: float
    intercept: float
    window: tuple[tuple[float, float], ...]
    compression: str
    days: int


@dataclass(frozen=True, eq=False)
class Phantom:
    """One image and the truth about it.

    pixels   (rows, columns) uint16 as stored, so that in MONOCHROME1 the lungs are bright
    mask     (rows, columns) uint8, 1 in the visible lungs
    boxes    one for each opacity: (x0, y0, x1, y1), corners at pixel edges, upper exclusive
    opacity  (rows, columns) attenuation that the opacities add, 0 in the healthy
    """

    visit: Visit
    header: Header
    pixels: npt.NDArray[np.uint16]
    label: str
    mask: npt.NDArray[np.uint8]
    boxes: tuple[Box, ...]
    opacity: Field

    @property
    def case_id(self) -> str:
        return f"xr-{self.visit.image:04d}"

    def dense_bright(self) -> npt.NDArray[np.uint16]:
        """The pixels as they are meant: MONOCHROME1 inverted over the representable range."""
        top = np.uint16(2**self.header.bits - 1)
        return top - self.pixels if self.header.photometric == "MONOCHROME1" else self.pixels


def header_of(visit: Visit) -> Header:
    """Device facts of one image."""
    rng = generator("xray/header", visit.image)
    view = pick(rng, {"PA": 0.65, "LAT": 0.35})
    sop_class = pick(rng, {"CR": 0.5, "DX": 0.5})
    bits = pick(rng, {10: 0.3, 12: 0.35, 13: 0.1, 14: 0.15, 16: 0.1})
    spacing_mm = round(rng.uniform(3.1, 4.1), 3)
    width_mm, height_mm = rng.uniform(370, 430) if view == "PA" else rng.uniform(315, 370), rng.uniform(345, 410)
    # The DX object fixes the rescale at 1 and 0 (PS3.3 C.8.11.3); CR leaves it open.
    rescales = {(1.0, 0.0): 0.4, (1.0, -1024.0): 0.15, (0.25, 0.0): 0.15, (2.0, -100.0): 0.15, (0.5, 10.0): 0.15}
    slope, intercept = pick(rng, rescales) if sop_class == "CR" else (1.0, 0.0)
    num_windows = pick(rng, {0: 0.2, 1: 0.6, 2: 0.2}) if sop_class == "CR" else pick(rng, {1: 0.7, 2: 0.3})
    span = slope * 2**bits
    tags = (
        {"PixelSpacing": 0.6, "ImagerPixelSpacing": 0.4}
        if sop_class == "CR"
        else {"ImagerPixelSpacing": 0.7, "both": 0.3}
    )
    return Header(
        sop_class=sop_class,
        view=view,
        rows=int(np.clip(height_mm / spacing_mm, 96, 160)),
        columns=int(np.clip(width_mm / spacing_mm, 96, 160)),
        spacing_mm=spacing_mm,
        magnification=round(rng.uniform(1.04, 1.12), 3),
        spacing_tag=pick(rng, tags),
        bits=bits,
        photometric=pick(rng, {"MONOCHROME1": 0.4, "MONOCHROME2": 0.6}),
        slope=slope,
        intercept=intercept,
        window=tuple(
            (round(intercept + rng.uniform(0.4, 0.6) * span, 1), round(rng.uniform(0.5, 1.0) * span, 1))
            for _ in range(num_windows)
        ),
        compression=pick(rng, {"jpeg-ls": 0.63, "jpeg-2000": 0.27, "rle": 0.05, "none": 0.05}),
        days=int(rng.integers(20, 60)),
    )


def grid_mm(header: Header, rng: np.random.Generator) -> tuple[Field, Field]:
    """Where every pixel is (x, y) in the patient, who never stands quite straight nor quite in the middle."""
    row, column = np.mgrid[: header.rows, : header.columns].astype(np.float64)
    x = (column - (header.columns - 1) / 2) * header.spacing_mm - rng.normal(0, 6)
    y = (row - (header.rows - 1) / 2) * header.spacing_mm - rng.normal(12, 7)
    turn = rng.normal(0, 0.035)
    return x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)


def collimation(rng: np.random.Generator, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """True where the beam was let through: all, or all but borders of up to 5 %."""
    open_beam = np.ones(shape, dtype=bool)
    if rng.random() < 0.5:
        top, bottom, left, right = (int(rng.uniform(0, 0.05) * size) for size in (shape[0],) * 2 + (shape[1],) * 2)
        open_beam[:top] = open_beam[shape[0] - bottom :] = False
        open_beam[:, :left] = open_beam[:, shape[1] - right :] = False
    return open_beam


def detected(attenuation: Field, header: Header, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Stored values: blur, quantum noise (more where fewer quanta arrive), exposure, contrast curve, borders, bits."""
    blurred = gaussian_filter(attenuation, rng.uniform(0.4, 0.8))
    noise = rng.uniform(0.005, 0.012) * np.exp(0.5 * blurred) * rng.standard_normal(blurred.shape)
    middle, width = rng.uniform(0.35, 0.6), rng.uniform(0.25, 0.36)
    shown = 0.5 + 0.5 * np.tanh((blurred + noise - middle) / (2 * width))
    low, high = rng.uniform(0.0, 0.12), rng.uniform(0.7, 1.0)
    shown = low + (high - low) * shown
    beam = collimation(rng, (header.rows, header.columns))
    shown = np.where(beam, shown, pick(rng, {0.0: 0.75, 1.0: 0.25}))
    top = 2**header.bits - 1
    stored = np.rint(np.clip(shown, 0, 1) * top)
    return (top - stored if header.photometric == "MONOCHROME1" else stored).astype(np.uint16)


def anatomy_of(visit: Visit, header: Header) -> tuple[Field, Field, Anatomy]:
    """x, y and what lies there before any disease."""
    rng = generator("xray/position", visit.image)
    x, y = grid_mm(header, rng)
    chest, breath_mm = chest_of(visit.patient), rng.normal(0, 7)
    seen = (frontal if header.view == "PA" else lateral)(x, y, chest, breath_mm, rng)
    clouds = 0.02 * texture(rng, (header.rows, header.columns), 4.0)
    harmless = benign(rng, x, y, seen.lung)
    return x, y, Anatomy(seen.attenuation + clouds * (seen.attenuation > 0.02) + harmless, seen.lung)


def phantom(image: int) -> Phantom:
    """The image with this number, counted from 1."""
    visit = visit_of("xray", image)
    header = header_of(visit)
    x, y, anatomy = anatomy_of(visit, header)
    found = []
    if visit.is_sick:
        depth = gaussian_filter(anatomy.lung, 8.0 / header.spacing_mm)
        found = opacities(generator("xray/health", image), x, y, depth)
    added = np.sum([each.attenuation for each in found], axis=0) if found else np.zeros_like(x)
    # Sick lungs hold a little more air elsewhere: brightness alone must not tell the label.
    offset = AIR_TRAPPING * anatomy.lung * added.sum() / anatomy.lung.sum()
    return Phantom(
        visit=visit,
        header=header,
        pixels=detected(anatomy.attenuation + added - offset, header, generator("xray/detector", image)),
        label=CLASSES[visit.is_sick],
        mask=(anatomy.lung > 0.5).astype(np.uint8),
        boxes=tuple(each.box for each in found),
        opacity=added,
    )
