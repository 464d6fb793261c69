"""Random numbers that depend on what they are for, never on what was drawn before.

Each use (anatomy, health, header, ...) of each image has a stream of its own, so that image i is the same however many
images are made, and nothing that a header says can hang together with the state of health.
"""

from __future__ import annotations

import hashlib
from typing import TypeVar

import numpy as np
import numpy.typing as npt

SEED = 20250117

Field = npt.NDArray[np.float64]
Choice = TypeVar("Choice")


def generator(purpose: str, *numbers: int) -> np.random.Generator:
    """The stream of one purpose, as of "xray/health", for one patient or image."""
    digest = hashlib.sha256(purpose.encode()).digest()
    seeds = [SEED, int.from_bytes(digest[:4], "big"), *numbers]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seeds)))


def uid(*parts: str | int) -> str:
    """A DICOM UID that names these parts, the same at every run (PS3.5 B.2: 2.25 and a 128-bit integer)."""
    digest = hashlib.sha256("/".join(str(part) for part in (SEED, *parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def pick(rng: np.random.Generator, weights: dict[Choice, float]) -> Choice:
    """One key, as likely as its weight says."""
    at = rng.random() * sum(weights.values())
    for key, weight in weights.items():
        at -= weight
        if at < 0:
            return key
    return key


def soft_step(distance: Field, softness: float) -> Field:
    """0 far below zero, 1 far above; softness in the unit of the distance."""
    return 0.5 * (1.0 + np.tanh(distance / (2.0 * softness)))
