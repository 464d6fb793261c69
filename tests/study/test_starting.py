"""What a training starts from: found early, pinned, and refused where its classes are nearly these."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from medcnn.config.errors import ConfigError
from medcnn.config.model import PlainCNNConf, ResNetConf
from medcnn.config.verbs import TrainConf
from medcnn.data.labels import Labels
from medcnn.errors import PackageError
from medcnn.networks.build import build_network
from medcnn.networks.pretrained import load_pretrained
from medcnn.study import starting
from medcnn.study.starting import find_start, keeps_head, pin, pinned, remarks_on

OWN = PlainCNNConf(widths=[4, 8], convolutions=1)


def package(folder: Path, names: list[str], kind: str = "binary", conf: PlainCNNConf | ResNetConf = OWN) -> Path:
    """A model package as far as a start looks at it."""
    folder.mkdir(parents=True)
    network = build_network(conf, in_channels=1, num_outputs=len(names), size_px=(16, 16))
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()},
              folder / "weights_0.safetensors")  # fmt: skip
    found = {
        "kind": "classification",
        "network": {"name": conf.name, "widths": [4, 8]},
        "output": {"kind": kind, "class_names": names},
        "preprocessing": {"scale": "range"},
        "training": {"data_digest": "d", "split_digest": "s"},
    }
    (folder / "model.json").write_text(json.dumps(found))
    return folder


def started(tmp_path: Path, theirs: list[str], own: list[str], kind: str = "binary") -> bool:
    conf = replace(OWN, pretrained=str(package(tmp_path / "package", theirs, kind)))
    return keeps_head(conf, Labels(kind, tuple(own)))  # type: ignore[arg-type]


def test_the_same_classes_keep_the_last_layer(tmp_path: Path) -> None:
    assert started(tmp_path, ["normal", "pneumonia"], ["normal", "pneumonia"])


@pytest.mark.parametrize(
    "own", [["normal", "effusion"], ["a", "b"], ["normal", "pneumonia", "effusion"], ["grade 1", "grade 2"]]
)
def test_other_classes_get_a_new_one(tmp_path: Path, own: list[str]) -> None:
    assert not started(tmp_path, ["normal", "pneumonia"], own)


def test_numbered_classes_are_no_slip_of_each_other(tmp_path: Path) -> None:
    assert not started(tmp_path, ["grade 1", "grade 2"], ["grade 3", "grade 4"])


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (["pneumonia", "normal"], "the same in another order"),
        (["Normal", "PNEUMONIA"], "nearly the same"),
        (["normal", "pnuemonia"], "nearly the same"),
        (["normal ", "pneu-monia"], "nearly the same"),
    ],
)
def test_nearly_the_same_classes_are_refused_with_both_lists(tmp_path: Path, own: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        started(tmp_path, ["normal", "pneumonia"], own)
    text = str(caught.value)
    assert "[normal, pneumonia]" in text
    assert f"[{', '.join(own)}]" in text
    assert "data.class_names=[normal,pneumonia]" in text
    assert "model.new_head=true" in text


def test_label_columns_have_a_remedy_of_their_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="label columns as the package does"):
        started(tmp_path, ["a", "b"], ["b", "a"], "multilabel")


def test_a_new_head_can_be_asked_for(tmp_path: Path) -> None:
    conf = replace(OWN, pretrained=str(package(tmp_path / "p", ["a", "b"])), new_head=True)
    assert not keeps_head(conf, Labels("binary", ("b", "a")))
    assert not keeps_head(conf, Labels("binary", ("a", "b")))


@pytest.mark.parametrize("conf", [OWN, ResNetConf(width=4, dropout=0.1)])
def test_a_kept_head_answers_as_the_package_did(tmp_path: Path, conf: PlainCNNConf | ResNetConf) -> None:
    folder = package(tmp_path / "p", ["a", "b"], conf=replace(conf, dropout=0.0))
    first = build_network(replace(conf, dropout=0.0), in_channels=1, num_outputs=2, size_px=(16, 16))
    again = build_network(conf, in_channels=1, num_outputs=2, size_px=(16, 16))
    named = replace(conf, pretrained=str(folder))
    for network in (first, again):
        given = load_pretrained(network, named, keep_head=True)
        assert given is not None
        assert given.head
    image = torch.randn(2, 1, 16, 16)
    torch.testing.assert_close(first.eval()(image), again.eval()(image))
    fresh = build_network(conf, in_channels=1, num_outputs=2, size_px=(16, 16))
    given = load_pretrained(fresh, named)
    assert given is not None
    assert not given.head


def test_remarks_name_what_does_not_agree(tmp_path: Path) -> None:
    conf = replace(OWN, pretrained=str(package(tmp_path / "p", ["a", "b"])))
    labels = Labels("binary", ("c", "d"))
    said = remarks_on(conf, labels, scale="zscore", data_digest="d", split_digest="other")
    assert [
        words in text for words, text in zip(("replaced for c, d", "scaled by range", "too good"), said, strict=True)
    ]
    assert remarks_on(conf, Labels("binary", ("a", "b")), scale="range", data_digest="d", split_digest="s") == []
    assert remarks_on(OWN, labels, scale="zscore", data_digest="d", split_digest="s") == []


def test_a_link_is_followed_once(tmp_path: Path) -> None:
    folder, run, later = package(tmp_path / "run_1" / "model", ["a", "b"]), tmp_path / "run_2", tmp_path / "run_3"
    (tmp_path / "latest").symlink_to("run_1")
    model = replace(OWN, pretrained=str(tmp_path / "latest"))
    conf = TrainConf(model=model)
    conf.transforms.size_px = [16, 16]
    found = find_start(conf, tmp_path)
    assert found == str(folder)
    for each in (run, later):
        each.mkdir()
    pin(found, run)
    (tmp_path / "latest").unlink()
    (tmp_path / "latest").symlink_to("run_2")
    assert pinned(model, run) == replace(model, pretrained=str(folder))
    assert pinned(model, later) == model


def test_what_mlflow_holds_is_fetched_and_its_refusal_names_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = package(tmp_path / "p", ["a", "b"])
    conf = TrainConf(model=replace(OWN, pretrained="models:/chest@champion"))
    conf.transforms.size_px = [16, 16]
    monkeypatch.setattr(starting, "local_package", lambda model, cache: folder)
    assert find_start(conf, tmp_path) == str(folder)

    def refused(model: str, cache: Path) -> Path:
        raise PackageError("model: no model is registered as 'chest'; there are none")

    monkeypatch.setattr(starting, "local_package", refused)
    with pytest.raises(ConfigError, match=r"- model\.pretrained: no model is registered as 'chest'"):
        find_start(conf, tmp_path)


@pytest.mark.parametrize("content", ["no json", "{}", "[]"])
def test_a_package_that_cannot_be_read(tmp_path: Path, content: str) -> None:
    folder = package(tmp_path / "p", ["a", "b"])
    (folder / "model.json").write_text(content)
    with pytest.raises(ConfigError, match=r"model\.json cannot be read"):
        keeps_head(replace(OWN, pretrained=str(folder)), Labels("binary", ("a", "b")))
