"""What was measured before is not read again; what changed is, and what is damaged."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from medcnn.data.audit import measure as measure_module
from medcnn.data.audit import records as records_module
from medcnn.data.audit.measure import measure, measure_all
from medcnn.data.audit.records import NAME, Records
from medcnn.data.manifest import Case
from medcnn.io.options import Reading
from medcnn.scan import Rejection

NUM = 1000


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The case_ids that were really measured."""
    found: list[str] = []

    def counting(case, root, reading):
        found.append(case.case_id)
        return measure(case, root, reading)

    monkeypatch.setattr(measure_module, "measure", counting)
    return found


@pytest.fixture
def data(tmp_path, write_scene) -> Callable[[int], list[Case]]:
    return lambda n: [Case(f"c{k}", {"": write_scene(f"{k}.png", k)}, {"": "x"}) for k in range(n)]


def run(tmp_path: Path, cases: list[Case], reading: Reading | None = None) -> list:
    store = Records(tmp_path / "store")
    found = list(measure_all(cases, tmp_path / "data", reading or Reading(), store, report=lambda done, total: None))
    store.tidy()
    return found


def test_one_changed_file_of_1000_is_one_read(tmp_path, data, write_scene, reads) -> None:
    cases = data(NUM)
    first = run(tmp_path, cases)
    assert len(reads) == NUM
    reads.clear()
    assert run(tmp_path, cases) == first
    assert reads == []
    write_scene("500.png", 77_777)
    again = run(tmp_path, cases)
    assert reads == ["c500"]
    assert [one == other for one, other in zip(first, again, strict=True)].count(False) == 1


def test_what_decides_a_record_is_in_its_key(tmp_path, data, reads, write_scene, monkeypatch) -> None:
    (case,) = data(1)
    write_scene("m.png", 5)
    run(tmp_path, [case])
    variants = [
        Case("c0", case.images, {"": "x"}, boxes='[{"box": [1, 1, 2, 2], "class": "a"}]'),
        Case("c0", case.images, {"": "x"}, masks={"": "m.png"}),
    ]
    for variant in variants:
        reads.clear()
        run(tmp_path, [variant])
        assert reads == ["c0"]
    reads.clear()
    run(tmp_path, [Case("other id", case.images, {"": "other label"}, "patient", "val")])
    assert reads == []  # none of that changes what is measured
    run(tmp_path, [case], Reading(voi="window"))
    assert reads == ["c0"]
    monkeypatch.setattr(records_module, "VERSION", 99)
    reads.clear()
    run(tmp_path, [case])
    assert reads == ["c0"]


def test_rejections_are_remembered_but_not_those_that_may_pass(tmp_path, data, write_scene, reads) -> None:
    (case,) = data(1)
    broken = tmp_path / "data" / "0.png"
    broken.write_bytes(broken.read_bytes()[:200])
    import os

    os.utime(broken, ns=(10**18, 10**18))
    gone = Case("gone", {"": "gone.png"}, {"": "x"})
    for expected in (["c0", "gone"], ["gone"]):
        reads.clear()
        assert all(isinstance(outcome, Rejection) for _, outcome in run(tmp_path, [case, gone]))
        assert sorted(reads) == expected


def test_a_file_written_a_moment_ago_is_not_trusted(tmp_path, data, reads) -> None:
    (case,) = data(1)
    (tmp_path / "data" / "0.png").touch()
    run(tmp_path, [case])
    run(tmp_path, [case])
    assert reads == ["c0", "c0"]


@pytest.mark.parametrize("damage", ["cut off", "flipped", "garbage"])
def test_a_damaged_line_is_measured_again(tmp_path, data, reads, damage) -> None:
    cases = data(5)
    run(tmp_path, cases)
    file = tmp_path / "store" / NAME
    lines = file.read_bytes().splitlines(keepends=True)
    if damage == "cut off":
        lines[-1] = lines[-1][:300]
    elif damage == "flipped":
        lines[2] = lines[2][:500] + bytes([lines[2][500] ^ 1]) + lines[2][501:]
    else:
        lines[2] = b"\xff\x00 no record at all\n"
    file.write_bytes(b"".join(lines))
    reads.clear()
    store = Records(tmp_path / "store")
    assert store.damaged_lines == 1
    run(tmp_path, cases)
    assert len(reads) == 1
    reads.clear()
    run(tmp_path, cases)
    assert reads == []


def test_the_store_is_private_and_holds_no_paths(tmp_path, write_scene) -> None:
    name = write_scene("Miller_Anna/scan.png", 1)
    run(tmp_path, [Case("c0", {"": name}, {"": "x"}, "PATIENT-77")])
    file = tmp_path / "store" / NAME
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    content = file.read_bytes()
    assert b"Miller" not in content
    assert b"PATIENT" not in content


def test_a_store_that_cannot_be_written_costs_a_warning(tmp_path, data, reads, caplog) -> None:
    (tmp_path / "store").write_text("a file where the folder should be")
    assert len(run(tmp_path, data(3))) == 3
    assert len([one for one in caplog.records if "cannot be kept" in one.message]) == 1


def test_what_no_longer_counts_is_tidied_away(tmp_path, data, write_scene) -> None:
    cases = data(100)
    run(tmp_path, cases)
    for number in range(100):
        write_scene(f"{number}.png", 5000 + number)
    run(tmp_path, cases)
    for number in range(100):
        write_scene(f"{number}.png", 6000 + number)
    found = run(tmp_path, cases)
    assert len((tmp_path / "store" / NAME).read_bytes().splitlines()) == 100
    assert run(tmp_path, cases) == found


def test_stopping_midway_keeps_what_was_measured(tmp_path, data, reads) -> None:
    cases = data(60)
    store = Records(tmp_path / "store")
    going = measure_all(cases, tmp_path / "data", Reading(), store, report=lambda done, total: None)
    for _ in range(10):
        next(going)
    going.close()
    done = len(reads)
    assert 10 <= done < 60
    run(tmp_path, cases)
    assert len(reads) == 60


def test_an_interrupt_ends_it(tmp_path, data) -> None:
    def interrupted(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    store = Records(tmp_path / "store")
    with pytest.raises(KeyboardInterrupt):
        list(measure_all(data(40), tmp_path / "data", Reading(), store, report=interrupted))


def test_progress_counts_every_case(tmp_path, data) -> None:
    said: list[tuple[int, int]] = []
    list(measure_all(data(30), tmp_path / "data", Reading(), Records(tmp_path / "s"), report=lambda *a: said.append(a)))
    assert said == [(n, 30) for n in range(1, 31)]
