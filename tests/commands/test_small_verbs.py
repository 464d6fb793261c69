"""The console script, doctor, cache: quick to answer and clear about what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from medcnn import cache, cli, doctor


def told(
    main: object, words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["medcnn", *words])
    try:
        main()  # type: ignore[operator]
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    said = capsys.readouterr()
    return code, said.out + said.err


def test_the_script_lists_its_verbs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = told(cli.main, ["--help"], capsys, monkeypatch)
    assert code == 0
    assert all(f"  {verb}" in said for verb in cli.VERBS)
    assert told(cli.main, [], capsys, monkeypatch)[0] == 2


def test_a_verb_that_is_not_there(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = told(cli.main, ["trian"], capsys, monkeypatch)
    assert code == 2
    assert "Did you mean train?" in said


def test_the_script_hands_exit_codes_on(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(cli.main, ["sync", "rnus=x"], capsys, monkeypatch)[0] == 2


@pytest.mark.parametrize("verb", list(cli.VERBS))
def test_every_verb_explains_itself(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = told(cli.main, [verb, "--help"], capsys, monkeypatch)
    assert code == 0
    assert f"medcnn.{verb}" in said or f"medcnn {verb}" in said


def test_doctor_names_what_is_there(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////nowhere/at/all.db")
    _, said = told(doctor.main, [], capsys, monkeypatch)
    for word in ("torch", "cores", "GB free", "JPEG-LS", "from MLFLOW_TRACKING_URI"):
        assert word in said
    assert len(said.splitlines()) <= 24  # one screen


def test_doctor_says_what_is_missing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "NEEDED", ("numpy", "no-such-package"))
    monkeypatch.setattr(doctor, "DECODERS", {"uncompressed": "pydicom", "hieroglyphs": "no_such_codec"})
    code, said = told(doctor.main, [], capsys, monkeypatch)
    assert code == 1
    assert "missing: no-such-package" in said
    assert "cannot be read: hieroglyphs" in said


def test_cache_counts_and_clears(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    shutil.copytree(run.parents[1] / ".medcnn" / "cache", tmp_path / "cache")
    assert told(cache.main, [f"folder={tmp_path / 'cache'}"], capsys, monkeypatch)[1].startswith("48 prepared scans")
    assert "deleted 48" in told(cache.main, [f"folder={tmp_path / 'cache'}", "clear=true"], capsys, monkeypatch)[1]
    assert told(cache.main, [f"folder={tmp_path / 'cache'}"], capsys, monkeypatch)[1].startswith("0 prepared scans")


def test_cache_refuses_what_it_does_not_know(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = told(cache.main, ["cleer=true"], capsys, monkeypatch)
    assert code == 2
    assert "clear" in said
