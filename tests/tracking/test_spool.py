import json
import os
import time

import pytest

from medcnn.tracking.spool import (
    Delivered,
    Spool,
    delivered_file,
    events_file,
    is_delivered,
    last_event,
    read_events,
    size_bytes,
)


def test_what_was_appended_is_read_back_in_order_with_offsets_that_tile_the_file(tmp_path):
    spool = Spool(tmp_path)
    for step in range(3):
        spool.append("metrics", values={"loss": step / 2}, step=step)
    events = list(read_events(tmp_path))
    assert [event.body["step"] for event in events] == [0, 1, 2]
    assert [event.start for event in events] == [0, events[0].end, events[1].end]
    assert events[-1].end == size_bytes(tmp_path)
    assert [event.body["step"] for event in read_events(tmp_path, events[0].end)] == [1, 2]
    assert abs(events[0].time_ms - time.time() * 1000) < 60_000


def test_nan_and_infinity_survive(tmp_path):
    Spool(tmp_path).append("metrics", values={"a": float("nan"), "b": float("inf")}, step=0)
    values = next(read_events(tmp_path)).body["values"]
    assert values["a"] != values["a"]
    assert values["b"] == float("inf")


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_torn_by_a_kill_is_passed_over_and_the_next_writer_starts_a_new_line(tmp_path, cut):
    spool = Spool(tmp_path)
    spool.append("params", values={"a": "1"})
    whole = size_bytes(tmp_path)
    spool.append("params", values={"b": "2"})
    os.truncate(events_file(tmp_path), size_bytes(tmp_path) - cut)
    assert [event.end for event in read_events(tmp_path)] == [whole]
    Spool(tmp_path).append("params", values={"c": "3"})
    kept = [event.body["values"] for event in read_events(tmp_path)]
    # a cut of 1 takes the line break only: that event is whole, and is kept
    assert kept == ([{"a": "1"}, {"b": "2"}, {"c": "3"}] if cut == 1 else [{"a": "1"}, {"c": "3"}])


def test_a_write_cut_short_by_a_full_disk_is_an_error_and_spoils_no_later_event(tmp_path, monkeypatch):
    spool = Spool(tmp_path)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
        with pytest.raises(OSError, match="in part"):
            spool.append("params", values={"a": "1"})
    spool.append("params", values={"b": "2"})
    assert [event.body["values"] for event in read_events(tmp_path)] == [{"b": "2"}]


def test_the_last_event_is_found_at_the_end_of_a_long_file(tmp_path):
    spool = Spool(tmp_path)
    for step in range(2000):
        spool.append("metrics", values={"loss": 0.5}, step=step)
    spool.append("close", status="FINISHED")
    assert size_bytes(tmp_path) > 65536
    assert last_event(tmp_path).kind == "close"


def test_there_is_nothing_to_read_in_a_folder_without_a_record(tmp_path):
    assert list(read_events(tmp_path)) == []
    assert last_event(tmp_path) is None
    assert not is_delivered(tmp_path)


def test_the_record_is_private(tmp_path):
    Spool(tmp_path / "run")
    assert events_file(tmp_path / "run").stat().st_mode & 0o077 == 0
    assert events_file(tmp_path / "run").parent.stat().st_mode & 0o077 == 0


def test_the_delivered_state_survives_a_round_trip_and_fields_of_a_newer_version(tmp_path):
    Spool(tmp_path)
    state = Delivered(offset=7, closed=True, uri="u", experiment_id="1", run_id="r", refused=(3, 5))
    state.save(tmp_path)
    assert Delivered.load(tmp_path) == state
    content = json.loads(delivered_file(tmp_path).read_text())
    delivered_file(tmp_path).write_text(json.dumps({**content, "later": 1}))
    assert Delivered.load(tmp_path) == state


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"offset": 1, "refused": 3}'])
def test_a_damaged_state_means_that_nothing_was_delivered(tmp_path, damage):
    Spool(tmp_path)
    delivered_file(tmp_path).write_text(damage)
    assert Delivered.load(tmp_path) == Delivered()
