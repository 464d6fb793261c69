"""train with subgroups: measured on the held-out cases, and asked for before a scan is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_study import COLUMNS, manifest_rows, train_conf, write_manifest, write_pictures

from medcnn.config.errors import ConfigError
from medcnn.errors import DataError
from medcnn.train import train


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 patients of one picture at two sites: 56 train, 4 choose, 20 calibrate, 80 are tested."""
    root = write_pictures(tmp_path_factory.mktemp("sites"), 160)
    rows = []
    for number, row in enumerate(manifest_rows(root)):
        split = "test" if number % 2 else ("val", "calib", "train", "train")[number // 4 % 4]
        rows.append([row[0], f"P{number}", row[2], row[3], split, "AB"[number // 8 % 2]])
    write_manifest(root, rows, [*COLUMNS, "site"])
    return root


def test_a_training_measures_the_groups_of_its_headline_split(sites: Path, tmp_path: Path) -> None:
    run = train(train_conf(sites, tmp_path / "runs", "subgroups=[site]"))
    found = json.loads((run / "metrics.json").read_text())["subgroups"]
    assert list(found["groups"]["site"]) == ["A", "B"]
    assert [found["groups"]["site"][name]["patients"] for name in "AB"] == [40, 40]
    assert (run / "subgroups.csv").is_file()
    assert (run / "figures" / "test_subgroups.png").is_file()
    assert "Each group measured alone" in (run / "report.html").read_text()


def test_a_column_that_is_not_there_is_said_before_anything_is_prepared(sites: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column scanner; the manifest's free columns are site"):
        train(train_conf(sites, tmp_path / "runs", "subgroups=[scanner]"))
    assert not list((tmp_path / "runs").glob("xray_cls/*/manifest.csv"))


def test_edges_that_fall_are_refused(sites: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="age_edges: must rise"):
        train_conf(sites, tmp_path / "runs", "subgroups=[site]", "age_edges=[60,40]")
