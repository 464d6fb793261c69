"""What a classifier's package carries besides temperature and thresholds, and packages that do not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packages import tiny_package

from medcnn.data.cache import Facts
from medcnn.errors import PackageError
from medcnn.evaluation.conformal import ConformalRule, fit_conformal
from medcnn.evaluation.operating_point import Goal, operating_points
from medcnn.evaluation.vector_scaling import VectorScaling
from medcnn.inference.classifier import OutputRule
from medcnn.inference.prediction import Prediction
from medcnn.model_package.classifier import ClassifierPackage
from medcnn.model_package.description import save_package
from medcnn.model_package.opening import load_classifier, read_description

NEW = ("vector", "conformal", "prevalence", "operating_points")
FACTS = Facts(pixels="", constant=False, low=0.0, high=1.0, modality="", body_part="")


def limit(quantile: float) -> ConformalRule:
    return ConformalRule("binary", "lac", 0.1, "marginal", ((quantile,),), ((30,),), "calib")


def rule() -> OutputRule:
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 60)
    ill = np.clip(0.3 * truth + 0.7 * random.random(60), 0.01, 0.99)
    probability = np.c_[1 - ill, ill]
    names = ("normal", "ill")
    points = operating_points(
        probability, truth, Goal("sensitivity", 0.9), kind="binary", class_names=names, num_resamples=50
    )
    return OutputRule(
        "binary", names, 1.0, {"ill": points[0].threshold},
        vector=VectorScaling((1.5, 1.5), (0.0, -0.5), 0.6, 0.5, 60),
        conformal=fit_conformal(probability, truth, kind="binary", error=0.1, fitted_on="calib", coverage="per_class"),
        prevalence=(0.7, 0.3),
        operating_points=tuple(points),
    )  # fmt: skip


def saved(folder: Path, made: OutputRule) -> Path:
    """The tiny package with another rule."""
    tiny_package(folder)
    weights = (folder / "weights_0.safetensors").read_bytes()
    save_package(folder, replace(read_description(folder), rule=made), [weights])  # type: ignore[call-arg]
    return folder


def said(package: ClassifierPackage, count: int = 5) -> list[Prediction]:
    images = np.random.default_rng(1).standard_normal((count, 1, 16, 16)).astype(np.float32)
    return package.predict_images(images, [FACTS] * count)


def opened(folder: Path, **changes: Any) -> ClassifierPackage:
    package = load_classifier(folder, accelerator="cpu")
    return replace(package, classifier=package.classifier.with_rule(replace(package.classifier.rule, **changes)))


def test_everything_comes_back(tmp_path: Path) -> None:
    made = rule()
    assert load_classifier(saved(tmp_path, made), accelerator="cpu").classifier.rule == made
    output = json.loads((tmp_path / "model.json").read_text())["output"]
    assert output["prevalence"] == [0.7, 0.3]
    assert output["conformal"]["fitted_on"] == "calib"
    assert output["operating_points"][0]["wanted"] == 0.9


def test_a_share_that_is_not_known_comes_back_and_is_valid_json(tmp_path: Path) -> None:
    saved(tmp_path, replace(rule(), prevalence=(float("nan"), 0.3)))
    assert "NaN" not in (tmp_path / "model.json").read_text()
    np.testing.assert_equal(load_classifier(tmp_path, accelerator="cpu").classifier.rule.prevalence, (np.nan, 0.3))


def test_what_a_user_states_is_never_stored(tmp_path: Path) -> None:
    package = load_classifier(saved(tmp_path, rule()), accelerator="cpu").at_site({"ill": 0.01}, "same_decisions")
    stored = replace(package.description, rule=package.classifier.rule).as_json()
    assert stored["output"] == package.description.as_json()["output"]


def test_a_package_of_format_1_answers_as_it_did(tmp_path: Path) -> None:
    made = OutputRule("binary", ("normal", "ill"), 1.7, {"ill": 0.37})
    saved(tmp_path, made)
    found = json.loads((tmp_path / "model.json").read_text())
    found["format_version"] = 1
    for key in NEW:
        del found["output"][key]
    (tmp_path / "model.json").write_text(json.dumps(found))
    package = load_classifier(tmp_path, accelerator="cpu")
    assert package.classifier.rule == made
    images = np.random.default_rng(1).standard_normal((5, 1, 16, 16)).astype(np.float32)
    logits = package.classifier.logits(images) / 1.7
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for one, row in zip(said(package), expected, strict=True):
        assert list(one.probability.values()) == pytest.approx(row.tolist())
        assert one.decision == ("ill" if row[1] >= 0.37 else "normal")
        assert (one.conformal_set, one.flags, one.reason) == (None, (), "")
    with pytest.raises(PackageError, match="does not say at which prevalence"):
        package.at_site({"ill": 0.1}, "same_decisions")


@pytest.mark.parametrize(
    "output",
    [{"conformal": {"method": "magic"}}, {"vector": {"scale": [1, 1]}}, {"operating_points": [{}]}, {"prevalence": 3}],
)
def test_what_is_damaged_is_said(tmp_path: Path, output: dict[str, Any]) -> None:
    saved(tmp_path, rule())
    found = json.loads((tmp_path / "model.json").read_text())
    found["output"].update(output)
    (tmp_path / "model.json").write_text(json.dumps(found))
    with pytest.raises(PackageError, match=r"model\.json is not complete"):
        load_classifier(tmp_path, accelerator="cpu")


@pytest.mark.parametrize(
    ("quantile", "held", "flag"), [(1.0, ("normal", "ill"), "SEVERAL_CLASSES"), (0.0, (), "NO_CLASS")]
)
def test_a_set_that_is_not_one_answer_is_flagged_and_decided_unless_abstention_is_asked(
    tmp_path: Path, quantile: float, held: tuple[str, ...], flag: str
) -> None:
    package = opened(tiny_package(tmp_path), conformal=limit(quantile))
    for one in said(package):
        assert one.conformal_set == held
        assert [said.partition(":")[0] for said in one.flags] == [flag]
        assert one.decision in ("normal", "ill")
        assert one.reason == ""
    for one in said(package.at_site({}, "same_decisions", abstain=True)):
        assert (one.decision, one.confidence, one.conformal_set) == ("", 0.0, held)
        assert one.reason == one.flags[0]


def test_a_clear_answer_is_decided_though_abstention_is_asked(tmp_path: Path) -> None:
    package = opened(tiny_package(tmp_path), conformal=limit(0.5)).at_site({}, "same_decisions", abstain=True)
    for one in said(package):
        assert one.conformal_set == (max(one.probability, key=lambda name: one.probability[name]),)
        assert (one.decision != "", one.flags) == (True, ())


def test_nothing_is_promised_of_a_scan_of_another_kind(tmp_path: Path) -> None:
    package = opened(tiny_package(tmp_path, modality=("CR",)), conformal=limit(1.0))
    image = np.zeros((1, 16, 16), np.float32)
    one = package.predict_image(image, modality="MR", body_part="", low=0, high=1)
    assert one.conformal_set is None
    assert [flag.partition(":")[0] for flag in one.flags] == ["MODALITY"]
