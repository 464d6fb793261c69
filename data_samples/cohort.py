"""Who the made-up patients are, which images each has, and which split each belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from draws import generator, pick

#: One split a patient, in turn, within patients alike in health: 60 % train, 15 % val, 10 % calib, 15 % test.
SPLIT_TURNS = (
    *("train", "test", "train", "val", "train", "train", "calib", "train", "train", "test"),
    *("train", "val", "train", "train", "train", "test", "train", "calib", "train", "val"),
)


@dataclass(frozen=True)
class Patient:
    """One made-up patient.

    sick  for each of the patient's images, in order of time, whether it shows disease
    """

    number: int
    sex: str
    age: int
    site: str
    sick: tuple[bool, ...]

    @property
    def patient_id(self) -> str:
        return f"SYN-{self.number:04d}"

    @property
    def health(self) -> str:
        """The stratum of the split."""
        return "never" if not any(self.sick) else "always" if all(self.sick) else "sometimes"


@dataclass(frozen=True)
class Visit:
    """One image of one patient; image counts from 1 through the data set, visit from 0 within the patient."""

    image: int
    visit: int
    patient: Patient

    @property
    def is_sick(self) -> bool:
        return self.patient.sick[self.visit]


@cache
def patient(kind: str, number: int) -> Patient:
    """One of the population "xray" or "mri"; numbers count from 1."""
    rng = generator(f"{kind}/patient", number)
    num_images = pick(rng, {1: 0.3, 2: 0.3, 3: 0.25, 4: 0.15} if kind == "xray" else {1: 0.8, 2: 0.2})
    # Disease stays with some patients and comes and goes in others: the person alone does not tell the label.
    risk = pick(rng, {0.0: 0.35, 1.0: 0.35, 0.5: 0.3})
    sick = tuple(bool(rng.random() < risk) for _ in range(num_images))
    sex = pick(rng, {"F": 0.5, "M": 0.5})
    site = pick(rng, {"north": 0.4, "south": 0.35, "harbour": 0.25})
    return Patient(number, sex, int(rng.integers(20, 90)), site, sick)


def visits(kind: str, num_images: int) -> Iterator[Visit]:
    """The first images of the population, patient after patient."""
    image, number = 0, 0
    while image < num_images:
        number += 1
        person = patient(kind, number)
        for visit in range(min(len(person.sick), num_images - image)):
            image += 1
            yield Visit(image, visit, person)


@cache
def visit_of(kind: str, image: int) -> Visit:
    """The visit that made one image (numbers count from 1)."""
    if image < 1:
        raise ValueError(f"images are numbered from 1, got {image}")
    return list(visits(kind, image))[-1]


def splits(kind: str, num_images: int) -> dict[str, str]:
    """patient_id -> split, stratified by health; more images never change the split of earlier patients."""
    turn = {"never": 0, "always": 7, "sometimes": 13}
    chosen: dict[str, str] = {}
    for each in visits(kind, num_images):
        person = each.patient
        if person.patient_id not in chosen:
            chosen[person.patient_id] = SPLIT_TURNS[turn[person.health] % len(SPLIT_TURNS)]
            turn[person.health] += 1
    return chosen
