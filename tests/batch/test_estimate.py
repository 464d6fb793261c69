"""What a case will cost: beside the code that will do it, and beside closed forms."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medcnn.batch.cases import Case, CaseList
from medcnn.batch.dry_run import HEADER, Extras, forecasts, told
from medcnn.batch.estimate import ModelNeeds, estimate, memory_check, prepared_size, require_memory, tiles_along
from medcnn.batch.memory_left import left_in_groups, memory_left_mb
from medcnn.batch.tile_cost import tile_cost
from medcnn.config.transforms import IntensityConf, TransformsConf
from medcnn.geometry import Geometry
from medcnn.inference.mask_rule import MaskRule
from medcnn.inference.passes import all_passes
from medcnn.inference.segmenter import Segmenter
from medcnn.inference.segmenter_settings import SegmenterSettings
from medcnn.inference.tiles import Tiling
from medcnn.io.options import Reading
from medcnn.io.size import ScanSize
from medcnn.scan import Reason, Rejection, Scan, ScanRejected
from medcnn.transforms.whole_grid import WholeGrid

CPU = torch.device("cpu")


def steps(
    spacing_mm: tuple[float, ...] = (), *, slices: str = "", spatial_dims: int = 3, crop: str = "none"
) -> WholeGrid:
    conf = TransformsConf(size_px=[], crop=crop, slices=slices, intensity=IntensityConf(scale="zscore"))
    return WholeGrid.of(conf, reading=Reading(), num_channels=1, spatial_dims=spatial_dims, spacing_mm=spacing_mm)


def needs(grid: WholeGrid | None = None, structures: int = 2, **asked: Any) -> ModelNeeds:
    """As a package's model.json says it, after a round through JSON."""
    settings = SegmenterSettings(**{"patch": (32, 32, 32), **asked})
    plain = json.loads(json.dumps(settings.as_json()))
    return ModelNeeds("segmentation", (grid or steps()).as_json(), plain, structures)


def sized(*shape: int, edges_mm: tuple[float, ...] | None = None, affine: np.ndarray | None = None) -> ScanSize:
    """A scan of 16 bits."""
    if len(shape) == 2:
        return ScanSize(shape, 1, 1000, 2 * shape[0] * shape[1], edges_mm)
    geometry = Geometry(
        np.diag([*(edges_mm or (1, 1, 1)), 1.0]) if affine is None else affine, (shape[0], shape[1], shape[2])
    )
    edges = tuple(float(edge) for edge in geometry.spacing_mm())
    return ScanSize(shape, 1, 1000, 2 * int(np.prod(shape)), edges, geometry)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("length", [1, 20, 31, 32, 33, 40, 41, 64, 65, 100, 257])
def test_tiles_are_counted_as_the_network_is_asked(length: int, overlap: float) -> None:
    tiling = Tiling.of((length,), (32,), overlap=overlap, divisor=(1,))
    assert tiles_along(length, 32, overlap) == (len(tiling.starts[0]), tiling.sides[0])


@pytest.mark.parametrize(("mirror_axes", "shifts"), [((), 0), ((0, 2), 0), ((0, 1, 2), 3), ((1,), 9)])
def test_every_way_of_showing_a_tile_counts(mirror_axes: tuple[int, ...], shifts: int) -> None:
    passes = all_passes(
        mirror_axes=mirror_axes, swaps=(), num_structures=2, left_right=0, shift_axes=(0, 1, 2), shifts=shifts
    )
    assert estimate(sized(32, 32, 32), needs(mirror_axes=mirror_axes, shifts=shifts)).tiles == len(passes)


def test_tiles_of_a_volume_of_slices_and_of_a_picture() -> None:
    whole = estimate(sized(64, 64, 64), needs()).tiles
    assert whole == 3**3
    assert estimate(sized(40, 32, 32), needs()).tiles == 40 / 32, "one longer tile, by its voxels"
    by_slice = needs(steps(slices="axial"), patch=(32, 32), slices="axial")
    assert estimate(sized(64, 32, 9), by_slice).tiles == 3 * 9
    picture = needs(steps(spatial_dims=2), patch=(32, 32))
    assert estimate(sized(64, 64), picture).tiles == 9


TURNED = np.array([[0, 0, 3.0, 0], [0.5, 0, 0, 0], [0, -0.7, 0, 0], [0, 0, 0, 1]])  # stored as A, I, R


@pytest.mark.parametrize("spacing_mm", [(), (1.0, 1.0, 1.0), (3.0, 0.5, 0.72), (2.0, 2.0, 2.0)])
@pytest.mark.parametrize("affine", [None, TURNED])
def test_the_prepared_grid_is_what_preparing_gives(spacing_mm: tuple[float, ...], affine: np.ndarray | None) -> None:
    grid, size = steps(spacing_mm), sized(20, 30, 8, edges_mm=(0.8, 0.8, 2.5), affine=affine)
    voxels = np.random.default_rng(0).normal(size=(1, 20, 30, 8)).astype(np.float32)
    made = grid.apply(Scan(voxels=voxels, geometry=size.geometry, spacing_mm=size.spacing_mm))
    assert prepared_size(size, needs(grid)) == made.image.shape[1:]


def test_slices_keep_their_own_distance_in_the_prepared_grid() -> None:
    grid = steps((1.0, 1.0), slices="coronal")
    size = sized(20, 30, 8, edges_mm=(0.5, 2.5, 0.5))
    made = grid.apply(
        Scan(voxels=np.ones((1, 20, 30, 8), np.float32), geometry=size.geometry, spacing_mm=size.spacing_mm)
    )
    assert prepared_size(size, needs(grid, patch=(8, 8), slices="coronal")) == made.image.shape[1:] == (10, 30, 4)


def test_more_of_anything_takes_more() -> None:
    size, base = sized(128, 128, 128), replace(needs(), tile_mb=20.0)
    least = estimate(size, base)
    assert 0 < least.least_mb < least.memory_mb
    for larger, model in {
        sized(128, 128, 200): base,
        size: replace(base, structures=20),
    }.items():
        assert estimate(larger, model).memory_mb > least.memory_mb
    finer = replace(needs(steps((0.5, 0.5, 0.5))), tile_mb=20.0)
    assert estimate(size, finer).memory_mb > least.memory_mb
    assert estimate(size, finer).seconds(0.1) > least.seconds(0.1) > least.tiles * 0.1
    on_gpu = replace(base, on_gpu=True)
    assert estimate(size, on_gpu).memory_mb < least.memory_mb


def test_what_is_not_known_of_networks_and_of_the_body_refuses_nothing() -> None:
    size = sized(64, 64, 64)
    unknown = estimate(size, needs())
    assert unknown.memory_mb > 400, "most of a forward pass of batch_memory_mb"
    assert unknown.least_mb < 60
    cropped = estimate(size, needs(steps(crop="nonzero")))
    assert cropped.least_mb <= unknown.least_mb, "the box may be small"


def test_a_classifier_needs_the_scan_and_little_more() -> None:
    model = ModelNeeds("classification", {"size_px": [64, 64], "spacing_mm": []}, {"shifts": 2})
    small, large = estimate(sized(100, 100), model), estimate(sized(4000, 4000), model)
    assert small.tiles == 3
    assert small.memory_mb < 1 < 64 < large.memory_mb < 400
    volumes = {"size_px": [64, 64, 64], "spacing_mm": []}
    by_size = estimate(sized(128, 128, 128), replace(model, preparation=volumes))
    by_mm = estimate(sized(128, 128, 128), replace(model, preparation=volumes | {"spacing_mm": [2, 2, 2]}))
    assert by_size.memory_mb < by_mm.memory_mb


def test_a_case_that_cannot_fit_is_refused_with_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    model = replace(needs(), tile_mb=5.0)
    monkeypatch.setattr("medcnn.batch.estimate.memory_left_mb", lambda: 2000.0)
    assert require_memory(sized(64, 64, 64), model).memory_mb < 2000
    with pytest.raises(
        ScanRejected, match=r"MEMORY: 800 x 800 x 800 voxels take about \d+ MB, more than is left"
    ) as caught:
        require_memory(sized(800, 800, 800), model)
    assert caught.value.rejection.code is Reason.MEMORY
    with pytest.raises(ScanRejected, match=", more than is left"):
        require_memory(sized(300, 300, 300), model, limit_mb=30)
    assert require_memory(sized(64, 64, 64), model, limit_mb=1), "what earlier cases left is used again"


def test_a_reference_is_checked_before_it_is_read(mixed: CaseList, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medcnn.batch.estimate.memory_left_mb", lambda: 60.0)
    check = memory_check(mixed.root, replace(needs(), tile_mb=2.0))
    for reference in ("a.nii.gz", "p.png", "gone.nii"):  # it fits, is a picture, is not there: the reader's to say
        check(reference)
    with pytest.raises(ScanRejected, match=r"^MEMORY: 400 x 400 x 200 voxels"):
        check("big.nii.gz")


def group(folder: Path, names: tuple[str, str], limit: str, use: int, droppable: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{use}\n")
    (folder / "memory.stat").write_text(f"anon 5\ntotal_inactive_file {droppable}\ninactive_file {droppable}\n")


def test_the_least_of_all_control_groups_counts(tmp_path: Path) -> None:
    one = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    two = ("memory.max", "memory.current")
    group(tmp_path / "memory" / "jobs" / "7", one, "9223372036854771712", 500, 0)
    group(tmp_path / "memory" / "jobs", one, "1000", 700, 100)
    assert list(left_in_groups("4:memory:/jobs/7\n3:cpu:/\n", tmp_path)) == [400]
    group(tmp_path / "user" / "a", two, "max", 50, 0)
    group(tmp_path / "user", two, "3000", 50, 20)
    assert list(left_in_groups("0::/user/a\n", tmp_path)) == [2970]
    group(tmp_path, two, "600", 700, 0)  # a container: its own group is the mount, whatever the path says
    assert list(left_in_groups("0::/../elsewhere\n", tmp_path)) == [0]
    assert list(left_in_groups("", tmp_path)) == []


def test_a_limit_of_the_process_counts() -> None:
    limit = 3 * 2**30
    asked = "from medcnn.batch.memory_left import memory_left_mb; print(memory_left_mb())"

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    done = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True, preexec_fn=limited,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert 0 < float(done.stdout) < limit / 1e6
    assert memory_left_mb() > 0


def network(structures: int) -> nn.Module:
    """As wide as a small U-Net at its finest level."""
    return nn.Sequential(
        nn.Conv3d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv3d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv3d(16, structures + 1, 1),
    )


def segmenter(structures: int = 2, **asked: Any) -> Segmenter:
    rule = MaskRule(tuple(f"structure_{number}" for number in range(structures)))
    return Segmenter([network(structures)], rule, SegmenterSettings(**{"patch": (32, 32, 32), **asked}), CPU)


def test_the_cost_of_a_tile_is_what_batches_are_reckoned_with() -> None:
    model = segmenter(batch_memory_mb=64, batch_tiles=10**6)
    cost = tile_cost(model, channels=1)
    assert model.tiles_at_once(1, (32, 32, 32)) == int(64 * 2**20 / (cost.memory_mb * 1e6))
    assert cost.seconds > 0
    flat = Segmenter([nn.Conv2d(1, 3, 1)], model.rule, SegmenterSettings((16, 16)), CPU)
    assert tile_cost(flat, channels=1).memory_mb < cost.memory_mb


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
def test_peaks_of_real_runs_lie_near_the_estimate() -> None:
    """The whole of it, in a process of its own: nothing that fits may be refused, nothing be far off."""
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    for line in done.stdout.splitlines():
        said = json.loads(line)
        assert said["least_mb"] <= said["peak_mb"], said
        assert 0.7 < said["memory_mb"] / said["peak_mb"] < 1.9, said
    assert len(done.stdout.splitlines()) == 2


def measure(structures: int, spacing_mm: tuple[float, ...], side: int) -> None:
    """Print estimate and peak of one volume as a line of JSON."""
    grid, size = steps(spacing_mm), sized(side, side, side)
    model = segmenter(structures, overlap=0.25, batch_memory_mb=200)
    cost = tile_cost(model, channels=1)
    asked = replace(needs(grid, structures, overlap=0.25, batch_memory_mb=200), tile_mb=cost.memory_mb)
    said = estimate(size, asked)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    voxels = np.random.default_rng(0).normal(size=(1, side, side, side)).astype(np.float32)
    scan = Scan(voxels=voxels, geometry=size.geometry, spacing_mm=size.spacing_mm)
    del voxels
    Path("/proc/self/clear_refs").write_text("5")  # making it up took doubles
    on_grid = grid.apply(scan)
    del scan
    model.segment(on_grid)
    peak_mb = status("VmHWM") - before
    print(  # noqa: T201  what the test reads
        json.dumps({"least_mb": said.least_mb, "memory_mb": said.memory_mb, "peak_mb": peak_mb, "tile": cost.memory_mb})
    )


def status(field: str) -> float:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024 / 1e6


@pytest.fixture
def mixed(tmp_path: Path) -> CaseList:
    """A volume, one that is huge, a picture, one that the headers refuse, and one that is not there."""
    import nibabel
    from PIL import Image

    nibabel.Nifti1Image(np.zeros((40, 40, 40), np.int16), np.eye(4)).to_filename(tmp_path / "a.nii.gz")
    nibabel.Nifti1Image(np.zeros((400, 400, 200), np.uint8), np.eye(4)).to_filename(tmp_path / "big.nii.gz")
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(tmp_path / "p.png")
    why = Rejection(Reason.HEADER, "no voxels", "Export it again")
    cases = [
        Case("c-1", "a.nii.gz"),
        Case("c-2", "big.nii.gz", modality="MR"),
        Case("c-3", "p.png"),
        Case("c-4", "bad.nii", why),
        Case("c-5", "gone.nii"),
        Case("c-6", "a.nii.gz", misfits=("MODALITY: this scan says CT, the model knows MR",)),
    ]
    return CaseList(tmp_path, cases)


def test_what_a_run_would_do(mixed: CaseList) -> None:
    before = sorted(mixed.root.iterdir())
    model = replace(needs(), tile_mb=2.0)
    found = list(forecasts(mixed, model, left_mb=60, seconds_per_tile=0.5, extras=Extras(views=False)))
    assert sorted(mixed.root.iterdir()) == before
    verdicts = ["asked", "too large", "of another kind", "rejected", "rejected", "of another kind"]
    assert [one.verdict for one in found] == verdicts
    assert found[0].cost is not None
    assert found[0].cost.tiles == (40 / 32) ** 3
    assert found[0].seconds >= 0.5 * found[0].cost.tiles
    assert (found[1].shape_vox, found[1].modality) == ((400, 400, 200), "MR")
    assert [one.reason.partition(":")[0] for one in found[1:]] == [
        "MEMORY", "GEOMETRY_MISMATCH", "HEADER", "READ_ERROR", "MODALITY",
    ]  # fmt: skip
    assert all(len(one.cells()) == len(HEADER) for one in found)
    lines = list(told(found, left_mb=60, free_mb=500))
    assert "6 cases: 1 asked, 2 of another kind, 2 rejected, 1 too large" in lines
    assert any(line.startswith("time: ") and " s to " in line for line in lines)
    assert any(re.fullmatch(r"disk: about \d+ MB of results; 500 MB are free", line) for line in lines)
    unknown = list(forecasts(mixed, model, left_mb=60))
    assert "time: not known" in list(told(unknown, left_mb=60))


def test_results_that_are_asked_for_take_room(mixed: CaseList) -> None:
    def total(**asked: bool) -> float:
        model = replace(needs(), tile_mb=2.0)
        return sum(one.results_mb for one in forecasts(mixed, model, left_mb=1e6, extras=Extras(**asked)))

    plain = total(views=False)
    for extra in ({"views": True}, {"views": False, "probabilities": True}, {"views": False, "dicom": True}):
        assert total(**extra) > plain


if __name__ == "__main__":
    for asked_of in ((2, (), 96), (12, (1.6, 1.6, 1.6), 144)):
        measure(*asked_of)
