"""Images of a patient as one row: labels, probabilities and words of every kind of task, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medcnn.config.errors import ConfigError
from medcnn.data.labels import Labels
from medcnn.data.manifest import Case
from medcnn.data.prepared import Prepared
from medcnn.errors import DataError
from medcnn.evaluation.classification import evaluate_classification
from medcnn.inference.classifier import OutputRule
from medcnn.study.classification.per_patient import per_patient, require_patients
from medcnn.study.classification.review import Measured, draw


def cases_of(patients: str, labels: list[dict[str, str]]) -> list[Case]:
    pairs = zip(patients, labels, strict=True)
    return [Case(f"c{n}", {"": f"{n}.png"}, label, patient, "test") for n, (patient, label) in enumerate(pairs)]


def measured(cases: list[Case], probability: np.ndarray, labels: Labels) -> tuple[Measured, OutputRule]:
    rule = OutputRule(labels.kind, labels.class_names)
    answers = labels.targets(cases)
    answers = answers if labels.kind == "multilabel" else answers.argmax(axis=1)
    result = evaluate_classification(
        probability, answers, kind=labels.kind, class_names=labels.class_names, num_resamples=100
    )
    images = np.arange(len(cases), dtype=np.float32)[:, None, None, None]
    prepared = Prepared(cases, images, [None] * len(cases))  # type: ignore[arg-type, list-item]
    words = ["x"] * len(cases)
    return Measured("test", prepared, probability, words, [0.0] * len(cases), words, result), rule


def test_a_patient_has_what_any_image_has_and_lacks_what_no_image_leaves_open(tmp_path: Path) -> None:
    labels = Labels("multilabel", ("a", "b"))
    cases = cases_of("PPQQRR", [
        {"a": "1", "b": "0"}, {"a": "0", "b": ""}, {"a": "no", "b": "0"}, {"a": "0", "b": "0"},
        {"a": "0", "b": "yes"}, {"a": "1", "b": "0"},
    ])  # fmt: skip
    probability = np.array([[0.9, 0.1], [0.5, 0.2], [0.1, 0.2], [0.2, 0.3], [0.1, 0.8], [0.6, 0.1]])
    images, rule = measured(cases, probability, labels)
    found = per_patient(images, labels, rule, "noisy_or", seed=0, resamples=100)
    assert [case.case_id for case in found.prepared.cases] == ["c0", "c2", "c4"]
    assert [case.labels for case in found.prepared.cases] == [
        {"a": "1", "b": ""}, {"a": "0", "b": "0"}, {"a": "1", "b": "1"},
    ]  # fmt: skip
    assert found.truths == ["a", "none", "a+b"]
    assert found.probability[0] == pytest.approx([1 - 0.1 * 0.5, 1 - 0.9 * 0.8])
    assert found.decisions == ["a", "none", "a+b"]
    assert found.result.num_cases == 3
    assert found.result.notes[0].startswith("every row is a patient, not an image: 6 images of 3 patients, taken")
    assert found.prepared.images[[1]].ravel() == [2]
    assert len(draw(found, tmp_path)) == 5


def test_several_classes_take_the_mean_and_one_class_a_patient() -> None:
    labels = Labels("multiclass", ("a", "b", "c"))
    cases = cases_of("PPQR", [{"": "a"}, {"": "0"}, {"": "b"}, {"": "c"}])
    probability = np.array([[0.8, 0.1, 0.1], [0.2, 0.4, 0.4], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8]])
    images, rule = measured(cases, probability, labels)
    found = per_patient(images, labels, rule, "mean", seed=0, resamples=100)
    together = np.sqrt(probability[0] * probability[1])
    assert found.probability[0] == pytest.approx(together / together.sum())
    assert (found.truths, found.decisions) == (["a", "b", "c"], ["a", "b", "c"])
    assert not any("threshold" in note for note in found.result.notes)
    with pytest.raises(ConfigError, match="aggregate: max is for yes-or-no questions"):
        require_patients(cases, labels, "max")
    with pytest.raises(DataError, match="aggregate: 1 patients have images of several classes"):
        require_patients(cases_of("PP", [{"": "a"}, {"": "b"}]), labels, "mean")
