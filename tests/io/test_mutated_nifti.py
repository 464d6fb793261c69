"""Damaged NIfTI files and pairs: read as they should be, or refused with a reason; never anything else."""

from __future__ import annotations

import gzip
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from benchmarks.robustness import harness
from benchmarks.robustness.catalogue import Input, make_input, mutators_of, seeds_of
from benchmarks.robustness.harness import Task, verdicts
from benchmarks.robustness.judge import Judge, Outcome, Verdict
from benchmarks.robustness.mutation import Label, Mutant
from benchmarks.robustness.nifti_fields import fields_of, value_of
from benchmarks.robustness.nifti_rules import contradiction
from benchmarks.robustness.nifti_seeds import by_name, nifti_seeds
from benchmarks.robustness.readers import by_medcnn, by_nibabel
from benchmarks.robustness.report import Run, written

COUNT, RUN_SEED = 500, 2024
SURVIVED = (Outcome.ACCEPTED, Outcome.REJECTED, Outcome.WRONG_PLAUSIBLE)


def test_500_damaged_files_end_as_they_should(tmp_path: Path) -> None:
    judge = Judge("nifti", "medcnn", tmp_path)
    found = [judge.judge(make_input("nifti", RUN_SEED, number)) for number in range(COUNT)]
    judge.close()
    assert [verdict for verdict in found if verdict.outcome not in SURVIVED] == []
    assert {verdict.mutator for verdict in found} == {mutator.name for mutator in mutators_of("nifti")}
    counts = {outcome: sum(verdict.outcome == outcome for verdict in found) for outcome in SURVIVED}
    assert counts[Outcome.ACCEPTED] > 40  # damage that changes nothing is not refused
    assert counts[Outcome.REJECTED] > 200
    assert counts[Outcome.WRONG_PLAUSIBLE] < 0.2 * COUNT


def test_good_scans_keep_every_rule_and_are_what_nibabel_reads(tmp_path: Path) -> None:
    seeds = seeds_of("nifti")
    assert len(seeds) >= 24
    assert {seed.name: why for seed in seeds if (why := contradiction(seed.files))} == {}
    for number, seed in enumerate(seeds):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, data in seed.files.items():
            (folder / name).write_bytes(data)
        ours, theirs = by_medcnn(folder, seed), by_nibabel(folder, seed)
        frame = seed.reference.partition("#frame=")[2]
        voxels = theirs.arrays[0][..., int(frame)] if frame else theirs.arrays[0]
        voxels = voxels.T if voxels.ndim == 2 else voxels
        np.testing.assert_allclose(np.reshape(ours.arrays[0], voxels.shape), voxels, rtol=1e-6, err_msg=seed.name)
        if ours.affine is not None:
            np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4, err_msg=seed.name)


def test_the_fields_lie_where_nibabel_has_them() -> None:
    for kind, size in ((nibabel.Nifti1Header, 348), (nibabel.Nifti2Header, 540)):
        header = kind()
        header.set_data_shape((3, 4, 5))
        header["quatern_c"], header["srow_y"] = 0.25, [1, 2, 3, 4]
        plain = header.binaryblock + b"\0\0\0\0"
        fields = fields_of(plain)
        assert fields["extension"].start == size
        assert value_of(plain, fields["dim"])[:4] == (3, 3, 4, 5)
        assert value_of(plain, fields["quatern"]) == (0.0, 0.25, 0.0)
        assert value_of(plain, fields["srow_y"]) == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("name", "field", "at", "value", "rule"),
    [
        ("int16.nii", "dim", 1, 10, "voxel bytes"),
        ("int16.nii", "bitpix", 0, 32, "voxel type"),
        ("int16.nii", "vox_offset", 0, 356.0, "voxel bytes"),
        ("int16.nii", "pixdim", 1, 2.5, "pixdim"),
        ("int16.nii", "srow_x", 3, 5.0, "origins"),
        ("int16.nii", "srow_x", 1, 0.4, "corners"),
        ("int16.nii", "scl_slope", 0, float("inf"), "scaling"),
        ("int16.nii", "scl_slope", 0, 2.0, None),
        ("int16, qform only.nii", "pixdim", 1, 2.5, None),
        ("int16, qform only.nii", "pixdim", 1, -2.0, "edges"),
        ("int16, template sform.nii", "srow_x", 3, 5.0, None),
        ("int16.nii", "cal_max", 0, 5.0, None),
    ],
)
def test_a_contradiction_is_detectable_and_a_plausible_value_is_not(
    name: str, field: str, at: int, value: float, rule: str | None
) -> None:
    data = bytearray(by_name(nifti_seeds())[name].files["one.nii"])
    place = fields_of(bytes(data))[field]
    struct.pack_into(place.layout[0] + place.layout[-1], data, place.start + at * place.size, value)
    found = contradiction({"one.nii": bytes(data)})
    assert found is None if rule is None else rule in str(found)


def test_gzip_is_checked_to_its_last_byte() -> None:
    data = by_name(nifti_seeds())["int16.nii.gz"].files["one.nii.gz"]
    plain = gzip.decompress(data)
    assert contradiction({"one.nii.gz": gzip.compress(plain[:500]) + gzip.compress(plain[500:])}) is None
    for damaged in (data[:-1], data + b"\1", data[:-8] + b"\0" * 8, data[:60] + b"\0" + data[61:], data + data):
        assert contradiction({"one.nii.gz": damaged}) is not None


@pytest.fixture
def faulty_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A worker that judges every input A, until the given line runs for input 2."""

    def install(fault: str) -> None:
        script = tmp_path / "worker.py"
        script.write_text(
            "import json, os, signal, sys, time\n"
            "out = open(int(sys.argv[-1]), 'w')\n"
            "for n in json.load(sys.stdin):\n"
            "    out.write(json.dumps({'began': n}) + '\\n'); out.flush()\n"
            f"    if n == 2: {fault}\n"
            "    row = dict(number=n, mutator='m', seed='s', label='detectable', why='', outcome='A')\n"
            "    out.write(json.dumps(row) + '\\n'); out.flush()\n"
        )
        monkeypatch.setattr(harness, "COMMAND", (sys.executable, str(script)))
        monkeypatch.setattr(harness, "PATIENCE_S", 1.0)

    return install


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(
    ("fault", "outcome"), [("os.kill(os.getpid(), signal.SIGSEGV)", Outcome.KILLED), ("time.sleep(60)", Outcome.HUNG)]
)
def test_a_reader_that_dies_or_hangs_costs_its_own_input_and_no_other(
    faulty_worker: Callable[[str], None], fault: str, outcome: Outcome
) -> None:
    faulty_worker(fault)
    found = list(verdicts(Task("nifti", "medcnn", 0, range(5))))
    assert [verdict.number for verdict in found] == [0, 1, 2, 3, 4]
    assert [verdict.outcome for verdict in found] == ["A", "A", outcome.value, "A", "A"]


def test_the_report_counts_each_class_and_bounds_the_rate() -> None:
    run = Run("nifti", 0, "nibabel")
    for number in range(300):
        run.add("medcnn", Verdict(number, "a bit of dim", "int16.nii", "detectable", "", "R", "HEADER"))
    assert "below 1.00%" in written(run, ".md")
    assert run.failures("medcnn") == 0
    run.add("medcnn", Verdict(300, "a bit of magic", "int16.nii", "detectable", "", "W"))
    assert run.failures("medcnn") == 1
    text = written(run, ".md")
    assert "1 failures" in text
    assert "--replay 300" in text
    assert "| a bit of dim | 300 |  | 300 |" in text


def test_a_seed_read_as_itself_is_accepted(tmp_path: Path) -> None:
    judge = Judge("nifti", "medcnn", tmp_path)
    for seed in seeds_of("nifti"):
        given = Input(0, seed, "none", Mutant(seed.files, Label.DETECTABLE, "unharmed"))
        assert judge.judge(given).outcome == Outcome.ACCEPTED, seed.name
    judge.close()
