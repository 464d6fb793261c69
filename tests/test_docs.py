"""The words are held to the code: every command composes, every link leads somewhere, every table is whole."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from medcnn.cli import VERBS
from medcnn.config.arguments import key_values
from medcnn.config.compose import SCHEMAS, CommandLine, checked
from medcnn.scan import Reason

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EVERYWHERE = [*PAGES, *sorted((ROOT / "docs" / "adr").glob("*.md"))]

# Python blocks that are compiled only: they train, or need a model that was trained before.
COMPILED_ONLY = ("medcnn.train ", "mlflow", "medcnn.predict ", "load_package")
# The first word of a command that is not medcnn's, and that no test here looks into.
FOREIGN = {"source", "ssh", "cd", "mkdir"}
# The arguments of verbs without a config.
ARGUMENTS = {
    "models": {"name", "size", "channels", "classes"},
    "doctor": set[str](),
    "cache": {"output", "folder", "clear"},
    "ui": {"port", "uri"},
    "sync": {"runs"},
}


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(language: str) -> list[Block]:
    return [block for page in PAGES for block in _blocks(page) if block.language == language]


def _blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, found.start()) + 2
        yield Block(page.relative_to(ROOT).as_posix(), line, found[1], found[2])


def commands() -> dict[str, str]:
    """Command line -> where it stands first, of every bash block."""
    found: dict[str, str] = {}
    for block in blocks("bash"):
        for line in block.text.replace("\\\n", " ").splitlines():
            if line.strip() and line[0] != "#":
                found.setdefault(line, f"{block}: {line}")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands for `<folder>` and $PWD: a folder with the YAML files that the pages show."""
    path = tmp_path_factory.mktemp("user")
    for block in blocks("yaml"):
        name = block.text.partition("\n")[0].removeprefix("# ")
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(block.text)
    return path


def words_of(line: str, folder: Path) -> list[str]:
    """Without comments and variables in front; placeholders replaced."""
    concrete = re.sub(r"<[^<>]+>", str(folder), line).replace("$PWD", str(folder))
    words = shlex.split(concrete, comments=True)
    while re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    return words


def verb_of(words: list[str]) -> tuple[str, list[str]] | None:
    if words[0] == "medcnn":
        return words[1], words[2:]
    if Path(words[0]).name.startswith("python") and words[1:2] == ["-m"] and words[2].startswith("medcnn."):
        return words[2].removeprefix("medcnn."), words[3:]
    return None


@pytest.mark.parametrize("command", [pytest.param(line, id=where) for line, where in commands().items()])
def test_every_command_can_be_run(command: str, folder: Path) -> None:
    words = words_of(command, folder)
    if (asked := verb_of(words)) is not None:
        check_verb(*asked)
    elif words[0] == "make":
        check_make(words[1:])
    elif words[:3] == ["python3", "-m", "pip"]:
        check_pip(words[3:])
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file()
    else:
        assert words[0] in FOREIGN, f"nothing is known of {words[0]!r}"


def check_verb(verb: str, words: list[str]) -> None:
    assert verb in VERBS
    if verb not in SCHEMAS:
        key_values(words, dict.fromkeys(ARGUMENTS[verb], ""))
    elif not {"-h", "--help"} & set(words):
        line = CommandLine.of(verb, words)
        assert verb != "train" or any(word.startswith("+task=") for word in line.overrides)
        checked(verb, line)


def check_make(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for word in words:
        name, is_variable, _ = word.partition("=")
        assert re.search(rf"^{name} \?=" if is_variable else rf"^{name}:", makefile, re.MULTILINE), word


def check_pip(words: list[str]) -> None:
    """What building an editable medcnn without a network takes is named; wheels have the name that is built."""
    from medcnn import __version__

    assert words[0] in ("download", "wheel", "install")
    if words[0] == "download":
        assert {".[dev]", "editables", "setuptools", "wheel"} <= set(words)
        assert "hatchling" in (ROOT / "pyproject.toml").read_text().partition("dev = [")[2].partition("]")[0]
    for wheel in (Path(word).name for word in words if word.endswith(".whl")):
        assert wheel == f"medcnn-{__version__}-py3-none-any.whl"


@pytest.mark.parametrize("verb", sorted(ARGUMENTS))
def test_arguments_known_here_are_the_verbs_own(verb: str) -> None:
    module = importlib.import_module(f"medcnn.{verb}")
    words = getattr(module, "USAGE", "") or getattr(module, "HELP", "")
    assert set(re.findall(r"\[(\w+)=", words)) == ARGUMENTS[verb]


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_runs_or_compiles(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    code = compile(block.text, str(block), "exec")
    if any(word in block.text for word in COMPILED_ONLY):
        return
    monkeypatch.chdir(ROOT)
    exec(code, {"__name__": "__main__"})


def test_some_python_runs() -> None:
    run = [block for block in blocks("python") if not any(word in block.text for word in COMPILED_ONLY)]
    assert {block.page for block in run} >= {"docs/data.md", "docs/evaluate.md", "docs/custom_network.md"}


def test_the_network_shown_answers_as_the_page_says() -> None:
    import torch

    (block,) = [block for block in blocks("python") if block.page == "docs/custom_network.md"]
    names: dict[str, Any] = {"__name__": "my_networks"}
    exec(compile(block.text, str(block), "exec"), names)
    network = names["SmallNet"](in_channels=1, num_outputs=2, width=8)
    assert network(torch.zeros(2, 1, 96, 96)).shape == (2, 2)


def links() -> list[tuple[Path, str]]:
    found = []
    for page in EVERYWHERE:
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        text = re.sub(r"`[^`\n]*`", "``", text)
        found += [(page, target) for target in re.findall(r"\]\(([^()\s]+)\)", text)]
    return found


@pytest.mark.parametrize(
    ("page", "target"), [pytest.param(p, t, id=f"{p.relative_to(ROOT).as_posix()}->{t}") for p, t in links()]
)
def test_every_link_leads_somewhere(page: Path, target: str) -> None:
    if target.startswith("https://"):
        return
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    assert file.is_relative_to(ROOT)
    assert file.is_file()
    if anchor:
        assert anchor in anchors(file)


def anchors(file: Path) -> set[str]:
    """As GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_picture_has_words_for_those_who_cannot_see_it() -> None:
    pictures = [found for page in EVERYWHERE for found in re.findall(r"!\[(.*?)\]\(", page.read_text(encoding="utf-8"))]
    assert pictures
    assert all(len(words) > 20 for words in pictures)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_page(verb: str) -> None:
    of_its_own = (ROOT / "docs" / f"{verb}.md").is_file()
    together = (ROOT / "docs" / "verbs.md").read_text(encoding="utf-8")
    assert of_its_own or verb in anchors(ROOT / "docs" / "verbs.md")
    assert f"| {VERBS[verb]} |" in together
    assert f"| {VERBS[verb]} |" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_reasons_is_the_enums() -> None:
    section = (ROOT / "docs" / "data.md").read_text(encoding="utf-8").partition("## Reason codes")[2]
    listed = re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE)
    assert [code for code, _ in listed] == [reason.value for reason in Reason]
    assert all(words for _, words in listed)


def test_the_table_of_settings_is_up_to_date() -> None:
    made = make_settings().page()
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == made, "run python docs/make_settings.py"


def test_the_table_of_settings_has_every_setting_with_what_it_says() -> None:
    page = make_settings().page()
    assert "| `trainer.epochs` | `30` | ≥ 1 |  |" in page
    assert "| `data.root` | *required* |  |  |" in page
    assert "| `trainer.weight_decay` | `0.01` | ≥ 0 | on kernels only; biases and norms are left alone |" in page
    assert "| `trainer.optimizer` | `adamw` | `adamw`, `sgd` |  |" in page
    assert "| `model` | *required* |  | a model package, or a run folder |" in page


def make_settings() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_settings", ROOT / "docs" / "make_settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def test_the_groups_are_the_ones_listed() -> None:
    """Each choice of conf/ stands in the table of configuration.md, and nothing else does."""
    table = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8").partition("| group | choices")[2]
    rows = re.findall(r"^\| (\w+) \| (.+?) \|", table.partition("\n\n")[0], re.MULTILINE)
    told = {group: set(re.findall(r"`(\w+)`", choices)) for group, choices in rows}
    there = {
        path.name: {file.stem for file in path.glob("*.yaml")} for path in (ROOT / "conf").iterdir() if path.is_dir()
    }
    assert told == there


def test_numbers_in_the_words_are_the_codes() -> None:
    from medcnn.config.verbs import CacheConf, EvaluateConf, TrackingConf, TrainConf

    words = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
    conf = TrainConf()
    shares = conf.data.splits
    assert f"{shares.val:.0%} of".replace("%", " %") in words["data.md"]
    assert f"{shares.calib:.0%} to calib".replace("%", " %") in words["data.md"]
    assert f"more than {conf.data.max_rejected:.0%} of".replace("%", " %") in words["data.md"]
    assert conf.trainer.checkpoint_minutes == 3
    assert "every three minutes" in words["train.md"]
    assert conf.trainer.skip_nonfinite_steps == 5
    assert "more than five in a row" in words["train.md"]
    assert f"{EvaluateConf().resamples:,} resamples" in words["evaluate.md"]
    assert f"({TrackingConf().wait_s:.0f} s)" in words["tracking.md"]
    assert f"`cache.quota_gb` ({CacheConf().quota_gb:.0f})" in words["verbs.md"]


def test_numbers_in_the_words_on_segmentation_are_the_codes() -> None:
    from medcnn.config.data import DataConf
    from medcnn.config.planning import PlanConf
    from medcnn.evaluation.segmentation.result import LIMITS
    from medcnn.evaluation.segmentation.scores import TOLERANCE
    from medcnn.inference import choose_postprocessing
    from medcnn.inference.segmenter_settings import SegmenterSettings

    words = (ROOT / "docs" / "segmentation.md").read_text(encoding="utf-8")
    plan = PlanConf()
    preset = checked("train", CommandLine.of("train", ["+task=mri_seg", "data=custom", "data.root=scans"])).trainer
    assert f"`trainer.max_minutes` ({preset.max_minutes:g} in the segmentation presets" in words
    assert (preset.keep, f"{preset.keep}, averaged weights" in words) == ("last", True)
    assert f"`plan.min_samples` ({plan.min_samples:,})" in words
    assert f"{plan.validation_share:.0%} of the time".replace("%", " %") in words
    assert f"`data.memory_gb` ({DataConf().memory_gb:g})" in words
    assert f"within {TOLERANCE:g} mm of the other surface" in words
    assert f"mean error ∓ {LIMITS} standard deviations" in words
    assert f"rises by more than {choose_postprocessing._MARGIN:g}" in words
    assert f"of neighbouring tiles, {SegmenterSettings((8, 8)).overlap:g}" in words


@pytest.mark.parametrize("page", EVERYWHERE, ids=lambda page: page.name)
def test_no_page_names_this_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path in {str(Path.home()), os.sep + ROOT.relative_to(ROOT.anchor).parts[0] + os.sep, "/tmp/", "/home/"}:
        assert len(path) < 3 or path not in text
