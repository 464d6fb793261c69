"""Who is trained on, who chooses, who calibrates, who is tested: by patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from medcnn.config.data import SplitConf
from medcnn.data.manifest import Case, Manifest
from medcnn.data.split import require_split_by_patient, split_digest, with_splits
from medcnn.errors import DataError, LeakageError

Make = Callable[..., Manifest]


def cohort(manifest: Make, patients: int = 100, positive_every: int = 4) -> Manifest:
    """Two images of each patient; every fourth patient is positive."""
    rows = [("ill" if p % positive_every == 0 else "well", f"p{p:03d}", "") for p in range(patients) for _ in range(2)]
    return manifest(*rows)


def test_every_patient_is_in_one_split_and_every_class_in_proportion(manifest: Make) -> None:
    divided, remarks = with_splits(cohort(manifest), SplitConf(val=0.2, calib=0.1, test=0.2))
    require_split_by_patient(divided.cases)
    counts = Counter((case.split, case.labels[""]) for case in divided.cases)
    assert counts == {
        ("train", "well"): 2 * 37, ("val", "well"): 2 * 15, ("calib", "well"): 2 * 8, ("test", "well"): 2 * 15,
        ("train", "ill"): 2 * 13, ("val", "ill"): 2 * 5, ("calib", "ill"): 2 * 2, ("test", "ill"): 2 * 5,
    }  # fmt: skip
    assert remarks == ["the manifest names no splits: patients were divided by data.splits"]


def test_the_same_seed_is_the_same_split_whatever_the_order_of_the_rows(manifest: Make) -> None:
    whole = cohort(manifest)
    backwards = whole.with_cases(list(reversed(whole.cases)))
    digests = {split_digest(with_splits(one, SplitConf(seed=3))[0].cases) for one in (whole, whole, backwards)}
    assert len(digests) == 1
    assert split_digest(with_splits(whole, SplitConf(seed=4))[0].cases) not in digests


def test_the_order_of_the_rows_stays(manifest: Make) -> None:
    whole = cohort(manifest)
    divided, _ = with_splits(whole, SplitConf())
    assert [case.case_id for case in divided.cases] == [case.case_id for case in whole.cases]
    assert [case.labels for case in divided.cases] == [case.labels for case in whole.cases]


def test_a_split_of_the_manifest_is_kept(manifest: Make) -> None:
    given = manifest(("a", "1", "train"), ("b", "2", "val"), ("a", "3", "calib"), ("b", "4", "test"))
    divided, remarks = with_splits(given, SplitConf())
    assert divided.cases == given.cases
    assert remarks == []


def test_calibration_patients_come_from_the_training_patients(manifest: Make) -> None:
    rows = [
        ("ill" if p % 2 else "well", f"p{p:02d}", "train" if p < 80 else "val") for p in range(100) for _ in range(2)
    ]
    given = manifest(*rows)
    divided, remarks = with_splits(given, SplitConf(calib=0.1))
    assert Counter(case.split for case in divided.cases) == {"train": 144, "calib": 16, "val": 40}
    assert [c.split for c in divided.cases if c.patient_id >= "p80"] == [
        "val" for c in given.cases if c.patient_id >= "p80"
    ]
    require_split_by_patient(divided.cases)
    assert "10% of the training patients were set aside for thresholds" in remarks[0]
    untouched, remarks = with_splits(given, SplitConf(calib=0))
    assert (untouched.cases, remarks) == (given.cases, [])


def test_a_data_set_to_evaluate_needs_no_training_split(manifest: Make) -> None:
    given = manifest(("a", "1", "test"), ("b", "2", "test"))
    assert with_splits(given, SplitConf())[0].cases == given.cases


def test_a_class_with_too_few_patients_is_said(manifest: Make) -> None:
    rows = [("well", f"p{p}", "") for p in range(10)] + [("ill", "p10", ""), ("ill", "p10", "")]
    with pytest.raises(
        DataError, match=r"class 'ill' has 1 patient\(s\) to divide; train and val, calib, test need"
    ) as e:
        with_splits(manifest(*rows), SplitConf())
    assert "give the manifest a split column" in str(e.value)
    train = [(label, patient, "train") for label, patient, _ in rows]
    with pytest.raises(DataError, match=r"class 'ill' has 1 patient\(s\).*set data\.splits\.calib=0"):
        with_splits(manifest(*train), SplitConf())


@pytest.mark.parametrize("shares", [(0.45, 0.25, 0.25), (0.9, 0.05, 0.04), (0.3, 0.3, 0.3)])
def test_somebody_is_always_left_to_train_on(manifest: Make, shares: tuple[float, float, float]) -> None:
    rows = [(label, f"{label}{p}", "") for label in ("a", "b") for p in range(4)]
    val, calib, test = shares
    divided, _ = with_splits(manifest(*rows), SplitConf(val=val, calib=calib, test=test))
    for label in ("a", "b"):
        assert Counter(c.split for c in divided.cases if c.labels[""] == label) == dict.fromkeys(
            ("train", "val", "calib", "test"), 1
        )


def test_without_patient_ids_each_case_is_its_own_patient(manifest: Make) -> None:
    divided, _ = with_splits(manifest(*[("ab"[n % 2], "", "") for n in range(40)]), SplitConf())
    assert Counter(case.split for case in divided.cases) == {"train": 24, "val": 6, "calib": 4, "test": 6}


@pytest.mark.parametrize("names", [3, 12])
def test_rare_combinations_of_findings_do_not_starve_the_training(tmp_path: Path, names: int) -> None:
    """Hundreds of combinations, most of them of one patient: proportions cannot be kept, shares can."""
    rows = [
        Case(f"c{n}", {"": f"{n}.png"}, {str(k): str((n * 7 + n // 5) >> k & 1) for k in range(names)}, f"p{n}")
        for n in range(300)
    ]
    divided, _ = with_splits(Manifest(tmp_path, tuple(rows)), SplitConf(val=0.2, calib=0.1, test=0.2))
    counts = Counter(case.split for case in divided.cases)
    assert counts["train"] == pytest.approx(150, abs=12)
    assert counts["val"] == pytest.approx(60, abs=8)
    assert counts["test"] == pytest.approx(60, abs=8)
    assert counts["calib"] == pytest.approx(30, abs=8)


def test_one_patient_in_two_splits_stops(manifest: Make) -> None:
    given = manifest(("a", "canary-7", "train"), ("a", "canary-8", "test"), ("b", "canary-7", "test"))
    with pytest.raises(LeakageError, match=r"LEAKAGE: 1 patients .*the patient of c000 is in test and train") as caught:
        require_split_by_patient(given.cases)
    assert "canary" not in str(caught.value)


def test_unknown_patients_are_not_one_patient(manifest: Make) -> None:
    require_split_by_patient(manifest(("a", "", "train"), ("a", "", "test")).cases)


def test_the_digest_names_the_division_and_nothing_else(manifest: Make) -> None:
    one = manifest(("a", "1", "train"), ("b", "2", "val"))
    other = manifest(("b", "9", "train"), ("b", "2", "val"))
    moved = manifest(("a", "1", "val"), ("b", "2", "val"))
    assert split_digest(one.cases) == split_digest(other.cases) == split_digest(one.cases[::-1])
    assert split_digest(one.cases) != split_digest(moved.cases)
