"""From a command line to a checked config: every problem at once, and nothing runs on the way."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from medcnn.config.compose import CommandLine, checked, open_door
from medcnn.config.errors import ConfigError
from medcnn.config.verbs import TrainConf
from medcnn.errors import DataError, Interrupted

TASK = "+task=xray_cls"


def frozen(*words: str, verb: str = "train") -> Any:
    return checked(verb, CommandLine.of(verb, words))


def problems(*words: str, verb: str = "train") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        frozen(*words, verb=verb)
    return caught.value.problems


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """The door of a verb, from another directory: (exit code, standard output, standard error)."""

    def knock(*words: str, verb: str = "train", run: Any = lambda conf: 0) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["medcnn"])
        with pytest.raises(SystemExit) as stop:
            open_door(verb, run, usage="usage: train it", argv=list(words))
        said = capsys.readouterr()
        return stop.value.code or 0, said.out, said.err  # type: ignore[return-value]

    return knock


# What goes through


def test_values_reach_the_dataclasses() -> None:
    conf = frozen(TASK, "trainer.epochs=7", "trainer.learning_rate=2e-4", "data.class_names=[a,b]", "model=resnet34")
    assert isinstance(conf, TrainConf)
    assert (conf.trainer.epochs, conf.trainer.learning_rate, conf.data.class_names) == (7, 2e-4, ["a", "b"])
    assert (conf.model.name, conf.model.depth, conf.task.name) == ("resnet", 34, "xray_cls")


def test_task_without_its_plus_is_forgiven() -> None:
    assert frozen("task=mri_cls").task.name == "mri_cls"


def test_the_order_of_words_does_not_matter() -> None:
    assert frozen("model.width=8", "trainer.epochs=3", "model=resnet18", TASK) == frozen(
        TASK, "model=resnet18", "model.width=8", "trainer.epochs=3"
    )


def test_the_same_line_gives_the_same_config_twice() -> None:
    assert frozen(TASK) == frozen(TASK)


def test_seed_zero_is_a_seed() -> None:
    assert frozen(TASK, "seed=0").seed == 0


# Every problem at once, each with what to type instead


def test_every_problem_is_listed_at_once() -> None:
    found = problems(TASK, "trainer.epoch=3", "trainer.learning_rate=-1", "model=resnet19", "trainer.epochs=three",
                     "+seeed=1", "debug=dry", "data.max_rejected=nan")  # fmt: skip
    text = "\n".join(found)
    assert len(found) == 8
    assert "trainer.epoch=3: there is no setting 'trainer.epoch'. Did you mean trainer.epochs?" in found
    assert "trainer.learning_rate: must be > 0, got -1.0" in found
    assert "conf/model has no 'resnet19'" in text
    assert "Did you mean resnet18?" in text
    assert "trainer.epochs=three" in text
    assert "Integer" in text
    assert "seeed: not a known setting. Did you mean seed?" in found
    assert "debug: 'dry' is not one of none, dry_run, overfit, learning_rate. Did you mean dry_run?" in found
    assert "data.max_rejected: must be >= 0, got nan" in found
    assert "data.max_rejected: must be <= 1, got nan" in found


def test_values_out_of_range_are_listed_together() -> None:
    found = problems(TASK, "seed=-1", "trainer.batch_cases=0", "transforms.size_px=[4,96]", "trainer.ema_decay=1.0")
    assert found == [
        "transforms.size_px: every entry must be >= 8, got [4, 96]",
        "trainer.batch_cases: must be >= 1, got 0",
        "trainer.ema_decay: must be < 1, got 1.0",
        "seed: must be >= 0, got -1",
    ]


def test_fsdp_is_sent_to_ddp() -> None:
    found = problems(TASK, "trainer.strategy=fsdp")
    assert found[0] == "trainer.strategy: 'fsdp' is not one of auto, ddp."
    assert found[1].startswith("trainer.strategy: these networks fit one GPU")
    assert found[1].endswith("Write trainer.strategy=ddp")
    assert len(found) == 2


def test_what_is_missing_stands_beside_what_is_wrong() -> None:
    found = problems(TASK, "data=custom", "trainer.epochs=0", "trainer.sampling=even")
    assert found[0] == "data.root: required, not set. Add data.root=<folder of the data>"
    assert "trainer.epochs: must be >= 1, got 0" in found
    assert any(line.startswith("trainer.sampling: 'even'") for line in found)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("epochs=3", "Did you mean trainer.epochs?"),
        ("modle=resnet18", "Did you mean model?"),
        ("data.rot=/x", "Did you mean data.root?"),
        ("+trainer.epoch=3", "Did you mean epochs?"),
        ("++trainer.epoch=3", "Did you mean epochs?"),
        ("transforms.random.gama.probability=0", "Did you mean transforms.random.gamma.probability?"),
        ("data=xray_sample", "Did you mean xray_samples?"),
        ("trainer.schedule=cos", "is not one of cosine, polynomial, constant"),
        ("trainer.members=1.5", "Integer"),
        ("trainer.deterministic=maybe", "not a valid bool"),
        ("trainer.epochs", "settings are written name=value"),
        ("data.name=a b(", "quotes"),
        ("transforms.size_px=[96]", "two numbers for pictures or three for volumes"),
        ("transforms.spacing_mm=[1,1,1]", "needs 2 numbers"),
        ("transforms.random.mirror.axes=[2]", "different ones from -2 to 1"),
        ("transforms.random.mirror.axes=[1,-1]", "different ones from -2 to 1"),
        ("transforms.intensity.low_percentile=99.9", "must be below high_percentile"),
        ("data.class_names=[a,a]", "stands there twice"),
        ("data.class_names=[a]", "at least two"),
        ("data.splits={val: 0.5, test: 0.4}", "must leave patients to train on"),
        ("model.kernel_px=4", "must be odd"),
        ("task=nothing", "it has mri_cls, mri_seg, mri_value, shape_cls, xray_cls, xray_seg, xray_value"),
    ],
)
def test_one_wrong_word_says_what_to_type(word: str, expected: str) -> None:
    words = [word] if word.startswith("task=") else [TASK, word]
    (line,) = problems(*words)
    assert expected in line


def test_cross_field_rules() -> None:
    (line,) = problems(TASK, "trainer.class_weighting=balanced", "trainer.sampling=balanced")
    assert "correct twice" in line
    (line,) = problems(TASK, "debug=overfit", "resume=auto")
    assert line.startswith("resume: ")
    (line,) = problems(TASK, "model=resnet18", "model.depth=19")
    assert line == "model.depth: is 18, 34 or 50, got 19"


def test_a_key_of_another_network_is_refused() -> None:
    (line,) = problems(TASK, "model=resnet18", "model.widths=[8]")
    assert "there is no setting 'model.widths'" in line


def test_what_another_verb_needs_is_said() -> None:
    assert problems(verb="predict") == [
        "input: required, not set. Add input=<folder of scans>",
        "output: required, not set. Add output=<folder>",
        "model: required, not set. Add model=<model package or run folder>",
    ]


def test_hydras_own_working_is_not_for_the_command_line() -> None:
    (line,) = problems(TASK, "hydra.run.dir=elsewhere")
    assert line.startswith("hydra.run.dir: medcnn owns this")


# Sweeps


def test_all_values_of_a_sweep_are_checked_before_the_first_runs() -> None:
    found = problems("-m", TASK, "trainer.learning_rate=1e-3,-1", "model=plain_cnn,resnet19")
    assert "trainer.learning_rate: must be > 0, got -1.0" in found
    assert any("Did you mean resnet18?" in line for line in found)
    assert len(found) == 2


@pytest.mark.parametrize("words", [("-m", TASK, "seed=1,2"), (TASK, "-m", "seed=1,2"), (TASK, "seed=range(0,3)", "-m")])
def test_the_switch_of_a_sweep_stands_anywhere(words: tuple[str, ...]) -> None:
    line = CommandLine.of("train", words)
    assert line.multirun
    assert line.argv[0] == "-m"
    assert set(line.overrides) == set(words) - {"-m"}
    assert checked("train", line).seed in (0, 1)


def test_several_values_without_the_switch() -> None:
    (line,) = problems(TASK, "seed=1,2")
    assert "add -m" in line


def test_an_unknown_option_is_said_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = problems(TASK, "--epochs=3")
    assert "--epochs=3" in line
    assert "name=value" in line
    assert capsys.readouterr().err == ""  # not argparse's own usage


# What would run code


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that exists only if something was run."""
    return tmp_path / "it_ran"


@pytest.mark.parametrize(
    "word",
    [
        "+model._target_=os.system",
        "+data._target_=builtins.eval",
        "++trainer._target_=functools.partial",
        "+transforms={_target_: hydra.utils.get_method, path: os.system}",
        "+model._partial_=true",
        "+model._args_=[touch]",
        "data.name='$import os'",
        "data.name=$import",
        "data.name=${oc.env:HOME}",
        "data.name='a ${oc.env:HOME} b'",
        "data.name=${ oc.env:HOME}",
        "data.name=${oc.create:{a:1}}",
        "data.name=${hydra:runtime.cwd}",
        "data.name=${now:%Y}",
        "data.name=${${task.kind}.env:HOME}",
        "data.root=${oc.decode:x}",
        "+hydra.launcher._target_=os.system",
        "+hydra.launcher.x={_target_: os.system}",
        "hydra.sweep.dir=${oc.env:HOME}",
    ],
)
def test_what_names_code_or_reads_the_environment_is_refused(word: str) -> None:
    found = problems(TASK, word)
    assert any("CONFIG_FORBIDDEN" in line for line in found), found


def test_the_secret_is_in_no_message(monkeypatch: pytest.MonkeyPatch, door: Any) -> None:
    monkeypatch.setenv("SECRET", "canary-4711")
    code, out, err = door(TASK, "data.name=${oc.env:SECRET}", "data.root=${oc.env:SECRET}")
    assert code == 2
    assert "canary-4711" not in out + err


def test_a_plain_reference_to_another_setting_is_no_code() -> None:
    assert frozen(TASK, "task.intended_use=${data.name}").task.intended_use == "xray_samples"


@pytest.mark.parametrize("module", ["os", "builtins", "subprocess", "monai.bundle", "torch.nn"])
def test_a_network_comes_from_a_module_of_ones_own(module: str) -> None:
    (line,) = problems(TASK, "model=custom", f"model.module={module}", "model.class_name=system")
    assert "is not yours" in line


@pytest.mark.parametrize(
    "words",
    [("--experimental-rerun", "job.pickle"), ("--config-dir", "/x"), ("--config-path", "/x"), ("--config-name", "x")],
)
def test_hydras_other_ways_in_are_closed(words: tuple[str, ...]) -> None:
    (line,) = problems(TASK, *words)
    assert f"{words[0]}: not here" in line


# A user's own conf folder


def own_conf(folder: Path, text: str, name: str = "data/mine.yaml") -> str:
    path = folder / "own" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return f"hydra.searchpath=[file://{folder / 'own'}]"


def test_a_users_own_data_set_is_chosen_by_name(tmp_path: Path) -> None:
    words = own_conf(tmp_path, "name: mine\nroot: /data/mine\nclass_names: [clear, spotted]\n")
    conf = frozen(TASK, words, "data=mine", "trainer.epochs=2")
    assert (conf.data.name, conf.data.root, conf.data.class_names) == ("mine", "/data/mine", ["clear", "spotted"])
    assert conf.trainer.epochs == 2


def test_mistakes_in_a_users_own_file_are_found(tmp_path: Path) -> None:
    words = own_conf(tmp_path, "name: mine\nroot: /data\nmax_rejected: 2\n")
    assert problems(TASK, words, "data=mine") == ["data.max_rejected: must be <= 1, got 2.0"]
    words = own_conf(tmp_path, "name: mine\nrooot: /data\n")
    assert any("rooot" in line for line in problems(TASK, words, "data=mine"))
    words = own_conf(tmp_path, "name: mine\nroot: [unclosed\n")
    assert any("mine.yaml: cannot be read" in line for line in problems(TASK, words, "data=mine"))


EVIL = {
    "object": "name: !!python/object/apply:os.system ['touch {canary}']\nroot: /data\n",
    "object in a list": "name: x\nroot: /data\nclass_names: [!!python/object/new:os.system ['touch {canary}']]\n",
    "target": "name: x\nroot: /data\nclass_codes: {{_target_: os.system, command: touch {canary}}}\n",
    "environment": "name: ${{oc.env:HOME}}\nroot: /data\n",
    "environment in defaults": "defaults:\n  - /model: ${{oc.env:HOME}}\nname: x\nroot: /data\n",
    "hydra's callbacks": "# @package _global_\nhydra:\n  callbacks:\n    x: {{_target_: os.system}}\n",
    "hydra's package": "# @package hydra.job_logging\nhandlers: {{x: {{class: os.system}}}}\n",
    "logging factory": "name: x\nroot: /data\nclass_codes: {{(): os.system}}\n",
    "launcher": "# @package _global_\ndefaults:\n  - override hydra/launcher: x\n",
    "local tag": "name: !mine x\nroot: /data\n",
}


@pytest.mark.parametrize("what", EVIL)
def test_code_in_a_users_own_file_is_refused_and_nothing_ran(what: str, tmp_path: Path, canary: Path) -> None:
    words = own_conf(tmp_path, EVIL[what].format(canary=canary))
    found = problems(TASK, words, "data=mine")
    assert any("mine.yaml: CONFIG_FORBIDDEN" in line for line in found), found
    assert not canary.exists()


def test_an_alias_bomb_is_refused_before_it_unfolds(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]  # 10^12 when unfolded
    words = own_conf(tmp_path, "\n".join(lines))
    assert any("100 aliases" in line for line in problems(TASK, words, "data=mine"))


def test_the_search_path_names_folders(tmp_path: Path) -> None:
    (line,) = problems(TASK, f"hydra.searchpath=[file://{tmp_path / 'none'}]")
    assert "there is no folder" in line
    (line,) = problems(TASK, "hydra.searchpath=[pkg://os]")
    assert "is not a folder" in line


def test_a_users_file_cannot_replace_one_of_ours(tmp_path: Path) -> None:
    words = own_conf(tmp_path, "name: stolen\nroot: /elsewhere\n", "data/xray_samples.yaml")
    assert frozen(TASK, words).data.root == "samples:xray"


# The door


def test_help_answers_without_a_config(door: Any) -> None:
    for word in ("--help", "-h"):
        assert door(word, "nonsense") == (0, "usage: train it\n", "")


def test_no_task_gives_the_list_of_tasks(door: Any) -> None:
    code, _, err = door("trainer.epochs=3")
    assert code == 2
    assert "+task=xray_cls" in err
    assert "+task=mri_cls" in err
    assert "+task=mri_seg" in err


def test_a_wrong_config_is_exit_code_2_and_nothing_runs(door: Any) -> None:
    ran: list[Any] = []
    code, out, err = door(TASK, "trainer.epochs=0", "seeds=3", run=ran.append)
    assert (code, out, ran) == (2, "", [])
    assert err.startswith("medcnn train: the config cannot be run:\n  - ")
    assert "Traceback" not in err


def test_a_right_config_arrives_as_a_dataclass(door: Any, tmp_path: Path) -> None:
    got: list[TrainConf] = []

    def run(conf: TrainConf) -> int:
        got.append(conf)
        return 0

    code, _, _ = door("task=xray_cls", "trainer.epochs=3", run=run)
    assert code == 0
    assert [conf.trainer.epochs for conf in got] == [3]
    assert list(tmp_path.iterdir()) == []  # Hydra leaves no folder of its own


def test_a_sweep_runs_each_value(door: Any) -> None:
    got: list[int] = []

    def run(conf: TrainConf) -> int:
        got.append(conf.seed)
        return 3 if conf.seed == 2 else 0

    code, _, _ = door(TASK, "-m", "seed=1,2,5", run=run)
    assert (code, got) == (3, [1, 2, 5])


def test_the_whole_config_is_shown_on_request(door: Any) -> None:
    ran: list[Any] = []
    code, out, _ = door("task=mri_cls", "--cfg", "job", run=ran.append)
    assert (code, ran) == (0, [])
    assert "learning_rate: 0.001" in out
    assert "mri_samples" in out


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (DataError("no rows"), 1, "medcnn train: no rows\n"),
        (Interrupted(15, "stopped by SIGTERM"), 143, "medcnn train: stopped by SIGTERM\n"),
        (ConfigError(["data.root: nothing there"]), 2, "  - data.root: nothing there\n"),
        (KeyboardInterrupt(), 130, "medcnn train: stopped by SIGINT\n"),
    ],
)
def test_what_one_can_mend_comes_without_a_traceback(door: Any, error: BaseException, code: int, text: str) -> None:
    def run(conf: Any) -> int:
        raise error

    found, _, err = door(TASK, run=run)
    assert found == code
    assert err.endswith(text)
    assert "Traceback" not in err
