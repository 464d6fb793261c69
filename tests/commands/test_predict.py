"""`predict` as a user meets it: what comes out of a folder, what is done again, and the exit codes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from folders import answers, asked, digests, pixels, table, write_dicom, write_png
from packages import tiny_package

from medcnn.batch import answer_files, classifying, ledger, reading, results
from medcnn.batch.shard import sole
from medcnn.config.errors import ConfigError
from medcnn.errors import DataError, Interrupted, NoSpaceError, PackageError, UserError
from medcnn.io.options import Reading
from medcnn.predict import main, predict


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_package(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Ten pictures at three depths, three files that are broken, two that are no scans."""
    folder = tmp_path / "scans"
    for number in range(10):
        write_png(folder / ("a/b" if number % 2 else ".") / f"{number}.png", number)
    whole = write_dicom(folder / "x.dcm", pixels(0)).read_bytes()
    for number in range(2):
        (folder / f"cut{number}.dcm").write_bytes(whole[: -100 - number])
    (folder / "x.dcm").unlink()
    (folder / "broken.nii").write_bytes(b"no volume")
    (folder / "notes.txt").write_text("hello")
    (folder / "a" / "list.csv").write_text("a,b")
    return folder


def rows_in_ledger(output: Path) -> int:
    return len((output / "ledger.jsonl").read_text().splitlines())


@pytest.mark.case("I01")
def test_I01_every_good_scan_is_answered_and_every_bad_one_has_its_reason(
    model: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digests(scans)
    done = predict(asked(model, scans, tmp_path / "out"))
    assert done.exit_code == 8
    assert (len(done.rows), done.computed, done.skipped) == (13, 13, 2)
    found = {row["reference"]: (row["status"], row["reason"].partition(":")[0]) for row in table(done.output)}
    assert {name: end for name, end in found.items() if end != ("ok", "")} == {
        "broken.nii": ("rejected", "NOT_NIFTI"),
        "cut0.dcm": ("rejected", "PIXEL_DATA_TRUNCATED"),
        "cut1.dcm": ("rejected", "PIXEL_DATA_TRUNCATED"),
    }
    for row in table(done.output):
        if row["status"] == "ok":
            assert float(row["p.normal"]) + float(row["p.ill"]) == pytest.approx(1, abs=2e-6)
            assert row["decision"] == ("ill" if float(row["p.ill"]) >= 0.5 else "normal")
    skipped = (done.output / "skipped.csv").read_text()
    assert "notes.txt,NOT_DICOM" in skipped
    assert "a/list.csv,NOT_DICOM" in skipped
    assert digests(scans) == before  # I15
    said = capsys.readouterr().out
    assert "13 cases: 10 ok, 3 rejected" in said
    assert "rejected 2 x PIXEL_DATA_TRUNCATED" in said
    assert "skipped, no scans: 2 files (NOT_DICOM 2)" in said


@pytest.mark.case("I02")
def test_I02_a_second_run_does_nothing(model: Path, scans: Path, tmp_path: Path) -> None:
    first = predict(asked(model, scans, tmp_path / "out", explain="gradcam"))
    before = digests(first.output)
    second = predict(asked(model, scans, tmp_path / "out", explain="gradcam"))
    assert (second.computed, second.exit_code) == (0, 8)
    assert digests(first.output) == before


def test_new_and_changed_scans_are_done_and_no_others(model: Path, scans: Path, tmp_path: Path) -> None:
    first = predict(asked(model, scans, tmp_path / "out"))
    old = answers(first.output)
    write_png(scans / "0.png", 77)
    write_png(scans / "new.png", 78)
    (scans / "2.png").unlink()
    second = predict(asked(model, scans, tmp_path / "out"))
    new = answers(second.output)
    assert second.computed == 2
    assert new.keys() == old.keys() - {"2.png"} | {"new.png"}
    assert new["0.png"]["p.ill"] != old["0.png"]["p.ill"]
    assert all(new[name] == old[name] for name in new.keys() & old.keys() - {"0.png"})


@pytest.mark.case("I03", "I04")
def test_I03_I04_damaged_outputs_are_made_again_as_they_were(model: Path, scans: Path, tmp_path: Path) -> None:
    out = predict(asked(model, scans, tmp_path / "out", explain="gradcam")).output
    before = digests(out / "overlays")
    assert len(before) == 10
    (cut, gone, *_) = sorted((out / "overlays").iterdir())
    cut.write_bytes(cut.read_bytes()[:1000])
    gone.unlink()
    ledger = out / "ledger.jsonl"
    lines = ledger.read_text().splitlines()
    other = next(n for n, line in enumerate(lines) if cut.stem not in line and gone.stem not in line and '"ok"' in line)
    row = json.loads(lines[other])
    row["decision"] = "ill" if row["decision"] == "normal" else "normal"
    lines[other] = json.dumps(row)
    ledger.write_text("\n".join(lines) + "\n" + '{"case_id": "c-cut off by a cra')
    table_before = answers(out)
    (out / "predictions.csv").write_text("")
    again = predict(asked(model, scans, tmp_path / "out", explain="gradcam"))
    assert again.computed == 3
    assert digests(out / "overlays") == before
    assert answers(out) == table_before
    assert predict(asked(model, scans, tmp_path / "out", explain="gradcam")).computed == 0


@pytest.mark.case("I05")
def test_I05_another_model_or_other_settings_do_everything_anew(model: Path, scans: Path, tmp_path: Path) -> None:
    out = predict(asked(model, scans, tmp_path / "out", explain="gradcam")).output
    old = answers(out)
    other = tiny_package(tmp_path / "other", seed=1)
    done = predict(asked(other, scans, tmp_path / "out"))
    assert done.computed == 13
    assert not list((out / "overlays").iterdir())  # the first model's pictures stand beside no answer of the second's
    assert all(answers(out)[name]["p.ill"] != row["p.ill"] for name, row in old.items() if row["status"] == "ok")
    predict(asked(model, scans, tmp_path / "out", explain="gradcam"))
    predict(asked(other, scans / "0.png", tmp_path / "out", explain="gradcam"))
    assert len(list((out / "overlays").iterdir())) == 1
    assert predict(asked(other, scans, tmp_path / "out", shifts=2)).computed == 13
    assert predict(asked(other, scans, tmp_path / "out", shifts=2, batch_cases=1)).computed == 0


@pytest.mark.case("I06")
def test_I06_exit_codes(model: Path, scans: Path, tmp_path: Path) -> None:
    only_bad = tmp_path / "bad"
    only_bad.mkdir()
    shutil.copy(scans / "cut0.dcm", only_bad)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert predict(asked(model, only_bad, tmp_path / "o1")).exit_code == 9
    assert predict(asked(model, empty, tmp_path / "o2")).exit_code == 3
    (empty / "notes.txt").write_text("hello")
    assert predict(asked(model, empty, tmp_path / "o2")).exit_code == 3
    assert predict(asked(model, scans / "0.png", tmp_path / "o3")).exit_code == 0
    named = predict(asked(model, scans / "notes.txt", tmp_path / "o4"))  # no skip: somebody meant this file
    assert (named.exit_code, named.rows[0].reason_code) == (9, "NOT_DICOM")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"package": "/nowhere"}, r"model: there is no folder '/nowhere'"),
        ({"input": "/nowhere"}, r"input: there is no '/nowhere'"),
        ({"output": "{input}/results"}, r"output: .* lies in the input"),
        ({"output": "{input}/0.png"}, r"output: .* is a file"),
    ],
)
def test_paths_that_cannot_be_are_said_before_anything_is_made(
    change: dict[str, str], says: str, model: Path, scans: Path, tmp_path: Path
) -> None:
    before = digests(scans)
    conf = asked(model, scans, tmp_path / "out")
    for name, value in change.items():
        setattr(conf, name, value.format(input=scans))
    with pytest.raises(ConfigError, match=says):
        predict(conf)
    assert digests(scans) == before
    assert not (tmp_path / "out").exists()


def test_a_key_in_the_input_is_refused(model: Path, scans: Path, tmp_path: Path) -> None:
    conf = asked(model, scans, tmp_path / "out")
    conf.privacy.key_file = str(scans / "key")
    with pytest.raises(ConfigError, match=r"privacy\.key_file"):
        predict(conf)


def test_the_door_says_it_with_exit_code_2(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["predict", "model=/nowhere", "input=/nowhere", "output=out"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "there is no folder '/nowhere'" in capsys.readouterr().err


def test_help_and_wrong_paths_answer_without_torch(tmp_path: Path) -> None:
    program = (
        "import sys; sys.argv = ['predict', 'model=/nowhere', 'input=.', 'output=o']\n"
        "from medcnn.predict import main\n"
        "try: main()\n"
        "except SystemExit as stop: print(stop.code, sorted({'torch', 'monai', 'mlflow', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.strip() == "2 []"


def test_a_folder_of_somebody_else_is_left_alone(model: Path, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0o755)
    (out / "thesis.txt").write_text("precious")
    with pytest.raises(DataError, match="holds other files"):
        predict(asked(model, scans, out))
    assert stat.S_IMODE(out.stat().st_mode) == 0o755


def test_a_second_run_on_one_output_is_refused(model: Path, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(asked(model, scans, out))
    with sole(out, None), pytest.raises(UserError, match="another process is working in"):
        predict(asked(model, scans, out))


def test_everything_it_writes_is_private(model: Path, scans: Path, tmp_path: Path) -> None:
    before = os.umask(0o000)
    (tmp_path / "out").mkdir(mode=0o755)
    try:
        out = predict(asked(model, scans, tmp_path / "out", explain="gradcam")).output
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [out, *out.rglob("*")]}
    assert len(modes) > 14
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}


@pytest.mark.case("I14")
def test_I14_neither_batch_nor_order_changes_an_answer(model: Path, scans: Path, tmp_path: Path) -> None:
    turned = tmp_path / "turned"
    names = {str(path.relative_to(scans)): f"{99 - n}.png" for n, path in enumerate(sorted(scans.rglob("*.png")))}
    turned.mkdir()
    for old, new in names.items():
        shutil.copy(scans / old, turned / new)
    alone = answers(predict(asked(model, scans, tmp_path / "o1", batch_cases=1)).output)
    together = answers(predict(asked(model, scans, tmp_path / "o8", batch_cases=8)).output)
    permuted = answers(predict(asked(model, turned, tmp_path / "op", batch_cases=3)).output)
    for old, new in names.items():
        values = [float(row["p.ill"]) for row in (alone[old], together[old], permuted[new])]
        assert np.ptp(values) <= 1e-5
    assert len({row["p.ill"] for row in permuted.values()}) == 10  # and it is no constant that agrees


def test_wrong_modality_and_body_part_are_flagged_and_no_decision_is_given(tmp_path: Path) -> None:
    model = tiny_package(tmp_path / "m", modality=("CR", "DX"), body_part=("CHEST",))
    scans = tmp_path / "scans"
    write_dicom(scans / "chest.dcm", pixels(0))
    write_dicom(scans / "breast.dcm", pixels(0), Modality="MG", BodyPartExamined="BREAST")
    done = predict(asked(model, scans, tmp_path / "out"))
    found = answers(done.output)
    assert done.exit_code == 0
    assert found["chest.dcm"]["decision"] in ("normal", "ill")
    assert found["chest.dcm"]["flags"].startswith("BORDERLINE") or not found["chest.dcm"]["flags"]
    assert (found["breast.dcm"]["decision"], found["breast.dcm"]["confidence"]) == ("", "")
    assert "MODALITY: this scan says MG, the model knows CR, DX" in found["breast.dcm"]["reason"]
    assert "BODY_PART" in found["breast.dcm"]["flags"]


def test_inverted_and_odd_intensities_are_flagged_and_still_decided(tmp_path: Path) -> None:
    model = tiny_package(tmp_path / "m", low=(0, 20), high=(200, 255), mean=(-0.9, -0.6), spread=(0.3, 0.7))
    dark = np.zeros((16, 16), np.uint8)
    dark[5:9, 5:9] = np.arange(190, 254, 4, dtype=np.uint8).reshape(4, 4)
    scans = tmp_path / "scans"
    write_dicom(scans / "as_trained.dcm", dark)
    write_dicom(scans / "inverted.dcm", 255 - dark)
    write_dicom(scans / "far_out.dcm", dark.astype(np.uint16) * 100)
    found = answers(predict(asked(model, scans, tmp_path / "out")).output)
    assert "INTENSITY" not in found["as_trained.dcm"]["flags"]
    assert found["inverted.dcm"]["flags"].startswith("INTENSITY_SHAPE")
    assert found["far_out.dcm"]["flags"].startswith("INTENSITY_RANGE")
    assert all(row["decision"] for row in found.values())


def test_a_scan_of_the_other_kind_is_rejected(model: Path, tmp_path: Path) -> None:
    import nibabel

    scans = tmp_path / "scans"
    write_png(scans / "a.png", 0)
    nibabel.save(nibabel.Nifti1Image(np.random.default_rng(0).normal(size=(8, 8, 8)), np.eye(4)), scans / "v.nii")
    done = predict(asked(model, scans, tmp_path / "out"))
    assert done.exit_code == 8
    assert answers(done.output)["v.nii"]["reason"].startswith(
        "GEOMETRY_MISMATCH: this scan is a volume and the model takes pictures"
    )


def test_an_unforeseen_exception_fails_one_case_and_is_tried_again(
    model: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = classifying.prepared_entry

    def breaks(scan: object, steps: object) -> object:
        if scan.voxels[0, 0, 0] == pixels(4)[0, 0]:  # type: ignore[attr-defined]
            raise ZeroDivisionError("SECRET NAME")
        return real(scan, steps)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(classifying, "prepared_entry", breaks)
        done = predict(asked(model, scans, tmp_path / "out"))
    failed = [row for row in done.rows if row.status == "failed"]
    assert [(row.reference, row.reason_code) for row in failed] == [("4.png", "INTERNAL")]
    assert sum(row.status == "ok" for row in done.rows) == 9
    assert "SECRET" not in (done.output / "ledger.jsonl").read_text()
    again = predict(asked(model, scans, tmp_path / "out"))
    assert (again.computed, sum(row.status == "ok" for row in again.rows)) == (1, 10)


def test_a_batch_that_breaks_is_asked_one_by_one(
    model: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medcnn.model_package.classifier import ClassifierPackage

    real, sizes = ClassifierPackage.predict_images, []

    def breaks(self: ClassifierPackage, images: np.ndarray, facts: object, covariates: None) -> object:
        sizes.append(len(images))
        if len(images) > 1 or images[0, 0, 0, 0] == first:
            raise RuntimeError("out of something")
        return real(self, images, facts, covariates)  # type: ignore[arg-type]

    first = classifying.prepared_entry(
        reading.read_scan(scans, "6.png"), _package(model).description.preprocessing
    ).image[0, 0, 0]
    monkeypatch.setattr(ClassifierPackage, "predict_images", breaks)
    done = predict(asked(model, scans, tmp_path / "out"))
    assert sizes == [10] + [1] * 10
    assert [row.reference for row in done.rows if row.status == "failed"] == ["6.png"]


def _package(folder: Path) -> object:
    from medcnn.model_package.opening import load_package

    return load_package(folder, accelerator="cpu")


def test_an_answer_that_is_not_a_number_fails_its_case(scans: Path, tmp_path: Path) -> None:
    model = tiny_package(tmp_path / "m", weights=float("nan"))
    done = predict(asked(model, scans, tmp_path / "out", explain="gradcam"))
    assert done.exit_code == 9
    assert {row.found for row in done.rows if row.status == "failed"} == {"the network's answer is not a finite number"}
    assert "nan" not in (done.output / "predictions.csv").read_text().lower()


IN_HAND = 2 + 2 * reading.READERS + 1  # a batch, and what is read ahead


def test_sigterm_ends_after_the_cases_in_hand_and_the_next_run_finishes(
    model: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, drawn = answer_files.overlay, []

    def third_time_interrupted(*arguments: object) -> object:
        drawn.append(1)
        if len(drawn) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments)  # type: ignore[arg-type]

    for number in range(100, 140):
        write_png(scans / f"{number}.png", number)

    def run(output: str) -> Path:
        conf = asked(model, scans, tmp_path / output, explain="gradcam", batch_cases=2)
        conf.privacy.key_file = str(tmp_path / "key")  # one key, so that names can be compared
        return predict(conf).output

    whole = run("whole")
    with monkeypatch.context() as patch:
        patch.setattr(answer_files, "overlay", third_time_interrupted)
        with pytest.raises(Interrupted, match="The same command goes on") as stop:
            run("out")
    assert stop.value.exit_code == 143
    assert 3 <= len(drawn) <= 3 + IN_HAND
    out = tmp_path / "out"
    said = [row for row in table(out) if row["status"] == "ok"]
    assert len(said) == len(drawn) == len(list((out / "overlays").glob("*.png")))
    kept = (out / "ledger.jsonl").read_bytes()
    run("out")
    assert (out / "ledger.jsonl").read_bytes().startswith(kept)
    assert rows_in_ledger(out) == 53
    assert answers(out) == answers(whole)
    assert digests(out / "overlays") == digests(whole / "overlays")


def test_a_signal_while_scans_are_read_waits_for_no_batch(
    model: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, read = reading.read_scan, []

    def interrupting(root: Path, reference: str, choices: Reading) -> object:
        read.append(reference)
        if len(read) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return real(root, reference, choices)

    for number in range(100, 140):
        write_png(scans / f"{number}.png", number)
    monkeypatch.setattr(reading, "read_scan", interrupting)
    with pytest.raises(Interrupted) as stop:
        predict(asked(model, scans, tmp_path / "out"))
    assert stop.value.exit_code == 130
    assert len(read) < 30


def test_a_bare_keyboard_interrupt_keeps_the_ledger_and_the_table(
    model: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = ledger.Ledger.append, []

    def interrupted(self: ledger.Ledger, row: ledger.Row) -> None:
        written.append(row.case_id)
        if len(written) == 5:
            raise KeyboardInterrupt
        real(self, row)

    with monkeypatch.context() as patch:
        patch.setattr(ledger.Ledger, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            predict(asked(model, scans, tmp_path / "out"))
    assert rows_in_ledger(tmp_path / "out") == 4 == len(table(tmp_path / "out"))
    assert predict(asked(model, scans, tmp_path / "out")).computed == 9
    assert predict(asked(model, scans, tmp_path / "out")).computed == 0


@pytest.mark.case("I09")
def test_I09_a_full_disk_stops_with_28_and_keeps_what_is_done(
    model: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = results.write_whole, []

    def full(path: Path, content: bytes) -> None:
        if path.suffix == ".png":
            written.append(path)
            if len(written) > 4:
                raise OSError(errno.ENOSPC, "No space left on device")
        real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(results, "write_whole", full)
        with pytest.raises(NoSpaceError) as stop:
            predict(asked(model, scans, tmp_path / "out", explain="gradcam"))
    assert stop.value.exit_code == 28
    assert len([row for row in table(tmp_path / "out") if row["status"] == "ok"]) == 4
    assert predict(asked(model, scans, tmp_path / "out", explain="gradcam")).exit_code == 8


@pytest.mark.case("I08")
def test_I08_a_scan_that_changes_while_it_is_read_fails(
    model: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = reading.read_scan

    def grows(root: Path, reference: str, choices: Reading) -> object:
        scan = real(root, reference, choices)
        if reference == "0.png":
            with (root / reference).open("ab") as stream:
                stream.write(b"more")
        return scan

    with monkeypatch.context() as patch:
        patch.setattr(reading, "read_scan", grows)
        done = predict(asked(model, scans, tmp_path / "out"))
    assert [(row.reference, row.status, row.reason_code) for row in done.rows if row.status == "failed"] == [
        ("0.png", "failed", "INPUT_CHANGED")
    ]


def test_names_and_ids_of_patients_are_in_no_byte_of_the_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_package(tmp_path / "m", modality=("CR",))
    canaries = {"PatientName": "CANARY^NAME", "PatientID": "CANARYID", "AccessionNumber": "CANARYACC"}
    birth = {"PatientBirthDate": "19010203", "StudyDescription": "CANARYSTUDY", "InstitutionName": "CANARYHOSP"}
    write_dicom(tmp_path / "scans" / "good.dcm", pixels(0), **canaries, **birth)
    write_dicom(tmp_path / "scans" / "wrong.dcm", pixels(1), Modality="MG", **canaries, **birth)
    cut = write_dicom(tmp_path / "scans" / "cut.dcm", pixels(2), **canaries, **birth)
    cut.write_bytes(cut.read_bytes()[:-90])
    out = predict(asked(model, tmp_path / "scans", tmp_path / "out", explain="gradcam")).output
    files = [path for path in out.rglob("*") if path.is_file()]
    written = b"".join(path.read_bytes() for path in files if path.parent.name != "dicom")
    of_the_study = b"".join(path.read_bytes() for path in files if path.parent.name == "dicom")
    said = "".join(capsys.readouterr()).encode()
    assert b"good.dcm" in written  # the private zone names files
    assert len(written) > 10_000
    for canary in (b"CANARY", b"19010203"):
        assert canary not in written + said
        assert canary in of_the_study


def test_case_ids_come_from_the_content_and_copies_are_told_apart(model: Path, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    one = write_dicom(scans / "a" / "one.dcm", pixels(0))
    write_dicom(scans / "two.dcm", pixels(1))
    first = {row.reference: row.case_id for row in predict(asked(model, scans, tmp_path / "out")).rows}
    (scans / "two.dcm").rename(scans / "moved.dcm")
    second = {row.reference: row.case_id for row in predict(asked(model, scans, tmp_path / "out")).rows}
    assert second["moved.dcm"] == first["two.dcm"]
    shutil.copy(one, scans / "copy.dcm")
    third = predict(asked(model, scans, tmp_path / "out")).rows
    assert len({row.case_id for row in third}) == 3 == len(third)


def test_rows_of_an_archive_are_cases(model: Path, tmp_path: Path) -> None:
    images = np.stack([pixels(number) for number in range(5)])
    (tmp_path / "scans").mkdir()
    np.savez(tmp_path / "scans" / "set.npz", test_images=images, test_labels=np.zeros((5, 1), np.uint8))
    done = predict(asked(model, tmp_path / "scans", tmp_path / "out"))
    assert [row.reference for row in done.rows] == [f"set.npz#row=test/{number}" for number in range(5)]
    assert len({row.probability["ill"] for row in done.rows}) == 5
    assert predict(asked(model, tmp_path / "scans", tmp_path / "out")).computed == 0


def test_what_a_spreadsheet_would_run_is_quoted(model: Path, tmp_path: Path) -> None:
    write_png(tmp_path / "scans" / "=cmd().png", 0)
    out = predict(asked(model, tmp_path / "scans", tmp_path / "out")).output
    assert [row["reference"] for row in table(out)] == ["'=cmd().png"]


def test_a_model_of_several_images_a_case_is_refused(model: Path, scans: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "two")
    description = json.loads((tmp_path / "two" / "model.json").read_text())
    description["preprocessing"]["num_channels"] = 2
    (tmp_path / "two" / "model.json").write_text(json.dumps(description))
    with pytest.raises(PackageError, match="looks at 2 images of each case"):
        predict(asked(tmp_path / "two", scans, tmp_path / "out"))
