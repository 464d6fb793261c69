"""The house's rules: who may import whom, what nothing is called, and what a command pays before it answers.

Imports under TYPE_CHECKING count like any other for the floors: a name that is only needed for a type still points
upward. Only a circle may close through one, within a room, since nothing runs in it.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "medcnn"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "_conf" not in path.parts and "_samples" not in path.parts)

VERBS = ("prepare", "train", "evaluate", "predict", "compare", "models", "doctor", "cache", "sync", "ui")
# From the ground floor up. A file imports from its own room, from rooms left of it on its floor, or from floors below.
FLOORS = (
    ("errors", "geometry", "scan", "whole_file"),
    ("config",),
    ("networks", "losses"),
    ("evaluation",),
    ("reporting",),
    ("tracking",),
    ("io",),
    ("transforms",),
    ("inference", "explain"),
    ("data",),
    ("planning", "tasks"),
    ("training",),
    ("model_package", "run_folder", "debugging", "study"),
    ("batch",),
    VERBS,
    ("cli", "serving"),
)
ORDER = {room: (floor, place) for floor, rooms in enumerate(FLOORS) for place, room in enumerate(rooms)}


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """`medcnn.data.cache` lives in data, `medcnn.train` is a room of its own."""
    return module.split(".")[1] if "." in module else ""


MODULES = {module_of(path): path for path in FILES}


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Everything that a file imports anywhere, inside functions too, as dotted names of modules."""
    return tuple(_imports(ast.parse(path.read_text(encoding="utf-8"))))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:  # `from medcnn.data import cache` imports medcnn.data.cache
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else str(node.module)


def own_imports(path: Path) -> list[str]:
    return [name for name in imports(path) if name.startswith("medcnn.")]


def imports_when_run(path: Path) -> set[str]:
    """The house's own modules that a file imports, but for those of its types."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return {name for name in _imports(tree) if name in MODULES}


def importers(package: str) -> set[str]:
    """Rooms, or single files, that import a package."""
    return {module_of(path) for path in FILES if any(name.split(".")[0] == package for name in imports(path))}


def in_rooms(modules: set[str], *rooms: str) -> set[str]:
    """Those of the modules that are not in the rooms."""
    return {module for module in modules if room_of(module) not in rooms}


def test_every_file_has_its_floor() -> None:
    assert len(FILES) > 90
    assert {room_of(module) for module in MODULES} - {""} <= ORDER.keys()


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_no_file_reaches_up(path: Path) -> None:
    own = room_of(module_of(path))
    if not own:
        assert own_imports(path) == []  # `import medcnn` is free
        return
    rooms = {room_of(name) for name in own_imports(path)} - {own, ""}
    above = sorted(room for room in rooms if ORDER[room] > ORDER[own])
    if own in VERBS:  # a verb stands beside the others and may call them
        above = [room for room in above if room not in VERBS]
    assert above == []


def test_no_two_files_import_each_other_in_a_circle() -> None:
    graph = {name: imports_when_run(path) for name, path in MODULES.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())
    assert done == set(MODULES)


def test_only_the_config_and_the_verbs_know_hydra() -> None:
    knowing = importers("hydra") | importers("omegaconf")
    assert "medcnn.config.compose" in knowing
    assert in_rooms(knowing, "config", *VERBS) == set()


def test_only_io_knows_the_file_formats() -> None:
    for package in ("pydicom", "nibabel", "imagecodecs", "highdicom"):
        assert in_rooms(importers(package), "io") == set(), package
    assert importers("pydicom")


def test_only_tracking_and_serving_import_mlflow() -> None:
    assert in_rooms(importers("mlflow"), "tracking", "serving") == set()
    assert importers("mlflow")


def test_only_training_and_tasks_know_lightning() -> None:
    for package in ("lightning", "pytorch_lightning", "torchmetrics"):
        assert in_rooms(importers(package), "training", "tasks") == set()
    assert importers("lightning")


def test_the_low_floors_know_neither_torch_nor_monai() -> None:
    for package in ("torch", "monai"):
        knowing = importers(package)
        assert [m for m in knowing if room_of(m) in ("geometry", "scan", "errors", "config", "evaluation", "io")] == []
    assert "medcnn.tracking.spool" not in importers("torch") | importers("monai") | importers("mlflow")


def test_nothing_is_named_for_what_it_is_not() -> None:
    shapeless = {"utils", "util", "helpers", "helper", "common", "misc", "core", "base", "tools", "stuff"}
    assert [module for module in MODULES if shapeless & set(module.split("."))] == []


def test_no_file_is_too_long_to_read() -> None:
    lengths = {module_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {module: lines for module, lines in lengths.items() if lines > 400} == {}


def test_the_package_exports_its_version_and_nothing_else() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    names = [target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]  # type: ignore[attr-defined]
    assert names == ["__version__"]


def test_nothing_runs_code_from_a_file() -> None:
    """No eval, exec, pickle, or yaml loader that builds objects; no torch.load that would."""
    banned_calls = {"eval", "exec", "compile", "__import__"}
    for path in FILES:
        assert not {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"} & set(imports(path)), path
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            assert name not in banned_calls, f"{path}: {name}"
            assert name not in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "hydra.utils.instantiate"), path
            if name.endswith("torch.load"):
                given = {word.arg: ast.unparse(word.value) for word in node.keywords}
                assert given.get("weights_only") == "True", path


LIGHT = ("medcnn.train", "medcnn.evaluate", "medcnn.predict", "medcnn.prepare", "medcnn.config.compose",
         "medcnn.io.read", "medcnn.io.discover", "medcnn.tracking.spool", "medcnn.cli")  # fmt: skip
HEAVY = ("torch", "monai", "mlflow", "lightning", "pytorch_lightning", "sklearn", "scipy", "pandas", "matplotlib")


def test_what_must_answer_at_once_imports_nothing_heavy() -> None:
    """One fresh interpreter, which imports each module and says what has come in by then."""
    program = (
        "import sys, json, importlib\n"
        "found = {}\n"
        f"for name in {LIGHT!r}:\n"
        "    importlib.import_module(name)\n"
        f"    found[name] = [heavy for heavy in {HEAVY!r} if heavy in sys.modules]\n"
        "print(json.dumps(found))\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(answer.stdout) == {name: [] for name in LIGHT}
