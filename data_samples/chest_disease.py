"""What may lie in the lungs: opacities of the sick, and the harmless things that resemble them a little."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from chest_anatomy import ellipse, texture
from draws import Field, soft_step

Box = tuple[int, int, int, int]

#: An opacity ends where it is down to this share of its peak: what its box holds.
VISIBLE_SHARE = 0.4


@dataclass(frozen=True, eq=False)
class Opacity:
    """attenuation added (rows, columns) and its box (x0, y0, x1, y1), corners at pixel edges, upper exclusive."""

    attenuation: Field
    box: Box


def box_of(field: Field) -> Box:
    """Around every pixel with more than VISIBLE_SHARE of the peak."""
    rows, columns = np.nonzero(field > VISIBLE_SHARE * field.max())
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def place_in_lung(rng: np.random.Generator, lung: Field, least: float) -> tuple[int, int]:
    """Row and column of a pixel with at least this share of lung, any such pixel as likely as another."""
    rows, columns = np.nonzero(lung > least)
    at = int(rng.random() * len(rows))
    return int(rows[at]), int(columns[at])


def opacity(rng: np.random.Generator, x: Field, y: Field, depth: Field) -> Opacity:
    """One patch, its edge between sharp and soft, its outline and inside uneven.

    depth (rows, columns) share of lung, smoothed, so that patches do not hang on the very edge
    """
    row, column = place_in_lung(rng, depth, 0.75)
    radius = rng.uniform(18, 33)
    stretch, softness, strength = rng.uniform(0.8, 1.25), rng.uniform(0.08, 0.25), rng.uniform(0.34, 0.54)
    centre = (float(x[row, column]), float(y[row, column]))
    shape = ellipse(x, y, centre, (radius * stretch, radius / stretch), rng.uniform(0, np.pi))
    uneven = shape + 0.14 * texture(rng, (x.shape[0], x.shape[1]), 3.0)
    field = strength * soft_step(uneven, softness) * depth**0.5
    return Opacity(field, box_of(field))


def opacities(rng: np.random.Generator, x: Field, y: Field, depth: Field) -> list[Opacity]:
    """One to three."""
    return [opacity(rng, x, y, depth) for _ in range(int(rng.integers(1, 4)))]


def benign(rng: np.random.Generator, x: Field, y: Field, lung: Field) -> Field:
    """Small sharp dots (nipples, old scars) and thin lines (fissures, tubes), as frequent in either class."""
    field = np.zeros_like(x)
    for _ in range(int(rng.integers(0, 4))):
        row, column = place_in_lung(rng, lung, 0.5)
        dot = ellipse(x, y, (float(x[row, column]), float(y[row, column])), (rng.uniform(3, 6),) * 2)
        field += rng.uniform(0.06, 0.16) * soft_step(dot, 0.15)
    for _ in range(int(rng.integers(0, 3))):
        row, column = place_in_lung(rng, lung, 0.5)
        turn, bend = rng.uniform(0, np.pi), rng.normal(0, 0.002)
        dx, dy = x - x[row, column], y - y[row, column]
        along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
        reach = rng.uniform(15, 60)
        field += rng.uniform(0.04, 0.09) * np.exp(-(((across - bend * along**2) / 2.5) ** 2) - (along / reach) ** 2)
    return field
