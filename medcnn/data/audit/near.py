"""Near duplicates: the same picture again, saved as JPEG, resized, cropped, shifted, brightened or windowed.

Scans of one kind look alike, so plain likeness finds nothing. On 2,452 brain slices and 4,708 chest X-rays of 28 px, a
64-bit dHash that allows 2 differing bits names 1,200 and 2,200 pairs per 1,000 images, and misses half of the crops.
Here two pictures are first laid upon each other (shift and zoom, by least squares), and then only their fine detail is
compared: patients share their coarse shape, copies share their noise.

Found at the thresholds below, per 1,000 images: 0 pairs that are certainly of different patients and 14 of neighbouring
slices in the brain slices, 3.8 in the chest X-rays (nearly all identical), 0 and 3.5 in 282 phantom films, none in 208
hippocampi, 400 adrenals and 73 phantom brains. Copies found of pictures of 100 px and more: all after JPEG (quality 50
and 90), half and twice the size, brightness, noise; 95 to 100 % after clipped contrast, a window, a shift of 2 px, a
border of 2 % cut off. Not found: rotated or mirrored copies, shifts beyond 7 % of a side, and scans so small (28 px,
20 slices) that half their size leaves no detail. 10,000 pictures take 11 s on two cores and 0.5 GB.

Coarse to fine, each step on what the last one left: the nearest by 16 x 16 pixels, aligned there, aligned and compared
at 32 x 32, compared at 64 x 64.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from medcnn.data.audit.alignment import Moves, Stack, aligned, correlation, moved, still
from medcnn.data.audit.appearance import SIGNATURE_PX, Signature, signature_of

#: Correlation of the fine detail from which a pair counts as near duplicates: of pictures, and of volumes, whose three
#: planes have to agree at once.
NEAR, NEAR_VOLUMES = 0.96, 0.94
_FINE_PX = 64  # pictures with fewer pixels have no detail of the finest kind: it is the resizing's own
_COARSE_COSINE = 0.8
_LIKE_AT_16, _LIKE_AT_32 = 0.85, 0.85
_BATCH_PAIRS = 1024
_BLOCK_ROWS = 1024
#: (down, right, zoom) of the 16 x 16 pictures. A move against one of these is the same move of the other picture.
_WAYS = ((0.0, 0.0, 0.0), (0.6, 0.6, 0.0), (0.6, -0.6, 0.0), (0.0, 0.0, 0.04))
_NEIGHBOURS = (8, 4, 4, 4)  # looked at for each picture and each of these ways

Pairs = npt.NDArray[np.int64]


class NearPair(NamedTuple):
    """Two pictures by their place in the list, one < other; likeness up to 1."""

    one: int
    other: int
    likeness: float


def near_duplicate_pairs(
    images: Iterable[npt.NDArray[np.floating]], *, threshold: float | None = None
) -> list[NearPair]:
    """Among prepared images (C, H, W) or (C, I, J, K), channels averaged; looked at one by one; the likest first."""
    signatures, longest_px = [], []
    for image in images:
        signatures.append(signature_of(np.asarray(image, np.float32).mean(axis=0)))
        longest_px.append(max(image.shape[1:]))
    if len(signatures) < 2:
        return []
    return near_pairs(np.stack(signatures), np.array(longest_px), threshold=threshold)


def near_pairs(
    signatures: Signature, longest_px: npt.NDArray[np.integer], *, threshold: float | None = None
) -> list[NearPair]:
    """Among signatures (n, planes, 64, 64). longest_px (n,): the longest side of each original. Identical ones too."""
    if threshold is None:
        threshold = NEAR if signatures.shape[1] == 1 else NEAR_VOLUMES
    if len(signatures) < 2:
        return []
    at_16, at_32 = (_smooth(_halved(signatures, SIGNATURE_PX // side), 0.7) for side in (16, 32))
    pairs = _candidates(at_16)
    moves, likeness = _aligned_in_batches(at_16, pairs, None, detail=2.0)
    kept = likeness > _LIKE_AT_16
    moves, likeness = _aligned_in_batches(at_32, pairs[kept], moves[kept] * _TO_DOUBLE, detail=2.0)
    pairs, moves = pairs[kept][likeness > _LIKE_AT_32], moves[likeness > _LIKE_AT_32] * _TO_DOUBLE
    final = np.zeros(len(pairs))
    is_coarse = np.minimum(longest_px[pairs[:, 0]], longest_px[pairs[:, 1]]) < _FINE_PX
    for chosen, detail in ((~is_coarse, 2.0), (is_coarse, 4.0)):
        final[chosen] = _compared(signatures, pairs[chosen], moves[chosen], detail)
    order = np.argsort(-final, kind="stable")
    found = [(*pairs[k].tolist(), float(final[k])) for k in order if final[k] >= threshold]
    return [NearPair(one, other, how) for one, other, how in found]


_TO_DOUBLE = np.array([2.0, 2.0, 1.0, 1.0], np.float32)  # shifts are in pixels, zooms are not


def _halved(signatures: Signature, factor: int) -> Stack:
    n, planes, side, _ = signatures.shape
    small = side // factor
    blocks = signatures.reshape(n, planes, small, factor, small, factor)
    return np.asarray(blocks.mean(axis=(3, 5), dtype=np.float32))


def _smooth(stack: Stack, sigma_px: float) -> Stack:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(stack, (0, 0, sigma_px, sigma_px), mode="nearest"), np.float32)


def _detail(stack: Stack, sigma_px: float) -> Stack:
    """What is finer than sigma."""
    return stack - _smooth(stack, sigma_px)


def _candidates(at_16: Stack) -> Pairs:
    """(m, 2), one < other: each picture's nearest, as it is and moved a little."""
    n = len(at_16)
    base = _unit(at_16)
    found = [np.zeros(0, np.int64)]
    for way, wanted in zip(_WAYS, _NEIGHBOURS, strict=True):
        count = min(wanted, n - 1)
        turned = base if not any(way) else _unit(still(at_16, *way))
        for start in range(0, n, _BLOCK_ROWS):
            cosine = turned[start : start + _BLOCK_ROWS] @ base.T
            rows = np.arange(len(cosine))
            cosine[rows, start + rows] = -1
            nearest = np.argpartition(cosine, n - count, axis=1)[:, n - count :]
            row, place = np.nonzero(np.take_along_axis(cosine, nearest, 1) > _COARSE_COSINE)
            one, other = start + row, nearest[row, place]
            found.append(np.minimum(one, other) * n + np.maximum(one, other))
    codes = np.unique(np.concatenate(found))
    return np.stack([codes // n, codes % n], axis=1)


def _unit(stack: Stack) -> npt.NDArray[np.float32]:
    """(n, pixels), mean 0 and length 1; all 0 where nothing differs."""
    flat = stack.reshape(len(stack), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-3), np.float32)


def _aligned_in_batches(
    stack: Stack, pairs: Pairs, start: Moves | None, *, detail: float
) -> tuple[Moves, npt.NDArray[np.float32]]:
    """Moves (m, planes, 4) that lay the second of each pair upon the first, and how alike they are then."""
    planes = stack.shape[1]
    moves = np.zeros((len(pairs), planes, 4), np.float32) if start is None else start.copy()
    likeness = np.zeros(len(pairs), np.float32)
    fine = _detail(stack, detail)
    for first in range(0, len(pairs), _BATCH_PAIRS):
        batch = slice(first, first + _BATCH_PAIRS)
        one, other = pairs[batch].T
        for plane in range(planes):
            moves[batch, plane] = aligned(stack[one, plane], stack[other, plane], moves[batch, plane])
            again = moved(fine[other, plane], moves[batch, plane])
            likeness[batch] += correlation(fine[one, plane], again) / planes
    return moves, likeness


def _compared(signatures: Signature, pairs: Pairs, moves: Moves, detail: float) -> npt.NDArray[np.float32]:
    """Correlation of what is finer than `detail` pixels of 64, the mean over the planes."""
    likeness = np.zeros(len(pairs), np.float32)
    for first in range(0, len(pairs), _BATCH_PAIRS):
        batch = slice(first, first + _BATCH_PAIRS)
        involved, places = np.unique(pairs[batch], return_inverse=True)
        fine = _detail(_smooth(signatures[involved].astype(np.float32), 0.8), detail)
        one, other = places.reshape(-1, 2).T
        for plane in range(signatures.shape[1]):
            again = moved(fine[other, plane], moves[batch, plane])
            likeness[batch] += correlation(fine[one, plane], again) / signatures.shape[1]
    return likeness
