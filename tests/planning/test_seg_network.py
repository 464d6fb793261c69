"""Depth, patch, batch, memory: against nnU-Net's published plans, against the U-Net itself, against measured peaks."""

from __future__ import annotations

from math import prod

import pytest
from seg_cases import alike, drafted, hippocampus

from medcnn.networks.unet import UNet
from medcnn.planning.cost import cost_of
from medcnn.planning.memory import Device, memory_mb
from medcnn.planning.network_shape import NetworkShape, doubled, pooled, rounded_up, with_strides
from medcnn.planning.patch_size import margin_of
from medcnn.planning.segmentation_plan import finish

ISO = (1.0, 1.0, 1.0)
CT = {"modality": "CT"}


# Isensee et al. 2021 and nnU-Net v2's plans of the Medical Segmentation Decathlon, in our order of axes, slices last.
PUBLISHED = {
    "hippocampus": (alike(260, (35, 50, 36), ISO), (40, 56, 40), 9, (8, 8, 8)),
    "BraTS": (alike(484, (138, 169, 138), ISO, channels=4), (128, 128, 128), 2, (32, 32, 32)),
    "heart": (alike(20, (320, 232, 115), (1.25, 1.25, 1.37)), (192, 160, 80), 2, (32, 32, 16)),
    "liver": (alike(131, (512, 512, 482), (0.768, 0.768, 1.0), **CT), (128, 128, 128), 2, (32, 32, 32)),
    "lung": (alike(63, (512, 512, 252), (0.785, 0.785, 1.24), **CT), (160, 192, 80), 2, (32, 32, 16)),
    "spleen": (alike(41, (512, 512, 187), (0.79, 0.79, 1.6), **CT), (160, 192, 64), 2, (32, 32, 16)),
    "vessels": (alike(303, (512, 512, 150), (0.8, 0.8, 1.5), **CT), (192, 192, 64), 2, (32, 32, 16)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_nnunets_published_patches_and_batches_come_out(name: str) -> None:
    fingerprint, patch, batch, divisor = PUBLISHED[name]
    found = drafted(fingerprint).candidates[0]
    assert (found.patch_px, found.batch_patches, found.shape.levels.divisor) == (patch, batch, divisor)
    assert found.shape.widths[0] == 32
    assert max(found.shape.widths) in (256, 320)


def test_prostate_keeps_its_slices_apart_until_the_others_are_as_coarse() -> None:
    """Published: 20x320x256 (2021), 16x320x320 (v2), slices first, with 1x3x3 kernels at first."""
    found = drafted(alike(32, (320, 319, 20), (0.625, 0.625, 3.6), channels=2)).candidates[0]
    assert sorted(found.patch_px) == [20, 256, 320]
    assert found.shape.levels.divisor == (64, 64, 4)
    assert found.shape.levels.kernels[:3] == ((3, 3, 1), (3, 3, 1), (3, 3, 3))
    assert found.shape.levels.strides[:4] == ((1, 1, 1), (2, 2, 1), (2, 2, 1), (2, 2, 2))


def test_pictures() -> None:
    found = drafted(alike(2000, (96, 96), modality="CR"), kind="cpu", precisions=("32",))
    plan = finish(found)
    assert (plan.patch_px, plan.spacing_mm, plan.batch_patches, plan.size_px) == ([96, 96], [], 16, [96, 96])
    assert found.candidates[0].shape.levels.divisor == (16, 16)


def test_a_large_ct_fits_its_memory() -> None:
    fingerprint = alike(100, (512, 512, 800), (0.8, 0.8, 1.0), **CT)
    plan = finish(drafted(fingerprint))
    assert plan.estimated_memory_mb <= 8000
    assert all(side % whole == 0 for side, whole in zip(plan.patch_px, (16, 16, 16), strict=True))
    assert 96**3 < prod(plan.patch_px) < 160**3


def test_every_halving_leaves_four_voxels_and_the_patch_is_divisible() -> None:
    for size in [(35, 50, 36), (8, 8, 8), (31, 9, 200), (320, 320, 20), (7, 12, 7), (400, 40, 4)]:
        levels = pooled(size, ())
        patch = rounded_up(size, levels.divisor)
        for side, whole, least in zip(patch, levels.divisor, size, strict=True):
            assert side % whole == 0
            assert least <= side < least + whole
            assert side // whole >= min(4, least)


def test_an_axis_of_one_voxel_is_neither_halved_nor_filtered_along() -> None:
    levels = pooled((64, 64, 1), ISO)
    assert levels.divisor == (16, 16, 1)
    assert {kernel[2] for kernel in levels.kernels} == {1}


def test_asked_for_levels_are_given_where_the_size_allows() -> None:
    assert len(pooled((40, 56, 40), (), 2)) == 2
    assert pooled((40, 56, 40), (), 5).divisor == (16, 16, 16)  # edges of 2 then, since somebody wants it
    assert len(pooled((40, 56, 40), (), 10)) < 10


def test_kernels_for_given_strides_follow_the_spacing() -> None:
    natural = pooled((320, 320, 20), (0.625, 0.625, 3.6))
    assert with_strides(natural.strides, [], (320, 320, 20), (0.625, 0.625, 3.6)) == natural


@pytest.mark.parametrize("encoder", ["plain", "residual"])
@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize(("size", "spacing"), [((24, 32, 24), ISO), ((64, 64, 12), (0.6, 0.6, 3.6)), ((64, 48), ())])
def test_parameters_are_counted_exactly(
    size: tuple[int, ...], spacing: tuple[float, ...], encoder: str, *, attention: bool
) -> None:
    levels = pooled(size, spacing)
    widths = doubled(8, len(levels), len(size))
    shape = NetworkShape(2, 3, widths, levels, encoder, (1, *[2] * (len(levels) - 1)), (2,), 1, attention)
    network = UNet(
        spatial_dims=len(size), in_channels=2, num_outputs=3, widths=widths, kernels=levels.kernels,
        strides=levels.strides, encoder=encoder, encoder_convolutions=shape.encoder_convolutions,
        deep_supervision=1, attention=attention,
    )  # fmt: skip
    assert network.divisor == levels.divisor
    assert cost_of(shape, size).parameters == sum(weight.numel() for weight in network.parameters())


def test_multiply_adds_and_elements_of_a_network_counted_by_hand() -> None:
    """Two levels on 8 voxels; stages of one convolution; 2 and 4 channels."""
    levels = pooled((12,) * 2, (), 2)
    shape = NetworkShape(1, 3, (2, 4), levels, "plain", (1,), (1,), 0)
    fine, coarse = 144, 36
    layers = [(fine, 1, 2, 9), (coarse, 2, 4, 9), (fine, 4, 2, 1), (fine, 4, 2, 9), (fine, 2, 3, 1)]
    cost = cost_of(shape, (12, 12))
    assert cost.multiply_adds == sum(
        voxels * entering * leaving * kernel for voxels, entering, leaving, kernel in layers
    )
    assert cost.elements == sum(voxels * leaving for voxels, _, leaving, _ in layers)


# Base width, patches, precision, size, levels -> MB that a process of 680 MB grew by in two AdamW steps on a CPU.
PEAKS = [
    (8, 2, "32", (40, 56, 40), 4, 152),
    (32, 2, "32", (40, 56, 40), 4, 512),
    (32, 1, "32", (40, 56, 40), 4, 352),
    (16, 2, "32", (80, 80, 80), 4, 1184),
    (16, 2, "bf16", (40, 56, 40), 4, 169),
    (32, 2, "bf16", (40, 56, 40), 4, 308),
    (32, 2, "32", (256, 256), 6, 555),
    (16, 8, "32", (96, 96), 4, 140),
]


@pytest.mark.parametrize(("base", "patches", "precision", "size", "levels", "peak_mb"), PEAKS)
def test_memory_is_near_the_measured_peaks(
    base: int, patches: int, precision: str, size: tuple[int, ...], levels: int, peak_mb: float
) -> None:
    """220 MB of the estimate are for loaders, which the measurement had none of."""
    widths = tuple(min(base * 2**level, 10 * base) for level in range(levels))
    shape = NetworkShape(1, 3, widths, pooled(size, (), levels), deep_supervision=levels - 2)
    own = memory_mb(cost_of(shape, size), patches, precision, "cpu")
    assert peak_mb + 680 < own - 220 < 1.25 * (peak_mb + 680)


def test_nnunets_reference_needs_eight_gigabytes() -> None:
    """32 to 320 channels on 128 cubed, batch 2, 16 bit: about 8 GB of GPU memory."""
    levels = pooled((128,) * 3, ())
    shape = NetworkShape(4, 4, doubled(32, len(levels), 3), levels, deep_supervision=4)
    assert 6000 < memory_mb(cost_of(shape, (128,) * 3), 2, "bf16", "cuda") < 8000


def test_more_memory_never_gives_a_smaller_patch_or_network() -> None:
    for fingerprint in (alike(100, (512, 512, 800), (0.8, 0.8, 1.0), **CT), alike(32, (320, 319, 20), (0.6, 0.6, 3.6))):
        before: tuple[int, ...] = (0, 0, 0)
        width = 0
        for gb in (1.2, 1.5, 2, 3, 4, 6, 8, 11, 16, 24, 40, 80):
            found = drafted(fingerprint, gb=gb).candidates[0]
            assert all(new >= old for new, old in zip(found.patch_px, before, strict=True)), gb
            assert found.shape.widths[0] >= width
            before, width = found.patch_px, found.shape.widths[0]
        assert width == 32


def test_a_patch_that_shrinks_keeps_the_levels_that_were_asked_for() -> None:
    found = drafted(alike(20, (256, 256, 256), ISO), gb=3, levels=7).candidates[0]
    assert len(found.shape.levels) == 7
    assert found.patch_px != (256, 256, 256)
    assert all(side % 64 == 0 for side in found.patch_px)


def test_a_device_is_one_that_is_known() -> None:
    for kind, gb in (("tpu", 8.0), ("cuda:0", 8.0), ("cpu", 0.0), ("cpu", float("nan"))):
        with pytest.raises(ValueError, match="a device is"):
            Device(kind, gb)


def test_a_patch_is_never_larger_than_the_median_case_rounded_up() -> None:
    found = drafted(hippocampus(), gb=80).candidates[0]
    assert found.patch_px == (40, 56, 40)


def test_margins_hold_the_corners_of_a_turned_patch() -> None:
    """A square of 100 turned by 45 degrees is 141 wide."""
    wide = (1000, 1000)
    turned = margin_of((100, 100), wide, (), rotate_deg=45, zoom=0, shift=0)
    assert turned == (21, 21)
    assert margin_of((100, 100), wide, (), rotate_deg=0, zoom=0.2, shift=0) == (10, 10)
    assert margin_of((100, 100), wide, (), rotate_deg=0, zoom=0, shift=0.05) == (5, 5)
    assert margin_of((100, 100), (100, 90), (), rotate_deg=45, zoom=0.5, shift=0) == (0, 0)  # nothing lies outside
    assert margin_of((100, 100), (110, 1000), (), rotate_deg=45, zoom=0, shift=0) == (5, 21)
    assert margin_of((100, 100, 1), (1000, 1000, 9), (), rotate_deg=45, zoom=0, shift=0)[2] == 0
