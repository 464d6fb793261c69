"""RandAugment (Cubuk et al. 2020) for medical scans: a few of the random steps for each scan, all of one strength.

The steps are the ordinary ones, and so is the way in which they are drawn and run: here is only which of them a scan
gets, and that each goes as far as `magnitude` says, in a drawn direction. Unlike the paper's list, none inverts,
posterises or turns upside down, and nothing is mirrored but what the user names. The steps of a scan differ, and they
run in the order in which steps always run. B scans.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medcnn.config.transforms import POLICY_SECTIONS, PolicyConf, RandomConf
from medcnn.transforms import artefacts
from medcnn.transforms import intensity_steps as intensity
from medcnn.transforms import spatial_steps as spatial

_SWITCHED = 0.5  # the probability of steps that the policy switches: its switches are 0 and 1
_MIDDLE = 0.5  # of the numbers in [0, 1) of a step that goes in two directions: it does nothing

_STRENGTHS = {  # what `magnitude` multiplies in each section; of zoom its distance from 1
    "affine": ("rotate_deg", "scale", "shift"),
    "low_resolution": (),
    "blur": ("sigma_px",),
    "sharpness": ("soften", "sharpen"),
    "gamma": ("log_gamma",),
    "warp": ("amplitude",),
    "contrast": ("factor", "shift"),
    "bias_field": ("strength",),
    "motion": ("rotate_deg", "shift_px"),
    "ghosting": ("intensity",),
    "spikes": ("intensity",),
    "noise": ("sigma",),
}
_KINDS: dict[str, type] = {
    "affine": spatial.Affine,
    "low_resolution": spatial.LowResolution,
    "blur": intensity.Blur,
    "sharpness": intensity.Sharpness,
    "gamma": intensity.Gamma,
    "warp": intensity.Warp,
    "contrast": intensity.Contrast,
    "bias_field": intensity.BiasField,
    "motion": artefacts.Motion,
    "ghosting": artefacts.Ghosting,
    "spikes": artefacts.Spikes,
    "noise": intensity.Noise,
}


def of_one_strength(conf: RandomConf) -> RandomConf:
    """The settings in which the steps that the policy may choose are on, at `magnitude` of their own strength."""
    conf, magnitude = copy.deepcopy(conf), conf.policy.magnitude
    for section in {POLICY_SECTIONS[name] for name in conf.policy.choices}:
        step = getattr(conf, section)
        step.probability = _SWITCHED
        for strength in _STRENGTHS[section]:
            setattr(step, strength, magnitude * getattr(step, strength))
        if section == "low_resolution":
            step.zoom = 1 - magnitude * (1 - step.zoom)
        if section == "affine":
            step.shear = 0.0  # not among the choices
    return conf


def mirrors(conf: PolicyConf) -> list[spatial.Mirror]:
    """One step for each axis along which the user allows a mirror."""
    return [spatial.Mirror(_SWITCHED, (axis,)) for axis in conf.mirror_axes]


@dataclass(frozen=True)
class _Choice:
    """One thing that a scan may get: a step's switch, and those of its numbers that say how far. Both are columns."""

    switch: int
    columns: list[int]
    rule: str

    def strengths(self, uniform: Tensor) -> Tensor:
        """The drawn numbers (B, columns), moved to where the step is as strong as it can be."""
        if self.rule == "most":
            return torch.ones_like(uniform)
        if self.rule == "least":
            return torch.zeros_like(uniform)
        ends = (uniform >= _MIDDLE).to(uniform.dtype)
        if self.rule == "together":
            return ends[:, :1].expand_as(uniform)
        farthest = (uniform - _MIDDLE).abs().argmax(1, keepdim=True)  # "one": in one direction, the rest stays
        return torch.full_like(uniform, _MIDDLE).scatter(1, farthest, ends.gather(1, farthest))


class Policy:
    """Which steps each scan gets. `numbers` uniform numbers per scan, besides those of the steps, decide it."""

    def __init__(self, conf: PolicyConf, steps: Sequence[Any]) -> None:
        """steps: all that run, in their order; those of the policy with settings of_one_strength."""
        self.picks = conf.steps
        self.choices: list[_Choice] = []
        self._still: list[int] = []  # numbers of the policy's steps that do nothing unless a choice moves them
        sections = {POLICY_SECTIONS[name] for name in conf.choices}
        used = 0
        for step in steps:
            switch, first, used = used, used + 1, used + 1 + step.numbers
            if isinstance(step, spatial.Mirror) and conf.mirror_axes:
                self.choices.append(_Choice(switch, [], "one"))
            section = next((section for section in sections if type(step) is _KINDS[section]), None)
            if section in ("affine", "contrast"):
                self._still += range(first, used)
            for name in (name for name in conf.choices if POLICY_SECTIONS[name] == section):
                columns, rule = _how_far(name, step)
                self.choices.append(_Choice(switch, [first + column for column in columns], rule))
        self.numbers = len(self.choices)

    def chosen(self, uniform: Tensor) -> Tensor:
        """uniform (B, the steps' numbers and then self.numbers) -> the steps' numbers, as the policy has them."""
        drawn, keys = uniform[:, : -self.numbers], uniform[:, -self.numbers :]
        picked = keys.argsort(1).argsort(1) < self.picks  # (B, choices), as many in each row
        result = drawn.clone()
        result[:, self._still] = _MIDDLE
        result[:, [choice.switch for choice in self.choices]] = 1.0
        for choice, rows in zip(self.choices, picked.T, strict=True):
            result[rows, choice.switch] = 0.0
            if choice.columns:
                moved, where = choice.strengths(drawn[:, choice.columns]), torch.nonzero(rows)
                result[where, choice.columns] = moved[rows]
        return result


def _how_far(name: str, step: Any) -> tuple[Sequence[int], str]:
    """Which of a step's numbers make a choice as strong as it can be, and how; the others stay as drawn."""
    if isinstance(step, spatial.Affine):
        dims, angles = step.spatial_dims, step.numbers - 2 * step.spatial_dims - 1
        columns = {"rotate": range(angles), "scale": range(angles, angles + dims)}
        return columns.get(name, range(angles + dims + 1, step.numbers)), "together" if name == "scale" else "one"
    if isinstance(step, artefacts.Spikes):
        return range(1, step.numbers, 2 + step.spatial_dims), "most"
    match name:
        case "contrast" | "gamma" | "sharpness":
            return [0], "one"
        case "brightness":
            return [1], "one"
        case "warp":
            return [0, 1], "one"
        case "blur" | "noise":
            return [0], "most"
        case "low_resolution":
            return [0], "least"
        case "ghosting":
            return [1], "most"
    return [], "one"  # a bias field and a movement have their strength in their settings
