"""Where medcnn's own configs and samples lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from medcnn.config import folders


def test_the_checkout_comes_first() -> None:
    assert folders.conf_folder().is_absolute()
    assert (folders.conf_folder() / "train.yaml").is_file()
    assert folders.samples_folder().name == "data_samples"
    assert folders.checkout_folder() == folders.conf_folder().parent


def test_else_the_installed_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "medcnn"
    (package / "_conf").mkdir(parents=True)
    (package / "_conf" / "train.yaml").write_text("")
    (package / "_samples").mkdir()
    (package.parent / "conf").mkdir()  # somebody else's folder of that name beside it
    monkeypatch.setattr(folders, "_PACKAGE", package)
    monkeypatch.setattr(folders, "_CHECKOUT", package.parent)
    assert folders.conf_folder() == package / "_conf"
    assert folders.samples_folder() == package / "_samples"
    assert folders.checkout_folder() is None


def test_a_broken_installation_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(folders, "_PACKAGE", tmp_path)
    monkeypatch.setattr(folders, "_CHECKOUT", tmp_path)
    with pytest.raises(FileNotFoundError, match="Install medcnn again"):
        folders.conf_folder()


def test_samples_are_named_wherever_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert folders.data_root("samples:xray") == folders.samples_folder() / "xray"
    assert folders.data_root("scans") == tmp_path.resolve() / "scans"
    assert folders.data_root("~/scans") == Path.home() / "scans"
