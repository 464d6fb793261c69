"""What a test of learning rates found: a picture, a table, and the setting to type."""

from __future__ import annotations

import logging

from medcnn.reporting.figures import save
from medcnn.reporting.rate_figure import rate_figure
from medcnn.run_folder import RunFolder
from medcnn.training.rate_range import RateRange

log = logging.getLogger("medcnn.train")

_LITTLE = 0.1  # of the loss at the start


def report_rates(found: RateRange, run: RunFolder) -> None:
    """learning_rate.png and learning_rate.csv in the run folder; the suggestion in one line of the log."""
    curves = (values.tolist() for values in (found.rates, found.losses, found.smoothed))
    drawn = rate_figure(*curves, suggested=found.suggested, diverges=found.diverges)
    saved = save(drawn, run.path, "learning_rate")
    log.info("picture    %s", saved.png)
    if found.suggested is None:
        log.info("the loss falls at no rate: look at the data with debug=overfit, or try another trainer.optimizer")
        return
    if found.fall < _LITTLE:
        log.warning("the loss fell by %.0f%% alone in so few steps: the suggestion rests on little", 100 * found.fall)
    bound = "it never diverged" if found.diverges is None else f"it diverges from {found.diverges:.1g}"
    log.info(
        "suggested: trainer.learning_rate=%.1e  (the loss falls fastest there, is lowest at %.1e, and %s)",
        found.suggested, found.lowest, bound,
    )  # fmt: skip
