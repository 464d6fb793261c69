"""A run's own config: saved, shown without paths, compared with the one just given."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from medcnn.config.saved import differences, flat, save_config, shareable_yaml
from medcnn.config.verbs import TrainConf


@pytest.fixture
def conf() -> TrainConf:
    conf = TrainConf()
    conf.task.name, conf.data.name, conf.data.root = "xray_cls", "mine", "/home/ms-canary/scans"
    conf.output, conf.privacy.key_file, conf.cache.folder = "/home/ms-canary/runs", "/home/ms-canary/key", "/ms-canary"
    conf.tracking.uri = "http://user:ms-canary@host"
    return conf


def test_every_setting_is_saved_with_its_value(conf: TrainConf, tmp_path: Path) -> None:
    save_config(conf, tmp_path / "config.yaml")
    saved = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert saved["trainer"]["epochs"] == conf.trainer.epochs
    assert saved["data"]["root"] == conf.data.root
    assert differences(conf, tmp_path / "config.yaml") == []


def test_what_is_shared_holds_no_path(conf: TrainConf) -> None:
    text = shareable_yaml(conf)
    assert "ms-canary" not in text
    assert yaml.safe_load(text)["trainer.learning_rate"] == conf.trainer.learning_rate


def test_differences_name_what_decides_what_is_trained(conf: TrainConf, tmp_path: Path) -> None:
    save_config(conf, tmp_path / "config.yaml")
    conf.trainer.learning_rate = 0.5
    conf.seed = 3
    assert set(differences(conf, tmp_path / "config.yaml")) == {
        "trainer.learning_rate: was 0.001, is 0.5",
        "seed: was 0, is 3",
    }


def test_where_and_how_fast_may_change_between_a_run_and_its_resumption(conf: TrainConf, tmp_path: Path) -> None:
    save_config(conf, tmp_path / "config.yaml")
    conf.resume, conf.output, conf.trainer.threads = "auto", "elsewhere", 4
    conf.trainer.checkpoint_minutes, conf.tracking.enabled, conf.data.memory_gb = 1.0, False, 1.0
    assert differences(conf, tmp_path / "config.yaml") == []


def test_flat_names_each_setting_by_its_path() -> None:
    assert dict(flat({"a": {"b": 1, "c": {}}, "d": [1]})) == {"a.b": 1, "a.c": {}, "d": [1]}
