import json
import shutil
import sqlite3
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import EXPERIMENT, Options, history, runs_of
from PIL import Image

from medcnn.tracking import deliver as module
from medcnn.tracking import owner as owner_module
from medcnn.tracking.deliver import Outcome, deliver
from medcnn.tracking.shipping import Shipment
from medcnn.tracking.spool import Delivered, Spool, delivered_file, is_delivered, lock_file, read_events, size_bytes
from medcnn.tracking.tracker import open_tracker

pytestmark = [
    pytest.mark.usefixtures("no_process", "store_folder"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.02)


def write_run(run_folder: Path, *, steps: int = 5, **options) -> None:
    """One finished run with an event of every kind but a model."""
    (run_folder / "manifest.csv").write_text("case_id,label\nc-1,normal\nc-2,pneumonia\n")
    (run_folder / "figures").mkdir(exist_ok=True)
    Image.new("RGB", (40, 20), (200, 30, 30)).save(run_folder / "figures" / "overlay.png")
    with open_tracker(run_folder, Options(**options), run_name="cnn-0", tags={"seed": 0}) as tracker:
        tracker.params({"trainer.lr": 0.1, "model": "densenet"})
        for step in range(steps):
            tracker.metrics({"train/loss": 1 / (step + 1), "val/auroc": step / steps}, step=step)
        tracker.dataset(run_folder / "manifest.csv", "phantoms", "0123456789abcdef")
        tracker.image(run_folder / "figures" / "overlay.png", "val/overlay", step=2)
        tracker.artifact(run_folder / "figures")
        tracker.note("# Phantoms")


def assert_whole(client, run_folder, *, steps: int = 5) -> None:
    """Exactly one run in MLflow, with everything that write_run wrote, once and in order."""
    (run,) = runs_of(client)
    assert run.info.run_id == Delivered.load(run_folder).run_id
    assert run.info.status == "FINISHED"
    assert run.data.params == {"trainer.lr": "0.1", "model": "densenet"}
    assert history(client, run.info.run_id, "train/loss") == [(step, 1 / (step + 1)) for step in range(steps)]
    assert history(client, run.info.run_id, "val/auroc") == [(step, step / steps) for step in range(steps)]
    assert run.data.tags["seed"] == "0"
    assert run.data.tags["mlflow.note.content"] == "# Phantoms"
    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("phantoms", "0123456789abcdef")
    files = sorted(
        item.path
        for folder in ("", "data/training", "figures", "images")
        for item in client.list_artifacts(run.info.run_id, folder)
        if not item.is_dir
    )
    names = [Path(path).name for path in files]
    assert names[:2] == ["manifest.csv", "overlay.png"]
    assert [Path(name).suffix for name in names[2:]] == [".webp", ".png"]
    assert all(name.startswith("val~overlay+step+2+timestamp+") for name in names[2:])
    assert run.data.tags["mlflow.loggedImages"] == "True"


def test_a_finished_run_arrives_whole(run_folder, client):
    write_run(run_folder)
    assert deliver(run_folder, follow=False) is Outcome.DELIVERED
    assert is_delivered(run_folder)
    assert_whole(client, run_folder)


def test_no_path_of_this_machine_gets_into_the_run(run_folder, client, tmp_path):
    write_run(run_folder)
    deliver(run_folder, follow=False)
    (run,) = runs_of(client)
    said = json.dumps(run.to_dictionary()).replace(run.info.artifact_uri, "")
    assert str(tmp_path) not in said
    assert "phantoms" in said


def test_delivered_again_from_the_start_nothing_is_doubled(run_folder, client):
    write_run(run_folder)
    deliver(run_folder, follow=False)
    delivered_file(run_folder).unlink()
    assert deliver(run_folder, follow=False) is Outcome.DELIVERED
    assert_whole(client, run_folder)


class Crash(BaseException):
    """What no except clause of ours takes: the process is gone."""


@pytest.mark.parametrize("after_sending", [False, True])
def test_a_crash_at_any_event_loses_nothing_and_doubles_nothing(run_folder, client, monkeypatch, after_sending):
    write_run(run_folder)
    save = Shipment._save
    boundaries = len(list(read_events(run_folder))) + 1  # and one for the run's own creation
    crashes = 0

    def dying(shipment, **changes):
        if not after_sending:
            save(shipment, **changes)
        raise Crash

    for _ in range(boundaries):
        with monkeypatch.context() as patch:
            patch.setattr(Shipment, "_save", dying)
            patch.setattr(Shipment, "unread", lambda self: list(read_events(run_folder, self.state.offset))[:1])
            try:
                deliver(run_folder, follow=False)
            except Crash:
                crashes += 1
        if after_sending:  # sent, and not noted down: send one event for good, so that the next crash is at the next
            shipment = Shipment(run_folder)
            shipment.send(list(read_events(run_folder, shipment.state.offset))[:1])
    assert crashes >= boundaries - 1
    assert deliver(run_folder, follow=False) is Outcome.DELIVERED
    assert_whole(client, run_folder)


def test_a_resumed_run_goes_on_in_the_same_run(run_folder, client):
    with pytest.raises(KeyboardInterrupt), open_tracker(run_folder, Options(), run_name="r") as tracker:  # noqa: PT012
        tracker.params({"minutes": 5, "seed": 0})
        tracker.metrics({"loss": 1.0}, step=0)
        raise KeyboardInterrupt
    deliver(run_folder, follow=False)
    (run,) = runs_of(client)
    assert run.info.status == "KILLED"

    tracker = open_tracker(run_folder, Options(), run_name="r", tags={"resumed": "yes"})
    tracker.params({"minutes": 10, "seed": 0})
    tracker.metrics({"loss": 0.5}, step=1)
    assert deliver(run_folder, follow=False) is Outcome.RUNNING
    (again,) = runs_of(client)
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "RUNNING")

    tracker.close()
    assert deliver(run_folder, follow=False) is Outcome.DELIVERED
    (again,) = runs_of(client)
    assert again.info.status == "FINISHED"
    assert again.data.params == {"minutes": "5", "seed": "0"}  # MLflow never changes one
    assert again.data.tags["resumed.minutes"] == "10"
    assert again.data.tags["resumed"] == "yes"
    assert history(client, run.info.run_id, "loss") == [(0, 1.0), (1, 0.5)]


def test_a_run_whose_process_vanished_is_killed(run_folder, client, monkeypatch):
    tracker = open_tracker(run_folder, Options(), run_name="r")
    tracker.metrics({"loss": 1.0}, step=0)
    monkeypatch.setattr(owner_module, "_started", lambda _: "")
    assert deliver(run_folder, follow=True) is Outcome.DELIVERED
    (run,) = runs_of(client)
    assert run.info.status == "KILLED"
    assert history(client, run.info.run_id, "loss") == [(0, 1.0)]


def test_following_a_live_run_to_its_end(run_folder, client, monkeypatch):
    monkeypatch.setattr(module, "GATHER_MS", 0)
    tracker = open_tracker(run_folder, Options(), run_name="r")
    outcome = []
    follower = threading.Thread(target=lambda: outcome.append(deliver(run_folder, follow=True)))
    follower.start()
    for step in range(20):
        tracker.metrics({"loss": float(step)}, step=step)
    tracker.close()
    follower.join(timeout=30)
    assert outcome == [Outcome.DELIVERED]
    (run,) = runs_of(client)
    assert history(client, run.info.run_id, "loss") == [(step, float(step)) for step in range(20)]


def test_only_one_delivers_at_a_time(run_folder):
    from filelock import FileLock

    write_run(run_folder)
    with FileLock(lock_file(run_folder)):
        assert deliver(run_folder, follow=False) is Outcome.BUSY
    assert not is_delivered(run_folder)


def test_what_mlflow_cannot_take_is_kept_and_the_rest_arrives(run_folder, client, monkeypatch):
    monkeypatch.setattr(module, "MOST_ATTEMPTS", 2)
    figure = run_folder / "roc.png"
    with open_tracker(run_folder, Options(), run_name="r") as tracker:
        tracker.artifact(figure)
        tracker.metrics({"loss (mm²)": 1.0}, step=0)  # not in MLflow's alphabet
    assert deliver(run_folder, follow=False) is Outcome.REFUSED
    (run,) = runs_of(client)
    assert run.info.status == "FINISHED"
    assert history(client, run.info.run_id, "loss _mm__") == [(0, 1.0)]
    assert not is_delivered(run_folder)

    figure.write_bytes(b"now there")
    assert deliver(run_folder, follow=False) is Outcome.DELIVERED
    assert [item.path for item in client.list_artifacts(run.info.run_id)] == ["roc.png"]


def test_many_params_and_metrics_and_long_values_pass_mlflows_limits(run_folder, client):
    with open_tracker(run_folder, Options(), run_name="r") as tracker:
        tracker.params({f"p{index}": "x" * 7000 for index in range(120)})
        tracker.metrics({f"m{index}": index for index in range(1700)}, step=0)
    assert deliver(run_folder, follow=False) is Outcome.DELIVERED
    (run,) = runs_of(client)
    assert len(run.data.params) == 120
    assert len(run.data.params["p0"]) == 6000
    assert run.data.metrics["m1699"] == 1699


def test_a_run_in_the_bin_is_not_forced_out_of_it(run_folder, client):
    write_run(run_folder)
    deliver(run_folder, follow=False)
    (run,) = runs_of(client)
    client.delete_run(run.info.run_id)
    open_tracker(run_folder, Options(), run_name="r").close()
    assert deliver(run_folder, follow=False, patience_s=0.05) is Outcome.WAITING
    client.restore_run(run.info.run_id)
    assert deliver(run_folder, follow=False) is Outcome.DELIVERED


def test_a_locked_database_is_waited_for(run_folder, client, monkeypatch, store_folder):
    write_run(run_folder)
    deliver(run_folder, follow=False)
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.3)
    tracker = open_tracker(run_folder, Options(), run_name="r")
    tracker.metrics({"late": 1.0}, step=9)
    tracker.close()
    other = sqlite3.connect(store_folder / "mlflow.db", isolation_level=None, check_same_thread=False)
    other.execute("begin immediate")  # readers pass, writers wait: 5 s, then an error
    release = threading.Timer(6.0, other.execute, ["rollback"])
    release.start()
    assert deliver(run_folder, follow=False, patience_s=30) is Outcome.DELIVERED
    release.join()
    other.close()
    assert Delivered.load(run_folder).refused == ()
    (run,) = runs_of(client)
    assert history(client, run.info.run_id, "late") == [(9, 1.0)]


def test_a_corrupt_database_loses_nothing(run_folder, store_folder, template):
    (store_folder / "mlflow.db").write_bytes(b"not a database" * 1000)
    write_run(run_folder)
    assert deliver(run_folder, follow=False, patience_s=0.05) is Outcome.WAITING
    assert Delivered.load(run_folder) == Delivered()
    shutil.copy(template, store_folder / "mlflow.db")
    assert deliver(run_folder, follow=False) is Outcome.DELIVERED


def test_children_find_their_parent_whichever_arrives_first(tmp_path, client):
    folders = [tmp_path / "runs" / "cv" / name for name in ("parent", "early", "late")]
    parent = open_tracker(folders[0], Options(), run_name="cv")
    early = open_tracker(folders[1], Options(), run_name="fold-0", parent=folders[0])
    deliver(folders[1], follow=False)
    parent.close()
    deliver(folders[0], follow=False)
    early.close()
    deliver(folders[1], follow=False)
    open_tracker(folders[2], Options(), run_name="fold-1", parent=folders[0]).close()
    deliver(folders[2], follow=False)
    tags = {run.info.run_name: run.data.tags for run in runs_of(client)}
    parent_id = Delivered.load(folders[0]).run_id
    assert tags["fold-0"]["mlflow.parentRunId"] == tags["fold-1"]["mlflow.parentRunId"] == parent_id


# a server in trouble


@contextmanager
def server(answer):
    """An HTTP server whose every request is given to answer(handler)."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self):
            self.raw_requestline = self.rfile.readline(65537)
            if self.raw_requestline and self.parse_request():
                answer(self)
            self.close_connection = True

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def refuse_500(handler):
    handler.send_error(500)


def hang(handler):
    threading.Event().wait(3)


def nonsense(handler):
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(b"<html>a login page</html>")


def missing(handler):
    handler.send_error(404)


@pytest.mark.parametrize("trouble", [refuse_500, hang, nonsense, missing, None], ids=lambda trouble: str(trouble)[:20])
def test_a_server_in_trouble_loses_nothing_and_gets_all_once_it_is_back(run_folder, client, monkeypatch, trouble):
    for name, value in {"TIMEOUT": "1", "MAX_RETRIES": "0"}.items():
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", value)
    with server(trouble or refuse_500) as uri:
        if trouble is None:
            uri = "http://127.0.0.1:9"  # the discard port: refused
        write_run(run_folder, uri=uri)
        assert deliver(run_folder, follow=False, patience_s=0.05) is Outcome.WAITING
    state = Delivered.load(run_folder)
    assert (state.offset, state.refused, state.run_id) == (0, (), "")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd()}/mlflow.db")  # the way out: sync elsewhere
    assert deliver(run_folder, follow=False) is Outcome.DELIVERED
    assert_whole(client, run_folder)


@pytest.mark.parametrize("failing", ["log_batch", "log_artifacts", "log_inputs", "set_terminated"])
def test_a_server_that_fails_in_the_middle_is_waited_for(run_folder, client, monkeypatch, failing):
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    write_run(run_folder)
    calls = []
    method = getattr(MlflowClient, failing)

    def flaky(self, *arguments, **options):
        calls.append(failing)
        if len(calls) <= 3:
            raise MlflowException("API request failed with error code 500")
        return method(self, *arguments, **options)

    monkeypatch.setattr(MlflowClient, failing, flaky)
    assert deliver(run_folder, follow=False) is Outcome.DELIVERED
    assert len(calls) >= 4
    assert_whole(client, run_folder)


def test_an_event_from_the_future_is_kept(run_folder, client):
    tracker = open_tracker(run_folder, Options(), run_name="r")
    Spool(run_folder).append("hologram", path="x")
    tracker.close()
    assert deliver(run_folder, follow=False) is Outcome.REFUSED
    assert len(Delivered.load(run_folder).refused) == 1
    assert runs_of(client)[0].info.status == "FINISHED"


def test_the_noted_state_says_where_the_run_is(run_folder, client):
    write_run(run_folder)
    deliver(run_folder, follow=False)
    assert Delivered.load(run_folder).offset == size_bytes(run_folder)
    assert client.get_experiment(Delivered.load(run_folder).experiment_id).name == EXPERIMENT
    assert not list((run_folder / "tracking").glob("*.tmp"))
