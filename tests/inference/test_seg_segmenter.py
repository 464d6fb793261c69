"""From a prepared scan to labels on the scan's own grid, by networks whose answer is known."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from itertools import permutations, product

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch import Tensor, nn
from torch.nn.functional import interpolate

from medcnn.config.transforms import IntensityConf, TransformsConf
from medcnn.geometry import Geometry
from medcnn.inference.mask_rule import MaskRule
from medcnn.inference.postprocessing import Mending, PostProcessing
from medcnn.inference.quality import QualityMap
from medcnn.inference.segmenter import Segmenter
from medcnn.inference.segmenter_settings import SegmenterSettings
from medcnn.io.options import Reading
from medcnn.scan import Scan
from medcnn.transforms.placement import Placement
from medcnn.transforms.whole_grid import OnGrid, WholeGrid

CPU = torch.device("cpu")
TWO = MaskRule(("dim", "bright"))
REGIONS = MaskRule(("any", "bright"), overlapping=True)


class Levels(nn.Module):
    """Tells voxels by their value: below 1, from 1, from 2 (or for regions: from 1, from 2). Any number of axes."""

    def __init__(self, rule: MaskRule = TWO, sharpness: float = 20.0) -> None:
        super().__init__()
        self.rule, self.sharpness = rule, sharpness

    def forward(self, image: Tensor) -> Tensor:
        above = [self.sharpness * (image - limit) for limit in (1, 2)]
        if self.rule.overlapping:
            return torch.cat(above, dim=1)
        return torch.cat([torch.zeros_like(image), above[0], above[0] + above[1]], dim=1)


def smooth(*size: int, seed: int = 0) -> np.ndarray:
    """(1, *size), values from 0 to 3 in blobs."""
    coarse = torch.rand(1, 1, *(max(1, side // 4) for side in size), generator=torch.Generator().manual_seed(seed))
    mode = {2: "bilinear", 3: "trilinear"}[len(size)]
    return (3 * interpolate(coarse, size=size, mode=mode, align_corners=False)[0]).numpy()


def as_it_is(image: np.ndarray, spacing_mm: tuple[float, ...] = ()) -> OnGrid:
    size = image.shape[1:]
    axes = tuple(range(len(size)))
    return OnGrid(image, Placement(size, axes, (False,) * len(size), tuple((0, s) for s in size), size), spacing_mm)


def segmenter(
    *networks: nn.Module, rule: MaskRule = TWO, patch: tuple[int, ...] = (8, 8, 8), **more: object
) -> Segmenter:
    post = more.pop("postprocessing", PostProcessing())
    quality = more.pop("quality", None)
    settings = SegmenterSettings(patch, **more)  # type: ignore[arg-type]
    return Segmenter(networks or (Levels(rule),), rule, settings, CPU, post, quality)  # type: ignore[arg-type]


def by_level(image: np.ndarray, rule: MaskRule = TWO) -> np.ndarray:
    planes = np.stack([image[0] > 1, image[0] > 2]).astype(np.uint8)
    return planes if rule.overlapping else planes.sum(axis=0, keepdims=True, dtype=np.uint8)


@pytest.mark.parametrize("rule", [TWO, REGIONS])
@pytest.mark.parametrize("size", [(17, 20, 13), (5, 30, 4), (20, 20, 1), (3, 2, 2)])
def test_labels_are_the_networks_answer(rule: MaskRule, size: tuple[int, ...]) -> None:
    image = smooth(*size)
    found = segmenter(rule=rule).segment(as_it_is(image))
    assert found.labels.dtype == np.uint8
    assert_array_equal(found.labels, by_level(image, rule))


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_labels_follow_flips_and_the_order_of_axes(axes: tuple[int, ...]) -> None:
    turned = smooth(12, 15, 18)
    network = nn.Conv3d(1, 3, 3, padding=1)  # knows its directions
    expected = segmenter(network).segment(as_it_is(turned)).labels
    for flipped in product([False, True], repeat=3):
        shape = tuple(turned.shape[1:][axes.index(axis)] for axis in range(3))
        placement = Placement(shape, axes, flipped, tuple((0, side) for side in turned.shape[1:]), turned.shape[1:])
        found = segmenter(network).segment(OnGrid(turned, placement, (1, 1, 1)))
        assert found.labels.shape[1:] == shape
        assert_array_equal(placement.turned(found.labels), expected)


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_the_same_patient_in_any_order_of_axes_has_the_same_labels_in_the_same_places(axes: tuple[int, ...]) -> None:
    """Through the preparation too: another spacing, a cut surround, and the file's own axes and directions."""
    torch.manual_seed(0)
    network = nn.Conv3d(1, 3, 3, padding=1)
    grid = WholeGrid.of(
        TransformsConf(size_px=[], crop="nonzero", intensity=IntensityConf(scale="zscore")),
        reading=Reading(),
        num_channels=1,
        spatial_dims=3,
        spacing_mm=(1.2, 1.5, 1.5),
    )
    body = np.zeros((1, 16, 20, 14), np.float32)
    body[:, 2:-3, 1:-1, 2:-2] = 1 + smooth(11, 18, 10)
    spacing = np.array([1.0, 1.5, 2.0])

    def labels(voxels: np.ndarray, affine: np.ndarray) -> np.ndarray:
        scan = Scan(voxels, Geometry(affine, voxels.shape[1:]))
        return segmenter(network).segment(grid.apply(scan)).labels

    expected = labels(body, np.diag([*spacing, 1.0]))
    assert len(np.unique(expected)) == 3
    for flipped in product([False, True], repeat=3):
        mirrored = tuple(1 + n for n in range(3) if flipped[n])
        own = np.flip(body, mirrored).transpose(0, *(1 + axis for axis in axes))
        affine = np.eye(4)
        directions = np.diag(np.where(flipped, -spacing, spacing))
        affine[:3, :3] = directions[:, axes]
        affine[:3, 3] = np.where(flipped, spacing * (np.array(body.shape[1:]) - 1), 0)
        found = labels(np.ascontiguousarray(own), affine)
        back = found.transpose(0, *(1 + axes.index(axis) for axis in range(3)))
        back = np.flip(back, mirrored)
        assert_array_equal(back, expected)


def test_a_box_on_another_grid_is_restored_and_its_surround_is_background() -> None:
    image = smooth(10, 12, 9)
    placement = Placement((30, 20, 25), (2, 0, 1), (True, False, True), ((2, 24), (3, 27), (1, 17)), (10, 12, 9))
    rule = MaskRule(("dim", "bright"))
    with torch.no_grad():
        probability = rule.probability(Levels(rule, 3)(torch.from_numpy(image)[None]))
    whole = interpolate(probability, size=(22, 24, 16), mode="trilinear", align_corners=False)[0]
    expected = np.zeros((1, 25, 30, 20), np.uint8)
    expected[:, 2:24, 3:27, 1:17] = rule.decide(whole).numpy()
    kept = np.zeros((30, 20, 25), np.float32)
    found = segmenter(Levels(rule, 3)).segment(OnGrid(image, placement, (1, 1, 1)), keep={"bright": kept})
    assert_array_equal(placement.turned(found.labels), expected)
    inside = placement.cut(placement.turned(kept[None]))[0]
    np.testing.assert_allclose(inside, whole[1].numpy(), atol=1e-5)


def test_probabilities_on_the_prepared_grid_are_the_models() -> None:
    image = smooth(17, 20, 13)
    for rule in (TWO, REGIONS):
        logits = Levels(rule, 2)(torch.from_numpy(image)[None])
        expected = logits.sigmoid() if rule.overlapping else logits.softmax(dim=1)
        found = segmenter(Levels(rule, 2), rule=rule).probabilities(as_it_is(image))
        np.testing.assert_allclose(found, expected[0].numpy(), atol=1e-5)


def test_one_tile_of_the_volumes_own_size_is_the_model_exactly() -> None:
    network, image = (
        nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 3, 3, padding=1)),
        smooth(9, 8, 10),
    )
    with torch.no_grad():
        expected = network(torch.from_numpy(image)[None]).softmax(dim=1)[0]
    found = segmenter(network).probabilities(as_it_is(image))
    assert_array_equal(found[1:], expected[1:].numpy())


@pytest.mark.parametrize(("slices", "axis"), [("axial", 2), ("coronal", 1), ("sagittal", 0)])
def test_a_2d_network_sees_each_slice_by_itself(slices: str, axis: int) -> None:
    torch.manual_seed(0)
    network, image = nn.Conv2d(1, 3, 3, padding=1), smooth(13, 14, 15)
    with torch.no_grad():
        each = network(torch.from_numpy(np.moveaxis(image, 1 + axis, 0).copy())).softmax(dim=1)
    found = segmenter(network, patch=(8, 8), slices=slices).probabilities(as_it_is(image))
    np.testing.assert_allclose(found, np.moveaxis(each.numpy(), 0, 1 + axis), atol=1e-5)


def test_pictures_are_segmented_and_restored() -> None:
    image = smooth(30, 22)
    placement = Placement((40, 60), (0, 1), (False, False), ((0, 40), (5, 55)), (30, 22))
    found = segmenter(patch=(8, 8), mirror_axes=(1,)).segment(OnGrid(image, placement, (0.5, 0.5)))
    probability = TWO.probability(Levels()(torch.from_numpy(image)[None]))
    whole = interpolate(probability, size=(40, 50), mode="bilinear", align_corners=False)[0]
    assert found.labels.shape == (1, 40, 60)
    assert_array_equal(found.labels[:, :, 5:55], TWO.decide(whole).numpy())
    assert found.volumes_ml is None


def test_left_and_right_of_a_picture_lie_along_its_width() -> None:
    class Sides(nn.Module):
        """The bright half's name is its side in the picture, as the network was trained."""

        def forward(self, image: Tensor) -> Tensor:
            low = torch.arange(image.shape[3]) < image.shape[3] / 2
            return torch.cat([torch.zeros_like(image), 9 * image * low, 9 * image * ~low], dim=1)

    image = np.zeros((1, 8, 8), np.float32)
    image[:, :, :4] = 1
    plain = segmenter(Sides(), patch=(8, 8)).probabilities(as_it_is(image))
    mirrored = segmenter(Sides(), patch=(8, 8), mirror_axes=(0, 1), mirror_swaps=((1, 2),))
    np.testing.assert_allclose(mirrored.probabilities(as_it_is(image)), plain, atol=1e-6)
    assert plain[1, :, :4].min() > 0.9


def test_volumes_count_the_scans_own_voxels() -> None:
    image = smooth(10, 12, 9)
    placement = Placement((20, 12, 27), (0, 1, 2), (False,) * 3, ((0, 20), (0, 12), (0, 27)), (10, 12, 9))
    for rule in (TWO, REGIONS):
        found = segmenter(rule=rule).segment(OnGrid(image, placement, (2.0, 1.0, 3.0)))
        expected = {name: rule.mask(found.labels, name).sum() / 1000 for name in rule.names}
        assert found.volumes_ml == pytest.approx(expected)
    assert segmenter().segment(OnGrid(image, placement, ())).volumes_ml is None


def test_post_processing_and_the_quality_map_are_applied() -> None:
    image = np.zeros((1, 16, 16, 16), np.float32)
    image[0, 2:9, 2:9, 2:9] = image[0, 13, 13, 13] = 1.5
    post = PostProcessing({"dim": Mending(largest=True)})
    quality = QualityMap({"dim": ((0.0, 1.0), (0.0, 0.5))})
    found = segmenter(postprocessing=post, quality=quality).segment(as_it_is(image, (1, 1, 1)))
    assert found.volumes_ml == {"dim": pytest.approx(0.343), "bright": 0}
    assert found.expected_dice["dim"] == pytest.approx(0.5, abs=0.01)
    assert math.isnan(found.expected_dice["bright"])
    assert set(found.seconds) == {"compute", "restore", "postprocess"}


def test_uncertainty_lies_where_members_disagree() -> None:
    image = np.full((1, 12, 12, 12), 0.2, np.float32)
    image[0, :6] = 1.5

    class Always(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.cat([torch.zeros_like(image), torch.full_like(image, 30), torch.zeros_like(image)], dim=1)

    found = segmenter(Levels(sharpness=60), Always(), uncertainty="disagreement").segment(as_it_is(image))
    assert found.uncertainty is not None
    assert found.uncertainty.shape == (1, 12, 12, 12)
    assert found.uncertainty[0, :6].max() <= 1
    assert found.uncertainty[0, 6:].min() >= 254
    assert found.disagreement is not None
    entropy = segmenter(Levels(sharpness=60), Always(), uncertainty="entropy").segment(as_it_is(image))
    assert entropy.uncertainty is not None
    assert entropy.uncertainty[0, 6:].min() == round(255 * math.log(2) / math.log(3))
    assert entropy.disagreement is None


def test_networks_stay_in_the_mode_in_which_they_were() -> None:
    network = nn.Sequential(nn.Conv3d(1, 3, 1), nn.BatchNorm3d(3), nn.Dropout(0.5)).train()
    image = smooth(8, 8, 8)
    once, again = (segmenter(network).probabilities(as_it_is(image)) for _ in range(2))
    assert_array_equal(once, again)
    assert network.training
    assert network[1].num_batches_tracked == 0


def test_settings_go_through_json() -> None:
    settings = SegmenterSettings((8, 8), slices="axial", mirror_axes=(0, 1), mirror_swaps=((1, 2),), precision="bf16")
    assert SegmenterSettings.from_json(json.loads(json.dumps(settings.as_json()))) == settings


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"overlap": 1.0}, "overlap"),
        ({"slices": "oblique"}, "slices"),
        ({"uncertainty": "some"}, "uncertainty"),
        ({"precision": "64"}, "precision"),
        ({"mirror_axes": (3,)}, "mirror_axes"),
        ({"slices": "axial", "mirror_axes": (2,)}, "mirror_axes"),
        ({"batch_tiles": 0}, "batch_tiles"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SegmenterSettings((8, 8, 8), **wrong)  # type: ignore[arg-type]


def test_a_patch_must_fit_the_network() -> None:
    network = Levels()
    network.divisor = (4, 4, 4)  # type: ignore[assignment]
    with pytest.raises(ValueError, match="multiples of"):
        segmenter(network, patch=(8, 8, 6))
    with pytest.raises(ValueError, match="as many sides"):
        segmenter(network, patch=(8, 8))


_CHILD = """
import resource, sys
import numpy as np, torch
from torch import nn
from medcnn.inference.mask_rule import MaskRule
from medcnn.inference.segmenter import Segmenter
from medcnn.inference.segmenter_settings import SegmenterSettings
from medcnn.transforms.placement import Placement
from medcnn.transforms.whole_grid import OnGrid
torch.set_num_threads(1)
def run(size, shape):
    image = np.random.default_rng(0).random((1, *size), np.float32)
    rule = MaskRule(tuple("abcdefghijkl"))
    network = nn.Conv3d(1, 13, 1)
    placement = Placement(shape, (0, 1, 2), (False,) * 3, tuple((0, s) for s in shape), size)
    settings = SegmenterSettings((32, 32, 32), overlap=0.0, batch_tiles=2)
    before = peak()
    Segmenter([network], rule, settings, torch.device("cpu")).segment(OnGrid(image, placement, (1, 1, 1)))
    return peak() - before
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
run((32, 32, 40), (40, 40, 48))
print(run((96, 96, 224), (108, 120, 264)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux reports it")
def test_a_volume_needs_the_memory_of_one_layer_of_tiles() -> None:
    """12 structures on 96 x 96 x 224 are 99 MB of probabilities, 164 MB on the scan's grid; a layer is 14 MB."""
    done = subprocess.run(
        [sys.executable, "-c", _CHILD],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert int(done.stdout) < 160, done.stdout
