"""The random numbers of training: a pure function of (seed, epoch, position in the epoch).

No state is carried from scan to scan, so workers, batches and a resumed run all draw the same.
"""

from __future__ import annotations

import numpy as np


def stream(seed: int, epoch: int, position: int, purpose: int = 0) -> np.random.Generator:
    """The generator of one place in one epoch.

    Philox is counter-based: each (position, purpose) owns 2**128 numbers of the stream that (seed, epoch) keys.
    """
    key = np.array([seed, epoch], np.uint64)
    counter = np.array([0, 0, position, purpose], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


# What a stream is for, so that no two uses share numbers.
AUGMENT, ORDER, MIXUP, NETWORK, NOISE, ELASTIC, CUTMIX, COIN, COVARIATES = 0, 1, 2, 3, 4, 5, 6, 7, 8
