"""The elastic displacement: beside scipy's splines, and never folding space."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from medcnn.config.transforms import ElasticConf
from medcnn.transforms import deformation


@pytest.mark.parametrize(("side", "spacing_px"), [(40, 8.0), (33, 10.5), (5, 16.0), (1, 4.0)])
def test_between_knots_lie_scipys_splines(side: int, spacing_px: float) -> None:
    matrix = deformation.spline_matrix(side, spacing_px)
    count = deformation.Elastic(1.0, 1.0, spacing_px).knots((side,))[0]
    assert matrix.shape == (side, count)
    places = np.arange(-3, count + 1) * spacing_px
    theirs = BSpline(places, np.eye(count), 3)(np.arange(side) + 0.5)
    np.testing.assert_allclose(matrix, theirs, atol=1e-6)


def test_knots_that_agree_shift_everything() -> None:
    elastic = deformation.Elastic(1.0, 3.0, 8.0)
    uniform = torch.ones(1, 2, *elastic.knots((20, 26)))
    torch.testing.assert_close(elastic.displacement(uniform, (20, 26)), torch.full((1, 2, 20, 26), 3.0))


@pytest.mark.parametrize("patch", [(64, 64), (32, 40, 36)], ids=str)
@pytest.mark.parametrize("strength", ["default", "most"])
def test_space_never_folds(patch: tuple[int, ...], strength: str) -> None:
    """The Jacobian of x + u(x), by central differences, over many draws."""
    settings = ElasticConf()
    if strength == "most":
        settings.displacement_px = 0.4 * settings.spacing_px
        assert not list(settings.problems())
        assert list(replace(settings, displacement_px=0.41 * settings.spacing_px).problems())
    elastic = deformation.Elastic(1.0, settings.displacement_px, settings.spacing_px)
    rng = np.random.default_rng(0)
    uniform = rng.random((12, len(patch), *elastic.knots(patch)))
    extreme = np.round(uniform) if strength == "most" else uniform  # knots at their limits, in random directions
    field = elastic.displacement(torch.from_numpy(extreme).float(), patch).flip(1).numpy()  # the first axis first
    gradient = np.stack(np.gradient(field, axis=tuple(range(2, 2 + len(patch)))), -1)
    jacobian = np.moveaxis(gradient, 1, -2) + np.eye(len(patch))
    determinant = np.linalg.det(jacobian)
    assert determinant.min() > 0
    assert determinant.std() > 0.02
