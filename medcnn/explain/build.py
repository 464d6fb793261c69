"""Every way to ask a classifier where it looked, by name: the only list of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from torch import nn

from medcnn.explain.batch_gradcam import grad_cams, grad_cams_plus_plus
from medcnn.explain.heat import Heat, Image, relative
from medcnn.explain.integrated_gradients import integrated_gradients
from medcnn.explain.layers import has_maps
from medcnn.explain.occlusion import MOST_PASSES, occlusion

Notes = list[str]  # one for each scan, "" where there is nothing to say
One = Callable[[nn.Module, Image, Sequence[int]], tuple[Heat, Notes]]


@dataclass(frozen=True)
class Explainer:
    """A way to draw where networks looked.

    title   as it is called in a caption
    meaning what its map shows, one sentence
    one     images through one network
    """

    name: str
    title: str
    meaning: str
    one: One
    needs_convolutions: bool = False

    def check(self, networks: Sequence[nn.Module]) -> None:
        """Before the first scan. Raises ValueError where it cannot look into a network."""
        if self.needs_convolutions and not all(has_maps(network) for network in networks):
            others = ", ".join(name for name, other in EXPLAINERS.items() if not other.needs_convolutions)
            raise ValueError(f"{self.title} needs a network with convolutions; ask for explain={others} or none")

    def heat(self, networks: Sequence[nn.Module], images: Image, class_indices: Sequence[int]) -> Heat:
        """images (n, C, *size) and the class to explain of each -> (n, *size), 0 to 1: the members' mean."""
        return self.explain(networks, images, class_indices)[0]

    def explain(self, networks: Sequence[nn.Module], images: Image, class_indices: Sequence[int]) -> tuple[Heat, Notes]:
        """The same, and what must be said about each scan's map."""
        total, notes = np.zeros((len(images), *images.shape[2:]), np.float32), [""] * len(images)
        if not len(images):
            return total, notes
        for network in networks:
            heat, said = self.one(network, images, class_indices)
            total += heat
            notes = [first or second for first, second in zip(notes, said, strict=True)]
        return relative(total / len(networks)), notes


def build_explainer(name: str) -> Explainer:
    """By its name. Raises ValueError with the names that there are."""
    if name not in EXPLAINERS:
        raise ValueError(f"nothing explains by the name {name!r}: {', '.join(EXPLAINERS)}")
    return EXPLAINERS[name]


def _silent(draw: Callable[[nn.Module, Image, Sequence[int]], Heat]) -> One:
    return lambda network, images, indices: (draw(network, images, indices), [""] * len(images))


def _integrated(network: nn.Module, images: Image, class_indices: Sequence[int]) -> tuple[Heat, Notes]:
    heat, checks = integrated_gradients(network, images, class_indices)
    return heat, ["" if check.holds() else f"integrated gradients: {check.words()}" for check in checks]


EXPLAINERS: Mapping[str, Explainer] = MappingProxyType(
    {
        explainer.name: explainer
        for explainer in (
            Explainer(
                "gradcam",
                "Grad-CAM",
                "It shows, coarsely, where the last layer's maps spoke for the class.",
                _silent(grad_cams),
                needs_convolutions=True,
            ),
            Explainer(
                "gradcam++",
                "Grad-CAM++",
                "It shows, coarsely, every place where the last layer's maps spoke for the class.",
                _silent(grad_cams_plus_plus),
                needs_convolutions=True,
            ),
            Explainer(
                "occlusion",
                "Occlusion",
                f"It shows what the class's score lost when a grey box hid a place, of at most {MOST_PASSES} places.",
                _silent(occlusion),
            ),
            Explainer(
                "integrated_gradients",
                "Integrated gradients",
                "It shows how much each pixel added to the class's score on the way from a black scan to this one.",
                _integrated,
            ),
        )
    }
)
