"""What strangers look at: the DICOM results of predict over known studies; and an archive to send them to."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from orthanc_server import Orthanc, plugin, program, running
from studies import CODES, JAPANESE, LATIN, PATIENT, PLACES, SPARSE, Answered, Study, write_series, write_xray

QUICK = {"explain": "gradcam", "engine": "here"}  # in this process, which has imported all that it takes


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """A running archive, empty at the start; skips where the machine has none."""
    pytest.importorskip("pynetdicom", reason="pynetdicom is not installed, pip install '.[dev]' brings it")
    if program() is None or plugin() is None:
        pytest.skip("Orthanc with DICOMweb is not installed: .ci/strangers brings it where the machine is Debian")
    with running(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture
def archive(orthanc: Orthanc) -> Orthanc:
    """The same, emptied."""
    orthanc.clear()
    return orthanc


@pytest.fixture(scope="session")
def validator() -> str:
    """The program that checks objects against the standard; skips where the machine has none."""
    found = shutil.which("dciodvfy")
    if found is None:
        pytest.skip("dciodvfy is not installed: .ci/strangers brings it (dicom3tools) where the machine is Debian")
    return found


@pytest.fixture(scope="session")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Answered:
    """Series in every orientation, and of patients whose names are hard to write, through a model that segments."""
    from packages import tiny_segmenter_package

    root = tmp_path_factory.mktemp("segmented")
    scans = root / "scans"
    studies = {name: write_series(scans / name, n, place) for n, (name, place) in enumerate(PLACES.items())}
    for n, (name, said) in enumerate({"latin": LATIN, "japanese": JAPANESE, "sparse": SPARSE}.items(), start=20):
        studies[name] = write_series(scans / name, n, PLACES["oblique"], **said)
    return _answered(tiny_segmenter_package(root / "model", codes=CODES), root, studies)


@pytest.fixture(scope="session")
def classified(tmp_path_factory: pytest.TempPathFactory) -> Answered:
    """X-rays through a model that classifies."""
    from packages import tiny_package

    root = tmp_path_factory.mktemp("classified")
    people = {"plain": PATIENT, "latin": LATIN, "japanese": JAPANESE, "sparse": SPARSE}
    studies = {
        name: write_xray(root / "scans" / f"{name}.dcm", n, **said) for n, (name, said) in enumerate(people.items())
    }
    studies["inverted"] = write_xray(
        root / "scans" / "inverted.dcm", 9, **PATIENT, PhotometricInterpretation="MONOCHROME1"
    )
    return _answered(tiny_package(root / "model", size_px=(16, 16)), root, studies)


@pytest.fixture(scope="session")
def label_map(segmented: Answered, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of the series segmented again, into the newer kind of object."""
    from folders import asked

    from medcnn.predict import predict

    model = segmented.output.parent / "model"
    conf = asked(model, segmented.studies["oblique"].folder, tmp_path_factory.mktemp("label_map") / "out", **QUICK)
    conf.dicom_seg = "labelmap"
    (path,) = (predict(conf).output / "dicom").glob("*_seg.dcm")
    return path


@pytest.fixture(params=["segmented", "classified"])
def answered(request: pytest.FixtureRequest) -> Answered:
    """Each of the two."""
    found: Answered = request.getfixturevalue(request.param)
    return found


def _answered(model: Path, root: Path, studies: dict[str, Study]) -> Answered:
    from folders import asked

    from medcnn.predict import predict

    for name in ("out", "again"):
        done = predict(asked(model, root / "scans", root / name, **QUICK))
        assert done.exit_code == 0, [str(row) for row in done.rows]
    return Answered(root / "out", root / "again", studies)
