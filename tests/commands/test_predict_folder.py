"""What a folder is asked about, by whom, and where the model comes from."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from folders import answers, asked, pixels, table, write_dicom, write_png
from packages import tiny_package

from medcnn.errors import PackageError, UserError
from medcnn.predict import predict


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_package(tmp_path_factory.mktemp("models") / "model", modality=("CR", "DX"))


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for number in range(20):
        write_png(tmp_path / "scans" / f"{number:02}.png", number)
    return tmp_path / "scans"


def test_shards_share_one_folder_and_the_whole_run_finds_everything_done(
    model: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    parts = [predict(asked(model, scans, out, shard=f"{number}/3")) for number in (1, 2, 3)]
    ids = [{row.case_id for row in part.rows} for part in parts]
    assert [len(part) > 0 for part in ids] == [True] * 3
    assert len(set.union(*ids)) == sum(map(len, ids)) == 20
    assert not (out / "predictions.csv").exists()
    whole = predict(asked(model, scans, out))
    assert (whole.computed, whole.exit_code, len(table(out))) == (0, 0, 20)
    assert (out / "index.html").is_file()
    assert (out / "predictions.parquet").is_file()
    alone = predict(asked(model, scans, tmp_path / "alone"))
    said = [{name: row["p.ill"] for name, row in answers(done.output).items()} for done in (whole, alone)]
    assert said[0] == said[1]
    assert predict(asked(model, scans, out, shard="2/5")).computed == 0


def test_a_shard_of_another_number_may_work_beside_it_and_the_whole_run_may_not(
    model: Path, scans: Path, tmp_path: Path
) -> None:
    from medcnn.batch.shard import Shard, sole

    out = tmp_path / "out"
    predict(asked(model, scans, out))
    with sole(out, Shard(1, 2)):
        predict(asked(model, scans, out, shard="2/2"))
        for shard in ("1/2", ""):
            with pytest.raises(UserError, match="another process is working in"):
                predict(asked(model, scans, out, shard=shard))
    with sole(out, None), pytest.raises(UserError, match="another process is working in"):
        predict(asked(model, scans, out, shard="1/2"))
    predict(asked(model, scans, out))


def test_a_dry_run_tells_and_writes_nothing(
    model: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dicom(scans / "breast.dcm", pixels(0), Modality="MG")
    done = predict(asked(model, scans, tmp_path / "out", dry_run=True))
    said = capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert (done.exit_code, done.rows) == (0, [])
    assert "21 cases: 20 asked, 1 of another kind" in said
    assert "00.png  16 x 16" in said
    assert "memory: up to" in said
    (tmp_path / "empty").mkdir()
    assert predict(asked(model, tmp_path / "empty", tmp_path / "out", dry_run=True)).exit_code == 3


def test_select_leaves_scans_out_and_says_so(model: Path, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    write_dicom(scans / "a.dcm", pixels(0), SeriesDescription="Thorax pa SECRET")
    write_dicom(scans / "b.dcm", pixels(1), SeriesDescription="Thorax lateral")
    write_dicom(scans / "c.dcm", pixels(2), Modality="MG")
    conf = asked(model, scans, tmp_path / "out")
    conf.select.series, conf.select.modality = r"\bPA\b", ["CR"]
    done = predict(conf)
    assert [row.reference for row in done.rows] == ["a.dcm"]
    with (done.output / "skipped.csv").open(newline="") as stream:
        left = {row["reference"]: row["reason_code"] for row in csv.DictReader(stream)}
    assert left == {"b.dcm": "select.series", "c.dcm": "select.modality"}
    assert b"SECRET" not in b"".join(
        path.read_bytes() for path in done.output.rglob("*.*") if path.is_file() and path.suffix != ".dcm"
    )


def test_a_model_of_mlflow_is_fetched_and_one_that_is_not_there_is_said(
    model: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'store.db'}")
    conf = asked(model, scans, tmp_path / "out")
    conf.package = "models:/chest@champion"
    with pytest.raises(PackageError, match="there is no MLflow store"):
        predict(conf)


def test_a_scan_that_cannot_fit_is_refused_before_it_is_read(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    from medcnn.batch import reading

    (tmp_path / "scans").mkdir()
    Image.fromarray(np.zeros((6000, 6000), np.uint8)).save(tmp_path / "scans" / "large.png")
    write_png(tmp_path / "scans" / "small.png", 0)
    real, read = reading.read_scan, []

    def seen(root: Path, reference: str, choices: object) -> object:
        read.append(reference)
        return real(root, reference, choices)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "read_scan", seen)
    done = predict(asked(model, tmp_path / "scans", tmp_path / "out", memory_mb=60))
    assert {row.reference: row.reason_code for row in done.rows} == {"large.png": "MEMORY", "small.png": ""}
    assert read == ["small.png"]


@pytest.mark.parametrize("explain", ["gradcam", "gradcam++", "occlusion", "integrated_gradients"])
def test_each_way_to_explain_draws_a_picture_and_a_map(explain: str, tmp_path: Path) -> None:
    import nibabel

    model = tiny_package(tmp_path / "m", size_px=(12, 12, 12))
    (tmp_path / "scans").mkdir()
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    volume = np.random.default_rng(0).normal(size=(14, 12, 10))
    nibabel.save(nibabel.Nifti1Image(volume, affine), tmp_path / "scans" / "v.nii.gz")
    done = predict(asked(model, tmp_path / "scans", tmp_path / "out", explain=explain, saliency=True))
    (row,) = done.rows
    assert (row.status, len(list((done.output / "overlays").iterdir()))) == ("ok", 1)
    heat = nibabel.load(done.output / "saliency" / "v.nii.gz")
    values = np.asarray(heat.dataobj)
    assert (values.shape, 0.5 < values.max() <= 1.0, values.min() >= 0) == ((14, 12, 10), True, True)
    np.testing.assert_allclose(heat.affine, affine)
    assert f"views/{row.case_id}.js" in row.files


def test_a_header_that_lies_about_its_size_is_the_readers_to_refuse(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for want of memory, which another machine would have."""
    path = write_dicom(tmp_path / "scans" / "a.dcm", pixels(0))
    content = path.read_bytes()
    rows = b"\x28\x00\x10\x00US\x02\x00"
    at = content.index(rows) + len(rows)
    columns = content.index(b"\x28\x00\x11\x00US\x02\x00") + len(rows)
    lying = bytearray(content)
    lying[at : at + 2] = lying[columns : columns + 2] = b"\xff\xff"
    path.write_bytes(lying)
    (row,) = predict(asked(model, tmp_path / "scans", tmp_path / "out", memory_mb=500)).rows
    assert row.reason_code in ("SIZE_IMPLAUSIBLE", "PIXEL_DATA_TRUNCATED")
