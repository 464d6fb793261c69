"""The folder a trained model lives in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from medcnn.config.errors import ConfigError
from medcnn.errors import PackageError
from medcnn.inference.classifier import Classifier, OutputRule
from medcnn.inference.expectation import Expectation
from medcnn.io.options import Reading
from medcnn.model_package.classifier import ClassifierDescription, ClassifierPackage
from medcnn.model_package.description import package_digest, package_folder, save_package
from medcnn.model_package.opening import load_package, read_description
from medcnn.networks.build import build_network, model_conf
from medcnn.scan import Scan
from medcnn.transforms.preprocessing import Preprocessing

NETWORK = {"name": "plain_cnn", "widths": [4, 8], "hidden": [8], "dropout": 0.3}
SHAPE = {"in_channels": 1, "size_px": [16, 20], "num_outputs": 2}
RULE = OutputRule("binary", ("normal", "ill"), temperature=1.7, thresholds={"ill": 0.37})


def description(**changes: Any) -> ClassifierDescription:
    made = ClassifierDescription(
        task="xray_cls",
        intended_use="Research on chest X-rays.",
        rule=RULE,
        class_codes={"normal": "17621005"},
        fitted_on="calib",
        network={**NETWORK, **SHAPE},
        preprocessing=Preprocessing((16, 20), (), True, "percentiles", 0.5, 99.5, Reading(), 1),
        expects=Expectation(("CR",), ("CHEST",), 2, (0.0, 10.0), (200.0, 260.0), (-1.0, 1.0), (0.1, 1.0)),
        shifts=2,
        training={"seed": 0, "versions": {"torch": "2"}},
    )
    return replace(made, **changes)


def weights(seed: int = 0, settings: dict[str, Any] | None = None) -> bytes:
    """Of a fresh network, its norms not at their start."""
    torch.manual_seed(seed)
    network = build_network(model_conf(settings or NETWORK), **SHAPE).train()
    with torch.no_grad():
        network(torch.randn(8, 1, 16, 20))
    return bytes(save(network.state_dict()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_package(tmp_path / "model", description(), [weights()])
    return tmp_path / "model"


def loaded(folder: Path, **options: Any) -> ClassifierPackage:
    return load_package(folder, accelerator="cpu", **options)


def scans(count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 1, 16, 20)).astype(np.float32)


def change(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads((folder / "model.json").read_text())
    edit(content)
    (folder / "model.json").write_text(json.dumps(content))


# There and back


def test_a_package_says_what_was_put_in(folder: Path) -> None:
    found = read_description(folder)
    assert found == replace(description(), weights=found.weights)
    assert found.weights == {
        "weights_0.safetensors": sha256((folder / "weights_0.safetensors").read_bytes()).hexdigest()
    }
    content = json.loads((folder / "model.json").read_text())
    assert content["format_version"] == 3
    assert content["output"]["class_codes_snomed_ct"] == {"normal": "17621005"}


def test_it_predicts_the_same_bits_after_a_round_trip(folder: Path, tmp_path: Path) -> None:
    first = loaded(folder)
    torch.manual_seed(0)
    network = build_network(model_conf(NETWORK), **SHAPE).train()
    with torch.no_grad():
        network(torch.randn(8, 1, 16, 20))
    network = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    original = Classifier([network], RULE, torch.device("cpu"), shifts=2)
    again = loaded(shutil.copytree(folder, tmp_path / "copy"))
    assert np.array_equal(first.classifier.logits(scans()), original.logits(scans()))
    assert np.array_equal(first.classifier.logits(scans()), again.classifier.logits(scans()))
    assert first.digest == again.digest


def test_a_network_that_was_loaded_answers_without_dropout(folder: Path) -> None:
    package = loaded(folder)
    assert not any(network.training for network in package.classifier.networks)
    assert np.array_equal(package.classifier.logits(scans()), package.classifier.logits(scans()))


def test_two_members_answer_together(tmp_path: Path) -> None:
    save_package(tmp_path / "both", description(), [weights(0), weights(1)])
    for seed in (0, 1):
        save_package(tmp_path / str(seed), description(), [weights(seed)])
    both, one, two = (loaded(tmp_path / name).classifier.logits(scans()) for name in ("both", "0", "1"))
    np.testing.assert_allclose(both, (one + two) / 2, atol=1e-6)
    assert list(read_description(tmp_path / "both").weights) == ["weights_0.safetensors", "weights_1.safetensors"]


def test_a_resnet_and_a_volume(tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings, shape = {"name": "resnet", "width": 4}, {"in_channels": 2, "size_px": [12, 14, 16], "num_outputs": 3}
    network = build_network(model_conf(settings), **shape)
    made = description(
        network={**settings, **shape},
        rule=OutputRule("multiclass", ("a", "b", "c")),
        preprocessing=Preprocessing((12, 14, 16), (), True, "range", 0.5, 99.5, Reading(), 2),
        expects=Expectation((), (), 3, (0.0, 1.0), (0.0, 1.0), (-1.0, 1.0), (0.0, 1.0)),
    )
    save_package(tmp_path, made, [save(network.state_dict())])
    answer = loaded(tmp_path).predict_scan(Scan(np.random.default_rng(0).random((2, 12, 14, 16)).astype(np.float32)))
    assert sum(answer.probability.values()) == pytest.approx(1)
    assert answer.decision in ("a", "b", "c")


# Answers


def test_an_answer_is_the_rule_on_the_prepared_scan(folder: Path) -> None:
    package = loaded(folder)
    values = np.random.default_rng(0).integers(0, 256, (1, 32, 40)).astype(np.float32)
    scan = Scan(values, modality="CR", body_part="CHEST")
    answer = package.predict_scan(scan)
    image = package.description.preprocessing.apply(scan)
    probability = RULE.probability(package.classifier.logits(image[None]))
    assert list(answer.probability.values()) == probability[0].tolist()
    assert answer.decision == RULE.decisions(probability)[0]
    assert answer.confidence == RULE.confidence(probability)[0]
    assert answer.flags == ()


def test_a_scan_of_another_kind_gets_no_decision(folder: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (1, 32, 40)).astype(np.float32)
    answer = loaded(folder).predict_scan(Scan(values, modality="MR", body_part="CHEST"))
    assert (answer.decision, answer.confidence) == ("", 0.0)
    assert answer.reason.startswith("MODALITY: this scan says MR")
    assert answer.flags[0] == answer.reason


def test_odd_intensities_are_flagged_and_answered(folder: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (1, 32, 40)).astype(np.float32)
    answer = loaded(folder).predict_scan(Scan(values, modality="CR", body_part="CHEST"))
    assert answer.decision in ("normal", "ill")
    assert answer.flags[0].startswith("INTENSITY_RANGE")


# Where it lies


def test_a_run_folder_holds_its_package(folder: Path) -> None:
    assert package_folder(folder.parent) == package_folder(folder) == folder
    assert loaded(folder.parent).digest == package_digest(folder)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="is no model package and no run folder"):
        load_package(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(PackageError, match=r"has no model yet\. Finish its training with resume="):
        load_package(tmp_path)


# Damage


@pytest.mark.parametrize("place", [0, 8, 100, -1])
def test_a_flipped_bit_in_the_weights_is_refused(folder: Path, place: int) -> None:
    path = folder / "weights_0.safetensors"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(PackageError, match=r"weights_0\.safetensors is damaged: its SHA-256"):
        loaded(folder)


def test_cut_or_missing_weights_are_refused(folder: Path) -> None:
    path = folder / "weights_0.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(PackageError, match="is damaged"):
        loaded(folder)
    path.unlink()
    with pytest.raises(PackageError, match=r"weights_0\.safetensors is missing from the package"):
        loaded(folder)


def test_a_newer_format_is_refused(folder: Path) -> None:
    change(folder, lambda found: found.update(format_version=4))
    with pytest.raises(PackageError, match=r"has format 4, this medcnn reads up to 3\. Update medcnn"):
        loaded(folder)


def test_a_package_of_the_second_format_answers_as_it_did(folder: Path) -> None:
    before = loaded(folder).classifier.logits(scans())

    def older(found: dict[str, Any]) -> None:
        found["format_version"] = 2
        for key in ("covariates", "heat_maps", "patients"):
            del found[key]

    change(folder, older)
    package = loaded(folder)
    assert np.array_equal(package.classifier.logits(scans()), before)
    assert (package.description.covariates, package.description.patients) == (None, None)


def test_newer_preprocessing_is_refused(folder: Path) -> None:
    change(folder, lambda found: found["preprocessing"].update(version=99))
    with pytest.raises(PackageError, match="newer medcnn with other preprocessing"):
        loaded(folder)


@pytest.mark.parametrize(
    "key",
    ["format_version", "task", "output", "network", "preprocessing", "expects", "inference", "training", "weights"],
)
def test_a_missing_key_is_said(folder: Path, key: str) -> None:
    change(folder, lambda found: found.pop(key))
    with pytest.raises(PackageError, match=key if key != "format_version" else "cannot be read"):
        loaded(folder)


@pytest.mark.parametrize("key", ["format_version", "output", "network", "preprocessing", "expects", "weights"])
@pytest.mark.parametrize("value", [None, [], "text", {}, 3.5])
def test_a_value_of_another_kind_is_said(folder: Path, key: str, value: Any) -> None:
    wrong = -1 if (key, value) == ("format_version", 3.5) else value
    change(folder, lambda found: found.update({key: wrong}))
    with pytest.raises((PackageError, ConfigError)):
        loaded(folder)


@pytest.mark.parametrize("content", ["", "[]", "{", "null", '{"format_version": "new"}'])
def test_a_description_that_is_none(folder: Path, content: str) -> None:
    (folder / "model.json").write_text(content)
    with pytest.raises(PackageError, match=r"model\.json cannot be read"):
        loaded(folder)


def test_weights_of_another_network_do_not_fit(tmp_path: Path) -> None:
    save_package(tmp_path, description(), [weights(settings={**NETWORK, "widths": [4, 16]})])
    with pytest.raises(PackageError, match="do not fit"):
        loaded(tmp_path)


def test_bytes_that_are_no_weights(tmp_path: Path) -> None:
    save_package(tmp_path, description(), [b"\x80\x04. a pickle, perhaps"])
    with pytest.raises(PackageError, match="do not fit"):
        loaded(tmp_path)


@pytest.mark.parametrize("edit", [{"depth": 18}, {"activation": "evil"}, {"widths": "x"}])
def test_settings_that_this_version_does_not_know(folder: Path, edit: dict[str, Any]) -> None:
    change(folder, lambda found: found["network"].update(edit))
    with pytest.raises(PackageError, match="do not fit"):
        loaded(folder)


def test_a_package_names_no_file_outside_itself(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.safetensors").write_bytes(weights(5))
    digest = sha256(weights(5)).hexdigest()
    change(folder, lambda found: found.update(weights={"../outside.safetensors": digest}))
    with pytest.raises(PackageError, match=r"outside\.safetensors is missing"):
        loaded(folder)


# Code


def test_a_network_of_somebody_elses_needs_their_module_named(folder: Path, tmp_path: Path) -> None:
    """Opening a package runs nothing that the command did not name."""
    module = tmp_path / "not_mine.py"
    module.write_text(f"open({str(tmp_path / 'it_ran')!r}, 'w')\n")
    settings = {"name": "custom", "module": "not_mine", "class_name": "Net", "arguments": {}, "dropout": 0.0, **SHAPE}
    change(folder, lambda found: found.update(network=settings))
    with pytest.raises(ConfigError, match=r"'not_mine' was not named by you\. Add modules=\[not_mine\]"):
        loaded(folder)
    for library in ("os", "monai.bundle"):
        change(folder, lambda found, library=library: found["network"].update(module=library))
        with pytest.raises(ConfigError, match="was not named by you"):
            loaded(folder, modules=[library])
    assert not (tmp_path / "it_ran").exists()
