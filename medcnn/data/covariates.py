"""Columns of the manifest that a classifier takes beside the image (age, sex), as numbers for its network.

What makes numbers of words is fitted on training cases alone and travels in the model package. N cases, V inputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medcnn.config.fields import nearest
from medcnn.data.covariate_cells import is_age, is_empty, is_sex, number_of, word_of
from medcnn.data.manifest import Case
from medcnn.data.strata import patient_of
from medcnn.errors import DataError
from medcnn.scan import Reason, ScanRejected
from medcnn.transforms.draws import COVARIATES, stream

if TYPE_CHECKING:  # who leads a batch reads covariates too, and should not wait for what prepares scans
    from medcnn.data.prepared import Prepared

Vectors = npt.NDArray[np.float32]

MOST_WORDS = 12
FAR_SD = 5.0
_SHOWN = 5  # cases that a message names


@dataclass(frozen=True)
class Covariate:
    """One column: a number, (value - mean) / sd, or words, an input each.

    words           in sorted order; () of numbers
    shares          of the training cases that have each word
    may_be_missing  the network has learnt what to answer without it: one more input says that it is not known
    """

    name: str
    words: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    mean: float = 0.0
    sd: float = 1.0
    may_be_missing: bool = False

    @classmethod
    def fit(cls, name: str, values: Sequence[str], *, is_dropped: bool, may_be_missing: bool) -> Covariate:
        """From the cells of the training cases. Raises DataError where they make no covariate."""
        known = [value for value in values if not is_empty(value)]
        learns_gaps = may_be_missing and (is_dropped or len(known) < len(values))
        numbers = [number for value in known if (number := number_of(name, value)) is not None]
        if known and len(numbers) == len(known):
            mean, sd = float(np.mean(numbers)), float(np.std(numbers))
            found = cls(name, mean=mean, sd=sd, may_be_missing=learns_gaps)
        else:
            counts = Counter(word_of(name, value) for value in known)
            words = tuple(sorted(counts))
            found = cls(name, words, tuple(counts[word] / len(known) for word in words), may_be_missing=learns_gaps)
        if len(found.words) > MOST_WORDS:
            raise DataError(
                f"data.covariates: {name} has {len(found.words)} different words in the training cases, and a "
                f"covariate is a number or one of at most {MOST_WORDS} words ({len(numbers)} of {len(known)} cells "
                "are numbers)"
            )
        if len(found.words) == 1 or (not found.words and found.sd < 1e-12 * max(1.0, abs(found.mean))):
            raise DataError(
                f"data.covariates: {name} is the same in all training cases and tells nothing. Leave it out"
            )
        if not known:
            raise DataError(f"data.covariates: {name} is empty in all training cases. Fill it in, or leave it out")
        return found

    @property
    def gap(self) -> list[float]:
        """The inputs of a case of whom it is not known: as of an average one."""
        return [*(self.shares or (0.0,)), *([1.0] * self.may_be_missing)]

    def inputs(self, text: str) -> list[float]:
        """A cell as the network takes it. Raises ScanRejected, whose words never repeat the cell."""
        if is_empty(text):
            if not self.may_be_missing:
                raise ScanRejected(Reason.COVARIATE_MISSING, f"{self.name} is not known", _how_to_give(self.name))
            return self.gap
        told = [0.0] * self.may_be_missing
        if self.words:
            word = word_of(self.name, text)
            if word not in self.words:
                known = f"the model knows {', '.join(self.words)}"
                raise ScanRejected(
                    Reason.COVARIATE_INVALID,
                    f"{self.name} is a word that no training case had; {known}",
                    _give(self.name),
                )
            return [*(float(word == one) for one in self.words), *told]
        number = number_of(self.name, text)
        if number is None:
            raise ScanRejected(Reason.COVARIATE_INVALID, f"{self.name} is no number", _give(self.name))
        return [(number - self.mean) / self.sd, *told]

    def as_json(self) -> dict[str, Any]:
        """As model.json has it."""
        kind = {"words": list(self.words), "shares": list(self.shares)} if self.words else {
            "mean": self.mean, "sd": self.sd,
        }  # fmt: skip
        return {"name": self.name, **kind, "may_be_missing": self.may_be_missing}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Covariate:
        """Back from model.json."""
        fields = dict(found)
        for name in ("words", "shares"):
            fields[name] = tuple(fields.get(name, ()))
        return cls(**fields)


@dataclass(frozen=True)
class Covariates:
    """Those of a model, in the order of its inputs."""

    columns: tuple[Covariate, ...]

    @classmethod
    def fit(cls, cases: Sequence[Case], names: Sequence[str], *, missing: str, dropout: float) -> Covariates:
        """From training cases.

        missing  stop: no case may lack one; mean: a case that does is taken for an average one, and the network told
        dropout  share of the training cells that will be hidden, so that gaps are learnt where there are none
        """
        require_columns(cases, names)
        _require_no_names(cases, names)
        given = {"is_dropped": dropout > 0, "may_be_missing": missing == "mean"}
        return cls(tuple(Covariate.fit(name, [case.free.get(name, "") for case in cases], **given) for name in names))

    @property
    def names(self) -> list[str]:
        """Columns of the manifest."""
        return [column.name for column in self.columns]

    @property
    def num_inputs(self) -> int:
        """V."""
        return len(self.gap)

    @property
    def gap(self) -> Vectors:
        """(V,) of a case of whom nothing is known."""
        return np.array([number for column in self.columns for number in column.gap], np.float32)

    def vector(self, values: Mapping[str, str]) -> Vectors:
        """(V,) of one case by its cells. Raises ScanRejected for the first that cannot be used."""
        inputs = [number for column in self.columns for number in column.inputs(values.get(column.name, ""))]
        return np.array(inputs, np.float32)

    def vectors(self, cases: Sequence[Case]) -> Vectors:
        """(N, V). Raises DataError that names what is wrong, and the cases."""
        require_columns(cases, self.names)
        problems = [line for column in self.columns for line in _problems(column, cases)]
        if problems:
            lines = "\n".join(f"  - {line}" for line in problems)
            raise DataError(f"the manifest's covariates cannot be used:\n{lines}")
        rows = [self.vector(case.free) for case in cases]
        return np.stack(rows) if rows else np.zeros((0, self.num_inputs), np.float32)

    def oddities(self, vector: Vectors) -> list[str]:
        """What a reader of an answer must know; never the value itself."""
        places = np.cumsum([0, *(len(column.gap) for column in self.columns)])
        return [
            f"COVARIATE: {column.name} is more than {FAR_SD:g} standard deviations from the training cases' mean"
            for column, place in zip(self.columns, places, strict=False)
            if not column.words and abs(float(vector[place])) > FAR_SD
        ]

    def remarks(self, missing: str) -> list[str]:
        """What a reader of the results must know."""
        needed = [column.name for column in self.columns if not column.may_be_missing]
        if missing == "stop" or not needed:
            return []
        return [
            f"no training case lacks {', '.join(needed)}, so the network has not learnt to answer without: cases that "
            "lack it are not answered. data.covariate_dropout=0.1 teaches it"
        ]

    def in_words(self) -> str:
        """age (number), sex (F, M): for a model card."""
        return ", ".join(f"{column.name} ({', '.join(column.words) or 'number'})" for column in self.columns)

    def as_json(self) -> list[dict[str, Any]]:
        """As model.json has it."""
        return [column.as_json() for column in self.columns]

    @classmethod
    def from_json(cls, found: Iterable[Mapping[str, Any]]) -> Covariates:
        """Back from model.json."""
        return cls(tuple(Covariate.from_json(column) for column in found))


@dataclass(frozen=True, eq=False)
class TrainingCovariates:
    """Those of the training cases, some of them hidden at random: which ones is a function of the place in the epoch.

    values  (N, V)
    """

    spec: Covariates
    values: Vectors
    dropout: float
    seed: int

    def batch(self, indices: Sequence[int], epoch: int, positions: Sequence[int]) -> Vectors:
        """(len(indices), V)."""
        rows = self.values[np.asarray(indices, np.int64)]
        if not self.dropout:
            return rows
        columns = len(self.spec.columns)
        draws = np.stack([stream(self.seed, epoch, place, COVARIATES).random(columns) for place in positions])
        widths = [len(column.gap) for column in self.spec.columns]
        return np.where(np.repeat(draws < self.dropout, widths, axis=1), self.spec.gap, rows)


def with_covariates(prepared: Prepared, spec: Covariates | None) -> Prepared:
    """The same cases with their inputs. Raises DataError."""
    return prepared if spec is None else replace(prepared, covariates=spec.vectors(prepared.cases))


def require_columns(cases: Sequence[Case], names: Sequence[str]) -> None:
    """Raise DataError for columns that the manifest does not have."""
    there = list(dict.fromkeys(name for case in cases for name in case.free))
    if missing := [name for name in names if name not in there]:
        known = f"its free columns are {', '.join(there)}" if there else "it has no free column"
        raise DataError(
            f"covariates: the manifest has no column {', '.join(missing)}; {known}.{nearest(missing[0], there)}"
        )


def _require_no_names(cases: Sequence[Case], names: Sequence[str]) -> None:
    """Words would stand in the model package: they must be of groups, not of patients."""
    patients = len({patient_of(case) for case in cases})
    for name in names:
        words = {word_of(name, text) for case in cases if not is_empty(text := case.free.get(name, ""))}
        are_numbers = all(number_of(name, word) is not None for word in words)
        if not are_numbers and 2 * len(words) > patients:
            raise DataError(
                f"data.covariates: {name} has {len(words)} different words for {patients} training patients, so it "
                "names patients and no groups of them. Take another column"
            )


def _problems(column: Covariate, cases: Sequence[Case]) -> list[str]:
    """A line for each way in which cells of a column cannot be used."""
    found: dict[tuple[str, str], list[str]] = {}
    for case in cases:
        try:
            column.inputs(case.free.get(column.name, ""))
        except ScanRejected as rejected:
            why = rejected.rejection
            missing = why.code is Reason.COVARIATE_MISSING
            said = (
                (f"{column.name} is empty", _FILL) if missing else (why.found, "Write it as the training cases have it")
            )
            found.setdefault(said, []).append(case.case_id)
    return [
        f"{what} in {len(ids)} of {len(cases)} cases ({', '.join([*ids[:_SHOWN], *['...'] * (len(ids) > _SHOWN)])}). "
        f"{remedy}"
        for (what, remedy), ids in found.items()
    ]


_FILL = (
    "Fill the cells in, or take the rows out; a model that is trained with data.missing_covariates=mean and saw gaps "
    "answers without"
)


def _how_to_give(name: str) -> str:
    header = " or, of DICOM, in the header" if is_age(name) or is_sex(name) else ""
    return f"Give it in a column {name} of select.manifest=<csv>{header}"


def _give(name: str) -> str:
    return f"Write {name} as the training cases had it, in a column {name} of select.manifest=<csv>"
