import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from medcnn.tracking.owner import Owner


def test_this_process_is_alive():
    assert not Owner.current().is_gone()


@pytest.mark.parametrize("change", [{"pid": 2**22 + 1}, {"boot": "another"}, {"started": "1"}])
def test_a_process_of_another_boot_or_number_or_start_is_gone(change):
    assert replace(Owner.current(), **change).is_gone()


@pytest.mark.parametrize("change", [{"host": "another"}, {"space": "pid:[1]"}])
def test_what_cannot_be_judged_from_here_is_not_called_gone(change):
    assert not replace(Owner.current(), **change, pid=2**22 + 1).is_gone()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX only")
def test_a_killed_process_that_nobody_collected_is_gone():
    child = subprocess.Popen(["sleep", "60"])
    owner = replace(Owner.current(), pid=child.pid, started=_started(child.pid))
    assert not owner.is_gone()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and left as a zombie
    assert owner.is_gone()
    child.wait()
    assert owner.is_gone()


def _started(pid):
    """Field 22 of proc(5), read independently."""
    return Path(f"/proc/{pid}/stat").read_text().split()[21]


def test_an_owner_survives_json():
    import json
    from dataclasses import asdict

    owner = Owner.current()
    assert Owner.of(json.loads(json.dumps(asdict(owner)))) == owner
    assert owner.pid == os.getpid()
    assert sys.platform != "linux" or owner.started == _started(os.getpid())
