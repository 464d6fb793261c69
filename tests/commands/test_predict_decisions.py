"""From training to a folder of answers: sets, a stated prevalence, abstention."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import answers, asked
from packages import tiny_segmenter_package
from tiny_study import train_conf, write_pictures

from medcnn.config.compose import CommandLine, checked
from medcnn.config.errors import ConfigError
from medcnn.predict import predict
from medcnn.train import train


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"), 160)  # ten patients in calib


@pytest.fixture(scope="module")
def trained(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(
        train_conf(
            scans, tmp_path_factory.mktemp("runs"), "decisions.operating_point.side=sensitivity",
            "decisions.operating_point.wanted=0.9", "trainer.keep=last",
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def plain(trained: Path, scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return predict(asked(trained, scans, tmp_path_factory.mktemp("out"))).output


def output_of(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "model" / "model.json").read_text())["output"])


def test_a_training_with_calib_cases_carries_and_measures_its_sets(trained: Path) -> None:
    output = output_of(trained)
    assert (output["fitted_on"], output["conformal"]["fitted_on"]) == ("calib", "calib")
    assert output["conformal"]["counts"] == [[10]]
    assert sum(output["prevalence"]) == pytest.approx(1)
    assert output["operating_points"][0]["threshold"] == output["thresholds"]["sick"]
    metrics = json.loads((trained / "metrics.json").read_text())
    for name in ("coverage", "set_size", "abstained"):
        one = metrics["test"][name]
        assert one["low"] <= one["value"] <= one["high"]
    assert "coverage" not in metrics["calib"]
    assert (trained / "figures" / "test_sets.png").is_file()
    assert "sick is decided from" in (trained / "report.html").read_text()


def test_a_set_stands_beside_each_decision(trained: Path, plain: Path) -> None:
    limit = output_of(trained)["conformal"]["quantiles"][0][0]
    temperature = output_of(trained)["temperature"]
    for row in answers(plain).values():
        logit = temperature * np.log(float(row["p.sick"]) / float(row["p.healthy"]))
        raw = {"healthy": 1 / (1 + np.exp(logit)), "sick": 1 / (1 + np.exp(-logit))}
        if min(abs(1 - p - limit) for p in raw.values()) < 1e-4:
            continue  # six decimals cannot tell
        held = [name for name, p in raw.items() if 1 - p <= limit]
        assert row["set"] == (" | ".join(held) or "(empty)")
        flags = {1: "", 0: "NO_CLASS", 2: "SEVERAL_CLASSES"}
        assert flags[len(held)] in row["flags"]
        assert row["decision"]
    result = json.loads(next((plain / "cases").glob("*/result.json")).read_text())
    assert isinstance(result["answer"]["set"], list)


@pytest.mark.parametrize("engine", ["here", "local"])
def test_a_stated_prevalence_moves_probabilities_as_bayes_says(
    trained: Path, scans: Path, plain: Path, tmp_path: Path, engine: str
) -> None:
    fitted = output_of(trained)["prevalence"][1]
    done = predict(asked(trained, scans, tmp_path / "rare", prevalence={"sick": 0.02}, engine=engine))
    before, after = answers(plain), answers(done.output)
    factor = 0.02 / 0.98 / (fitted / (1 - fitted))
    for name, row in after.items():
        odds = factor * float(before[name]["p.sick"]) / float(before[name]["p.healthy"])
        assert float(row["p.sick"]) == pytest.approx(odds / (1 + odds), rel=1e-3, abs=2e-6)
        assert (row["decision"], row["set"]) == (before[name]["decision"], before[name]["set"])
    kept = predict(
        asked(trained, scans, tmp_path / "rare", prevalence={"sick": 0.02}, follow="same_thresholds", engine="here")
    )
    assert kept.computed == len(after)  # other settings: nothing that stands there is taken for an answer
    sick = [sum(row["decision"] == "sick" for row in rows.values()) for rows in (answers(kept.output), after)]
    assert sick[0] < sick[1]


def test_abstention_withholds_what_is_not_one_answer(trained: Path, scans: Path, plain: Path, tmp_path: Path) -> None:
    done = predict(asked(trained, scans, tmp_path / "out", abstain=True))
    before = answers(plain)
    for name, row in answers(done.output).items():
        unclear = row["set"] == "(empty)" or "|" in row["set"]
        assert row["decision"] == ("" if unclear else before[name]["decision"])
        assert (row["reason"] != "") == unclear
        assert row["status"] == "ok"


def test_the_words_of_the_command_line() -> None:
    words = ["model=m", "input=i", "output=o", "prevalence={sick: 0.1}", "follow=same_thresholds", "abstain=true"]
    conf = checked("predict", CommandLine.of("predict", words))
    assert (conf.prevalence, conf.follow, conf.abstain) == ({"sick": 0.1}, "same_thresholds", True)
    assert checked("predict", CommandLine.of("predict", [*words[:3], "prevalence.sick=0.1"])).prevalence == {
        "sick": 0.1
    }
    with pytest.raises(ConfigError, match=r"prevalence\.sick: must be a share above 0 and below 1, got 1\.5"):
        checked("predict", CommandLine.of("predict", [*words[:3], "prevalence.sick=1.5"]))
    conf = checked("evaluate", CommandLine.of("evaluate", [words[0], words[2], "data=custom", "data.root=d", words[3]]))
    assert conf.prevalence == {"sick": 0.1}


def test_what_cannot_be_stated_ends_before_the_first_case(trained: Path, scans: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no 'sik', it has healthy, sick\. Did you mean sick"):
        predict(asked(trained, scans, tmp_path / "out", prevalence={"sik": 0.1}))
    outlines = tiny_segmenter_package(tmp_path / "outlines", spatial_dims=2)
    with pytest.raises(ConfigError, match="are for classifiers; this model segments"):
        predict(asked(outlines, scans, tmp_path / "masks", prevalence={"sick": 0.1}))
