"""The console script, doctor, cache, prepare: quick to answer and clear about what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tiny_study import write_pictures

from medcnn import cache, cli, doctor
from medcnn.config.compose import CommandLine, checked
from medcnn.config.errors import ConfigError
from medcnn.data.manifest import read_manifest
from medcnn.errors import NothingToDoError
from medcnn.prepare import prepare


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


def prepare_words(source: Path, output: Path, *more: str) -> CommandLine:
    return CommandLine.of("prepare", [f"input={source}", f"output={output}", *more])


def folder_per_class(root: Path) -> Path:
    write_pictures(root / "all")
    for number, path in enumerate(sorted((root / "all").glob("*.png"))):
        target = root / "scans" / ("healthy", "sick")[(number // 2) % 2] / "deeper" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    return root / "scans"


def test_prepare_makes_a_manifest_of_folders_per_class(tmp_path: Path) -> None:
    root = folder_per_class(tmp_path)
    (root / "healthy" / "notes.txt").write_text("not a scan")
    prepare(checked("prepare", prepare_words(root, root / "manifest.csv")))
    manifest = read_manifest(root, "")
    assert len(manifest) == 48
    assert {case.labels[""] for case in manifest.cases} == {"healthy", "sick"}
    assert {case.split for case in manifest.cases} == {"train", "val", "calib", "test"}
    assert all((root / case.images[""]).is_file() for case in manifest.cases)


def test_prepare_keeps_patients_together_under_keyed_names(tmp_path: Path, samples: Path) -> None:
    import shutil

    rows = read_manifest(samples / "xray", "").cases[:60]
    for case in rows:
        source = samples / "xray" / case.images[""]
        target = tmp_path / "scans" / case.labels[""] / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    prepare(checked("prepare", prepare_words(tmp_path / "scans", tmp_path / "scans" / "manifest.csv")))
    found = read_manifest(tmp_path / "scans", "").cases
    assert len({case.patient_id for case in found}) == len({case.patient_id for case in rows})
    assert not {case.patient_id for case in found} & {case.patient_id for case in rows}


def test_prepare_writes_over_nothing(tmp_path: Path) -> None:
    root = folder_per_class(tmp_path)
    (root / "manifest.csv").write_text("mine")
    with pytest.raises(ConfigError, match="overwrite=true"):
        prepare(checked("prepare", prepare_words(root, root / "manifest.csv")))
    assert (root / "manifest.csv").read_text() == "mine"


def test_prepare_without_scans_says_so(tmp_path: Path) -> None:
    (tmp_path / "scans" / "normal").mkdir(parents=True)
    (tmp_path / "scans" / "normal" / "readme.txt").write_text("nothing")
    with pytest.raises(NothingToDoError, match="no scan was found") as error:
        prepare(checked("prepare", prepare_words(tmp_path / "scans", tmp_path / "m.csv")))
    assert error.value.exit_code == 3
