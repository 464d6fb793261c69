import pytest
from conftest import Options, runs_of

from medcnn.tracking import owner as owner_module
from medcnn.tracking.deliver import deliver
from medcnn.tracking.spool import last_event, lock_file
from medcnn.tracking.sweep import run_folders, sweep_dead, undelivered
from medcnn.tracking.tracker import open_tracker

pytestmark = pytest.mark.usefixtures("store_folder")


@pytest.fixture
def run_root(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def dead(monkeypatch):
    monkeypatch.setattr(owner_module, "_started", lambda _: "")


def left_running(run_folder):
    tracker = open_tracker(run_folder, Options(), run_name="r")
    tracker.metrics({"loss": 1.0}, step=0)


def test_a_run_left_behind_by_a_kill_is_marked_and_handed_over(run_root, run_folder, no_process, client, monkeypatch):
    left_running(run_folder)
    deliver(run_folder, follow=False)
    assert runs_of(client)[0].info.status == "RUNNING"
    no_process.clear()
    monkeypatch.setattr(owner_module, "_started", lambda _: "")
    assert sweep_dead(run_root) == [run_folder]
    assert no_process == [([run_folder], False)]
    assert sweep_dead(run_root) == []  # once is enough
    deliver(run_folder, follow=False)
    assert runs_of(client)[0].info.status == "KILLED"


def test_a_live_run_is_left_alone(run_root, run_folder, no_process):
    left_running(run_folder)
    assert sweep_dead(run_root) == []
    assert last_event(run_folder).kind == "metrics"


@pytest.mark.usefixtures("dead")
def test_a_run_whose_delivering_process_is_still_at_it_is_left_to_it(run_root, run_folder, no_process):
    from filelock import FileLock

    left_running(run_folder)
    with FileLock(lock_file(run_folder)):
        assert sweep_dead(run_root) == []
    assert last_event(run_folder).kind == "metrics"


@pytest.mark.usefixtures("dead", "no_process")
def test_a_closed_run_is_never_marked(run_root, run_folder):
    open_tracker(run_folder, Options(), run_name="r").close()
    assert sweep_dead(run_root) == []
    assert undelivered(run_root) == [run_folder]


@pytest.mark.usefixtures("no_process")
def test_every_run_is_found_once(run_root, run_folder):
    fold = run_folder / "fold_0"
    for folder in (run_folder, fold):
        open_tracker(folder, Options(), run_name="r").close()
    (run_folder.parent / "latest").symlink_to(run_folder)
    (run_root / "xray_cls" / "untracked").mkdir()
    assert run_folders(run_root) == [run_folder, fold]
    assert run_folders(run_folder) == [run_folder, fold]
    assert run_folders(run_root / "nothing") == []
