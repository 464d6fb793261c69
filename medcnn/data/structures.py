"""What a segmentation outlines: from the values of mask files to training targets, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from medcnn.config.data import BACKGROUND, LARGEST_LABEL, MOST_STRUCTURES, DataConf
from medcnn.config.fields import nearest
from medcnn.errors import DataError
from medcnn.scan import Reason, ScanRejected

Labels = npt.NDArray[np.int32]
Target = npt.NDArray[np.uint8]

IGNORED = 255  # of a target: a voxel that nobody judged
_UNKNOWN = 254  # between a table and its check only
_IGNORE = "ignore"  # nnU-Net's name for it
_SHOWN = 10


@dataclass(frozen=True)
class Structures:
    """The structures in the order of the network's outputs, and how they stand in mask files.

    values       structure -> values of a label map; () in a mask of its own, where whatever is not 0 belongs to it
    overlapping  a voxel can be in several: regions of one label map that share values, or a mask for each
    ignore       values of voxels that nobody judged
    codes        structure -> SNOMED CT code, where one is known
    background   values that belong to no structure; 0 is always one of them
    """

    names: tuple[str, ...]
    values: dict[str, tuple[int, ...]]
    overlapping: bool
    ignore: tuple[int, ...] = ()
    codes: dict[str, str] = field(default_factory=dict)
    background: tuple[int, ...] = (0,)

    @property
    def num_planes(self) -> int:
        """M of a target (M, *size)."""
        return len(self.names) if self.overlapping else 1

    @classmethod
    def of(
        cls, conf: DataConf, codes: Mapping[str, Sequence[int]], order: Sequence[str], columns: Sequence[str]
    ) -> Structures:
        """From the config, else the layout's own codes, else a mask column per structure. Raises DataError.

        codes    structure -> values, as a layout declares them; background and ignore may be among them
        order    of the layout's classes
        columns  the manifest's masks: [""] for one label map per case, else a name for each mask
        """
        if columns and list(columns) != [""]:
            made = cls._of_columns(conf, columns)
        else:
            given: Mapping[str, Sequence[int]] = conf.structures or codes
            names = tuple(name for name in (conf.structures or order) if name != BACKGROUND)
            made = cls._of_values(conf, names, given)
        if not made.names or len(made.names) > MOST_STRUCTURES:
            raise DataError(f"{len(made.names)} structures in the masks; between 1 and {MOST_STRUCTURES} can be learnt")
        if (
            largest := max({*made.ignore, *made.background, *(v for own in made.values.values() for v in own)})
        ) > LARGEST_LABEL:
            raise DataError(f"a structure has the value {largest} in the masks; at most {LARGEST_LABEL} can be used")
        for name in conf.class_codes:
            if name not in made.names:
                close = nearest(name, list(made.names))
                raise DataError(f"data.class_codes: there is no structure {name!r} ({', '.join(made.names)}).{close}")
        return made

    @classmethod
    def _of_columns(cls, conf: DataConf, columns: Sequence[str]) -> Structures:
        named = [name for name in conf.structures if name != BACKGROUND]
        if unknown := [name for name in named if name not in columns]:
            close = nearest(unknown[0], list(columns))
            raise DataError(
                f"data.structures: the manifest has no column mask.{unknown[0]}, it has "
                f"{', '.join(f'mask.{name}' for name in columns)}.{close}"
            )
        names = tuple(named or columns)
        values = {name: tuple(conf.structures.get(name, ())) for name in names}
        return cls(
            names,
            values,
            overlapping=True,
            ignore=tuple(conf.ignore_labels),
            codes=dict(conf.class_codes),
            background=_background(conf.structures),
        )

    @classmethod
    def _of_values(cls, conf: DataConf, names: tuple[str, ...], given: Mapping[str, Sequence[int]]) -> Structures:
        values = {name: tuple(int(value) for value in given[name]) for name in names}
        every = [value for own in values.values() for value in own]
        ignored = {*conf.ignore_labels, *(v for name, own in given.items() if name.lower() == _IGNORE for v in own)}
        return cls(
            names,
            values,
            len(set(every)) < len(every),
            tuple(sorted(ignored - set(every))),
            dict(conf.class_codes),
            _background(given),
        )

    def target(self, labels: npt.NDArray[np.integer[Any]]) -> Target:
        """(M, *size) of a label map (*size): the class, or 0 and 1 for each structure; 255 is ignored.

        Raises ScanRejected LABEL_VALUES where the map holds a value that is none of these.
        """
        low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
        known = {*self.background, *self.ignore, *(value for own in self.values.values() for value in own)}
        if low < 0 or high > max(known):
            raise self._unknown(labels, known)
        target = np.stack([plane[labels] for plane in self._table(known)])
        if (target[0] == _UNKNOWN).any():
            raise self._unknown(labels, known)
        return target

    def _table(self, known: set[int]) -> Target:
        """(M, largest value + 1): what each value becomes."""
        table = np.full((self.num_planes, max(known) + 1), _UNKNOWN, np.uint8)
        table[:, sorted(known)] = 0
        for number, name in enumerate(self.names):
            plane, value = (number, 1) if self.overlapping else (0, number + 1)
            table[plane, list(self.values[name])] = value
        table[:, list(self.ignore)] = IGNORED
        return table

    def own_plane(self, name: str, labels: npt.NDArray[np.integer[Any]]) -> Target:
        """(*size) of 0 and 1 from a mask that holds this structure alone; 255 is ignored. Raises LABEL_VALUES."""
        found = {int(value) for value in np.unique(labels)} - {*self.background, *self.ignore}
        declared = set(self.values[name])
        if (declared and found - declared) or (not declared and len(found) > 1):
            raise self._unknown(labels, {*self.background, *self.ignore, *declared})
        plane = np.isin(labels, sorted(found)).astype(np.uint8)
        if self.ignore:
            plane[np.isin(labels, self.ignore)] = IGNORED
        return plane

    def labels(self, target: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.uint8] | npt.NDArray[np.int32]:
        """The label map of a file, from class numbers of any shape; of several values a structure's first is written.

        Only where structures exclude each other: overlapping ones are written as a mask each.
        """
        if self.overlapping:
            raise ValueError("structures that overlap have no label map")
        values = [0, *(self.values[name][0] for name in self.names)]
        written = np.zeros(IGNORED + 1, np.uint8 if max(values) <= IGNORED else np.int32)
        written[: len(values)] = values
        return np.asarray(written[target])

    def as_json(self) -> dict[str, Any]:
        """For the model package and the cache's key."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]  # json gives back what went in

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Structures:
        """What as_json gave."""
        values = {name: tuple(own) for name, own in found["values"].items()}
        lists = {name: tuple(found[name]) for name in ("names", "ignore", "background")}
        return cls(**{**found, **lists, "values": values})

    def _unknown(self, labels: npt.NDArray[np.integer[Any]], known: set[int]) -> ScanRejected:
        values, counts = np.unique(labels, return_counts=True)
        odd = [(int(v), int(n)) for v, n in zip(values, counts, strict=True) if int(v) not in known] or [
            (int(v), int(n)) for v, n in zip(values, counts, strict=True) if v
        ]
        told = _some([f"{value} ({count} voxels)" for value, count in odd])
        return ScanRejected(
            Reason.LABEL_VALUES,
            f"the mask holds {told}; known are {_some(sorted(known))}",
            "Correct the mask, or name the values in data.structures (background: [...] for what means nothing here)",
        )


def _some(what: Sequence[object]) -> str:
    more = f" and {len(what) - _SHOWN} more" if len(what) > _SHOWN else ""
    return ", ".join(str(one) for one in what[:_SHOWN]) + more


def _background(given: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    named = (value for name, own in given.items() if name.lower() == BACKGROUND for value in own)
    return tuple(sorted({0, *map(int, named)}))


def named_after_values(values: Sequence[int]) -> dict[str, list[int]]:
    """label_1, label_2 ... for masks of which nobody says what they hold."""
    return {f"label_{value}": [value] for value in sorted(values)}
