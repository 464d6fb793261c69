"""debug=learning_rate, from words to a picture, a table and a line that says what to type."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from tiny_study import train_conf

from medcnn.train import train


def test_a_rate_is_suggested_and_nothing_is_trained(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(train_conf(pictures, tmp_path, "debug=learning_rate"))
    said = capsys.readouterr().out
    (line,) = (line for line in said.splitlines() if line.startswith("suggested:"))
    suggested = re.search(r"trainer\.learning_rate=(\d\.\de[+-]\d\d)  ", line)
    assert suggested
    assert 1e-5 < float(suggested[1]) < 1
    assert run.parent.name == "debug_xray_cls"
    assert (run / "learning_rate.png").stat().st_size > 10_000
    with (run / "learning_rate.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["learning_rate", "loss", "smoothed"]
    assert len(rows) > 60
    assert not any((run / name).exists() for name in ("model", "checkpoints", "metrics.json", "report.html"))
