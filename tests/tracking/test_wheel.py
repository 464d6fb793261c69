import base64
import csv
import hashlib
import io
import zipfile
import zipimport
from importlib import metadata
from pathlib import Path

import medcnn
from medcnn.tracking.wheel import build_wheel, requirements


def test_the_record_names_every_file_with_its_hash(tmp_path):
    with zipfile.ZipFile(build_wheel(tmp_path)) as wheel:
        (record,) = (name for name in wheel.namelist() if name.endswith(".dist-info/RECORD"))
        rows = {name: (digest, size) for name, digest, size in csv.reader(io.StringIO(wheel.read(record).decode()))}
        assert sorted(rows) == sorted(wheel.namelist())
        for name, (digest, size) in rows.items():
            if name != record:
                content = wheel.read(name)
                expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
                assert (digest, int(size)) == (f"sha256={expected}", len(content))


def test_it_holds_the_code_as_it_runs_and_nothing_compiled(tmp_path):
    package = Path(medcnn.__file__).parent
    with zipfile.ZipFile(build_wheel(tmp_path)) as wheel:
        assert wheel.read("medcnn/tracking/wheel.py") == (package / "tracking" / "wheel.py").read_bytes()
        assert not [name for name in wheel.namelist() if "__pycache__" in name]
        (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
        fields = metadata.PathDistribution(zipfile.Path(wheel, name.rpartition("/")[0] + "/")).metadata
    assert (fields["Name"], fields["Version"]) == ("medcnn", medcnn.__version__)
    assert any(line.startswith("torch") for line in fields.get_all("Requires-Dist"))


def test_the_same_code_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert build_wheel(tmp_path / "a").read_bytes() == build_wheel(tmp_path / "b").read_bytes()


def test_python_can_import_from_it_as_it_is(tmp_path):
    importer = zipimport.zipimporter(str(build_wheel(tmp_path)))
    assert importer.find_spec("medcnn") is not None
    source = zipimport.zipimporter(f"{build_wheel(tmp_path)}/medcnn").get_source("geometry")
    assert source is not None
    assert "LPS_TO_RAS" in source


def test_a_served_model_gets_the_versions_at_hand():
    pinned = dict(line.split("==") for line in requirements())
    assert pinned["torch"] == metadata.version("torch").partition("+")[0]
    assert pinned["pylibjpeg[openjpeg]"] == metadata.version("pylibjpeg")
    assert "hydra-core" not in pinned
    assert not any("+" in version for version in pinned.values())
