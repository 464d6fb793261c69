"""debug=dry_run, debug=overfit and debug=learning_rate."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path

from medcnn.config.verbs import TrainConf
from medcnn.data.labels import Labels
from medcnn.data.manifest import Case, Manifest
from medcnn.debugging import debug_cases, debugged


def conf(debug: str) -> TrainConf:
    made = TrainConf(debug=debug)
    made.task.name = "xray_cls"
    made.transforms.random.affine.probability = 0.5
    return made


def manifest() -> tuple[Manifest, Labels]:
    cases = [
        Case(f"c{n}", {"": f"{n}.png"}, {"": "ab"[n % 2]}, f"p{n}", split)
        for n, split in enumerate(["train"] * 60 + ["val"] * 20 + ["calib"] * 3 + ["test"] * 20)
    ]
    whole = Manifest(Path(), tuple(cases))
    return whole, Labels.of(whole, [])


def test_without_debugging_nothing_changes() -> None:
    given = conf("none")
    assert debugged(given) is given


def test_the_given_config_stays_as_it_was() -> None:
    for debug in ("dry_run", "overfit", "learning_rate"):
        given = conf(debug)
        before = copy.deepcopy(given)
        changed = debugged(given)
        assert given == before
        assert changed.task.name == "debug_xray_cls"
        assert not changed.tracking.enabled


def test_overfit_varies_and_punishes_nothing() -> None:
    changed = debugged(conf("overfit"))
    assert changed.transforms.random.affine.probability == 0
    assert changed.trainer.label_smoothing == changed.trainer.weight_decay == changed.model.dropout == 0
    assert changed.trainer.keep == "last"


def test_a_test_of_learning_rates_has_the_trainings_own_settings_and_cases() -> None:
    given = conf("learning_rate")
    changed = debugged(given)
    assert changed.transforms == given.transforms
    assert changed.trainer.learning_rate == given.trainer.learning_rate
    whole, labels = manifest()
    assert debug_cases(whole, labels, "learning_rate") is whole


def test_a_dry_run_takes_a_few_cases_of_each_class_and_split() -> None:
    whole, labels = manifest()
    few = debug_cases(whole, labels, "dry_run")
    counts = Counter((case.split, case.labels[""]) for case in few.cases)
    assert {key: n for key, n in counts.items() if key[0] != "calib"} == {
        (split, label): 4 for split in ("train", "val", "test") for label in "ab"
    }
    assert sum(n for key, n in counts.items() if key[0] == "calib") == 3


def test_overfit_learns_and_is_asked_the_same_cases() -> None:
    whole, labels = manifest()
    few = debug_cases(whole, labels, "overfit")
    train = [case.case_id for case in few.of_split("train")]
    assert len(train) == 16
    assert [case.case_id for case in few.of_split("val")] == train
    assert {case.split for case in few.cases} == {"train", "val", "calib"}
