"""What attenuates X-rays in a made-up chest, seen from the front (PA) and from the side (LAT).

Positions are mm in the patient's middle plane: x grows to the right of the picture, y downwards. Attenuation is the
logarithm of how much the body weakens the beam, 1 about the densest soft tissue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from cohort import Patient
from draws import Field, generator, soft_step
from scipy.ndimage import gaussian_filter


@dataclass(frozen=True)
class Chest:
    """The build of one patient; lengths in mm, the rest relative to the average patient."""

    size: float
    width: float
    heart: float
    thickness: float
    lung_air: float
    bone: float
    vessels: float
    breast: float
    rib_gap_mm: float
    dome_mm: float
    tilt: float


@dataclass(frozen=True, eq=False)
class Anatomy:
    """attenuation without disease and the share of lung, both on the grid (rows, columns)."""

    attenuation: Field
    lung: Field


def chest_of(person: Patient) -> Chest:
    """The same at every visit."""
    rng = generator("xray/anatomy", person.number)
    return Chest(
        size=(0.96 if person.sex == "F" else 1.03) + rng.normal(0, 0.04),
        width=1.0 + rng.normal(0, 0.05),
        heart=rng.uniform(0.85, 1.2),
        thickness=rng.uniform(0.8, 1.3),
        lung_air=rng.uniform(0.34, 0.46),
        bone=rng.uniform(0.7, 1.4),
        vessels=rng.uniform(0.6, 1.4),
        breast=rng.uniform(0.03, 0.12) if person.sex == "F" else 0.0,
        rib_gap_mm=rng.uniform(21, 26),
        dome_mm=rng.uniform(14, 30),
        tilt=rng.normal(0, 0.03),
    )


def ellipse(x: Field, y: Field, centre: tuple[float, float], radii: tuple[float, float], turn: float = 0.0) -> Field:
    """1 at the centre, 0 on the outline, falling on."""
    dx, dy = x - centre[0], y - centre[1]
    along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
    return 1.0 - np.hypot(along / radii[0], across / radii[1])


def band(distance_mm: Field, half_width_mm: float) -> Field:
    """A bone seen across: brighter along its edges, where the beam runs through more cortex."""
    inside = soft_step(half_width_mm - np.abs(distance_mm), 1.2)
    edge = np.exp(-(((np.abs(distance_mm) - 0.75 * half_width_mm) / (0.35 * half_width_mm)) ** 2))
    return inside * (0.6 + 0.4 * edge)


def vessel_tree(x: Field, y: Field, root: tuple[float, float], rng: np.random.Generator, num_branches: int) -> Field:
    """Bent branches that spread from a hilum, thinner and fainter outwards, and the hilum itself."""
    dx, dy = x - root[0], y - root[1]
    radius = np.hypot(dx, dy) + 1e-6
    angle = np.arctan2(dy, dx)
    tree = 0.8 * np.exp(-((radius / rng.uniform(11, 17)) ** 2))
    for _ in range(num_branches):
        start, bend, reach = rng.uniform(-np.pi, np.pi), rng.normal(0, 0.006), rng.uniform(30, 75)
        off = np.angle(np.exp(1j * (angle - start - bend * radius)))
        half_width = 1.2 + 3.2 * np.exp(-radius / 40)
        tree += 0.7 * np.exp(-((radius * off / half_width) ** 2)) * np.exp(-((radius / reach) ** 2))
    return tree


def texture(rng: np.random.Generator, shape: tuple[int, int], sigma_px: float) -> Field:
    """Clouds with mean 0 and standard deviation 1."""
    clouds = gaussian_filter(rng.standard_normal(shape), sigma_px)
    return np.asarray((clouds - clouds.mean()) / clouds.std(), dtype=np.float64)


def frontal_lungs(x: Field, y: Field, chest: Chest, breath_mm: float) -> tuple[Field, Field]:
    """Share of lung, and share of heart and mediastinum."""
    half_width, reach, low = 132 * chest.size * chest.width, 150 * chest.size, 25 * chest.size
    above = np.clip((low - y) / reach, 0, 1)
    cage = half_width * np.sqrt(1 - above**2.4) - 0.08 * np.clip(y - low, 0, None)
    middle = 70 * chest.size * chest.width
    across = np.abs(x) - middle
    base = (92 * chest.size + breath_mm) - np.where(x < 0, 6.0, -4.0)
    dome = base - chest.dome_mm * (1 - (across / middle) ** 2)
    aorta = ellipse(x, y, (20 * chest.size, -42 * chest.size), (17.0, 20.0))
    heart = ellipse(x, y, (24 * chest.size, 50 * chest.size), (66 * chest.heart, 47 * chest.heart), 0.6)
    centre_mm = 25 * chest.size + 6 * np.tanh(-(y + 60) / 30) - np.abs(x)
    middle_share = np.maximum.reduce([soft_step(heart, 0.05), soft_step(aorta, 0.1), soft_step(centre_mm, 2.0)])
    lung = soft_step(cage - np.abs(x), 2.0) * soft_step(dome - y, 2.0) * (1 - middle_share)
    return lung, middle_share


def frontal_bones(x: Field, y: Field, chest: Chest) -> Field:
    """Ribs, collar bones, shoulder blades and spine."""
    half_width = 136 * chest.size * chest.width
    out = np.clip(np.abs(x) / half_width, 0, 1.05)
    fades = soft_step(half_width - np.abs(x), 3.0) * soft_step(np.abs(x) - 14, 3.0)
    bones = np.zeros_like(x)
    for rib in range(10):
        top = -118 * chest.size + rib * chest.rib_gap_mm * chest.size
        back = top + 10 * out - 12 * np.sin(np.pi * out) + 38 * out**5
        front = top + 62 * np.clip(1 - out, 0, None) ** 0.8 + 34 * out**3
        bones += 0.085 * fades * band(y - back, 4.6)
        if 1 <= rib <= 6:
            bones += 0.045 * fades * soft_step(out - 0.3, 0.04) * band(y - front, 5.2)
    collar = y + 112 * chest.size + 0.16 * np.abs(x) - 10 * np.sin(np.abs(x) / 38)
    bones += 0.12 * soft_step(165 - np.abs(x), 3.0) * soft_step(np.abs(x) - 14, 3.0) * band(collar, 5.5)
    blade = ellipse(np.abs(x), y, (142 * chest.size, -70 * chest.size), (24.0, 52.0), -0.25)
    disc = 0.75 + 0.25 * np.cos(2 * np.pi * y / (24 * chest.size))
    spine = soft_step(17 - np.abs(x - 0.1 * chest.tilt * y), 2.0) * disc
    return chest.bone * (bones + 0.06 * soft_step(blade, 0.08) + 0.15 * spine)


def frontal(x: Field, y: Field, chest: Chest, breath_mm: float, rng: np.random.Generator) -> Anatomy:
    """Seen from behind through to the front (PA); the heart to the right of the picture."""
    lung, middle = frontal_lungs(x, y, chest, breath_mm)
    trunk_mm = 162 * chest.size * chest.width + 75 * soft_step(-y - 105 * chest.size, 9.0)
    neck = soft_step(np.maximum(58 - np.abs(x), -y * 0 + (y + 165 * chest.size)), 5.0)
    body = np.sqrt(np.clip(1 - (x / trunk_mm) ** 2, 0, None)) * neck
    belly = soft_step(y - 75 * chest.size, 14.0) * body
    breasts = soft_step(ellipse(np.abs(x), y, (72 * chest.size, 52 * chest.size), (52.0, 44.0)), 0.06)
    hila = [(-34 * chest.size, -8.0), (36 * chest.size, -16.0)]
    vessels = sum(vessel_tree(x, y, root, rng, 11) * (np.sign(x) == np.sign(root[0])) for root in hila)
    attenuation = 0.62 * chest.thickness * body + 0.14 * belly + 0.07 * middle + chest.breast * breasts * body
    attenuation += frontal_bones(x, y, chest) * (body > 0)
    attenuation += lung * (0.09 * chest.vessels * vessels - chest.lung_air)
    return Anatomy(attenuation, lung)


def lateral_bones(x: Field, y: Field, chest: Chest) -> Field:
    """Spine at the back (right of the picture), breast bone at the front, ribs of both sides running down forwards."""
    size = chest.size
    column = x - (84 * size + 16 * np.cos(y / (105 * size)))
    spine = soft_step(16 - np.abs(column), 2.0) * (0.7 + 0.3 * np.cos(2 * np.pi * y / (24 * size)))
    sternum = soft_step(5 - np.abs(x + 98 * size - 0.2 * y), 1.5) * soft_step(70 * size - np.abs(y + 15), 4.0)
    ribs = np.zeros_like(x)
    within = soft_step(ellipse(x, y, (0.0, 0.0), (112 * size, 138 * size)), 0.03)
    for rib in range(10):
        top = -135 * size + rib * chest.rib_gap_mm * size
        for shift in (0.0, 9.0):
            ribs += 0.042 * within * band(y - (top + shift + 0.42 * (95 * size - x) - 0.0012 * (x + 10) ** 2), 4.2)
    return chest.bone * (0.17 * spine + 0.1 * sternum + ribs)


def lateral(x: Field, y: Field, chest: Chest, breath_mm: float, rng: np.random.Generator) -> Anatomy:
    """Seen from the side (LAT), the patient facing the left of the picture; both lungs lie over one another."""
    size = chest.size
    cage = ellipse(x, y, (2.0, 5.0), (100 * size * chest.width, 138 * size), 0.12)
    near = 78 * size + breath_mm + 30 * ((x - 10) / (95 * size)) ** 2 + 0.25 * x - chest.dome_mm * 0.6
    heart = ellipse(x, y, (-38 * size, 42 * size), (52 * chest.heart, 42 * chest.heart), 0.7)
    aorta = band(np.hypot(x - 22 * size, y + 40) - 30 * size, 9.0) * soft_step(-y - 30, 8.0)
    spine_edge = 76 * size + 16 * np.cos(y / (105 * size)) - x
    heart_share = soft_step(heart, 0.05)
    lung = soft_step(cage, 0.02) * soft_step(near - y, 2.0) * soft_step(spine_edge, 3.0) * (1 - heart_share)
    half_mm = 124 * size + 14 * np.cos(y / 90.0)
    shoulder = soft_step(ellipse(x, y, (25.0, -150 * size), (80.0, 62.0)), 0.12)
    body = np.sqrt(np.clip(1 - ((x - 4) / half_mm) ** 2, 0, None))
    body = body * soft_step(np.maximum(48 - np.abs(x - 20), y + 160 * size), 6.0)
    vessels = vessel_tree(x, y, (4.0, -4.0), rng, 15)
    attenuation = 0.72 * chest.thickness * body + 0.2 * shoulder * body + 0.12 * soft_step(y - near, 5.0) * body
    attenuation += 0.06 * heart_share + 0.05 * aorta + chest.breast * soft_step(-105 * size - x, 5.0) * body
    attenuation += lateral_bones(x, y, chest) * (body > 0)
    attenuation += lung * (0.09 * chest.vessels * vessels - 1.1 * chest.lung_air)
    return Anatomy(attenuation, lung)
