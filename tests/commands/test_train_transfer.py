"""Starting from given weights by the train command: what is said, and what is refused before any data are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_study import train_words

from medcnn.config.compose import open_door
from medcnn.train import _run


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("MEDCNN_WEIGHTS", raising=False)


def command(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and everything that was said."""
    with pytest.raises(SystemExit) as stop:
        open_door("train", _run, usage="", argv=words)
    said = capsys.readouterr()
    return int(stop.value.code or 0), said.out + said.err


def bare_words(root: Path, output: Path, *more: str) -> list[str]:
    """Those of a training without the plain CNN's settings."""
    return [word for word in train_words(root, output, *more) if not word.startswith("model.widths")]


def refused(words: list[str], output: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What is said where the command ends with 2 before there is a run folder."""
    code, said = command(words, capsys)
    assert code == 2, said
    assert not list(output.glob("xray_cls/*"))
    assert "Traceback" not in said
    assert said.count("the config cannot be run") == 1
    return said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model=densnet"], ["conf/model has no 'densnet'", "mobilenet", "Did you mean densenet?"]),
        (["model=densenet", "model.variant=densenet12"], ["'densenet12' is not one of densenet121", "Did you mean"]),
        (["model=densenet"], ["densenet121 wants at least 32 pixels", "transforms.size_px=[32,32]", "model=plain_cnn"]),
        (
            ["model=mobilenet", "transforms.size_px=[64,64]", "model.pretrained=imagenet"],
            ["no ImageNet weights of mobilenetv3_large_100 on this machine", "Put model.safetensors of https", "into"],
        ),
        (["model.pretrained=nowhere"], ["there is no such file or folder", "a model package or a run folder"]),
        (["model.pretrained=imagenet"], ["nobody has trained plain_cnn", "model=densenet"]),
        (["trainer.frozen=body"], ["trainer.frozen: layers that start at random", "model.pretrained=imagenet"]),
        (["trainer.unfreeze_epochs=1", "trainer.layer_decay=0.8"], ["trainer.unfreeze_epochs", "trainer.layer_decay"]),
        (
            ["model.pretrained=imagenet", "trainer.frozen=body", "trainer.layer_decay=0.8"],
            ["a body that is held has nothing to unfreeze"],
        ),
        (
            ["model=custom", "model.module=my_networks", "model.class_name=Net", "trainer.frozen=body"],
            ["does not know the layers of a network of your own"],
        ),
    ],
)
def test_what_cannot_be_is_said_before_any_data_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: list[str]
) -> None:
    (tmp_path / "empty").mkdir()
    found = refused(bare_words(tmp_path / "empty", tmp_path / "runs", *words), tmp_path / "runs", capsys)
    for part in said:
        assert part in found


def test_segmenters_have_no_layers_to_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["+task=xray_seg", f"output={tmp_path}", "trainer.unfreeze_epochs=2"]
    assert "every layer of a segmenter learns" in refused(words, tmp_path, capsys)


def test_a_package_of_another_network_says_what_it_is(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    words = bare_words(tmp_path / "empty", tmp_path / "runs", f"model.pretrained={run}", "model.widths=[8,32]")
    said = refused(words, tmp_path / "runs", capsys)
    assert "a package of another network: " in said
    assert "widths=[8, 16]" in said


def test_nearly_the_packages_classes_stop_before_a_scan_is_read(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = command(
        train_words(pictures, tmp_path, f"model.pretrained={run}", "data.class_names=[sick,healthy]"), capsys
    )
    assert code == 2
    assert "the package's classes are [healthy, sick], these data's [sick, healthy]: the same in another order" in said
    assert "data.class_names=[healthy,sick]" in said
    assert not (tmp_path / ".medcnn" / "cache").exists()


def test_the_newest_run_is_gone_on_from_though_the_new_one_is_newer(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`latest` means this very run as soon as it has begun."""
    output = tmp_path / "runs"
    (output / "xray_cls").mkdir(parents=True)
    (output / "xray_cls" / "latest").symlink_to(run)
    latest = f"model.pretrained={output}/xray_cls/latest"
    words = train_words(pictures, output, latest, "trainer.epochs=2", "trainer.unfreeze_epochs=1")
    code, said = command(words, capsys)
    assert code == 0, said
    assert "the last layer among them, as the classes are the same" in said
    assert "of 5 groups of layers the last learns first" in said
    (made,) = output.glob("xray_cls/2*")
    package = json.loads((made / "model" / "model.json").read_text())
    assert package["network"]["pretrained"] == ""
    assert str(run) not in (made / "report.html").read_text()


def test_another_task_gets_a_new_last_layer_and_says_so(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = train_words(pictures, tmp_path, f"model.pretrained={run}", "model.new_head=true", "trainer.frozen=body")
    code, said = command([*words, "debug=dry_run"], capsys)
    assert code == 0, said
    assert "the last layer starts at random" in said
    assert "the body is held: the last of 5 groups of layers learns" in said
