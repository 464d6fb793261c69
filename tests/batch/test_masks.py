"""Which structures one label map can hold, and what reads back from it."""

from __future__ import annotations

import numpy as np
import pytest

from medcnn.batch.masks import mask_files, one_map_holds, voxels_outside, with_values
from medcnn.inference.mask_rule import MaskRule


def rule(overlapping: bool, **values: tuple[int, ...]) -> MaskRule:
    return MaskRule(tuple(values), overlapping, values=values)


@pytest.mark.parametrize(
    ("given", "holds"),
    [
        (MaskRule(("a", "b")), True),
        (rule(False, a=(4,), b=(2, 9)), True),
        (rule(False, a=()), True),
        (rule(True, whole=(1, 2, 3), core=(2, 3), active=(3,)), True),
        (rule(True, active=(3,), whole=(1, 2, 3), core=(2, 3)), True),
        (rule(True, a=(1,), b=(2,)), False),
        (rule(True, a=(1, 2), b=(2, 3)), False),
        (rule(True, whole=(1, 2), a=(1,), b=(2,)), False),
        (rule(True, a=(), b=()), False),
        (rule(True, a=()), False),
    ],
)
def test_what_one_map_holds(given: MaskRule, holds: bool) -> None:
    assert one_map_holds(given) is holds
    assert len(mask_files(given, "x", ".nii.gz")) == (1 if holds else len(given.names))


def test_what_one_map_holds_reads_back() -> None:
    given = rule(True, active=(3,), whole=(1, 2, 3), core=(2, 3))
    sizes = np.random.default_rng(0).integers(0, 4, (5, 6, 7))  # how deep each voxel lies
    labels = np.stack([sizes == 3, sizes >= 1, sizes >= 2]).astype(np.uint8)
    written = with_values(given).to_file(labels)
    for number, name in enumerate(given.names):
        assert np.array_equal(np.isin(written, given.values[name]), labels[number] == 1)
    assert voxels_outside(given, labels) == 0
    labels[1, 0, 0, :3] = 0
    labels[2, 0, 0, :3] = 1
    assert voxels_outside(given, labels) == 3


def test_a_structure_without_a_value_gets_one() -> None:
    labels = np.array([[[0, 1]]], np.uint8)
    assert np.array_equal(with_values(rule(False, lung=())).to_file(labels), [[0, 1]])
