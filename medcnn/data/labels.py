"""From the words of a manifest to the numbers of a loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medcnn.config.fields import nearest
from medcnn.data.manifest import Case, Manifest
from medcnn.errors import DataError
from medcnn.evaluation.arrays import Kind

Targets = npt.NDArray[np.float32]

_TRUE, _FALSE = ("1", "1.0", "true", "yes", "positive"), ("0", "0.0", "false", "no", "negative")


@dataclass(frozen=True)
class Labels:
    """The classes, and how labels become targets.

    kind         binary (two classes, the last is the positive one), multiclass, ordinal (grades, the lowest first), or
                 multilabel
    class_names  in the order of the network's outputs
    """

    kind: Kind
    class_names: tuple[str, ...]

    @classmethod
    def of(cls, manifest: Manifest, class_names: Sequence[str], *, grades: bool = False) -> Labels:
        """From the config's class names, else from the labels found, sorted. Raises DataError.

        grades  whether the class names, which must be given then, are in an order that counts
        """
        if not manifest.label_names:
            raise DataError(
                "the manifest has no 'label' column, and a classifier learns from labels. Add a column label (one "
                "class per case) or label.<name> columns (1, 0 or nothing)"
            )
        if manifest.label_names != [""]:
            if grades:
                raise DataError(
                    f"data.answers=grades: the manifest has several labels a case ({', '.join(manifest.label_names)}), "
                    "and grades are one label. Give a column label, or take data.answers=classes"
                )
            if class_names and list(class_names) != manifest.label_names:
                raise DataError(f"data.class_names: the manifest's labels are {manifest.label_names}")
            return cls("multilabel", tuple(manifest.label_names))
        if grades:
            return cls("ordinal", tuple(class_names))
        found = sorted({case.labels[""] for case in manifest.cases} - {""}, key=_natural)
        names = tuple(class_names) or tuple(found)
        if len(names) < 2:
            raise DataError(f"{len(names)} class in the labels: a classifier needs at least two. Found {list(names)}")
        return cls("binary" if len(names) == 2 else "multiclass", names)

    def targets(self, cases: Sequence[Case]) -> Targets:
        """(n, K): one-hot, or for several labels 0, 1 and nan where missing. Raises DataError naming what is odd."""
        if self.kind == "multilabel":
            rows = [[self._flag(case, name) for name in self.class_names] for case in cases]
            return np.array(rows, np.float32).reshape(len(cases), len(self.class_names))
        indices = self.indices(cases)
        return np.eye(len(self.class_names), dtype=np.float32)[indices]

    def indices(self, cases: Sequence[Case]) -> npt.NDArray[np.int64]:
        """(n,) class indices. A label may be a class's name or its number."""
        by_name = {name: index for index, name in enumerate(self.class_names)}
        by_number = {str(index): index for index in range(len(self.class_names))}
        known = by_name if by_number.keys() & by_name.keys() else {**by_number, **by_name}  # names that are numbers win
        odd = Counter(case.labels[""] for case in cases if case.labels[""] not in known)
        if odd:
            lines = [
                f"{word!r} in {count} cases (first {_first(cases, word)})" + nearest(word, list(by_name)).rstrip("?")
                if word
                else f"no label in {count} cases (first {_first(cases, word)})"
                for word, count in odd.most_common(5)
            ]
            raise DataError(f"labels outside the classes {', '.join(self.class_names)}: " + "; ".join(lines))
        return np.array([known[case.labels[""]] for case in cases], np.int64)

    def _flag(self, case: Case, name: str) -> float:
        word = case.labels[name].lower()
        if word in ("", "nan"):
            return float("nan")
        if word in _TRUE or word in _FALSE:
            return float(word in _TRUE)
        raise DataError(f"label.{name} of {case.case_id} is {word!r}: write 1, 0, or nothing where it is not known")


def _first(cases: Sequence[Case], word: str) -> str:
    return next(case.case_id for case in cases if case.labels[""] == word)


def _natural(word: str) -> tuple[int, int | str]:
    """Numbers in their own order before words."""
    return (0, int(word)) if word.isdecimal() else (1, word)


def truth(targets: Targets, kind: Kind) -> npt.NDArray[np.float64] | npt.NDArray[np.int64]:
    """Targets as medcnn.evaluation takes them: (n,) class indices, or (n, K) of 0, 1 and nan."""
    return targets.astype(np.float64) if kind == "multilabel" else targets.argmax(axis=1).astype(np.int64)
