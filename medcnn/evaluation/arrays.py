"""The array types of this room, and what kinds of classification there are."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: binary: probability (n, 2), the positive class last. multiclass: (n, k), rows sum to 1. multilabel: (n, k).
#: ordinal: as multiclass, the classes are grades in their order, the lowest first.
Kind = Literal["binary", "multiclass", "multilabel", "ordinal"]

#: Several classes that exclude each other, in an order or not: no yes-or-no question, so no threshold.
ONE_OF_SEVERAL: frozenset[Kind] = frozenset({"multiclass", "ordinal"})


def ratio(above: npt.ArrayLike, below: npt.ArrayLike) -> Floats:
    """Quotient, nan where `below` is 0; no warning."""
    top, bottom = np.broadcast_arrays(np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64))
    return np.asarray(np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0))
