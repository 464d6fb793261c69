"""A volume and what was found in it, as a script that the page of results loads beside itself.

A page opened from a disk may not fetch files but may load scripts, so voxels travel as base64 in one: gzipped NIfTI,
which the viewer (medcnn/batch/vendor) takes. Pictures need none: the page shows their overlay.
"""

from __future__ import annotations

import gzip
import json
import struct
from base64 import b64encode
from collections.abc import Sequence
from math import prod

import numpy as np
import numpy.typing as npt

from medcnn.batch.view import Heat, View

Bytes = npt.NDArray[np.uint8]
Block = tuple[int, int, int]

_PACKING = 6  # zlib's own default
_TRIED = 2.0  # voxels per wanted byte that are worth a try; noise packs to about half
_HEADER = "<i10s18sihcb8h3f4h8f3fhbb4f2i80s24s2h6f12f16s4s"  # of NIfTI-1, 348 bytes
_VOXELS_AT, _UINT8, _MM, _ALIGNED, _LABEL = 352, 2, 2, 2, 1002  # nifti1.h's codes
_MOST_BITS = 8  # structures that may overlap and still share a byte


def case_view_js(
    view: View, labels: Bytes | None, names: Sequence[str], heat: Heat | None = None, most_bytes: float = 8e6
) -> bytes:
    """medcnnShow({...}); equal inputs give equal bytes. ValueError where the view is no volume.

    labels      (M, *view) uint8 as a mask rule makes them, as the view is turned; M > 1 says that they may overlap
    names       of the structures
    heat        on the network's grid, 0 to 1
    most_bytes  of the packed voxels together: larger volumes are shrunk by whole blocks, means of the grey values and
                the middle voxel of the labels
    """
    if view.grey.ndim != 3:
        raise ValueError(f"only volumes are scrolled, not a picture of {view.grey.shape}")
    one_map, overlapping, order = _one_map(labels, len(names))
    hot = None if heat is None else _heat_nifti(view, heat)
    most_voxels = _TRIED * most_bytes
    while True:
        block = _block(view.grey.shape, view.edges_mm, most_voxels)
        grey = _nifti(_means(view.grey, block), *_grid(view, block))
        mask = None if one_map is None else _nifti(_middles(one_map, block), *_grid(view, block), _LABEL)
        size = sum(len(packed) for packed in (grey, mask, hot) if packed is not None)
        shown = prod(_blocks(view.grey.shape, block))
        if size <= most_bytes or shown <= 1:
            break
        most_voxels = min(0.95 * shown * most_bytes / size, shown - 1)
    said = {
        "names": list(names),
        "block": block,
        "oriented": view.oriented,
        "centre": _centre(view, one_map, heat),
        "overlapping": overlapping,
        "order": order,
        "grey": b64encode(grey).decode(),
        "labels": None if mask is None else b64encode(mask).decode(),
        "heat": None if hot is None else b64encode(hot).decode(),
    }
    return f"medcnnShow({json.dumps(said)});\n".encode()


def _one_map(labels: Bytes | None, structures: int) -> tuple[Bytes | None, bool, list[int]]:
    """Labels as one volume, whether its values are sets of structures (bit n: structure n), and the order to paint in.

    The smallest is painted last, so that it is seen within a wider one. Too many for the bits of a byte are painted
    over each other here, which hides what lies below.
    """
    if labels is None:
        return None, False, []
    if len(labels) == 1:
        return labels[0], False, list(range(structures))
    order = sorted(range(len(labels)), key=lambda number: -int(np.count_nonzero(labels[number])))
    together = np.zeros(labels.shape[1:], np.uint8)
    if len(labels) > _MOST_BITS:
        for number in order:
            together[labels[number] == 1] = number + 1
        return together, False, order
    for number, plane in enumerate(labels):
        together |= plane << np.uint8(number)
    return together, True, order


def _block(shape: Sequence[int], edges_mm: Sequence[float], most_voxels: float) -> Block:
    """Sides of the blocks that become one voxel: the finest axis is made coarser first."""
    block = [1, 1, 1]
    while prod(_blocks(shape, block)) > max(1.0, most_voxels):
        free = [axis for axis in range(3) if block[axis] < shape[axis]]
        block[min(free, key=lambda axis: edges_mm[axis] * block[axis])] += 1
    return block[0], block[1], block[2]


def _blocks(shape: Sequence[int], block: Sequence[int]) -> list[int]:
    return [-(-side // by) for side, by in zip(shape, block, strict=True)]


def _means(grey: Bytes, block: Block) -> Bytes:
    """Rounded means of blocks; slab by slab, since sums of a whole scan may not fit."""
    if block == (1, 1, 1):
        return grey
    starts = [np.arange(0, side, by) for side, by in zip(grey.shape, block, strict=True)]
    counts = [
        np.minimum(by, side - start) for start, side, by in zip(starts, grey.shape, block, strict=True)
    ]  # of the last block what is left
    shrunk = np.empty(_blocks(grey.shape, block), np.uint8)
    for number, start in enumerate(starts[0]):
        total = grey[start : start + block[0]].sum(axis=0, dtype=np.uint32)
        total = np.add.reduceat(np.add.reduceat(total, starts[1], axis=0), starts[2], axis=1)
        shrunk[number] = np.rint(total / (counts[0][number] * counts[1][:, None] * counts[2][None, :]))
    return shrunk


def _middles(labels: Bytes, block: Block) -> Bytes:
    places = [
        np.minimum(np.arange(0, side, by) + (by - 1) // 2, side - 1)
        for side, by in zip(labels.shape, block, strict=True)
    ]
    return labels[np.ix_(*places)]


def _grid(view: View, block: Block) -> tuple[list[float], list[float]]:
    """Edges in mm, and where the first voxel lies from the scan's centre; x to the right, y anterior, z superior."""
    edges = [edge * by for edge, by in zip(view.edges_mm, block, strict=True)]
    first = [
        (-(side - 1) / 2 + (by - 1) / 2) * edge
        for side, by, edge in zip(view.grey.shape, block, view.edges_mm, strict=True)
    ]
    return edges, first


def _heat_nifti(view: View, heat: Heat) -> bytes:
    """Heat on its own grid, which the viewer lays over the scan: it is coarse, and few bytes."""
    edges = [edge / step.scale for edge, step in zip(view.edges_mm, view.steps, strict=True)]
    first = [
        (step.to_view(0.0) - (side - 1) / 2) * edge
        for step, side, edge in zip(view.steps, view.grey.shape, view.edges_mm, strict=True)
    ]
    return _nifti(np.rint(np.clip(view.straightened(heat), 0, 1) * 255).astype(np.uint8), edges, first)


def _nifti(voxels: Bytes, edges_mm: Sequence[float], first_mm: Sequence[float], intent: int = 0) -> bytes:
    """Gzipped NIfTI-1 of unsigned bytes, its axes R, A, S. No time and no name within."""
    no_text = b""
    rows = [[0.0] * axis + [edges_mm[axis]] + [0.0] * (2 - axis) + [first_mm[axis]] for axis in range(3)]
    header = struct.pack(
        _HEADER, 348, no_text, no_text, 0, 0, b"r", 0, 3, *voxels.shape, 1, 1, 1, 1, 0, 0, 0, intent, _UINT8, 8, 0,
        1.0, *edges_mm, 0, 0, 0, 0, _VOXELS_AT, 1.0, 0.0, 0, 0, _MM, 255.0, 0.0, 0, 0, 0, 0, no_text, no_text,
        _ALIGNED, _ALIGNED, 0, 0, 0, *first_mm, *rows[0], *rows[1], *rows[2], no_text, b"n+1\0",
    )  # fmt: skip
    content = header + bytes(_VOXELS_AT - len(header)) + voxels.tobytes(order="F")
    return gzip.compress(content, compresslevel=_PACKING, mtime=0)


def _centre(view: View, one_map: Bytes | None, heat: Heat | None) -> list[float]:
    """Where to look first, as a share of each axis: what was found, or what is hottest, or the middle."""
    shape = view.grey.shape
    voxel = [side // 2 for side in shape]
    if one_map is not None and one_map.any():
        voxel = [int(np.count_nonzero(one_map, axis=_others(axis)).argmax()) for axis in range(3)]
    elif one_map is None and heat is not None:
        voxel = list(view.hottest(heat))
    return [round((index + 0.5) / side, 6) for index, side in zip(voxel, shape, strict=True)]


def _others(axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(3) if other != axis)
