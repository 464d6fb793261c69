import subprocess
import sys
from importlib import metadata
from pathlib import Path

import medcnn
from medcnn.tracking import environment as module
from medcnn.tracking.environment import environment, source


def git(folder, *arguments):
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    return subprocess.run(
        ["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_what_a_run_was_made_with():
    tags = environment(device="cpu")
    assert tags["device"] == "cpu"
    assert tags["version.torch"] == metadata.version("torch")
    assert tags["medcnn.version"] == medcnn.__version__
    assert tags["python"] == ".".join(map(str, sys.version_info[:3]))
    assert "device" not in environment()
    assert not any(str(Path.home()) in value for value in tags.values())


def test_the_commit_and_whether_files_differ_from_it(tmp_path, monkeypatch):
    package = tmp_path / "medcnn"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(module.medcnn, "__file__", str(package / "__init__.py"))
    assert source() == {}  # no checkout
    git(tmp_path, "init", "-q")
    assert source() == {}  # no commit yet
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    assert source() == {"mlflow.source.git.commit": git(tmp_path, "rev-parse", "HEAD"), "git.dirty": "false"}
    (package / "__init__.py").write_text("x = 1")
    assert source()["git.dirty"] == "true"
