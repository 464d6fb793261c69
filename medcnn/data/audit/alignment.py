"""Small pictures laid upon each other in pairs, thousands at a time: shift and zoom of each axis, by least squares."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Stack = npt.NDArray[np.float32]  # (m, side, side), or (n, planes, side, side)
Moves = npt.NDArray[np.float32]  # (..., 4): down, right in pixels; zoom down, zoom right as shares

_MOST_SHARE = 1 / 14  # of a side: a copy is not shifted further
_MOST_ZOOM = 0.08
_ROUNDS = 2


def aligned(fixed: Stack, moving: Stack, start: Moves) -> Moves:
    """The moves (m, 4) that make `moving` most like gain x `fixed` + offset, from a guess (Gauss-Newton)."""
    side = fixed.shape[-1]
    margin = _margin(side)
    along = (np.arange(side, dtype=np.float32) - (side - 1) / 2)[margin]
    target = fixed[:, margin, margin].reshape(len(fixed), -1, 1)
    moves = start.copy()
    for _ in range(_ROUNDS):
        again = moved(moving, moves)
        down, right = (np.gradient(again, axis=axis)[:, margin, margin] for axis in (1, 2))
        inner = again[:, margin, margin]
        columns = [inner, np.ones_like(inner), down, right, down * along[:, None], right * along]
        step = _solved(np.stack(columns, axis=1).reshape(len(inner), 6, -1), target)
        moves = _bounded(moves + step, side)
    return moves


def moved(pictures: Stack, moves: Moves) -> Stack:
    """Pictures (m, side, side) sampled at the places that moves (m, 4) name; edges are repeated."""
    side = pictures.shape[-1]
    down = _sampling(side, moves[:, 0], moves[:, 2])
    right = _sampling(side, moves[:, 1], moves[:, 3])
    return np.asarray(down @ pictures @ right.transpose(0, 2, 1), np.float32)


def still(stack: Stack, down: float, right: float, zoom: float) -> Stack:
    """(n, planes, side, side), every picture moved in the same way."""
    flat = stack.reshape(-1, *stack.shape[2:])
    moves = np.tile(np.array([down, right, zoom, zoom], np.float32), (len(flat), 1))
    return moved(flat, moves).reshape(stack.shape)


def correlation(one: Stack, other: Stack) -> npt.NDArray[np.float32]:
    """(m,) of the inner parts of two stacks; 0 where nothing differs."""
    margin = _margin(one.shape[-1])
    flat = [stack[:, margin, margin].reshape(len(stack), -1) for stack in (one, other)]
    a, b = (part - part.mean(axis=1, keepdims=True) for part in flat)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.maximum(lengths, 1e-3), np.float32)


def _margin(side: int) -> slice:
    """Without the edge, where a moved picture has nothing of its own."""
    width = max(1, side // 16)
    return slice(width, side - width)


def _solved(columns: Stack, target: Stack) -> Moves:
    """The step of each pair. columns (m, 6, pixels): picture, 1, and what it changes by per unit of each move."""
    products = columns @ columns.transpose(0, 2, 1)
    scale = np.sqrt(np.einsum("mii->mi", products)) + 1e-3
    scaled = products / scale[:, :, None] / scale[:, None, :] + 1e-4 * np.eye(6, dtype=np.float32)
    found = np.linalg.solve(scaled, (columns @ target) / scale[:, :, None])[:, :, 0] / scale
    gain = np.maximum(found[:, :1], 0.2)  # a picture of little contrast must not fly off
    return np.asarray(found[:, 2:] / gain, np.float32)


def _bounded(moves: Moves, side: int) -> Moves:
    most = np.array([side * _MOST_SHARE, side * _MOST_SHARE, _MOST_ZOOM, _MOST_ZOOM], np.float32)
    return np.clip(moves, -most, most)


def _sampling(side: int, shift: npt.NDArray[np.float32], zoom: npt.NDArray[np.float32]) -> Stack:
    """(m, side, side): matrices that interpolate along one axis; fancy indexing would take five times as long."""
    centre = np.float32((side - 1) / 2)
    along = np.arange(side, dtype=np.float32)
    exact = np.clip(centre + (along - centre) * (1 + zoom[:, None]) + shift[:, None], 0, side - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(exact[:, :, None] - along)), np.float32)
