"""Brain-like MR phantoms: volume(i) is the i-th T1-weighted volume of an endless made-up population.

A head with scalp, skull, cortex, white matter and ventricles, and on each side two nuclei that touch, "anterior"
(label 1) and "posterior" (label 2). In atrophy both shrink and the ventricle beside them widens. Heads differ in
size, and old brains have wide ventricles elsewhere, so that no volume alone gives the class away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from cohort import Visit, visit_of
from draws import Field, generator, pick, soft_step
from scipy.ndimage import gaussian_filter

CLASSES = ("normal", "atrophy")
STRUCTURES = {1: "anterior", 2: "posterior"}
SAMPLES_PER_EDGE = 2  # each voxel is the mean of 2 x 2 x 2 points: partial volume


@dataclass(frozen=True, eq=False)
class Volume:
    """One volume and the truth about it.

    voxels  (I, J, K) uint16
    mask    (I, J, K) uint8: 0, 1 anterior, 2 posterior
    affine  voxel index -> RAS+ mm
    form    "nifti" or "dicom"
    """

    visit: Visit
    voxels: npt.NDArray[np.uint16]
    mask: npt.NDArray[np.uint8]
    affine: npt.NDArray[np.float64]
    label: str
    form: str

    @property
    def case_id(self) -> str:
        return f"mr-{self.visit.image:04d}"


@dataclass(frozen=True)
class Brain:
    """Sizes relative to the average; shift in mm."""

    size: float
    skull: tuple[float, float, float]
    nuclei: float
    horn: float
    ventricle: float
    shape: tuple[float, float, float]
    shift_mm: tuple[float, float, float]


def brain_of(visit: Visit) -> Brain:
    """Build of the patient, state of health and position of the visit."""
    person = generator("mri/anatomy", visit.patient.number)
    health = generator("mri/health", visit.image)
    place = generator("mri/position", visit.image)
    size, skull = person.uniform(0.85, 1.1), tuple(person.normal(1, 0.03, 3))
    ventricle = 0.8 + 0.5 * (visit.patient.age - 20) / 70 + person.normal(0, 0.08)
    shape = tuple(person.normal(1, 0.06, 3))
    shrunk, widened = health.uniform(0.78, 0.9), health.uniform(1.4, 1.8)
    whole, slim = health.uniform(0.9, 1.06), health.uniform(0.75, 1.15)
    return Brain(
        size=float(size),
        skull=skull,
        nuclei=float(shrunk if visit.is_sick else whole),
        horn=float(widened if visit.is_sick else slim),
        ventricle=float(ventricle),
        shape=shape,
        shift_mm=tuple(place.normal(0, 2.5, 3)),
    )


def ball(points: Field, centre: tuple[float, float, float], radii: Field, turn: float = 0.0) -> Field:
    """Ellipsoid turned about the left-right axis: 1 at the centre, 0 on the surface. points (..., 3) RAS mm."""
    off = points - np.asarray(centre)
    along = off[..., 1] * np.cos(turn) + off[..., 2] * np.sin(turn)
    across = off[..., 2] * np.cos(turn) - off[..., 1] * np.sin(turn)
    return np.asarray(1.0 - np.sqrt((off[..., 0] / radii[0]) ** 2 + (along / radii[1]) ** 2 + (across / radii[2]) ** 2))


def nuclei(mirrored: Field, brain: Brain) -> tuple[Field, Field]:
    """How deep inside the anterior and the posterior nucleus; both at once nowhere, 0 in common where they touch.

    mirrored (..., 3) RAS mm with x made positive: both sides alike
    """
    radii = brain.nuclei * np.asarray(brain.shape)
    # The nuclei shrink towards where they touch, so that they always do.
    front = ball(mirrored, (27.0, -4 + 13 * brain.nuclei, -8.0), radii * np.array([12.0, 16.0, 13.0]), 0.2)
    back = ball(mirrored, (27.0, -4 - 13 * brain.nuclei, -7.0), radii * np.array([11.0, 18.0, 11.0]), 0.2)
    border = (mirrored[..., 1] + 4) / 16 + 0.25 * (mirrored[..., 2] + 8) / 16
    return np.minimum(front, border), np.minimum(back, -border)


def tissue(points: Field, brain: Brain) -> tuple[Field, Field, Field]:
    """Signal without bias or noise (0..1), and depth within the two nuclei. points (..., 3) RAS mm."""
    at = (points - np.asarray(brain.shift_mm)) / brain.size
    mirrored = np.concatenate([np.abs(at[..., :1]), at[..., 1:]], axis=-1)
    head = ball(at, (0.0, 0.0, 0.0), np.array([76.0, 93.0, 76.0]) * np.asarray(brain.skull))
    folds = 0.035 * np.sin(at[..., 0] / 4.6) * np.sin(at[..., 1] / 5.2) * np.sin(at[..., 2] / 4.9)
    signal = np.zeros(head.shape)
    for depth, value in ((head, 0.95), (head - 0.07, 0.08), (head - 0.14, 0.22), (head - 0.17 + folds, 0.52)):
        signal += soft_step(depth, 0.012) * (value - signal)
    white = head - 0.33 + 3.2 * folds - 0.12 * np.exp(-((at[..., 0] / 5) ** 2))
    lateral = ball(mirrored, (11.0, 2.0, 18.0), brain.ventricle * np.array([7.0, 34.0, 10.0]), -0.15)
    horn = ball(mirrored, (40.0, -6.0, -10.0), brain.horn * np.array([5.0, 22.0, 8.0]), 0.2)
    front, back = nuclei(mirrored, brain)
    for depth, value in ((white, 0.8), (lateral, 0.2), (horn, 0.2), (front, 0.6), (back, 0.5)):
        signal += soft_step(depth, 0.05) * (value - signal)
    return signal, front, back


def turned(rng: np.random.Generator, degrees: tuple[float, float]) -> npt.NDArray[np.float64]:
    """A turn about the left-right axis, then about the front-back axis, each by a random angle within degrees."""
    a, b = np.deg2rad(rng.uniform(*degrees, 2)) * np.where(rng.random(2) < 0.5, -1, 1)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    return np.asarray(about_y @ about_x)


def grid_of(image: int, form: str) -> tuple[npt.NDArray[np.float64], tuple[int, int, int]]:
    """Affine (RAS+ mm) and shape. DICOM: columns run to the left, rows to the back, slices to the head, oblique."""
    rng = generator("mri/grid", image)
    shape = (int(rng.integers(30, 35)), int(rng.integers(36, 41)), int(rng.integers(19, 23)))
    spacing_mm = np.round([rng.uniform(5.0, 5.4), rng.uniform(5.0, 5.4), rng.uniform(6.8, 7.6)], 3)
    if form == "dicom":
        axes, spacing_mm[1] = turned(rng, (10.0, 30.0)) @ np.diag([-1.0, -1.0, 1.0]), spacing_mm[0]
    else:
        axes = turned(rng, (0.0, 8.0)) @ np.diag(pick(rng, {(1, 1, 1): 0.4, (-1, 1, 1): 0.35, (-1, -1, 1): 0.25}))
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing_mm
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2) + rng.normal(0, 1.0, 3)
    if form == "nifti":
        affine = affine.astype(np.float32).astype(np.float64)  # what the header keeps
    return affine, shape


def scanned(signal: Field, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Uneven coil sensitivity, Rician noise, and a scale that differs from scan to scan."""
    corner = [np.linspace(-1, 1, size) for size in signal.shape]
    i, j, k = np.meshgrid(*corner, indexing="ij")
    terms = rng.normal(0, 0.1, 6)
    bias = np.exp(terms[0] * i + terms[1] * j + terms[2] * k + terms[3] * i * j + terms[4] * j**2 + terms[5] * k**2)
    sigma = rng.uniform(0.015, 0.035)
    seen = gaussian_filter(signal, 0.3) * bias
    noisy = np.hypot(seen + sigma * rng.standard_normal(seen.shape), sigma * rng.standard_normal(seen.shape))
    return np.rint(np.clip(noisy, 0, 2) * rng.uniform(60, 110)).astype(np.uint16)


def volume(image: int) -> Volume:
    """The volume with this number, counted from 1. Every sixth is a DICOM series."""
    visit = visit_of("mri", image)
    form = "dicom" if image % 6 == 1 else "nifti"
    affine, shape = grid_of(image, form)
    fine = SAMPLES_PER_EDGE
    index = [(np.arange(size * fine) + 0.5) / fine - 0.5 for size in shape]
    points = np.stack(np.meshgrid(*index, indexing="ij"), axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    signal, front, back = tissue(points, brain_of(visit))
    parts = [part for size in shape for part in (size, fine)]

    def voxel_mean(field: Field) -> Field:
        return np.asarray(field.reshape(parts).mean(axis=(1, 3, 5)))

    is_front, is_back = voxel_mean(front > 0), voxel_mean(back > 0)
    nucleus = is_front + is_back >= 0.5
    mask = np.where(nucleus, np.where(is_front >= is_back, 1, 2), 0).astype(np.uint8)
    voxels = scanned(voxel_mean(signal), generator("mri/scanner", image))
    return Volume(visit, voxels, mask, affine, CLASSES[visit.is_sick], form)
