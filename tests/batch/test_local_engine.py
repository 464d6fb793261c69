"""Processes that die, hang or lose their memory cost the case that did it, and no other."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from folders import asked, write_png
from packages import tiny_package
from safetensors.torch import save

from medcnn.batch.messages import Gone, Link
from medcnn.errors import Interrupted, UserError
from medcnn.model_package.description import save_package
from medcnn.model_package.opening import read_description
from medcnn.predict import predict

FAULTY = '''
import os, signal, sys, time
from torch import nn

DOES = (os.abort, lambda: time.sleep(3600), lambda: os.kill(os.getpid(), signal.SIGKILL))

class Faulty(nn.Module):
    """Does something for each quarter of a picture that is bright while the others are dark."""

    def __init__(self, num_outputs):
        super().__init__()
        self.last = nn.Conv2d(1, num_outputs, 1)

    def forward(self, image):
        quarters = nn.functional.adaptive_avg_pool2d(image, 2).flatten(1)
        for quarter in quarters:
            if quarter.max() - quarter.median() > 0.9:
                DOES[int(quarter.argmax())]()
        return self.last(image).mean(dim=(2, 3))
'''
DIES = {"abort": 0, "hang": 1, "killed": 2}
CODES = {"abort": "WORKER_SIGNAL", "hang": "TIMEOUT", "killed": "MEMORY"}


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose network is the user's own, and breaks."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "faulty_net.py").write_text(FAULTY)
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    folder = tiny_package(tmp_path / "m")
    description = read_description(folder)
    network = {
        "name": "custom", "module": "faulty_net", "class_name": "Faulty", "arguments": {},
        "in_channels": 1, "size_px": [16, 16], "num_outputs": 2,
    }  # fmt: skip
    description.network.clear()
    description.network.update(network)
    save_package(folder, description, [save({"last.weight": torch.ones(2, 1, 1, 1), "last.bias": torch.ones(2)})])
    return folder


def write_trap(path: Path, quarter: int) -> None:
    from PIL import Image

    picture = np.zeros((16, 16), np.uint8)
    picture[8 * (quarter // 2) :, 8 * (quarter % 2) :][:8, :8] = 255
    Image.fromarray(picture).save(path)


def local(model: Path, scans: Path, output: Path, **settings: Any) -> Any:
    return asked(model, scans, output, engine="local", modules=["faulty_net"], **settings)


def test_a_case_that_ends_its_process_fails_alone(model: Path, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    for number in range(12):
        write_png(scans / f"{number:02}.png", number)
    for name, quarter in DIES.items():
        write_trap(scans / f"05_{name}.png", quarter)
    done = predict(local(model, scans, tmp_path / "out", timeout_s=6.0))
    bad = {Path(row.reference).stem.partition("_")[2]: row for row in done.rows if row.status != "ok"}
    assert {name: (row.status, row.reason_code) for name, row in bad.items()} == {
        name: ("failed", code) for name, code in CODES.items()
    }
    assert bad["abort"].found == "the process that answers was ended by SIGABRT"
    assert (done.exit_code, sum(row.status == "ok" for row in done.rows)) == (8, 12)
    assert not [child for child in psutil.Process().children() if "medcnn.batch.worker" in " ".join(child.cmdline())]
    here = predict(asked(tiny_package(tmp_path / "m2"), scans, tmp_path / "out2"))
    assert here.exit_code == 0  # the pictures themselves are sound


def test_several_processes_answer_like_one(tmp_path: Path) -> None:
    model, scans = tiny_package(tmp_path / "m"), tmp_path / "scans"
    for number in range(30):
        write_png(scans / f"{number:02}.png", number)
    settings: dict[str, Any] = {"explain": "gradcam", "batch_cases": 4}
    outputs = []
    for name, more in (("here", {}), ("two", {"engine": "local", "workers": 2})):
        conf = asked(model, scans, tmp_path / name, **settings, **more)
        conf.privacy.key_file = str(tmp_path / "key")
        outputs.append(predict(conf).output)
    pictures = [{path.name: path.read_bytes() for path in (out / "overlays").iterdir()} for out in outputs]
    results = [{path.parent.name: path.read_bytes() for path in out.glob("cases/*/result.json")} for out in outputs]
    assert len(pictures[0]) == len(results[0]) == 30
    assert pictures[0] == pictures[1]
    assert results[0] == results[1]
    conf.workers = 1
    assert predict(conf).computed == 0


def test_what_cannot_be_opened_is_said_once(tmp_path: Path) -> None:
    model = tiny_package(tmp_path / "m")
    write_png(tmp_path / "scans" / "a.png", 0)
    (model / "weights_0.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="is damaged: its SHA-256"):
        predict(asked(model, tmp_path / "scans", tmp_path / "out", engine="local"))


def test_a_signal_ends_after_the_cases_in_hand_and_no_process_stays(tmp_path: Path) -> None:
    model, scans = tiny_package(tmp_path / "m"), tmp_path / "scans"
    for number in range(120):
        write_png(scans / f"{number:03}.png", number)
    ledger = tmp_path / "out" / "ledger.jsonl"

    def interrupt() -> None:
        until = time.monotonic() + 60
        while not (ledger.exists() and ledger.stat().st_size) and time.monotonic() < until:
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    conf = asked(model, scans, tmp_path / "out", engine="local", explain="gradcam", batch_cases=2)
    with pytest.raises(Interrupted) as stop:
        predict(conf)
    thread.join()
    assert stop.value.exit_code == 130
    children = [child for child in psutil.Process().children() if "medcnn.batch.worker" in " ".join(child.cmdline())]
    assert not children
    done = len(ledger.read_text().splitlines())
    assert 0 < done < 120
    again = predict(conf)
    assert (again.computed, again.exit_code) == (120 - done, 0)


def test_links_carry_messages_and_end_on_nonsense() -> None:
    import socket

    ours, theirs = socket.socketpair()
    left, right = Link(ours), Link(theirs)
    left.send(case={"text": "é" * 10_000})
    assert right.receive() == {"case": {"text": "é" * 10_000}}
    theirs.sendall(b"\xff" * 64)
    with pytest.raises(Gone):
        left.receive()
    theirs.close()
    with pytest.raises(Gone):
        left.receive()


def test_a_process_that_cannot_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from medcnn.batch import local as local_engine

    model = tiny_package(tmp_path / "m")
    write_png(tmp_path / "scans" / "a.png", 0)
    monkeypatch.setattr(local_engine, "_START", "raise SystemExit(3)")
    with pytest.raises(UserError, match="ended with status 3 before its first case"):
        predict(asked(model, tmp_path / "scans", tmp_path / "out", engine="local"))
