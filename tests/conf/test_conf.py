"""Every YAML file of conf/ can be used as it is, and says in a comment what it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medcnn.config.compose import SCHEMAS, CommandLine, checked, choices, first_words, register_schemas, task_list
from medcnn.config.folders import conf_folder
from medcnn.config.model import FAMILIES

CONF = conf_folder()
FILES = sorted(path.relative_to(CONF).with_suffix("").as_posix() for path in CONF.rglob("*.yaml"))

NEEDED = {
    "train": ["+task=xray_cls"],
    "evaluate": ["model=some/run", "output=some/folder"],
    "predict": ["model=some/run", "input=scans", "output=results"],
    "prepare": ["input=scans", "output=manifest.csv"],
    "compare": ["runs=[a,b]", "output=o"],
}
# What a choice cannot know by itself.
OWN = {
    "data/custom": ["data.root=/data"],
    "data/adrenalmnist3d": ["data.root=/data"],
    "data/pneumoniamnist": ["data.root=/data"],
    "data/hippocampus": ["data.root=/data"],
    "data/brain_tumor_mri": ["data.root=/data"],
    "model/custom": ["model.module=my_networks", "model.class_name=MyNet"],
}
CLASSIFIERS = ["plain_cnn", "plain_cnn_strided", "resnet18", "resnet34", "resnet50", "seresnet", "cbam_resnet",
               *(kind().name for kind in FAMILIES)]  # fmt: skip
SEGMENTERS = ["unet", "unet_residual"]
# Choices that only a task of segmentation takes, besides those that are called after it.
OF_MASKS = {"data/hippocampus", "recipe/hippocampus", "trainer/segmentation", *(f"model/{name}" for name in SEGMENTERS)}


def frozen(verb: str, *words: str) -> Any:
    return checked(verb, CommandLine.of(verb, words))


def task_of(name: str) -> str:
    """The task that a choice is tried with: itself, or one that takes it."""
    group, _, option = name.partition("/")
    if group == "task":
        return option
    if "_value" in option or name == "trainer/regression":
        return "mri_value"
    return "mri_seg" if "_seg" in option or name in OF_MASKS else "xray_cls"


def kind_of(task: str) -> str:
    return {"seg": "segmentation", "value": "regression"}.get(task.rpartition("_")[2], "classification")


def test_the_number_of_configs_is_known() -> None:
    """A new file comes with a new number here, so that none escapes the tests below."""
    assert len(FILES) == 62
    assert {path.parent.name for path in CONF.rglob("*.yaml")} == {
        "conf", "data", "model", "recipe", "task", "trainer", "transforms",
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name in FILES if "/" in name])
def test_every_choice_composes_and_freezes(name: str) -> None:
    group, _, option = name.partition("/")
    task = task_of(name)
    words = [f"+task={task}"] if group == "task" else [f"+task={task}", f"{group}={option}", *OWN.get(name, [])]
    if group == "recipe":  # named like the data set that it is for, and chosen with it
        words = [f"+task={task}", f"data={option}", *OWN.get(f"data/{option}", [])]
        assert f"data/{option}" in FILES
    conf = frozen("train", *words)
    assert conf.task.kind == kind_of(task)
    if group in ("data", "task"):
        assert getattr(conf, group).name == option
    if group == "model":
        assert conf.model.name == family(option)


def family(model: str) -> str:
    """The network's own name, of which there are several sizes or kinds."""
    kinds = ("plain_cnn", "resnet", "unet")
    return next((name for name in kinds if model.startswith(name) or model.endswith(name)), model)


@pytest.mark.parametrize("verb", [name for name in FILES if "/" not in name])
def test_every_verb_composes_and_freezes(verb: str) -> None:
    assert type(frozen(verb, *NEEDED[verb])) is SCHEMAS[verb]


def test_every_verb_has_a_config() -> None:
    assert {name for name in FILES if "/" not in name} == set(SCHEMAS)


NETWORKS = {"classification": CLASSIFIERS, "segmentation": SEGMENTERS, "regression": CLASSIFIERS}


@pytest.mark.parametrize(
    ("task", "model"), [(task, model) for task in choices("task") for model in NETWORKS[kind_of(task)]]
)
def test_every_task_takes_every_network_of_its_kind(task: str, model: str) -> None:
    conf = frozen("train", f"+task={task}", f"model={model}")
    assert (conf.task.name, conf.model.name) == (task, family(model))


@pytest.mark.parametrize("task", choices("task"))
def test_a_task_runs_on_the_samples_as_it_is(task: str) -> None:
    from medcnn.config.folders import data_root

    conf = frozen("train", f"+task={task}")
    assert (data_root(conf.data.root) / "manifest.csv").is_file()


def test_yaml_holds_differences_only() -> None:
    """A value that equals its default in the dataclass says the same thing twice."""
    import yaml

    for group in ("data", "transforms", "trainer", "model"):
        for path in sorted((CONF / group).glob("*.yaml")):
            told = yaml.safe_load(path.read_text()) or {}
            defaults = _section(group, told.pop("defaults", []))
            for key, value in told.items():
                allowed = {("transforms", "size_px"), ("model", "depth")}  # said for the reader
                assert value != getattr(defaults, key, None) or (group, key) in allowed, f"{path.name}: {key}"


def _section(group: str, schemas: list[Any]) -> Any:
    """The dataclass that a file of this group fills; a network's file names its own."""
    from medcnn.config.data import DataConf
    from medcnn.config.model import MODEL_KINDS
    from medcnn.config.trainer import TrainerConf
    from medcnn.config.transforms import TransformsConf

    if group == "model":
        (kind,) = [value for entry in schemas if isinstance(entry, dict) for value in entry.values()]
        return MODEL_KINDS[kind]()
    return {"data": DataConf, "transforms": TransformsConf, "trainer": TrainerConf}[group]()


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
        dims = len(conf.transforms.size_px) or (2 if task.startswith("xray") else 3)  # [] leaves it to the plan
        assert all(-dims <= axis < dims for axis in conf.transforms.random.mirror.axes)
