"""A predicted quantity beside the true one, and the error over its size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medcnn.evaluation.arrays import Floats
from medcnn.evaluation.regression import RegressionResult
from medcnn.reporting.agreement import draw_agreement
from medcnn.reporting.figures import INK, QUIET, Drawn, blank, colour, name, quiet_axes
from medcnn.reporting.words import rests_on


def regression_figure(
    result: RegressionResult,
    predicted: Floats,
    truth: Floats,
    case_ids: Sequence[str],
    *,
    split: str,
    quantity: str = "value",
) -> Drawn:
    """predicted, truth (n,) as evaluated; cases without a known truth are not drawn. quantity: what it is, `age`."""
    in_unit = f" ({result.quantity_unit})" if result.quantity_unit else ""
    title = f"Predicted and true {quantity} on the {split} split"
    shade = "; shaded: where a case lies if its range holds the truth" if result.half_width is not None else ""
    caption = (
        f"{rests_on(result)}. Left, dashed: no error{shade}. Right, line: mean error with its "
        "interval, dashed: limits of agreement (1.96 standard deviations), within which 95 % of the errors are expected"
    )
    figure = blank(width_in=9.4, height_in=4.9)
    name(figure, title, caption)
    beside, over = figure.subplots(1, 2)
    known = ~np.isnan(np.asarray(truth, dtype=np.float64))
    p, t = np.asarray(predicted, dtype=np.float64)[known], np.asarray(truth, dtype=np.float64)[known]
    low, high = float(min(p.min(), t.min())), float(max(p.max(), t.max()))
    margin = 0.06 * (high - low) or 0.5
    limits = (low - margin, high + margin)
    quiet_axes(beside)
    beside.plot(limits, limits, color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    if result.half_width is not None:
        below, above = (np.array(limits) + sign * result.half_width for sign in (-1, 1))
        beside.fill_between(limits, below, above, color=colour(0), alpha=0.1, linewidth=0)
    beside.plot(t, p, "o", color=colour(0), alpha=0.65, markersize=4.5, markeredgewidth=0)
    beside.set(xlim=limits, ylim=limits, xlabel=f"True {quantity}{in_unit}", ylabel=f"Predicted {quantity}{in_unit}")
    beside.set_aspect("equal")
    beside.set_title(f"mean absolute error {result.estimates['mae']}", fontsize=10, color=INK, loc="left")
    quiet_axes(over)
    ends = [result.estimates[end].value for end in ("agreement_low", "agreement_high")]
    draw_agreement(over, (p + t) / 2, p - t, bias=result.estimates["error"], limits=ends, shade=colour(0))
    over.set(xlabel=f"Mean of both{in_unit}", ylabel=f"Predicted − true{in_unit}")
    over.set_title(f"concordance {result.estimates['concordance']}", fontsize=10, color=INK, loc="left")
    named = [case for case, there in zip(case_ids, known, strict=True) if there]
    rows = [{"case_id": c, "truth": a, "predicted": b, "error": b - a} for c, a, b in zip(named, t, p, strict=True)]
    return Drawn(figure, title, rows, caption)
