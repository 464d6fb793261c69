"""Blocks of neighbouring files, which stay together where nobody knows the patients.

Slices of one patient look alike and are numbered one after the other. Divided slice by slice, a model would be tested
on neighbours of what it was trained on. A block keeps neighbours together; only at its two ends it may cut through a
patient, and it knows nothing of the same patient's slices elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from medcnn.data.manifest import Case
from medcnn.data.strata import StratumOf
from medcnn.errors import DataError

_NUMBERED = re.compile(r"(.*?)(\d+)(\D*)")  # the last number
_GOLDEN = (5**0.5 - 1) / 2


def blocks_of(cases: Sequence[Case], about_cases: int, stratum_of: StratumOf) -> dict[str, str]:
    """case_id -> its block; blocks sort as the files do, whatever the order of the rows.

    A run of files of one label, in one folder, whose numbers follow each other is cut into equal blocks of about so
    many cases. Raises DataError where patients are known, where names have no number, and where no two numbers follow.
    """
    if known := sum(bool(case.patient_id) for case in cases):
        raise DataError(
            f"data.splits.block_cases: {known} of {len(cases)} cases have a patient_id, and patients are divided "
            f"whole. Leave block_cases out, or leave the column out where it does not name all patients"
        )
    runs = _runs(cases, stratum_of)
    if len(runs) == len(cases):
        raise DataError(
            "data.splits.block_cases: no two cases of a label have file numbers that follow each other, so there are "
            "no neighbours to keep together. Leave it out, or give the manifest a split column"
        )
    block_of: dict[str, str] = {}
    num_blocks = 0
    for run in runs:
        count = max(1, round(len(run) / about_cases))
        for index, case in enumerate(run):
            block_of[case.case_id] = f"block {num_blocks + index * count // len(run):09d}"
        num_blocks += count
    return block_of


def spread_order(blocks: Sequence[str], generator: np.random.Generator) -> list[str]:
    """Neighbours far apart: every stretch of this order is spread evenly over the blocks as they were given.

    By multiples of the golden ratio, as in low-discrepancy sequences, from a random start. So each split gets its
    share of every long run, that is, of every plane where runs are planes.
    """
    place = (generator.random() + _GOLDEN * np.arange(len(blocks))) % 1
    return [blocks[index] for index in np.argsort(place)]


def block_words(block_of: dict[str, str]) -> str:
    """How many blocks there are, and of how many cases."""
    sizes = np.unique(list(block_of.values()), return_counts=True)[1]
    return f"{len(sizes)} blocks of {sizes.min()} to {sizes.max()} neighbouring files"


def _runs(cases: Sequence[Case], stratum_of: StratumOf) -> list[list[Case]]:
    placed = sorted(((*_place(case), case) for case in cases), key=lambda one: (one[:3], one[3].case_id))
    runs: list[list[Case]] = []
    before: tuple[str, str, int] | None = None
    for folder, tail, number, case in placed:
        follows = before is not None and before[:2] == (folder, tail) and number - before[2] <= 1
        if not (follows and stratum_of([runs[-1][-1]]) == stratum_of([case])):
            runs.append([])
        runs[-1].append(case)
        before = (folder, tail, number)
    return runs


def _place(case: Case) -> tuple[str, str, int]:
    """What stands before and behind the last number of the first image's name, and the number."""
    reference = next((image for image in case.images.values() if image), "")
    path, mark, part = reference.partition("#")
    stem = PurePosixPath(path.removesuffix(".gz")).with_suffix("").as_posix() if path else ""
    found = _NUMBERED.fullmatch(f"{path}#{part}" if mark else stem)
    if found is None:
        raise DataError(
            f"data.splits.block_cases: blocks are made of neighbouring file numbers, and the file of {case.case_id} "
            f"has none in its name. Leave block_cases out, or give the manifest a split or patient_id column"
        )
    return found[1], found[3], int(found[2])
