"""Two classifiers on the same cases, class by class, by how well they rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medcnn.evaluation.arrays import Floats, Ints
from medcnn.evaluation.comparison import Comparison, compare_auroc
from medcnn.evaluation.intervals import NUM_RESAMPLES
from medcnn.evaluation.paired import holm


@dataclass(frozen=True)
class ComparedAuroc:
    """AUROC of one class against the others; p_holm adjusts its p-value over the classes."""

    class_name: str
    comparison: Comparison
    p_holm: float


def compare_aurocs(
    probability_a: Floats,
    probability_b: Floats,
    truth: Ints,
    class_names: Sequence[str],
    *,
    patient: Sequence[str | None] | None = None,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> list[ComparedAuroc]:
    """probability (n, k) each, truth (n,) class index. Two classes are one question, of the last one.

    DeLong's test where every patient has one case, else the paired bootstrap over patients.
    """
    asked = [1] if len(class_names) == 2 else list(range(len(class_names)))
    found = [
        compare_auroc(
            probability_a[:, k],
            probability_b[:, k],
            truth == k,
            patient=patient,
            seed=seed,
            num_resamples=num_resamples,
        )
        for k in asked
    ]
    adjusted = holm([one.p_value for one in found])
    return [ComparedAuroc(class_names[k], one, p) for k, one, p in zip(asked, found, adjusted, strict=True)]
