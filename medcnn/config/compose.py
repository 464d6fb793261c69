"""From a command line to a checked config: every problem at once, before any file is read.

This is the only file that talks to Hydra. Nothing here imports torch, monai or mlflow.
"""

from __future__ import annotations

import copy
import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from medcnn.config.compare import CompareConf
from medcnn.config.errors import ConfigError
from medcnn.config.fields import all_problems, nearest
from medcnn.config.folders import conf_folder
from medcnn.config.foreign import FORBIDDEN_KEYS, FORBIDDEN_VALUE, folder_problems
from medcnn.config.model import MODEL_KINDS
from medcnn.config.predict import PredictConf
from medcnn.config.verbs import EvaluateConf, PrepareConf, TrainConf
from medcnn.errors import UserError

SCHEMAS: dict[str, type] = {
    "train": TrainConf,
    "evaluate": EvaluateConf,
    "predict": PredictConf,
    "prepare": PrepareConf,
    "compare": CompareConf,
}
USAGE_EXIT_CODE = 2

# What is typed -> the setting's own name, where the word typed is a config group and Hydra would look for a file.
SPELLED = {"evaluate": {"model": "package"}, "predict": {"model": "package"}}

# Settings that are names of the user's own, each with a value.
_OWN_NAMES = ("data.structures", "data.class_codes", "data.columns", "prevalence")

# Hydra's own node is exempt from what configs may not hold, overrides of it are not.
_HYDRA_OVERRIDES = ("hydra.searchpath", "hydra/launcher", "hydra.launcher.", "hydra.sweep.", "hydra.job.num")
_MOST_SWEPT = 64  # values of a sweep that are checked before the first job; each job is checked again by itself


@dataclass(frozen=True)
class CommandLine:
    """argv, taken apart by Hydra's own parser; `task=x` is forgiven and becomes `+task=x`."""

    argv: list[str]
    overrides: list[str]
    multirun: bool
    shows_config: bool

    @classmethod
    def of(cls, verb: str, argv: Sequence[str]) -> CommandLine:
        from hydra._internal.utils import get_args_parser

        words = ["+" + word if re.match(r"task=\w", word) else word for word in argv]
        words = [_spelled(verb, word) for word in words]
        said = io.StringIO()
        try:
            with redirect_stderr(said):
                arguments = get_args_parser().parse_intermixed_args(words)  # `-m` may stand anywhere
        except SystemExit as stop:
            why = said.getvalue().strip().rpartition("error: ")[2] or "cannot be read"
            raise ConfigError([f"{why}; settings are written name=value"]) from stop
        for option in ("config_path", "config_name", "config_dir", "experimental_rerun"):  # the last runs a pickle
            if getattr(arguments, option) is not None:
                name = option.replace("_", "-")
                raise ConfigError([f"--{name}: not here; your own configs come in by hydra.searchpath=[file:///dir]"])
        overrides = list(arguments.overrides)
        options = _without(words, overrides)
        return cls([*options, *overrides], overrides, bool(arguments.multirun), bool(arguments.cfg))


def _without(words: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """The options alone, in their order: Hydra's own parser wants them apart from the settings."""
    left = list(overrides)
    options = []
    for word in words:
        if word in left:
            left.remove(word)
        else:
            options.append(word)
    return options


def _spelled(verb: str, word: str) -> str:
    """What Hydra wants to see; names of one's own are new to it, which it wants marked with +."""
    key, equals, value = word.partition("=")
    if key in _OWN_NAMES or key.startswith(tuple(f"{name}." for name in _OWN_NAMES)):
        return f"+{word}"
    return f"{SPELLED.get(verb, {}).get(key, key)}{equals}{value}"


def register_schemas() -> None:
    """Tell Hydra the dataclasses; they hold the defaults and the types."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for verb, schema in SCHEMAS.items():
        store.store(group="schema", name=verb, node=schema)
    for name, kind in MODEL_KINDS.items():
        store.store(group="schema/model", name=name, node=kind)


def choices(group: str) -> list[str]:
    """The names that conf/<group> offers."""
    return sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))


def first_words(path: Path) -> str:
    """The first comment of a config: what it is."""
    lines = (line.strip("# \n") for line in path.read_text().splitlines() if line.startswith("#"))
    return next((line for line in lines if line and not line.startswith("@")), "")


def task_list() -> str:
    """One line a task."""
    lines = (f"  +task={name:<12} {first_words(conf_folder() / 'task' / f'{name}.yaml')}" for name in choices("task"))
    return "\n".join(lines)


def composed(verb: str, overrides: Sequence[str]) -> Any:
    """The DictConfig of a verb under these overrides. Raises Hydra's and OmegaConf's own errors."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    register_schemas()
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(conf_folder()), version_base="1.3"):
        return compose(config_name=verb, overrides=list(overrides))


def freeze(cfg: Any) -> Any:
    """Plain dataclasses; or one ConfigError with every problem."""
    from omegaconf import OmegaConf

    if forbidden := list(_forbidden(OmegaConf.to_container(cfg, resolve=False))):
        raise ConfigError(forbidden)
    missing = sorted(OmegaConf.missing_keys(cfg))
    conf = OmegaConf.to_object(_without_missing(cfg) if missing else cfg)
    found = [line for line in all_problems(conf) if line.partition(":")[0] not in missing]
    if problems := [*map(_missing, missing), *found]:
        raise ConfigError(problems)
    return conf


def _missing(key: str) -> str:
    hints = {
        "data.root": "data.root=<folder of the data>",
        "package": "model=<model package or run folder>",
        "input": "input=<folder of scans>",
        "output": "output=<folder>",
        "task.name": "+task=<name>",
    }
    hint = hints.get(key, f"{key}=<value>")
    return f"{hint.partition('=')[0]}: required, not set. Add {hint}"


def _forbidden(node: Any, path: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in FORBIDDEN_KEYS:
                yield f"{path}{key}: CONFIG_FORBIDDEN, a config cannot name code to run. Take it out"
            yield from _forbidden(value, f"{path}{key}.")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _forbidden(value, f"{path}{index}.")
    elif isinstance(node, str) and FORBIDDEN_VALUE.search(node):
        yield f"{path.rstrip('.')}: CONFIG_FORBIDDEN, a config reads no environment and calls nothing. Write the value"


def checked(verb: str, line: CommandLine) -> Any:
    """The verb's config as dataclasses; or one ConfigError with every problem of the command line."""
    if refused := [*_refused(line.overrides), *_foreign(line.overrides)]:
        raise ConfigError(refused)
    swept = {word: values for word in line.overrides if (values := _sweep(word))}
    if swept and not line.multirun:
        raise ConfigError([f"{word}: several values, so add -m for one run each, or write [a,b]" for word in swept])
    first = [swept.get(word, [word])[0] for word in line.overrides]
    conf = _checked_one(verb, first)
    problems: list[str] = []
    for word, values in swept.items():
        place = line.overrides.index(word)
        for value in values[1:_MOST_SWEPT]:
            try:
                _checked_one(verb, [*first[:place], value, *first[place + 1 :]])
            except ConfigError as error:
                problems += error.problems
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return conf


def _checked_one(verb: str, overrides: Sequence[str]) -> Any:
    """The config of one run."""
    try:
        return freeze(composed(verb, overrides))
    except ConfigError:
        raise
    except Exception as whole:
        problems = list(dict.fromkeys(_each_alone(verb, overrides))) or [_in_words(whole, "")]
        raise ConfigError(problems) from whole


def _foreign(overrides: Sequence[str]) -> Iterator[str]:
    """What the user's own conf folders may not hold, before Hydra reads them."""
    for word in overrides:
        key, _, value = word.lstrip("+~").partition("=")
        if key != "hydra.searchpath":
            continue
        for entry in filter(None, re.split(r"[\[\],'\"\s]+", value)):
            scheme, mark, path = entry.rpartition("://")
            if mark and scheme != "file":
                yield f"hydra.searchpath: {entry} is not a folder. Write hydra.searchpath=[file:///your/conf]"
            else:
                yield from folder_problems(Path(path))


def _refused(overrides: Sequence[str]) -> Iterator[str]:
    for word in overrides:
        key, _, value = word.lstrip("+~").partition("=")
        if key.startswith(("hydra.", "hydra/")) and not key.startswith(_HYDRA_OVERRIDES):
            yield f"{key}: medcnn owns this. hydra.searchpath, hydra/launcher and hydra.sweep.* can be set"
        if any(forbidden in word for forbidden in FORBIDDEN_KEYS) or FORBIDDEN_VALUE.search(value):
            yield f"{key}: CONFIG_FORBIDDEN, a config names no code and reads no environment. Take it out"


def _sweep(word: str) -> list[str]:
    """`a.b=1e-3,1e-4` as ["a.b=1e-3", "a.b=1e-4"]; [] for what is one value."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    try:
        override = OverridesParser.create().parse_override(word)
    except Exception:
        return []  # said properly when it is composed alone
    if not override.is_sweep_override():
        return []
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def _each_alone(verb: str, overrides: Sequence[str]) -> Iterator[str]:
    """What is wrong with each override by itself, on top of the choices of groups, which others may need."""
    from omegaconf import OmegaConf

    groups: list[str] = []
    settings: list[str] = []
    for word in overrides:
        key = word.lstrip("+~").partition("=")[0]
        (groups if (conf_folder() / key).is_dir() or key.startswith("hydra") else settings).append(word)
    standing = [word for word in groups if word.startswith(("hydra", "+hydra"))]
    for word in (word for word in groups if word not in standing):
        key, _, value = word.lstrip("+~").partition("=")
        try:
            if value not in choices(key):  # the user's own folders may have it
                composed(verb, [*standing, word])
            standing.append(word)
        except Exception as error:
            yield _in_words(error, word)
    try:
        base = composed(verb, standing)
    except Exception as error:  # two choices that do not go together
        yield _in_words(error, " ".join(standing))
        return
    known = _known_keys(OmegaConf.to_container(base, resolve=False))
    for word in settings:
        try:
            yield from all_problems(OmegaConf.to_object(_without_missing(_with_setting(base, word))))
        except Exception as error:
            yield _in_words(error, word, known)


def _with_setting(base: Any, word: str) -> Any:
    """The config with one more setting; composing anew for each would take a tenth of a second."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.override_parser.overrides_parser import OverridesParser

    cfg = copy.deepcopy(base)
    ConfigLoaderImpl._apply_overrides_to_config([OverridesParser.create().parse_override(word)], cfg)
    return cfg


def _without_missing(cfg: Any) -> Any:
    """The config with "" where something required is not there yet, so that the rest can be looked at."""
    from omegaconf import OmegaConf

    for key in OmegaConf.missing_keys(cfg):
        OmegaConf.update(cfg, key, "")
    return cfg


def _known_keys(node: Any, path: str = "") -> list[str]:
    if not isinstance(node, dict):
        return [path.rstrip(".")]
    return [key for name, value in node.items() for key in _known_keys(value, f"{path}{name}.")]


def _in_words(error: Exception, word: str, known: Sequence[str] = ()) -> str:
    """One line that says what to type instead."""
    cause = error.__cause__ or error
    lines = [line for line in str(cause).splitlines() if "raised while composing" not in line]
    first = lines[0] if lines else type(cause).__name__
    key, _, value = word.lstrip("+~").partition("=")
    found = "raised while composing" in str(error)  # a file of that name is there, and wrong
    if word and (conf_folder() / key).is_dir() and not found:
        close = nearest(value, choices(key))
        return f"{word}: conf/{key} has no {value!r}, it has {', '.join(choices(key))}.{close}"
    if "is not a ListConfig" in first and not value.startswith("["):
        return f"{word}: this setting is a list. Write {key}=[{value}]"
    if "Could not override" in str(error) or "not in" in first or "Error merging override" in str(error):
        if known and key not in known:
            return f"{word}: there is no setting {key!r}.{_nearest_key(key, list(known))}"
        return f"{word}: {first}"
    if word and "=" not in word:
        return f"{word}: settings are written name=value"
    if type(error).__name__ in ("OverrideParseException", "HydraException"):  # Hydra's grammar does not know it
        return f"{word}: this is not name=value; put quotes around a value with spaces or special characters"
    return f"{word}: {first}" if word else first


def _nearest_key(key: str, known: list[str]) -> str:
    """The nearest full name; the last part alone counts too, since people leave the front out."""
    by_tail = [name for name in known if name.split(".")[-1] == key.split(".")[-1]]
    groups = [name.partition(".")[0] for name in known]
    by_tail = get_close_matches(key, by_tail, n=1, cutoff=0.0)
    return f" Did you mean {by_tail[0]}?" if by_tail else nearest(key, [*known, *dict.fromkeys(groups)])


def open_door(verb: str, run: Callable[[Any], int | None], *, usage: str, argv: Sequence[str] | None = None) -> None:
    """The few lines that every verb's command is: help, then all config problems, then the work.

    Exits with 2 where the config cannot be run, else with what `run` returns (None is 0).
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if any(word in ("-h", "--help") for word in words):
        print(usage)  # noqa: T201  the answer itself
        sys.exit(0)
    try:
        line = CommandLine.of(verb, words)
        if verb == "train" and not any(word.startswith("+task=") for word in line.overrides):
            raise ConfigError(["no task is named. Add one of these:\n" + task_list()])
        checked(verb, line)
    except ConfigError as error:
        print(f"medcnn {verb}: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(USAGE_EXIT_CODE)
    sys.exit(_hand_over(verb, run, line))


def _hand_over(verb: str, run: Callable[[Any], int | None], line: CommandLine) -> int:
    """To Hydra, which prints configs (--cfg job), sweeps (-m) and launches."""
    import hydra

    codes: list[int] = []

    def job(cfg: Any) -> None:
        codes.append(_outcome(verb, run, cfg))

    job.__module__ = "__main__"
    register_schemas()
    sys.argv = [sys.argv[0], *line.argv]
    hydra.main(config_path=str(conf_folder()), config_name=verb, version_base="1.3")(job)()
    return max(codes, default=0)


def _outcome(verb: str, run: Callable[[Any], int | None], cfg: Any) -> int:
    """The exit code of one job; what the user can mend is said without a traceback."""
    try:
        return run(freeze(cfg)) or 0
    except ConfigError as error:
        print(f"medcnn {verb}: {error}", file=sys.stderr)  # noqa: T201
        return USAGE_EXIT_CODE
    except UserError as error:
        print(f"medcnn {verb}: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt:
        print(f"medcnn {verb}: stopped by SIGINT", file=sys.stderr)  # noqa: T201
        return 130
