"""Do probabilities and truth fit together? Every complaint names counts and shapes, never a case."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medcnn.evaluation.arrays import Floats, Ints, Kind


def checked_probability(probability: Floats, kind: Kind, class_names: Sequence[str]) -> Floats:
    """(n, k) float64 within [0, 1], n > 0, one column per class; rows sum to 1 unless multi-label."""
    found = np.asarray(probability, dtype=np.float64)
    if found.ndim != 2 or found.shape[1] != len(class_names) or not len(found):
        raise ValueError(f"probability: expected (cases, {len(class_names)}) and a case at least, got {found.shape}")
    if kind == "binary" and len(class_names) != 2:
        raise ValueError(f"a binary task has 2 classes, got {len(class_names)}. Name both, the positive one last.")
    if num_bad := int((~np.isfinite(found)).any(axis=1).sum()):
        raise ValueError(f"probability: {num_bad} of {len(found)} cases hold nan or infinity. Leave failed cases out.")
    if found.min() < 0 or found.max() > 1:
        raise ValueError(
            f"probability: lies in {found.min():.3g} to {found.max():.3g}, not in 0 to 1. Are these logits?"
        )
    if kind != "multilabel" and (worst := float(np.abs(found.sum(axis=1) - 1).max())) > 1e-3:
        raise ValueError(f"probability: a row differs from a sum of 1 by {worst:.3g}. Is this a multi-label output?")
    return found


def checked_truth(truth: Floats | Ints, kind: Kind, probability: Floats) -> Floats | Ints:
    """(n,) int64 class index; multi-label (n, k) float64 of 0, 1 and nan."""
    found = np.asarray(truth, dtype=np.float64)
    wanted = probability.shape if kind == "multilabel" else probability.shape[:1]
    if found.shape != wanted:
        raise ValueError(f"truth: expected shape {wanted} for {kind} classification, got {found.shape}")
    allowed = [0.0, 1.0, np.nan] if kind == "multilabel" else list(range(probability.shape[1]))
    if num_bad := int((~np.isin(found, allowed) & ~(np.isnan(found) & (kind == "multilabel"))).sum()):
        raise ValueError(f"truth: {num_bad} labels are none of {allowed}. Correct them, or leave those cases out.")
    return found if kind == "multilabel" else found.astype(np.int64)
