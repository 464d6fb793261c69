"""The boundary loss of Kervadec et al. 2019 and the distances that it needs. B cases, K structures, *S spatial axes."""

from __future__ import annotations

import torch
from torch import Tensor

REACH_VOX = 12  # distances are exact up to here and stay at it beyond: what is further away is simply wrong


def boundary_loss(probability: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Mean over valid voxels of probability times the signed distance to the true outline, in units of the reach.

    probability (B, K, *S); truth (B, K, *S) bool; valid (B, 1 or K, *S) bool. Structures without a voxel, or with
    nothing else, have no outline and do not count.
    """
    inside = truth.flatten(2).any(dim=2)
    outside = (~truth).flatten(2).any(dim=2)
    there = (inside & outside).reshape(*inside.shape, *[1] * (truth.ndim - 2))
    counts = valid & there
    distance = signed_distance(truth) / REACH_VOX
    return (probability * distance * counts).sum() / counts.expand_as(truth).sum().clamp(min=1)


def signed_distance(truth: Tensor, reach_vox: int = REACH_VOX) -> Tensor:
    """Voxels to the nearest voxel of the other kind, negative inside; at most the reach.

    truth (B, K, *S) bool -> float32 alike
    """
    return squared_distance(truth, reach_vox).sqrt() - squared_distance(~truth, reach_vox).sqrt()


def squared_distance(to: Tensor, reach_vox: int = REACH_VOX) -> Tensor:
    """Squared Euclidean distance in voxels to the nearest True, at most the squared reach.

    Exact below the reach: the minimum over one axis after another (Felzenszwalb and Huttenlocher 2012), here over all
    shifts up to the reach at once for the whole batch.
    """
    far = float(reach_vox**2)
    distance = torch.where(to, 0.0, far)
    for axis in range(2, to.ndim):
        before = distance
        for shift in range(1, min(reach_vox, to.shape[axis])):
            keep = to.shape[axis] - shift
            low, high = before.narrow(axis, 0, keep), before.narrow(axis, shift, keep)
            if distance is before:
                distance = before.clone()
            upper, lower = distance.narrow(axis, shift, keep), distance.narrow(axis, 0, keep)
            torch.minimum(upper, low + shift**2, out=upper)
            torch.minimum(lower, high + shift**2, out=lower)
    return distance
