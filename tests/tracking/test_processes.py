"""The real thing, with real processes: the only tests here that start Python anew."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import EXPERIMENT, history

from medcnn.tracking.spool import Delivered, is_delivered
from medcnn.tracking.store import open_store, resolve_store

TRAINING = """
import os, sys, time
from dataclasses import dataclass
from pathlib import Path
from medcnn.tracking.tracker import open_tracker

@dataclass
class Options:
    enabled: bool = True
    uri: str = ""
    experiment: str = sys.argv[2]
    wait_s: float = 90.0

if os.fork() == 0:  # a second training, on the same store that does not exist yet
    name = "second"
else:
    name = "first"
folder = Path(sys.argv[1]) / name
folder.mkdir(parents=True)
with open_tracker(folder, Options(), run_name=name) as tracker:
    for step in range(50):
        tracker.metrics({"loss": 1.0 / (step + 1)}, step=step)
    if name == "second":
        os.kill(os.getpid(), 9)
os.wait()
assert "mlflow" not in sys.modules
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
def test_two_trainings_on_a_fresh_store_one_of_them_killed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    training = subprocess.run(
        [sys.executable, "-c", TRAINING, "runs/toy", EXPERIMENT], capture_output=True, text=True, timeout=200
    )
    assert (training.returncode, training.stderr) == (0, "")
    until_s = time.monotonic() + 60
    while not is_delivered(Path("runs/toy/second")) and time.monotonic() < until_s:
        time.sleep(0.1)
    client, _ = open_store(resolve_store(), EXPERIMENT)
    for name, status in {"first": "FINISHED", "second": "KILLED"}.items():
        state = Delivered.load(Path("runs/toy") / name)
        run = client.get_run(state.run_id)
        assert (run.info.run_name, run.info.status) == (name, status)
        assert history(client, state.run_id, "loss") == [(step, 1 / (step + 1)) for step in range(50)]
    assert signal.SIGKILL == 9
    assert len(client.search_experiments(filter_string=f"name = '{EXPERIMENT}'")) == 1
