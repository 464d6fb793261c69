"""Dice of one case at a glance: what a validation during training looks at, without surfaces and intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.uint8]
_IGNORED = 255


def dice_at_a_glance(truth: Labels, predicted: Labels, names: Sequence[str]) -> dict[str, float]:
    """Structure -> Dice of one case; nan where neither mask holds it, 0 where one of them is empty.

    truth, predicted  uint8 (1, *size) of class numbers, or (K, *size) of planes; 255 in the truth is ignored
    """
    found = {}
    for number, name in enumerate(names):
        plane, value = (0, number + 1) if len(truth) == 1 else (number, 1)
        true, given = truth[plane] == value, predicted[plane] == value
        size = int(np.count_nonzero(true)) + int(np.count_nonzero(given & (truth[plane] != _IGNORED)))
        found[name] = 2 * int(np.count_nonzero(true & given)) / size if size else float("nan")
    return found
