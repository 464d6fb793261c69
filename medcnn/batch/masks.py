"""Masks in the scan's own grid and axes: one label map where it can hold all structures, else a file for each."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from medcnn.batch.names import structure_names
from medcnn.batch.results import MASKS, Results
from medcnn.geometry import Geometry
from medcnn.inference.mask_rule import Labels, MaskRule
from medcnn.io.nifti.writer import write_nifti
from medcnn.whole_file import write_whole


@dataclass(frozen=True, eq=False)
class Grid:
    """The scan's own: its shape, and its place in the patient where that is known."""

    shape_vox: tuple[int, ...]
    geometry: Geometry | None
    spacing_mm: tuple[float, ...] | None

    @property
    def suffix(self) -> str:
        """Volumes are NIfTI, pictures PNG."""
        return ".png" if len(self.shape_vox) == 2 else ".nii.gz"


def mask_files(rule: MaskRule, name: str, suffix: str) -> list[str]:
    """What write_masks writes, as paths in the results."""
    if one_map_holds(rule):
        return [f"{MASKS}/{name}{suffix}"]
    return [f"{MASKS}/{name}_{structure}{suffix}" for structure in structure_names(rule.names).values()]


def write_masks(results: Results, rule: MaskRule, name: str, labels: Labels, grid: Grid) -> list[str]:
    """(M, *scan's shape) labels. One map holds the values that the structures have in label files; a file of its own
    holds 0 and 1. Raises OSError.
    """
    files = mask_files(rule, name, grid.suffix)
    if one_map_holds(rule):
        write_values(results.place(files[0]), with_values(rule).to_file(labels), grid)
        return files
    for structure, file in zip(rule.names, files, strict=True):
        write_values(results.place(file), rule.mask(labels, structure).view(np.uint8), grid)
    return files


def write_values(path: Path, values: npt.NDArray[Any], grid: Grid) -> None:
    """Whole numbers of 8 or 16 bits, stored exactly. Raises OSError."""
    if len(grid.shape_vox) == 2:
        write_whole(path, _png(values))
        return
    spacing_mm = None if grid.geometry is not None else grid.spacing_mm
    write_nifti(path, values, grid.geometry, labels=True, spacing_mm=spacing_mm)


def with_values(rule: MaskRule) -> MaskRule:
    """A structure that had a file of its own in training has no value there; here it has one."""
    return replace(rule, values={name: values for name, values in rule.values.items() if values})


def one_map_holds(rule: MaskRule) -> bool:
    """Whether what is painted reads back as it was said.

    Structures that exclude each other: always, unless they share values. Regions that may overlap: where each painted
    value belongs to its region and those around it alone, as whole tumour and core, which are told apart by their
    values; and where no two regions lie beside each other, for both may be said of one voxel.
    """
    if not rule.overlapping:
        return len({with_values(rule).file_values(name) for name in rule.names}) == len(rule.names)
    sets = [frozenset(rule.file_values(name)) for name in rule.names]
    widest_first = sorted(sets, key=len, reverse=True)
    nested = all(inner < outer for outer, inner in pairwise(widest_first))
    return nested and all(sets)


def voxels_outside(rule: MaskRule, labels: Labels) -> int:
    """Of nested regions in one map: how many voxels of a narrower region lie outside a wider one. They read back as
    part of both.
    """
    order = sorted(range(len(rule.names)), key=lambda number: -len(rule.file_values(rule.names[number])))
    pairs = pairwise(order)
    return sum(int(np.count_nonzero(row)) for outer, inner in pairs for row in _beyond(labels, outer, inner))


def _beyond(labels: Labels, outer: int, inner: int) -> Iterator[npt.NDArray[np.bool_]]:
    for wide, narrow in zip(labels[outer], labels[inner], strict=True):
        yield narrow > wide


def _png(values: npt.NDArray[Any]) -> bytes:
    """Grey of 8 bits, of 16 where a value needs them."""
    kind = np.uint8 if int(values.max(initial=0)) <= np.iinfo(np.uint8).max else np.uint16
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(values, kind)).save(stream, "PNG")
    return stream.getvalue()
