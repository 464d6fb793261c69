"""How unsure a mask is, voxel by voxel, as a map of bytes: 0 is certain, 255 as unsure as can be."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

from medcnn.inference.mask_rule import MaskRule

#: What a map may show; "" is no map.
KINDS = ("", "entropy", "disagreement")


def entropy(probability: Tensor, rule: MaskRule) -> Tensor:
    """(K, *S) -> (*S) in [0, 1]: of the mean probabilities, over that of a coin or of K + 1 equal chances.

    Overlapping structures: the largest of theirs.
    """
    if rule.overlapping:
        return _surprise(probability).add_(_surprise(1 - probability)).amax(dim=0).div_(log(2))
    background = (1 - probability.sum(dim=0)).clamp_(min=0)
    return _surprise(probability).sum(dim=0).add_(_surprise(background)).div_(log(len(rule.names) + 1))


def disagreement(first: Tensor, second: Tensor) -> Tensor:
    """(*S) each -> (*S) in [0, 1]: twice the standard deviation of the foreground's probability.

    first, second  its mean and the mean of its square over everything that was said of a voxel: by each member, in each
                   pass, and by each tile that covers it. Half of them sure of it and half sure of the opposite is 1.
    """
    return (second - first**2).clamp_(min=0).sqrt_().mul_(2)


def as_bytes(share: Tensor) -> Tensor:
    """[0, 1] -> uint8 in steps of 1/255."""
    return share.clamp(0, 1).mul_(255).round_().to(torch.uint8)


def _surprise(probability: Tensor) -> Tensor:
    """-p log p, 0 at 0."""
    surprise: Tensor = torch.special.entr(probability)
    return surprise
