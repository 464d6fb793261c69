"""Input number n of a run: which seed, which mutator, which bytes, which label; for ever the same for one run seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from random import Random
from typing import Literal

from benchmarks.robustness.mutation import Label, Mutant, Mutator, Seed

Format = Literal["dicom", "nifti"]
MOST_TRIES = 400


@dataclass(frozen=True)
class Input:
    """One damaged scan and where it came from."""

    number: int
    seed: Seed
    mutator: str
    mutant: Mutant


@cache
def seeds_of(kind: Format) -> Sequence[Seed]:
    if kind == "dicom":
        from benchmarks.robustness.dicom_seeds import dicom_seeds

        return dicom_seeds()
    from benchmarks.robustness.nifti_seeds import nifti_seeds

    return nifti_seeds()


@cache
def mutators_of(kind: Format) -> Sequence[Mutator]:
    if kind == "dicom":
        from benchmarks.robustness.dicom_mutators import BITS, BYTES, STRUCTURE
        from benchmarks.robustness.dicom_series_mutators import SERIES_MUTATORS
        from benchmarks.robustness.dicom_value_mutators import VALUES

        return (*BYTES, *BITS, *STRUCTURE, *VALUES, *SERIES_MUTATORS)
    from benchmarks.robustness.gzip_mutators import GZIP
    from benchmarks.robustness.nifti_mutators import NIFTI

    return (*NIFTI, *GZIP)


def _contradiction(kind: Format, seed: Seed) -> Callable[[Mapping[str, bytes]], str | None]:
    if kind == "dicom":
        from benchmarks.robustness.dicom_rules import contradiction

        _, _, frame = seed.reference.partition("#frame=")
        return partial(contradiction, frame=int(frame) if frame else None)
    from benchmarks.robustness.nifti_rules import contradiction as nifti_contradiction

    return nifti_contradiction


def mutator_of(kind: Format, number: int) -> Mutator:
    """The classes of damage take turns."""
    mutators = mutators_of(kind)
    return mutators[number % len(mutators)]


def make_input(kind: Format, run_seed: int, number: int) -> Input:
    """One input; the seed and the place of the damage are drawn."""
    mutator = mutator_of(kind, number)
    rng = Random(f"{kind}/{run_seed}/{number}")
    for _ in range(MOST_TRIES):
        seed = rng.choice(seeds_of(kind))
        files = mutator.change(rng, seed)
        if files is not None and files != seed.files:
            return Input(number, seed, mutator.name, _labelled(mutator, files, _contradiction(kind, seed)))
    raise LookupError(f"no seed has anything for: {mutator.name}")


def _labelled(
    mutator: Mutator, files: Mapping[str, bytes], contradiction: Callable[[Mapping[str, bytes]], str | None]
) -> Mutant:
    if mutator.certain:
        return Mutant(files, Label.DETECTABLE, "by construction")
    why = contradiction(files)
    return Mutant(files, Label.UNDETECTABLE if why is None else Label.DETECTABLE, why or "plausible")
