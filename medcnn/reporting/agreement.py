"""Bland and Altman's plot (1986): the error over the size, its mean, and the limits of agreement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medcnn.evaluation.arrays import Floats
from medcnn.evaluation.intervals import Estimate
from medcnn.reporting.figures import INK, QUIET
from medcnn.reporting.words import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_agreement(
    axes: Axes, size: Floats, error: Floats, *, bias: Estimate, limits: Sequence[float], shade: str
) -> None:
    """size, error (n,) of the cases; bias the mean error, limits the two of agreement, nan where undefined."""
    axes.axhline(0, color=QUIET, linewidth=0.8)
    axes.plot(size, error, "o", color=shade, alpha=0.65, markersize=4.5, markeredgewidth=0)
    axes.axhspan(bias.low, bias.high, color=shade, alpha=0.13, linewidth=0)
    for level, style in ((bias.value, "-"), *((limit, (0, (4, 3))) for limit in limits)):
        if np.isfinite(level):
            axes.axhline(level, color=INK, linewidth=1.3, linestyle=style)
            axes.annotate(
                number(level), (1, level), xycoords=axes.get_yaxis_transform(), xytext=(-2, 2),
                textcoords="offset points", ha="right", va="bottom", fontsize=8.5, color=INK,
                bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8},
            )  # fmt: skip
    axes.margins(x=0.08, y=0.14)
