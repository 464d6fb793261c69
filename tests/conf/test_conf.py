"""Every YAML file of conf/ can be used as it is, and says in a comment what it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medcnn.config.compose import SCHEMAS, CommandLine, checked, choices, first_words, register_schemas, task_list
from medcnn.config.folders import conf_folder

CONF = conf_folder()
FILES = sorted(path.relative_to(CONF).with_suffix("").as_posix() for path in CONF.rglob("*.yaml"))

NEEDED = {
    "train": ["+task=xray_cls"],
    "evaluate": ["model=some/run", "output=some/folder"],
    "predict": ["model=some/run", "input=scans", "output=results"],
    "prepare": ["input=scans", "output=manifest.csv"],
}
# What a choice cannot know by itself.
OWN = {
    "data/custom": ["data.root=/data"],
    "data/adrenalmnist3d": ["data.root=/data"],
    "data/pneumoniamnist": ["data.root=/data"],
    "model/custom": ["model.module=my_networks", "model.class_name=MyNet"],
}


def frozen(verb: str, *words: str) -> Any:
    return checked(verb, CommandLine.of(verb, words))


def test_the_number_of_configs_is_known() -> None:
    """A new file comes with a new number here, so that none escapes the tests below."""
    assert len(FILES) == 25
    assert {path.parent.name for path in CONF.rglob("*.yaml")} == {
        "conf", "data", "model", "recipe", "task", "trainer", "transforms",
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name in FILES if "/" in name])
def test_every_choice_composes_and_freezes(name: str) -> None:
    group, _, option = name.partition("/")
    words = [f"+task={option}"] if group == "task" else ["+task=xray_cls", f"{group}={option}", *OWN.get(name, [])]
    if group == "recipe":  # named like the data set that it is for, and chosen with it
        words = ["+task=xray_cls", f"data={option}", *OWN.get(f"data/{option}", [])]
        assert f"data/{option}" in FILES
    conf = frozen("train", *words)
    assert conf.task.kind == "classification"
    if group in ("data", "task"):
        assert getattr(conf, group).name == option
    if group == "model":
        assert conf.model.name == ("resnet" if option.startswith("resnet") else option)


@pytest.mark.parametrize("verb", [name for name in FILES if "/" not in name])
def test_every_verb_composes_and_freezes(verb: str) -> None:
    assert type(frozen(verb, *NEEDED[verb])) is SCHEMAS[verb]


def test_every_verb_has_a_config() -> None:
    assert {name for name in FILES if "/" not in name} == set(SCHEMAS)


@pytest.mark.parametrize("task", choices("task"))
@pytest.mark.parametrize("model", ["plain_cnn", "resnet18", "resnet34", "resnet50"])
def test_every_task_takes_every_network(task: str, model: str) -> None:
    conf = frozen("train", f"+task={task}", f"model={model}")
    assert (conf.task.name, conf.model.name) == (task, model.rstrip("0123456789"))


@pytest.mark.parametrize("task", choices("task"))
def test_a_task_runs_on_the_samples_as_it_is(task: str) -> None:
    from medcnn.config.folders import data_root

    conf = frozen("train", f"+task={task}")
    assert (data_root(conf.data.root) / "manifest.csv").is_file()


def test_yaml_holds_differences_only() -> None:
    """A value that equals its default in the dataclass says the same thing twice."""
    import yaml

    defaults = _sections()
    for group in ("data", "transforms", "trainer", "model"):
        for path in sorted((CONF / group).glob("*.yaml")):
            told = yaml.safe_load(path.read_text()) or {}
            told.pop("defaults", None)
            for key, value in told.items():
                default = getattr(defaults[group](), key, None)
                allowed = {("transforms", "size_px"), ("model", "depth")}  # said for the reader
                assert value != default or (group, key) in allowed, f"{path.name}: {key}"


def _sections() -> dict[str, Any]:
    from medcnn.config.data import DataConf
    from medcnn.config.model import ResNetConf
    from medcnn.config.trainer import TrainerConf
    from medcnn.config.transforms import TransformsConf

    return {"data": DataConf, "transforms": TransformsConf, "trainer": TrainerConf, "model": ResNetConf}


def test_the_list_of_tasks_says_what_each_is() -> None:
    lines = task_list().splitlines()
    assert len(lines) == len(choices("task"))
    assert all(len(line.split(maxsplit=1)[1]) > 10 for line in lines)


@pytest.mark.parametrize("path", sorted([*CONF.glob("*.yaml"), *(CONF / "data").glob("*.yaml")]), ids=lambda p: p.stem)
def test_a_config_begins_with_what_it_is(path: Path) -> None:
    assert len(first_words(path)) > 10


def test_the_keys_of_pictures_and_volumes_fit_their_sizes() -> None:
    register_schemas()
    for task in choices("task"):
        conf = frozen("train", f"+task={task}")
        dims = len(conf.transforms.size_px)
        assert all(-dims <= axis < dims for axis in conf.transforms.random.mirror.axes)
