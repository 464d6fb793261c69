"""The main job on the samples, as `make train` runs it: its classifier knows phantoms of patients it never saw."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from medcnn.config.compose import CommandLine, checked
from medcnn.data.manifest import read_manifest
from medcnn.evaluate import evaluate
from medcnn.train import train

COMMITTED, GENERATED = 282, 600


@pytest.fixture
def unseen(tmp_path: Path, samples: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Phantoms 283 to 600 of the same generator: none of their patients is in the committed set."""
    monkeypatch.syspath_prepend(str(samples))
    importlib.import_module("make_samples").make_xray(tmp_path / "phantoms", GENERATED)
    manifest = tmp_path / "phantoms" / "manifest.csv"
    head, *rows = manifest.read_text().splitlines()
    manifest.write_text("\n".join([head, *rows[COMMITTED:]]) + "\n")
    return manifest.parent


@pytest.mark.slow
def test_the_preset_exceeds_0_95_on_unseen_phantoms(unseen: Path, samples: Path, tmp_path: Path) -> None:
    words = ["+task=xray_cls", f"output={tmp_path / 'runs'}", "tracking.enabled=false"]
    run = train(checked("train", CommandLine.of("train", words)))
    words = [f"model={run}", "data=xray_samples", f"data.root={unseen}", "data.split=all", f"output={tmp_path / 'out'}"]
    result = evaluate(checked("evaluate", CommandLine.of("evaluate", words)))
    known = {case.patient_id for case in read_manifest(samples / "xray", "").cases}
    assert not known & {case.patient_id for case in read_manifest(unseen, "").cases}
    assert result.num_cases == GENERATED - COMMITTED
    assert result.estimates["auroc"].value > 0.95


@pytest.mark.slow
def test_the_same_code_serves_3d_with_nothing_but_another_preset(tmp_path: Path) -> None:
    words = ["+task=mri_cls", f"output={tmp_path / 'runs'}", "tracking.enabled=false", "debug=dry_run"]
    run = train(checked("train", CommandLine.of("train", words)))
    assert (run / "model" / "model.json").is_file()
