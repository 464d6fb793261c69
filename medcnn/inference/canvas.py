"""Where restored rows are written: arrays in the scan's own axes, filled while the rest is still being computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from medcnn.inference.mask_rule import Labels, MaskRule
from medcnn.inference.quality import ExpectedDice
from medcnn.inference.uncertainty import as_bytes, disagreement, entropy
from medcnn.transforms.placement import Placement


@dataclass(eq=False)
class Canvas:
    """One scan's results. Outside the placement's box all is background and certain.

    slow         the turned axis along which rows come (a picture has one more axis in front)
    uncertainty  which map is drawn; "" none
    keep         structure -> array (*scan's shape) that takes its probabilities, a memmap for example
    """

    placement: Placement
    rule: MaskRule
    slow: int
    uncertainty: str = ""
    keep: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.placement.shape_vox
        self.labels: Labels = np.zeros((self.rule.num_masks, *shape), np.uint8)
        self.unsure: Labels | None = np.zeros((1, *shape), np.uint8) if self.uncertainty else None
        self.expected = ExpectedDice(self.rule)
        self._views = {name: self._rows_first(array[None]) for name, array in self.keep.items()}
        self._label_rows = self._rows_first(self.labels)
        self._unsure_rows = None if self.unsure is None else self._rows_first(self.unsure)
        self._disputed, self._found = 0.0, 0

    def draw(self, first: int, rows: Tensor) -> None:
        """(channels, n, *plane) restored rows, the first of them row `first` of the box."""
        count = len(self.rule.names)
        probability, here = rows[:count], slice(first, first + rows.shape[1])
        labels = self.rule.decide(probability)
        self._label_rows[:, here] = labels.cpu().numpy()
        self.expected.add(probability, labels)
        for name, view in self._views.items():
            view[0, here] = probability[self.rule.names.index(name)].cpu().numpy()
        if self._unsure_rows is None:
            return
        if self.uncertainty == "entropy":
            share = entropy(probability, self.rule)
        else:
            share = disagreement(rows[count], rows[count + 1])
            found = labels.amax(dim=0) > 0
            self._disputed += float(share[found].double().sum())
            self._found += int(found.sum())
        self._unsure_rows[0, here] = as_bytes(share).cpu().numpy()

    def disputed(self) -> float | None:
        """Mean disagreement over all voxels of any structure; None where it was not asked for or nothing was found."""
        return self._disputed / self._found if self._found else None

    def _rows_first(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(M, *scan's shape) -> (M, rows, A, B) of the box, a view."""
        box = self.placement.cut(self.placement.turned(array))
        return np.moveaxis(box[:, None] if box.ndim == 3 else box, 1 + self.slow, 1)
