"""What a hospital's scans say of a person is in no byte that predict writes or says, but for its DICOM results.

Two zones: the results folder is private (paths and UIDs stand there, so that a person finds the scan); pictures, which
people hand on, carry case ids alone.
"""

from __future__ import annotations

import base64
import gzip
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas
import pydicom
import pytest
from canaries import BIRTH_DATE, PATH_WORD, WORD, canary, fields, found_in, leaks, put_anything, refill
from folders import asked, pixels, table, write_dicom, write_series
from packages import tiny_package, tiny_segmenter_package
from PIL import Image, PngImagePlugin
from pydicom.tag import Tag

from medcnn.predict import predict

pytestmark = pytest.mark.process
SOME_REJECTED = 8
WORDS = ("explain=gradcam", "probabilities=true", "saliency=true")
SHARED = ("overlays", "thumbnails")
CARRIED = ("PatientName", "PatientID", "AccessionNumber", "StudyInstanceUID", "PatientBirthDate")
SPOILED_PICTURE = (
    "Modality", "BodyPartExamined", "PhotometricInterpretation", "ImageType", "SpecificCharacterSet", "ViewPosition",
    "PatientOrientation", "SOPInstanceUID", "SOPClassUID", "SeriesInstanceUID", "StudyInstanceUID", "BitsStored",
    "ImagerPixelSpacing", "RescaleSlope", "InstanceNumber", "PatientSex", "PatientBirthDate", "StudyDate", "StudyTime",
    "TransferSyntaxUID",
)  # fmt: skip
SPOILED_SERIES = (
    "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "ImageType", "SliceThickness", "InstanceNumber",
    "FrameOfReferenceUID", "SeriesInstanceUID", "StudyInstanceUID", "Modality", "PatientSex", "StudyTime",
    "SpecificCharacterSet", "EchoTime", "BodyPartExamined",
)  # fmt: skip


@dataclass(frozen=True)
class Ran:
    """One predict.

    private  everything that was written: the results, the temporary folder, the folder it was called in
    said     standard output and error, of its worker too
    """

    model: Path
    scans: Path
    output: Path
    private: Path
    said: bytes


def write_xrays(root: Path) -> Path:
    """A good one, one of another kind, a cut one, and one each with a canary in a field that the reader must read."""
    folder = root / f"{PATH_WORD}ward"

    def write(name: str) -> Path:
        said = {"StudyInstanceUID": "1.2.840.99.1", "ImagerPixelSpacing": ["0.2", "0.2"], "RescaleSlope": "1"}
        said |= {"ViewPosition": "PA", "PatientOrientation": ["L", "F"], "ImageType": ["ORIGINAL", "PRIMARY"]}
        path = write_dicom(folder / f"{name}.dcm", pixels(len(list(folder.glob("*")))), InstanceNumber=1, **said)
        return refill(path)

    write("good")
    refill(write("other_kind"), lambda data: setattr(data, "Modality", "MG"))
    cut = write("cut")
    cut.write_bytes(cut.read_bytes()[:-90])
    damaged = write("damaged")
    content = damaged.read_bytes()
    damaged.write_bytes(content[:2000] + b"\xff" * 40 + content[2040:])
    for keyword in SPOILED_PICTURE:
        path = write(f"with_{keyword}")
        if keyword == "BitsStored":
            refill(path, lambda data: setattr(data, "BitsStored", 77))
        elif keyword == "SpecificCharacterSet":
            refill(path, lambda data: setattr(data, "SpecificCharacterSet", "ISO_IR 100"))
            put_anything(path, keyword)
        elif keyword == "TransferSyntaxUID":
            path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.QZCNRY00020010\0\0", 1))
        else:
            put_anything(path, keyword)
    return root


def write_volumes(root: Path) -> Path:
    """As write_xrays: a good series, broken ones, and one each with a canary in a field of geometry."""
    folder = root / f"{PATH_WORD}exam"

    def write(name: str, **elements: object) -> list[Path]:
        values = np.random.default_rng(len(name)).integers(0, 250, (9, 8, 5))
        said = {"EchoTime": "30", "BodyPartExamined": "HEAD", **elements}
        return [refill(path) for path in sorted(write_series(folder / name, values, **said).iterdir())]

    write("good")
    write("gap")[1].unlink()
    cut = write("cut")[2]
    cut.write_bytes(cut.read_bytes()[:-30])
    for n, path in enumerate(write("several")):
        data = pydicom.dcmread(path)
        data.ImageType = ["ORIGINAL", "PRIMARY", canary(n).upper()]
        data.save_as(path)
    for keyword in SPOILED_SERIES:
        files = write(f"with_{keyword}")
        for path in files[: 1 if keyword in ("ImageOrientationPatient", "PixelSpacing") else None]:
            if keyword == "SpecificCharacterSet":
                refill(path, lambda data: setattr(data, "SpecificCharacterSet", "ISO_IR 100"))
            put_anything(path, keyword)
    return root


def ran(root: Path, model: Path, scans: Path) -> Ran:
    """The command as a person types it, in an interpreter of its own: warnings and stray words are heard too."""
    private = root / "private"
    for name in ("here", "tmp"):
        (private / name).mkdir(parents=True)
    words = [f"model={model}", f"input={scans}", f"output={private / 'out'}", "inference.accelerator=cpu", *WORDS]
    done = subprocess.run(
        [sys.executable, "-m", "medcnn.predict", *words],
        cwd=private / "here",
        env={**os.environ, "TMPDIR": str(private / "tmp"), "MLFLOW_TRACKING_URI": f"sqlite:///{private}/mlflow.db"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
    )
    assert done.returncode == SOME_REJECTED, done.stdout.decode(errors="replace")
    return Ran(model, scans, private / "out", private, done.stdout)


@pytest.fixture(scope="module")
def xrays(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    root = tmp_path_factory.mktemp("xrays")
    model = tiny_package(root / "model", modality=("CR",), body_part=("CHEST",))
    return ran(root, model, write_xrays(root / "scans"))


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    root = tmp_path_factory.mktemp("volumes")
    return ran(root, tiny_segmenter_package(root / "model", modality=("MR",)), write_volumes(root / "scans"))


@pytest.fixture(params=["xrays", "volumes"])
def run(request: pytest.FixtureRequest) -> Ran:
    found: Ran = request.getfixturevalue(request.param)
    return found


def uids_of(scans: Path) -> set[str]:
    """All that the readable files say."""
    found: set[str] = set()
    for path in sorted(path for path in scans.rglob("*.dcm") if path.stem == "good" or path.parent.name == "good"):
        found |= {str(element.value) for element in pydicom.dcmread(path).iterall() if element.VR == "UI"}
    return {uid for uid in found if uid.count(".") > 2 and not uid.startswith("1.2.840.10008")}


@pytest.mark.case("S07")
def test_every_kind_of_answer_was_given(run: Ran) -> None:
    """Else the search below would prove little: good scans and bad ones, several reasons."""
    rows = table(run.output)
    assert {row["status"] for row in rows} >= {"ok", "rejected"}
    reasons = {row["reason"].partition(":")[0] for row in rows}
    assert len(reasons) >= 4, reasons
    assert any("good" in row["reference"] and row["status"] == "ok" for row in rows)
    assert b"predictions.csv" in run.said
    assert {"cases", "dicom", *SHARED} <= {path.name for path in run.output.iterdir()}


@pytest.mark.case("S07")
def test_no_byte_outside_the_dicom_results_says_who_it_was(run: Ran) -> None:
    assert leaks(run.output, but_for=("dicom",)) == {}
    for name in SHARED:
        assert leaks(run.output / name) == {}
    assert leaks(run.private, but_for=("out",)) == {}


@pytest.mark.case("S07")
def test_nothing_that_is_said_says_who_it_was(run: Ran) -> None:
    assert found_in(run.said) == set()


@pytest.mark.case("S07")
def test_a_dry_run_says_no_more(run: Ran, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    predict(asked(run.model, run.scans, tmp_path / "out", dry_run=True, engine="here"))
    said = "".join(capfd.readouterr())
    assert "cases" in said
    assert fields(found_in(said.encode())) == set()
    assert leaks(tmp_path / "out", but_for=("dicom",)) == {}


@pytest.mark.case("S07")
def test_dicom_results_carry_their_studys_own(run: Ran) -> None:
    (source, *_) = [path for path in run.scans.rglob("*.dcm") if path.stem == "good" or path.parent.name == "good"]
    said = pydicom.dcmread(source)
    assert said.PatientBirthDate == BIRTH_DATE
    results = sorted((run.output / "dicom").glob(f"{PATH_WORD}*__good_*.dcm"))
    assert len(results) >= 2
    for path in results:
        result = pydicom.dcmread(path)
        assert {key: result[key].value for key in CARRIED} == {key: said[key].value for key in CARRIED}


@pytest.mark.case("S07")
def test_pictures_that_are_handed_on_have_no_path_and_no_uid(run: Ran) -> None:
    uids = uids_of(run.scans)
    assert uids
    pictures = [path for name in SHARED for path in (run.output / name).rglob("*") if path.is_file()]
    assert pictures
    for path in pictures:
        content = b"".join([path.name.encode(), path.read_bytes()]).lower()
        assert PATH_WORD.encode() not in content, path
        assert str(run.scans).encode() not in content
        assert [uid for uid in uids if uid.encode() in content] == []
        with Image.open(path) as picture:
            texts = " ".join(map(str, picture.info.values()))
        assert "good" not in path.stem + texts


@pytest.mark.case("S07")
def test_nothing_is_kept_outside_the_results(run: Ran) -> None:
    """No temporary file is left, nothing lies where the command was called, and MLflow is told nothing."""
    left = [path for path in run.private.rglob("*") if path.is_file() and run.output not in path.parents]
    assert left == []


# The search can fail


def planted_png() -> bytes:
    said = PngImagePlugin.PngInfo()
    said.add_itxt("Comment", f"{WORD}00100010", zip=True)
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "PNG", pnginfo=said)
    return buffer.getvalue()


def planted_parquet() -> bytes:
    buffer = io.BytesIO()
    pandas.DataFrame({"reason": [f"it says {WORD}00100010"] * 3}).to_parquet(buffer, compression="zstd")
    return buffer.getvalue()


PLANTED = {
    "text": f"x{WORD}00100010x".encode(),
    "upper": f"{WORD}00100010".upper().encode(),
    "utf16": f"{WORD}00100010".encode("utf-16-be"),
    "gzip": gzip.compress(f"{WORD}00100010".encode()),
    "base64": b'data = "' + base64.b64encode(f"  some words {WORD}00100010 and more".encode()) + b'";',
    "base64_gzip": b"x('" + base64.b64encode(gzip.compress(f"{WORD}00100010".encode())) + b"')",
    "png": planted_png(),
    "png_base64": b"url(data:image/png;base64," + base64.b64encode(planted_png()) + b")",
    "parquet": planted_parquet(),
}


@pytest.mark.parametrize("how", PLANTED)
def test_a_planted_canary_is_found(tmp_path: Path, how: str) -> None:
    (tmp_path / "cases" / "a").mkdir(parents=True)
    (tmp_path / "cases" / "a" / "result.bin").write_bytes(PLANTED[how])
    assert leaks(tmp_path) == {"cases/a/result.bin": {"qzcnry00100010 (PatientName)"}}
    assert leaks(tmp_path, but_for=("cases",)) == {}


@pytest.mark.parametrize("said", ["born 1903-02-03", "19030203", "03.02.1903"])
def test_a_planted_birth_date_is_found(said: str) -> None:
    assert len(found_in(said.encode())) == 1


def test_a_planted_name_of_a_file_is_found(tmp_path: Path) -> None:
    (tmp_path / f"{canary(Tag('PatientID'))}.txt").write_text("")
    assert list(leaks(tmp_path).values()) == [{"qzcnry00100020 (PatientID)"}]
