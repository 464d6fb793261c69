"""A probability map for each structure, kept on disk while it is filled: many do not fit into memory."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from medcnn.batch.masks import Grid
from medcnn.batch.names import structure_names
from medcnn.batch.results import PROBABILITIES, Results
from medcnn.io.nifti.writer import write_nifti
from medcnn.whole_file import PART, write_whole

_CERTAIN = np.iinfo(np.uint16).max  # a pixel's value for probability 1, in pictures


@dataclass(eq=False)
class ProbabilityMaps:
    """Of the case in hand."""

    results: Results
    _arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    _asides: list[Path] = field(default_factory=list)

    def begun(self, structures: tuple[str, ...], grid: Grid) -> dict[str, npt.NDArray[Any]]:
        """Structure -> float32 (*scan's shape) of zeros, to be filled. Raises OSError."""
        self.forget()
        folder = self.results.place(f"{PROBABILITIES}/_").parent
        for structure in structures:
            handle, aside = tempfile.mkstemp(dir=folder, prefix=PART)  # swept away by the next run after a crash
            os.close(handle)
            self._asides.append(Path(aside))
            self._arrays[structure] = np.memmap(aside, np.float32, "w+", shape=grid.shape_vox)
        return dict(self._arrays)

    def write(self, name: str, grid: Grid, written: list[str]) -> None:
        """Each into its file, noted in `written`: 32-bit floats; in pictures 16 bits, 65535 is 1. Raises OSError."""
        files = probability_files(tuple(self._arrays), name, grid.suffix)
        for file, array in zip(files, self._arrays.values(), strict=True):
            path = self.results.place(file)
            if len(grid.shape_vox) == 2:
                write_whole(path, _png(array))
            else:
                spacing_mm = None if grid.geometry is not None else grid.spacing_mm
                write_nifti(path, array, grid.geometry, spacing_mm=spacing_mm)
            written.append(file)
        self.forget()

    def forget(self) -> None:
        """What was begun and not written."""
        self._arrays.clear()
        while self._asides:
            self._asides.pop().unlink(missing_ok=True)


def probability_files(structures: Sequence[str], name: str, suffix: str) -> list[str]:
    """As paths in the results."""
    return [f"{PROBABILITIES}/{name}_{stem}{suffix}" for stem in structure_names(structures).values()]


def _png(probability: npt.NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.rint(np.clip(probability, 0, 1) * _CERTAIN).astype(np.uint16)).save(stream, "PNG")
    return stream.getvalue()
