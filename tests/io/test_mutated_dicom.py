"""Damaged DICOM files and series: read as they should be, or refused with a reason; never anything else."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest

from benchmarks.robustness.catalogue import make_input, mutators_of, seeds_of
from benchmarks.robustness.dicom_edit import edited, with_value
from benchmarks.robustness.dicom_layout import Malformed, layout_of
from benchmarks.robustness.dicom_rules import contradiction
from benchmarks.robustness.dicom_seeds import by_name, dicom_seeds
from benchmarks.robustness.dicom_values import HIGH_BIT, POSITION, ROWS, SPACING
from benchmarks.robustness.judge import Judge, Outcome
from benchmarks.robustness.mutation import Label, Mutant, Seed
from benchmarks.robustness.readers import Result

COUNT, RUN_SEED = 500, 2024
SURVIVED = (Outcome.ACCEPTED, Outcome.REJECTED, Outcome.WRONG_PLAUSIBLE)


def test_500_damaged_files_and_series_end_as_they_should(tmp_path: Path) -> None:
    judge = Judge("dicom", "medcnn", tmp_path)
    verdicts = [judge.judge(make_input("dicom", RUN_SEED, number)) for number in range(COUNT)]
    judge.close()
    assert [verdict for verdict in verdicts if verdict.outcome not in SURVIVED] == []
    assert {verdict.mutator for verdict in verdicts} == {mutator.name for mutator in mutators_of("dicom")}
    counts = {outcome: sum(verdict.outcome == outcome for verdict in verdicts) for outcome in SURVIVED}
    assert counts[Outcome.ACCEPTED] > 20  # damage that changes nothing is not refused
    assert counts[Outcome.REJECTED] > 200
    assert counts[Outcome.WRONG_PLAUSIBLE] < 0.2 * COUNT


def test_good_scans_keep_every_rule_and_are_read(tmp_path: Path) -> None:
    judge = Judge("dicom", "medcnn", tmp_path)
    seeds = seeds_of("dicom")
    assert len(seeds) >= 15
    assert {seed.name: why for seed in seeds if (why := contradiction(seed.files))} == {}
    for seed in seeds:
        verdict = judge.judge(_input(seed, seed.files))
        assert verdict.outcome == Outcome.ACCEPTED, seed.name
    judge.close()


def test_an_input_is_the_same_for_ever() -> None:
    for number in (0, 17, 333):
        one, other = make_input("dicom", 5, number), make_input("dicom", 5, number)
        assert dict(one.mutant.files) == dict(other.mutant.files)
        assert one.mutant.label is other.mutant.label
        assert dict(one.mutant.files) != dict(make_input("dicom", 6, number).mutant.files)


def test_a_contradiction_is_detectable_and_a_plausible_value_is_not() -> None:
    series = by_name(dicom_seeds())["made CT series"]
    layout = layout_of(series.files["s/2.dcm"])
    spacing, rows, high, position = (layout.find(tag) for tag in (SPACING, ROWS, HIGH_BIT, POSITION))
    assert spacing is not None
    assert rows is not None
    assert high is not None
    assert position is not None
    alone = {"one.dcm": with_value(layout, spacing, b"0.8\\0.5 ")}
    assert contradiction(alone) is None
    assert "spacing" in str(contradiction({**series.files, "s/2.dcm": alone["one.dcm"]}))
    assert "length" in str(contradiction({"one.dcm": with_value(layout, rows, b"\x09\x00")}))
    assert "bits" in str(contradiction({"one.dcm": with_value(layout, high, b"\x0b\x00")}))
    moved = with_value(layout, position, b"-10\\-20\\35.3")
    assert "grid" in str(contradiction({**series.files, "s/2.dcm": moved}))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda data: data[:-1], "longer than what holds it"),
        (lambda data: data + b"\0\0", "header"),
        (lambda data: data.replace(b"DS", b"QQ", 1), "unknown VR"),
        (lambda data: data.replace(b"DS", b"UI", 1), "dictionary"),
        (lambda data: data[:140] + bytes([data[140] + 2]) + data[141:], "end within an element|meta|unknown VR"),
        (lambda data: data[:128] + b"DICN" + data[132:], "DICM"),
    ],
)
def test_the_strict_walk_names_what_is_wrong(change, rule: str) -> None:
    data = by_name(dicom_seeds())["made X-ray, 8 bit"].files["one.dcm"]
    with pytest.raises(Malformed, match=rule):
        layout_of(change(data))


def test_a_changed_element_leaves_the_rest_well_formed() -> None:
    for name in ("made enhanced MR", "made enhanced MR, implicit", "made X-ray, deflated", "MR_small_bigendian"):
        layout = layout_of(by_name(dicom_seeds())[name].files["one.dcm"])
        rng = Random(3)
        for element in rng.sample(list(layout.every()), 12):
            if element.items or element.tag >> 16 == 2:
                continue
            again = layout_of(edited(layout, element.start, element.end, b""))
            assert len(list(again.every())) == len(list(layout.every())) - 1


def test_the_judge_sees_every_kind_of_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that misbehaves is caught: otherwise zero failures would mean nothing."""
    seed = by_name(dicom_seeds())["made X-ray, 8 bit"]
    right = Result([np.zeros((1, 2, 2), np.float32)])

    def reading(end: object) -> object:
        def read(folder: Path, asked: Seed) -> Result:
            if folder.name == "seed":
                return right
            if isinstance(end, BaseException):
                raise end
            assert isinstance(end, Result)
            return end

        return read

    class Panic(BaseException):
        pass

    ends = {
        Outcome.WRONG: Result([np.ones((1, 2, 2), np.float32)]),
        Outcome.ACCEPTED: right,
        Outcome.PARTIAL: Result(right.arrays, whole=False),
        Outcome.UNTYPED: ValueError("a bug"),
        Outcome.ESCAPED: Panic(),
        Outcome.MEMORY: MemoryError(),
        Outcome.LEAKED: ValueError("the patient is QZXJQZXJ"),
    }
    for expected, end in ends.items():
        monkeypatch.setattr("benchmarks.robustness.judge.reader_of", lambda *_, end=end: reading(end))
        judge = Judge("dicom", "medcnn", tmp_path)
        assert judge.judge(_input(seed, seed.files, Label.DETECTABLE)).outcome == expected
        judge.close()


def _input(seed: Seed, files: object, label: Label = Label.UNDETECTABLE) -> object:
    from benchmarks.robustness.catalogue import Input

    return Input(0, seed, "none", Mutant(files, label, "a test"))
