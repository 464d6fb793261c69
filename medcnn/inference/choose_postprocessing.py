"""Which mending is worth it, by cases that the networks were not trained on.

For each structure the steps are tried in order (holes, largest piece, least size), each on top of what was kept. A step
is kept only where the mean Dice over cases rises by more than a margin, and more cases gain than lose. Cases must come
from cross-validation, each segmented by a model that did not see it. Dice is 1 where mask and truth are both empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medcnn.inference.mask_rule import Labels, MaskRule
from medcnn.inference.postprocessing import Mask, Mending, PostProcessing, bounding_box, pieces_of, voxel_ml

#: Predicted labels (M, *S), true labels (M, *S; 255 is left out), spacing in mm.
SegmentedCase = tuple[Labels, Labels, Sequence[float]]

# The mean Dice must rise by more than this: less is noise between cases.
_MARGIN = 0.0005

# Least sizes that are tried, in shares of the smallest true one.
_SHARES = (0.05, 0.1, 0.25, 0.5)


@dataclass(frozen=True)
class Trial:
    """One step for one structure: what it did to Dice, over what had been kept before."""

    structure: str
    step: str
    dice_without: float
    dice_with: float
    cases_better: int
    cases_worse: int
    kept: bool


@dataclass(frozen=True, eq=False)
class _Pieces:
    """One structure of one case, in counts from which every choice of pieces is judged without a mask.

    sizes, hits  voxels of each predicted piece, and those of them that are true
    """

    sizes: npt.NDArray[np.int64]
    hits: npt.NDArray[np.int64]
    truth: int
    voxel_ml: float

    @classmethod
    def of(cls, mask: Mask, truth: Mask, one_voxel_ml: float) -> _Pieces:
        pieces, sizes = pieces_of(mask)
        hits = np.bincount(pieces[truth], minlength=len(sizes) + 1)[1:]
        return cls(sizes, hits, int(np.count_nonzero(truth)), one_voxel_ml)

    def dice(self, mending: Mending) -> float:
        stay = mending.stays(self.sizes, self.voxel_ml)
        total = self.truth + int(self.sizes[stay].sum())
        return 2 * int(self.hits[stay].sum()) / total if total else 1.0


#: Of one case: as predicted, and with its holes filled.
_Case = tuple[_Pieces, _Pieces]


def choose_postprocessing(cases: Iterable[SegmentedCase], rule: MaskRule) -> tuple[PostProcessing, list[Trial]]:
    """What to keep, and a row for every step that was tried. Each case is looked at once; only counts are kept."""
    found: dict[str, list[_Case]] = {name: [] for name in rule.names}
    for labels, truth, spacing_mm in cases:
        for name in rule.names:
            found[name].append(_counted(labels, truth, name, rule, voxel_ml(spacing_mm)))
    mendings, table = {}, []
    for name, each in found.items():
        if not each:
            continue
        mending, trials = _chosen(name, each)
        table += trials
        if mending != Mending():
            mendings[name] = mending
    return PostProcessing(mendings), table


def _counted(labels: Labels, truth: Labels, name: str, rule: MaskRule, one_voxel_ml: float) -> _Case:
    box = bounding_box((rule.mask(labels, name) | rule.mask(truth, name)).view(np.uint8), 1) or (slice(0),)
    labels, truth = labels[(slice(None), *box)], truth[(slice(None), *box)]
    judged = truth[rule.names.index(name) if rule.overlapping else 0] != 255
    mask, true = rule.mask(labels, name), rule.mask(truth, name)
    other = np.zeros_like(mask) if rule.overlapping else (labels[0] != 0) & ~mask
    filled = ndimage.binary_fill_holes(mask) & ~other
    plain = _Pieces.of(mask & judged, true, one_voxel_ml)
    return plain, _Pieces.of(filled & judged, true, one_voxel_ml) if (filled != mask).any() else plain


def _chosen(name: str, cases: Sequence[_Case]) -> tuple[Mending, list[Trial]]:
    kept, trials = Mending(), []
    for step in ("fill_holes", "largest"):
        candidate = replace(kept, fill_holes=True) if step == "fill_holes" else replace(kept, largest=True)
        trials.append(_tried(name, step, cases, kept, candidate))
        kept = candidate if trials[-1].kept else kept
    true_ml = [plain.truth * plain.voxel_ml for plain, _ in cases if plain.truth]
    best = kept
    for share in _SHARES if true_ml else ():
        candidate = replace(kept, least_ml=float(f"{share * min(true_ml):.3g}"))
        trial = _tried(name, f"least_ml={candidate.least_ml:g}", cases, best, candidate)
        if trial.kept:  # a larger least size takes the place of a smaller one
            trials = [replace(one, kept=one.kept and not one.step.startswith("least_ml")) for one in trials]
            best = candidate
        trials.append(trial)
    return best, trials


def _tried(name: str, step: str, cases: Sequence[_Case], before: Mending, after: Mending) -> Trial:
    old, new = (np.array([case[mending.fill_holes].dice(mending) for case in cases]) for mending in (before, after))
    better, worse = int((new > old).sum()), int((new < old).sum())
    gain = new.mean() - old.mean()
    kept = gain > _MARGIN and better > worse
    return Trial(name, step, float(old.mean()), float(new.mean()), better, worse, kept)
