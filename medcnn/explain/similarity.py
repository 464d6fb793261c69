"""How alike two heat maps are: by rank, and by structure."""

from __future__ import annotations

import numpy as np

from medcnn.explain.heat import Heat

_WINDOW_PX = 7  # Wang et al. 2004, with a uniform window
_C1, _C2 = 0.01**2, 0.03**2  # theirs, for values from 0 to 1


def rank_correlation(first: Heat, second: Heat) -> float:
    """Spearman's, of all pixels; 0 where a map is the same everywhere and ranks nothing."""
    from scipy.stats import rankdata

    ranks = [rankdata(heat.ravel()) for heat in (first, second)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return 0.0
    return float(np.corrcoef(ranks)[0, 1])


def structural_similarity(first: Heat, second: Heat) -> float:
    """SSIM (Wang et al. 2004) of two maps from 0 to 1, in 2D or 3D: 1 for equal ones."""
    from scipy.ndimage import uniform_filter

    window = tuple(min(_WINDOW_PX, side) for side in first.shape)
    a, b = first.astype(np.float64), second.astype(np.float64)
    mean_a, mean_b = uniform_filter(a, window), uniform_filter(b, window)
    var_a, var_b = uniform_filter(a * a, window) - mean_a**2, uniform_filter(b * b, window) - mean_b**2
    both = uniform_filter(a * b, window) - mean_a * mean_b
    above = (2 * mean_a * mean_b + _C1) * (2 * both + _C2)
    below = (mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2)
    inner = tuple(slice(side // 2, n - (side - 1) // 2) for side, n in zip(window, first.shape, strict=True))
    return float((above / below)[inner].mean())
