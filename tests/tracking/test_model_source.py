"""Models named by MLflow become folders: from a real SQLite store, and from one that is not there."""

import json
import shutil
import stat
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from conftest import Options

from medcnn.errors import PackageError
from medcnn.tracking.deliver import Outcome, deliver
from medcnn.tracking.model_source import is_in_mlflow, local_package
from medcnn.tracking.spool import Delivered
from medcnn.tracking.store import open_store, resolve_store
from medcnn.tracking.tracker import open_tracker

pytestmark = pytest.mark.filterwarnings(
    "ignore::sqlalchemy.exc.SADeprecationWarning", "ignore::pandas.errors.Pandas4Warning"
)

WEIGHTS = b"weights of the first"


def write_package(folder, weights=WEIGHTS):
    folder.mkdir(parents=True)
    (folder / "weights_0.safetensors").write_bytes(weights)
    output = {"class_names": ["normal", "pneumonia"]}
    described = {"weights": {"weights_0.safetensors": sha256(weights).hexdigest()}, "output": output}
    (folder / "model.json").write_text(json.dumps({"format_version": 1, **described}))
    return folder


def logged(run_folder, name, weights=WEIGHTS):
    """A run whose model is delivered and registered, as the champion; its run id."""
    write_package(run_folder / "model", weights)
    with open_tracker(run_folder, Options(experiment=name), run_name="r") as tracker:
        tracker.model(run_folder / "model", register_as=name, alias="champion")
    assert deliver(run_folder, follow=False) is Outcome.DELIVERED
    return Delivered.load(run_folder).run_id


@pytest.fixture(scope="module")
def shared(template, tmp_path_factory):
    """(a store's folder, the id of the run behind models:/xr): logging a model takes seconds, so it is done once."""
    folder = tmp_path_factory.mktemp("shared")
    shutil.copy(template, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setattr("medcnn.tracking.tracker.start_delivering", lambda folders, *, follow: Ended())
        return folder, logged(folder / "runs" / "one", "xr")


class Ended:
    """A delivering process that is never started: tests deliver in their own."""

    def poll(self):
        return 0


@pytest.fixture(autouse=True)
def store(shared, no_process, _environment, tmp_path, monkeypatch):
    """Everything in the shared store, the working directory elsewhere."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shared[0]}/mlflow.db")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def client(store):
    return open_store(resolve_store(), "xr")[0]


@pytest.fixture
def run_folder(tmp_path):
    return tmp_path / "runs" / "two"


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "results" / ".medcnn" / "models"


def content(folder):
    return (folder / "weights_0.safetensors").read_bytes()


def test_a_folder_stays_where_it_is_without_mlflow(tmp_path, cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)  # an import now fails
    package = write_package(tmp_path / "package")
    assert local_package(str(package), cache) == package
    assert not cache.exists()


@pytest.mark.parametrize(
    ("model", "there"),
    [
        ("models:/xr@champion", True),
        ("models:/xr/3", True),
        ("runs:/" + 32 * "a" + "/model", True),
        (32 * "0", True),
        ("runs/xray_cls/latest", False),
        ("results/model", False),
        (31 * "0", False),
    ],
)
def test_what_names_something_in_mlflow(model, there):
    assert is_in_mlflow(model) is there


def test_a_folder_that_is_called_like_a_run_comes_first(tmp_path, cache):
    package = write_package(tmp_path / (32 * "b"))  # the working directory is tmp_path
    assert local_package(32 * "b", cache).resolve() == package


def test_one_model_under_all_its_names(shared, client, cache):
    run_id = shared[1]
    model_id = client.get_run(run_id).outputs.model_outputs[0].model_id
    names = ["models:/xr@champion", "models:/xr/1", "models:/xr/latest", f"runs:/{run_id}/model", run_id]
    (folder,) = {local_package(name, cache) for name in (*names, f"models:/{model_id}")}
    assert folder.parent == cache
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "weights_0.safetensors"]
    assert content(folder) == WEIGHTS
    for path in (cache.parent, cache, folder, *folder.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert list(cache.iterdir()) == [folder], "nothing is left beside it"


def test_the_default_store_is_the_working_directorys(shared, cache, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.chdir(shared[0])
    assert content(local_package("models:/xr@champion", cache)) == WEIGHTS


def test_an_alias_that_moves_is_followed_and_the_old_model_kept(run_folder, cache):
    logged(run_folder, "moving")
    first = local_package("models:/moving@champion", cache)
    logged(run_folder.with_name("three"), "moving", b"weights of the second")
    assert content(local_package("models:/moving@champion", cache)) == b"weights of the second"
    assert content(local_package("models:/moving/latest", cache)) == b"weights of the second"
    assert content(first) == content(local_package("models:/moving/1", cache)) == WEIGHTS


def test_a_whole_package_is_not_fetched_again_and_a_damaged_one_is(cache, monkeypatch):
    import mlflow.artifacts

    folder, fetched = local_package("models:/xr@champion", cache), []
    real = mlflow.artifacts.download_artifacts

    def noted(**asked):
        fetched.append(asked)
        return real(**asked)

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", noted)
    assert local_package("models:/xr@champion", cache) == folder
    assert not fetched
    (folder / "weights_0.safetensors").write_bytes(b"half")
    assert local_package("models:/xr@champion", cache) == folder
    assert len(fetched) == 1
    assert content(folder) == WEIGHTS


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("models:/xr@winner", "'xr' has no alias 'winner'; there are aliases champion; versions 1"),
        ("models:/xr/7", "'xr' has no version 7; there are aliases champion; versions 1"),
        ("models:/xr", "say which 'xr' is meant, .* aliases champion; versions 1"),
        ("models:/x-ray@champion", "no model is registered as 'x-ray'; there are .*xr"),
        (f"models:/m-{32 * 'a'}", "no logged model m-a"),
        (f"runs:/{32 * 'a'}/model", "no run a"),
        (32 * "f", "no run f"),
        ("runs:/nonsense", "names nothing in MLflow. Write models:/<name>@<alias>"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(cache, model, said):
    with pytest.raises(PackageError, match=said):
        local_package(model, cache)
    assert not cache.exists()


def test_a_run_without_a_model_says_so_and_its_own_artifacts_serve(client, cache, tmp_path):
    run_id = client.create_run(client.get_experiment_by_name("xr").experiment_id).info.run_id
    with pytest.raises(PackageError, match=r"has no model 'model' in MLflow \(there: none\)"):
        local_package(run_id, cache)
    client.log_artifacts(run_id, str(write_package(tmp_path / "old")), "model")
    assert content(local_package(run_id, cache)) == WEIGHTS


def test_what_is_no_package_is_refused_and_leaves_nothing(run_folder, client, cache):
    run_id = logged(run_folder, "broken")
    model_id = client.get_run(run_id).outputs.model_outputs[0].model_id
    artifacts = Path(client.get_logged_model(model_id).artifact_location.removeprefix("file://"))
    weights = next(artifacts.rglob("weights_0.safetensors"))
    weights.write_bytes(b"changed on the server")
    with pytest.raises(PackageError, match="is damaged"):
        local_package("models:/broken@champion", cache)
    shutil.rmtree(weights.parent)
    with pytest.raises(PackageError, match="no medcnn package"):
        local_package(run_id, cache)
    assert list(cache.iterdir()) == []


def test_a_store_that_is_not_there_is_not_made(tmp_path, cache, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(PackageError, match=r"there is no MLflow store .*mlflow\.db"):
        local_package("models:/xr@champion", cache)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_server_that_does_not_answer_is_named_without_its_password(cache, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hidden@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    with pytest.raises(
        PackageError, match=r"MLflow at http://127\.0\.0\.1:9 cannot be read .* Check that the server runs"
    ) as caught:
        local_package("models:/xr@champion", cache)
    assert "hidden" not in str(caught.value)
