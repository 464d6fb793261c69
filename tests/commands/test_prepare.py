"""Prepare as a user meets it: any folder becomes a manifest that training takes, and every trouble is said."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from tiny_study import train_words, write_pictures

from medcnn import prepare as verb
from medcnn import whole_file
from medcnn.config.compose import CommandLine, checked
from medcnn.config.verbs import PrepareConf
from medcnn.data.manifest import Manifest, read_manifest

SETTLED_S = 60  # files that changed a moment ago are measured again; these are older


@dataclass(frozen=True)
class Answer:
    """What the command said and how it ended."""

    code: int
    text: str

    def line(self, start: str) -> str:
        """The rest of the last line that begins so."""
        found = [line for line in self.text.splitlines() if line.startswith(start)]
        return found[-1].removeprefix(start).strip()


Ask = Callable[..., Answer]


@pytest.fixture
def ask(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ask:
    """`python -m medcnn.prepare` with these words, started in tmp_path."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["medcnn.prepare", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            verb.main()
        said = capsys.readouterr()
        return Answer(int(stop.value.code or 0), said.out + said.err)

    return run


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """48 pictures in a folder per class, two classes."""
    write_pictures(tmp_path / "all")
    for number, path in enumerate(sorted((tmp_path / "all").glob("*.png"))):
        target = tmp_path / "scans" / ("healthy", "sick")[(number // 2) % 2] / "deeper" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        settle(target)
    return tmp_path / "scans"


@pytest.fixture
def films(tmp_path: Path, samples: Path) -> Path:
    """60 DICOM X-rays of several patients, at two depths, beside a table of labels and things that are no scans."""
    root = tmp_path / "films"
    rows = []
    for number, case in enumerate(read_manifest(samples / "xray", "").cases[:60]):
        source = samples / "xray" / case.images[""]
        target = root / f"ward{number % 2}" / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        settle(target)
        rows.append({"file": source.name, "finding": case.labels[""]})
    write_table(root / "labels.csv", rows)
    (root / "notes.txt").write_text("call the ward")
    (root / "DICOMDIR").write_bytes(b"none")
    (root / "report.pdf").write_bytes(b"%PDF-1.4")
    return root


def settle(path: Path) -> None:
    status = path.stat()
    os.utime(path, (status.st_atime - SETTLED_S, status.st_mtime - SETTLED_S))


def write_table(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def table_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def picture(path: Path, seed: int, size: tuple[int, int] = (24, 24)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, size, np.uint8)).save(path)
    settle(path)
    return path


def split_of(manifest: Manifest) -> dict[str, str]:
    return {case.images[""]: case.split for case in manifest.cases}


# What it makes


def test_a_folder_per_class_becomes_a_manifest(ask: Ask, scans: Path) -> None:
    (scans / "healthy" / "notes.txt").write_text("not a scan")
    said = ask(f"input={scans}", f"output={scans}/manifest.csv")
    manifest = read_manifest(scans, "")
    assert said.code == 0
    assert len(manifest) == 48
    assert {case.labels[""] for case in manifest.cases} == {"healthy", "sick"}
    assert {case.split for case in manifest.cases} == {"train", "val", "calib", "test"}
    assert all((scans / case.images[""]).is_file() for case in manifest.cases)


def test_it_says_first_what_it_takes_the_folder_for(ask: Ask, scans: Path) -> None:
    lines = ask(f"input={scans}", "output=out").text.splitlines()
    order = (
        "recognised as folders",
        "each folder is a class",
        "48 cases found",
        "the manifest names no splits",
        "split ",
    )
    places = [next(n for n, line in enumerate(lines) if line.startswith(start)) for start in order]
    assert places == sorted(places)
    assert [line.split()[0] for line in lines[-3:]] == ["manifest", "audit", "train"]


def test_a_mixed_folder_and_a_table_of_labels(ask: Ask, films: Path) -> None:
    said = ask(f"input={films}", f"labels={films}/labels.csv", "output=out")
    assert said.code == 0
    assert "names the scans by their file name: 60 of 60 rows name 60 scans" in said.text
    assert "3 files or folders left out (NOT_AN_IMAGE, NOT_DICOM)" in said.text
    assert len(read_manifest(Path("out"), "")) == 60


def test_patients_stay_together_under_keyed_names(ask: Ask, films: Path, samples: Path) -> None:
    ask(f"input={films}", f"labels={films}/labels.csv", "output=out")
    rows, found = read_manifest(samples / "xray", "").cases[:60], read_manifest(Path("out"), "").cases
    assert len({case.patient_id for case in found}) == len({case.patient_id for case in rows})
    assert not {case.patient_id for case in found} & {case.patient_id for case in rows}
    assert len({(case.patient_id, case.split) for case in found}) == len({case.patient_id for case in found})


def test_what_training_is_told_is_what_it_takes(ask: Ask, scans: Path, tmp_path: Path) -> None:
    """The printed line trains: another folder than the data's, and choices that training has to repeat."""
    from medcnn.train import train

    spaced = scans.rename(tmp_path / "my, scans (1)")
    said = ask(f"input='{spaced}'", "output=out/m.csv", "data.splits.calib=0", "data.min_slices=5")
    words = shlex.split(said.line("train"))
    assert words[:3] == ["python", "-m", "medcnn.train"]
    assert words[-2:] == ["data.min_slices=5", "data.splits.calib=0"]
    tiny = [word for word in train_words(tmp_path, tmp_path / "runs", "trainer.epochs=1") if "data" not in word]
    run = train(checked("train", CommandLine.of("train", [*words[3:], *(w for w in tiny if w[0] != "+")])))
    told, used = read_manifest(tmp_path / "out", "m.csv").cases, read_manifest(run, "").cases
    assert {case.case_id: case.split for case in used} == {case.case_id: case.split for case in told}


@pytest.mark.parametrize(("output", "named"), [("scans/deep/m.csv", "deep/m.csv"), ("out/m.csv", "{here}/out/m.csv")])
def test_the_manifest_is_named_from_the_root_where_it_lies_below(
    ask: Ask, scans: Path, tmp_path: Path, output: str, named: str
) -> None:
    words = shlex.split(ask("input=scans/../scans", f"output={output}").line("train"))
    assert f"data.root={scans}" in words
    assert f"data.manifest={named.format(here=tmp_path)}" in words


def test_volumes_are_for_the_mri_task(ask: Ask, samples: Path) -> None:
    said = ask(f"input={samples}/mri", f"labels={samples}/mri/manifest.csv", "output=out")
    assert "+task=mri_cls" in said.line("train")


@pytest.mark.parametrize("layout", ["coco", "yolo"])
def test_boxes_without_labels_promise_no_training(ask: Ask, tmp_path: Path, layout: str) -> None:
    root = tmp_path / "boxes"
    for number in range(12):
        picture(root / "images" / f"{number}.png", number, (60, 80))
    if layout == "yolo":
        (root / "labels").mkdir()
        for number in range(0, 12, 2):
            (root / "labels" / f"{number}.txt").write_text("0 0.5 0.5 0.25 0.5\n")
        (root / "data.yaml").write_text("names: [mass]\n")
    else:
        listed = [{"id": n, "file_name": f"{n}.png", "width": 80, "height": 60} for n in range(12)]
        marked = [{"id": n, "image_id": n, "category_id": 1, "bbox": [30, 15, 20, 30]} for n in range(0, 12, 2)]
        kinds = [{"id": 1, "name": "mass"}]
        (root / "instances.json").write_text(json.dumps({"images": listed, "annotations": marked, "categories": kinds}))
    said = ask(f"input={root}", "output=out")
    assert said.code == 0
    assert said.line("train") == (
        "not with this version: there are boxes and neither label nor mask, and it trains no detectors"
    )
    boxes = {case.boxes for case in read_manifest(Path("out"), "").cases}
    assert boxes == {"[]", '[{"box":[30,15,50,45],"class":"mass"}]'}


def test_folds_and_no_splits(ask: Ask, scans: Path) -> None:
    ask(f"input={scans}", "output=folds", "data.splits.folds=5")
    assert {case.fold for case in read_manifest(Path("folds"), "").cases} == {"", "0", "1", "2", "3", "4"}
    said = ask(f"input={scans}", "output=whole", "splits=false", "data.splits.val=0.3")
    assert {case.split for case in read_manifest(Path("whole"), "").cases} == {""}
    assert "data.splits.val=0.3" in said.line("train")


def test_too_few_to_divide_are_audited_all_the_same(ask: Ask, scans: Path) -> None:
    for path in sorted((scans / "sick" / "deeper").iterdir())[2:]:
        path.unlink()
    said = ask(f"input={scans}", "output=out")
    assert said.code == 8
    assert "the patients were not divided: class 'sick' has 2 patient(s)" in said.text
    assert said.line("train").startswith("not yet")
    assert Path("out/manifest_audit.html").is_file()
    for number in range(6):
        picture(scans / "sick" / f"new{number}.png", 500 + number)
    assert ask(f"input={scans}", "output=out").code == 0


def test_copies_in_train_come_with_the_setting_that_drops_them(ask: Ask, films: Path, samples: Path) -> None:
    cases = read_manifest(samples / "xray", "").cases[:60]
    with_splits(films, [case.split for case in cases])
    (test,) = [case for case in cases if case.split == "test"][:1]
    copy = films / "ward0" / "copy.dcm"
    data = pydicom.dcmread(next(films.rglob(Path(test.images[""]).name)))
    data.SOPInstanceUID, data.PatientID = "1.2.3.4", "another"
    data.save_as(copy)
    rows = table_of(films / "labels.csv")
    write_table(films / "labels.csv", [*rows, {"file": copy.name, "finding": test.labels[""], "split": "train"}])
    said = ask(f"input={films}", f"labels={films}/labels.csv", "output=out")
    assert said.code == 8
    assert "STOP     Identical pixels in two splits" in said.text
    assert "data.duplicates=drop_from_train" in said.line("train")


def test_a_layout_by_its_name(ask: Ask, scans: Path) -> None:
    said = ask(f"input={scans}", "output=out", "layout=folders")
    assert said.code == 0
    assert "read as folders, as asked" in said.text
    refused = ask(f"input={scans}", "output=out2", "layout=msd")
    assert refused.code in (1, 3)
    assert "Traceback" not in refused.text


# Series that hold several volumes


@pytest.fixture
def echoes(tmp_path: Path, samples: Path) -> Path:
    """Twelve MR series, each of two echoes at the same places; and a table that labels their patients."""
    root, source = tmp_path / "mr", sorted((samples / "mri" / "series").iterdir())[0]
    slices = [pydicom.dcmread(path) for path in source.iterdir()]
    positions = np.array([[float(edge) for edge in data.ImagePositionPatient] for data in slices])
    order = np.argsort(positions[:, np.ptp(positions, axis=0).argmax()])[:6]
    rows = []
    for number in range(12):
        for place in order:
            for echo in (1, 2):
                data = deepcopy(slices[place])
                data.SOPInstanceUID = f"1.2.3.{number}.{place}.{echo}"
                data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
                data.SeriesInstanceUID, data.PatientID = f"1.2.3.{number}", f"Q{number}"
                data.EchoTime = str(15 * echo)
                pixels = data.pixel_array + np.uint16(7 * number + 3 * echo)
                data.PixelData = pixels.tobytes()
                target = root / f"s{number}" / f"{place}-{echo}.dcm"
                target.parent.mkdir(parents=True, exist_ok=True)
                data.save_as(target)
        rows.append({"patient": f"Q{number}", "label": ("normal", "atrophy")[number % 2]})
    write_table(root / "labels.csv", rows)
    return root


def test_two_echoes_are_refused_with_the_word_that_helps(ask: Ask, echoes: Path) -> None:
    said = ask(f"input={echoes}", f"labels={echoes}/labels.csv", "output=out")
    assert said.code == 3
    assert "12 4D_AMBIGUOUS" in said.text
    assert "split_by=[echo]" in said.text


def test_two_echoes_become_two_cases_of_one_patient(ask: Ask, echoes: Path) -> None:
    said = ask(f"input={echoes}", f"labels={echoes}/labels.csv", "output=out", "split_by=[echo]")
    assert said.code == 0, said.text
    cases = read_manifest(Path("out"), "").cases
    assert len(cases) == 24
    assert {case.free["echo"] for case in cases} == {"15", "30"}
    assert all(case.images[""].endswith(("#echo=15", "#echo=30")) for case in cases)
    assert len({(case.patient_id, case.split) for case in cases}) == 12


# Again


def test_nothing_changed_is_quick_and_the_same(ask: Ask, scans: Path) -> None:
    ask(f"input={scans}", "output=out")
    before = Path("out/manifest.csv").read_bytes()
    said = ask(f"input={scans}", "output=out")
    assert said.code == 0
    assert "48 of them were known already and not read again" in said.text
    assert "those of the earlier manifest" in said.text
    assert Path("out/manifest.csv").read_bytes() == before


def test_what_changed_is_read_and_newcomers_get_a_place(ask: Ask, scans: Path) -> None:
    ask(f"input={scans}", "output=out")
    before = split_of(read_manifest(Path("out"), ""))
    picture(scans / "sick" / "deeper" / "02.png", 1000)
    for number in range(8):
        picture(scans / "sick" / f"new{number}.png", 2000 + number)
    said = ask(f"input={scans}", "output=out")
    after = split_of(read_manifest(Path("out"), ""))
    assert "47 of them were known already" in said.text
    assert "8 of 56 cases are new" in said.text
    assert {name: after[name] for name in before} == before
    assert all(after[f"sick/new{number}.png"] for number in range(8))


def test_who_was_away_comes_back_to_the_same_place(ask: Ask, scans: Path, tmp_path: Path) -> None:
    ask(f"input={scans}", "output=out")
    before = split_of(read_manifest(Path("out"), ""))
    away = [scans / name for name, split in before.items() if split == "test"]
    for path in away:
        path.rename(tmp_path / path.name)
    said = ask(f"input={scans}", "output=out")
    assert f"{len(away)} cases of the earlier manifest are not there any more" in said.text
    for path in away:
        (tmp_path / path.name).rename(path)
    ask(f"input={scans}", "output=out")
    assert split_of(read_manifest(Path("out"), "")) == before


def test_work_by_hand_is_not_written_over(ask: Ask, scans: Path) -> None:
    ask(f"input={scans}", "output=out")
    path = Path("out/manifest.csv")
    path.write_text(path.read_text().replace("healthy,", "well,"))
    refused = ask(f"input={scans}", "output=out")
    assert refused.code == 2
    assert "was changed since" in refused.text
    assert "overwrite=true" in refused.text
    assert "well," in path.read_text()
    assert ask(f"input={scans}", "output=other", "labels=out/manifest.csv").code == 0
    assert {case.labels[""] for case in read_manifest(Path("other"), "").cases} == {"well", "sick"}
    assert ask(f"input={scans}", "output=out", "overwrite=true").code == 0
    assert "well," not in path.read_text()


def test_somebody_elses_manifest_and_the_table_itself_are_safe(ask: Ask, scans: Path) -> None:
    mine = scans / "manifest.csv"
    mine.write_text("image,label\n")
    assert ask(f"input={scans}", f"output={mine}").code == 2
    refused = ask(f"input={scans}", f"labels={mine}", f"output={scans}", "overwrite=true")
    assert refused.code == 2
    assert "written over" in refused.text
    assert mine.read_text() == "image,label\n"


def test_interrupted_it_keeps_what_it_measured(ask: Ask, scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop_at_ten(words: Callable[[int], str]) -> Callable[[int], None]:
        def report(number: int) -> None:
            if number == 10 and "measured" in words(number):
                raise KeyboardInterrupt

        return report

    with monkeypatch.context() as patched:
        patched.setattr(verb, "_every_ten_seconds", stop_at_ten)
        said = ask(f"input={scans}", "output=out")
    assert said.code == 130
    assert "stopped by SIGINT" in said.text
    assert not Path("out/manifest.csv").exists()
    again = ask(f"input={scans}", "output=out")
    assert again.code == 0
    assert int(again.text.partition(" of them were known already")[0].split()[-1]) >= 10


def test_stopped_between_the_facts_and_the_manifest_it_goes_on(
    ask: Ask, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(f"input={scans}", "output=out")
    picture(scans / "sick" / "new.png", 77)
    whole = whole_file.write_whole

    def lost(path: Path, content: bytes) -> None:
        if path.name == "manifest.csv":
            raise KeyboardInterrupt
        whole(path, content)

    with monkeypatch.context() as patched:
        patched.setattr("medcnn.data.audit.files.write_whole", lost)
        assert ask(f"input={scans}", "output=out").code == 130
    assert ask(f"input={scans}", "output=out").code == 0
    assert len(read_manifest(Path("out"), "")) == 49


# Splits that the source names


def with_splits(films: Path, splits: Iterator[str] | list[str]) -> None:
    rows = table_of(films / "labels.csv")
    write_table(films / "labels.csv", [row | {"split": split} for row, split in zip(rows, splits, strict=True)])


def test_a_leak_is_said_and_can_be_mended(ask: Ask, films: Path, samples: Path) -> None:
    words = (f"input={films}", f"labels={films}/labels.csv", "output=out")
    with_splits(films, [("train", "val", "calib", "test")[number % 4] for number in range(60)])
    leaking = ask(*words)
    assert leaking.code == 8
    assert "STOP     The same patient in two splits" in leaking.text
    assert leaking.line("train").startswith("not yet")
    with_splits(films, [case.split for case in read_manifest(samples / "xray", "").cases[:60]])
    mended = ask(*words)
    assert mended.code == 0
    assert mended.line("train").startswith("python -m medcnn.train")


def test_splits_of_some_are_a_question(ask: Ask, films: Path) -> None:
    with_splits(films, ["train"] * 20 + [""] * 40)
    said = ask(f"input={films}", f"labels={films}/labels.csv", "output=out")
    assert said.code == 1
    assert "40 of 60 cases have no split" in said.text


def test_splits_that_changed_in_the_table_are_not_passed_over(ask: Ask, films: Path, samples: Path) -> None:
    words = (f"input={films}", f"labels={films}/labels.csv", "output=out")
    own = {"calib": "val"}
    splits = [own.get(case.split, case.split) for case in read_manifest(samples / "xray", "").cases[:60]]
    with_splits(films, splits)
    assert ask(*words).code == 0  # calib is taken from train
    assert ask(*words).code == 0  # and that is no contradiction
    with_splits(films, [{"train": "test", "test": "train"}.get(split, split) for split in splits])
    refused = ask(*words)
    assert refused.code == 1
    assert "into another split" in refused.text
    assert ask(*words, "overwrite=true").code == 0


# What cannot be done


def test_damaged_scans_are_left_out_and_said(ask: Ask, films: Path) -> None:
    first, second = sorted(films.rglob("*.dcm"))[:2]
    first.write_bytes(first.read_bytes()[:-2000])
    second.write_bytes(b"\0" * 400)
    said = ask(f"input={films}", f"labels={films}/labels.csv", "output=out")
    assert said.code == 8
    assert "warning  Cannot be read: PIXEL_DATA_TRUNCATED" in said.text
    assert "1 rows name no scan that is there" in said.text
    assert len(read_manifest(Path("out"), "")) == 58
    rejected = table_of(Path("out/manifest_audit/audit-rejected.csv"))
    assert {row["image"]: row["reason"] for row in rejected}[
        first.relative_to(films).as_posix()
    ] == "PIXEL_DATA_TRUNCATED"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["input=empty", "output=out"], 3, "no scan was found"),
        (["input=text", "output=out"], 3, "no scan was found"),
        (["input=nowhere", "output=out"], 2, "there is no folder 'nowhere'"),
        (["input=text/a.txt", "output=out"], 2, "It is a file"),
        (["output=out"], 2, "input: required"),
        (["inptu=empty", "output=out"], 2, "Did you mean input?"),
        (["input=empty", "output=out", "layout=yollo"], 2, "Did you mean yolo?"),
        (["input=empty", "output=out", "split_by=[tme]"], 2, "Did you mean time?"),
        (["input=empty", "output=out", "data.voi=windw"], 2, "Did you mean window?"),
        (["input=empty", "output=text/a.txt/b"], 1, "a file is in the way"),
        (["input=empty", "output=folder.csv"], 2, "is a folder"),
    ],
)
def test_wrong_words_are_said_in_a_sentence(ask: Ask, tmp_path: Path, words: list[str], code: int, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "text" / "deep").mkdir(parents=True)
    (tmp_path / "text" / "a.txt").write_text("nothing")
    answer = ask(*words)
    assert answer.code == code
    assert said in answer.text
    assert "Traceback" not in answer.text


def test_no_layout_names_all_that_was_looked_for(ask: Ask, tmp_path: Path) -> None:
    picture(tmp_path / "flat" / "a.png", 0)
    said = ask("input=flat", "output=out")
    assert said.code == 1
    assert all(f"  - {name}:" in said.text for name in ("bids", "msd", "nnunet", "coco", "yolo", "folders"))


@pytest.mark.parametrize("when", ["at first", "at last"])
def test_an_output_that_cannot_be_written(ask: Ask, scans: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    make_folder = Path.mkdir

    def refuse(path: Path, *words: Any, **more: Any) -> None:
        if path.name in ("out", "manifest.csv"):
            raise OSError(errno.EROFS, "Read-only file system")
        if when == "at first":
            make_folder(path, *words, **more)

    with monkeypatch.context() as patched:
        if when == "at first":
            patched.setattr(Path, "mkdir", refuse)
        else:
            patched.setattr("medcnn.data.audit.files.write_whole", refuse)
        said = ask(f"input={scans}", "output=out")
    assert said.code == 1
    assert "out cannot be written (Read-only file system)" in said.text


def test_a_key_that_cannot_be_kept(ask: Ask, scans: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = ask(f"input={scans}", "output=out", "privacy.key_file=file/key")
    assert said.code == 1
    assert "privacy.key_file" in said.text


# Privacy


def test_nothing_of_a_patient_leaves_the_manifest(ask: Ask, films: Path) -> None:
    uids = set()
    for number, path in enumerate(sorted(films.rglob("*.dcm"))):
        data = pydicom.dcmread(path)
        data.PatientName, data.PatientID, data.PatientBirthDate = "Lovelace^Ada", f"MRN77{number // 2:03d}", "18151210"
        data.AccessionNumber, data.InstitutionName = "ACC4711", "St Elsewhere"
        uids |= {str(data.SOPInstanceUID), str(data.SeriesInstanceUID), str(data.StudyInstanceUID)}
        data.save_as(path)
    damaged = sorted(films.rglob("*.dcm"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-2000])
    said = ask(f"input={films}", f"labels={films}/labels.csv", "output=out")
    secret = re.compile("|".join(["Lovelace", "MRN77", "18151210", "ACC4711", "Elsewhere", *map(re.escape, uids)]))
    written = {path: path.read_text() for path in Path("out").rglob("*") if path.is_file()}
    assert {path.name for path in written} >= {"manifest.csv", "manifest_audit.html", "manifest_audit.json"}
    assert [name for name, text in {"terminal": said.text, **written}.items() if secret.search(text)] == []
    assert str(films) not in Path("out/manifest_audit.json").read_text()
    assert all(re.fullmatch(r"p-[0-9a-f]{16}", case.patient_id) for case in read_manifest(Path("out"), "").cases)


def test_what_is_written_is_the_owners_alone(ask: Ask, scans: Path) -> None:
    ask(f"input={scans}", "output=out")
    files = [path for path in Path("out").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert Path("out/manifest_audit").stat().st_mode & 0o777 == 0o700
    assert Path("out/.medcnn/audit").stat().st_mode & 0o777 == 0o700


def test_the_input_is_only_read(ask: Ask, scans: Path) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in scans.rglob("*")}
    ask(f"input={scans}", "output=out")
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in scans.rglob("*")} == before


def test_in_the_input_itself_it_does_not_meet_its_own_files(ask: Ask, scans: Path) -> None:
    first = ask(f"input={scans}", f"output={scans}")
    second = ask(f"input={scans}", f"output={scans}")
    assert (first.code, second.code) == (0, 0)
    assert len(read_manifest(scans, "")) == 48
    assert "each folder is a class: healthy (24), sick (24)" in second.text
    assert "Files that are no cases" not in second.text


def test_real_volumes_with_masks_alone(ask: Ask, medcnn_data: Path) -> None:
    said = ask(f"input={medcnn_data}/hippocampus", "output=out")
    assert said.code == 0
    assert "recognised as msd" in said.text
    command = said.line("train")
    assert "+task=mri_seg" in command
    assert command.endswith(" 'data.structures={anterior: [1], posterior: [2]}'")
    assert len(read_manifest(Path("out"), "")) == 208


def test_a_folder_without_labels_is_listed_and_labelled_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """First what is in it; then the same command with a table, over the same output."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    (tmp_path / "scans").mkdir()
    for number in range(24):
        pixels = generator.integers(0, 255, (24, 24), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "scans" / f"{number}.png")
    first, _ = verb.prepare(PrepareConf(input="scans", output="out", layout="scans"))
    listed = read_manifest(tmp_path / "scans", str(first))
    assert listed.says_nothing
    assert {case.split for case in listed.cases} == {""}
    assert "fill in the labels, or run again with labels=<csv>" in capsys.readouterr().out
    rows = "".join(f"{number}.png,{'ab'[number % 2]}\n" for number in range(24))
    (tmp_path / "labels.csv").write_text(f"image,label\n{rows}")
    second, _ = verb.prepare(PrepareConf(input="scans", output="out", labels="labels.csv"))
    labelled = read_manifest(tmp_path / "scans", str(second))
    assert [case.case_id for case in labelled.cases] == [case.case_id for case in listed.cases]
    assert {case.split for case in labelled.cases} == {"train", "val", "calib", "test"}
