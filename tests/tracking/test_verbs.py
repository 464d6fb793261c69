import pytest
from conftest import EXPERIMENT, Options, runs_of

from medcnn import sync, ui
from medcnn.tracking import deliver as deliver_module
from medcnn.tracking.store import Store, open_store, resolve_store
from medcnn.tracking.tracker import open_tracker


@pytest.mark.usefixtures("store_folder", "no_process")
def test_sync_delivers_what_is_left_and_says_so(run_folder, capsys, client):
    open_tracker(run_folder, Options(), run_name="r").close()
    assert sync.main([]) == 0
    assert capsys.readouterr().out == "xray_cls/2026-03-04_10-11-12_ab12: delivered\n"
    assert runs_of(client)[0].info.status == "FINISHED"
    assert sync.main(["runs=runs"]) == 0
    assert capsys.readouterr().out == "1 runs below runs, all delivered\n"


@pytest.mark.usefixtures("store_folder", "no_process")
def test_sync_says_what_is_still_missing(run_folder, capsys, monkeypatch):
    monkeypatch.setattr(deliver_module, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    open_tracker(run_folder, Options(uri="http://127.0.0.1:9"), run_name="r").close()
    assert sync.sync(run_folder.parent.parent, patience_s=0.01) == 1
    assert "kept" in capsys.readouterr().out


@pytest.mark.parametrize("verb", [sync, ui])
def test_help_and_wrong_arguments(verb, capsys):
    assert verb.main(["--help"]) == 0
    assert verb.main(["rnus=x", "prot=1"]) == 2
    assert "unknown key" in capsys.readouterr().err


def test_wrong_values_are_explained(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert sync.main(["runs=none"]) == 2
    assert ui.main(["port=70000"]) == 2
    assert ui.main(["uri=./mlruns"]) == 2
    assert ui.main([]) == 1  # nothing tracked here: no empty database is left behind
    said = capsys.readouterr()
    assert "there is no such folder" in said.err
    assert "from 1 to 65535" in said.err
    assert "no longer writes runs into plain folders" in said.err
    assert "nothing was tracked here yet" in said.out
    assert list(tmp_path.iterdir()) == []


def test_the_experiments_are_linked_newest_first(store_folder):
    store = resolve_store(folder=store_folder)
    number = open_store(store, EXPERIMENT)[1]
    first, second = ui.links(store, port=5001)
    assert first == f"{EXPERIMENT}: http://127.0.0.1:5001/#/experiments/{number}/runs?workflowType=machine_learning"
    assert second.startswith("warm-up: ")


def test_runs_on_a_server_are_shown_by_that_server(capsys):
    assert ui.ui(Store("https://tracking")) == 0
    assert "https://tracking" in capsys.readouterr().out
