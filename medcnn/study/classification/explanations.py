"""Whether to believe the heat maps of a model, on cases that it did not learn from: a section of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medcnn.data.prepared import Prepared
from medcnn.explain.build import build_explainer
from medcnn.explain.examine import LARGE_VOX, Examined, examine
from medcnn.explain.filters import Tiles, feature_maps, first_filters
from medcnn.explain.layers import has_maps
from medcnn.inference.classifier import Classifier
from medcnn.reporting.explain_figures import (
    explanations_figure,
    faithfulness_figure,
    features_figure,
    filters_figure,
    sanity_figure,
)
from medcnn.reporting.figures import SavedFigure, save
from medcnn.reporting.page import Section
from medcnn.study.scan_pictures import middle_plane, picture

_CASES, _CASES_OF_VOLUMES = 4, 2
_HOW_TO_READ = "A heat map shows what an answer was sensitive to, not the disease. Whether to believe it was tried out."


@dataclass(frozen=True, eq=False)
class Explanations:
    """What was found out about each way to explain, on a few cases of one split.

    case_id, image, shown  the first of these cases, its scan (C, *size), and the class explained
    filters, layers        of the first member: its first layer's filters, and what its layers make of that scan
    notes                  why a way could not be examined
    """

    split: str
    case_id: str
    image: npt.NDArray[np.float32]
    shown: str
    found: dict[str, Examined]
    filters: Tiles | None
    layers: list[Tiles]
    notes: tuple[str, ...] = ()

    def words(self) -> dict[str, str]:
        """Way to explain -> whether to believe its maps, for the model package."""
        return {way: one.words() for way, one in self.found.items()}


def explained(
    classifier: Classifier, prepared: Prepared, split: str, ways: Sequence[str], *, seed: int
) -> Explanations | None:
    """Examine each way on a few cases, spread over the split; None where nothing was asked for, or there is no case."""
    if not ways or not len(prepared):
        return None
    few = _spread(prepared)
    scans = prepared.images[few]
    covariates = None if prepared.covariates is None else prepared.covariates[few]
    classes = classifier.probability(scans, covariates).argmax(axis=1).tolist()
    networks, images = classifier.for_explainers(scans, covariates)
    asked = replace(classifier, networks=networks)
    found, notes = {}, []
    for way in ways:
        explainer = build_explainer(way)
        try:
            explainer.check(networks)
        except ValueError as error:
            notes.append(f"{error}.")
            continue
        found[way] = examine(explainer, networks, asked.probability, images, classes, seed=seed)
    looks = has_maps(networks[0])
    return Explanations(
        split,
        prepared.cases[few[0]].case_id,
        scans[0],
        classifier.rule.class_names[classes[0]],
        found,
        first_filters(networks[0]) if looks else None,
        feature_maps(networks[0], images[0]) if looks else [],
        tuple(notes),
    )


def _spread(prepared: Prepared) -> list[int]:
    """A few cases from the first to the last, fewer where a pass is dear."""
    most = _CASES_OF_VOLUMES if prod(prepared.images[[0]].shape[2:]) >= LARGE_VOX else _CASES
    even = np.linspace(0, len(prepared) - 1, min(most, len(prepared)))
    return [int(index) for index in np.unique(even.round())]


def explanations_section(made: Explanations, folder: Path) -> Section:
    """Maps of one case, whether to believe them, and what the first member's layers see; drawn into the folder."""
    figures: list[SavedFigure] = []
    if made.found:
        figures += _of_maps(made, folder)
    if made.filters is not None:
        figures.append(save(filters_figure(made.filters), folder, "first_filters"))
    if made.layers:
        figures.append(save(features_figure(made.layers, case_id=made.case_id), folder, f"{made.split}_feature_maps"))
    said = [*made.words().values(), *made.notes]
    return Section("Where the network looks", figures, f"{_HOW_TO_READ} {' '.join(said)}")


def _of_maps(made: Explanations, folder: Path) -> list[SavedFigure]:
    found = {one.title: one for one in made.found.values()}
    first = next(iter(found.values()))
    plane = middle_plane(first.heats[0])
    maps = {title: picture(one.heats[0][None], plane) for title, one in found.items()}
    drawn = {
        "explanations": explanations_figure(
            picture(made.image, plane), maps, case_id=made.case_id, text=f"explained: {made.shown}"
        ),
        "deletion_insertion": faithfulness_figure(
            {title: one.curves for title, one in found.items()}, num_cases=first.num_cases
        ),
        "shuffled_weights": sanity_figure(
            {title: one.sanity.stages for title, one in found.items()}, num_cases=first.num_cases
        ),
    }
    return [save(figure, folder, f"{made.split}_{name}") for name, figure in drawn.items()]
