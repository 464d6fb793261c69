"""Data that are prepared again: whoever had a place keeps it, wherever the places came from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from medcnn.data.frozen import frozen_splits
from medcnn.data.manifest import Case, Manifest
from medcnn.data.split import require_split_by_patient
from medcnn.errors import DataError, LeakageError

#: What a source calls train may have been set aside for these since.
_OF_TRAIN = ("train", "val", "calib")


def can_be_kept(earlier: Manifest) -> bool:
    """Whether anybody can have trained on this division: each case has a split, each patient one."""
    if not all(case.split for case in earlier.cases):
        return False
    try:
        require_split_by_patient(earlier.cases)
    except LeakageError:
        return False
    return True


def require_all_or_none(cases: Sequence[Case]) -> None:
    """Raise DataError where the source gives some cases a split and others none: which of the two is meant?"""
    without = sum(not case.split for case in cases)
    if 0 < without < len(cases):
        raise DataError(
            f"{without:,} of {len(cases):,} cases have no split, and the others do. Fill in all of them, or none to "
            f"have medcnn divide by patient"
        )


def divided_again(new: Manifest, earlier: Manifest, returned: Iterable[Case] = ()) -> tuple[Manifest, list[str]]:
    """The new manifest with the places of the earlier one, and remarks on what was done.

    Where the source itself names every split, newcomers are where it says; else patients are placed as
    medcnn.data.frozen does it. returned: cases of the new manifest that an even earlier one had, at the places they had
    then. Raises DataError where the source now names other splits than it did, and what frozen_splits raises.
    """
    present = {case.patient_id for case in earlier.cases} - {""}
    returned = [case for case in returned if case.patient_id not in present]  # else the patient's place counts
    known = {case.case_id: case for case in (*returned, *earlier.cases)}
    if all(case.split for case in new.cases):
        divided = new.with_cases([_kept(case, known.get(case.case_id)) for case in new.cases])
    else:
        divided = frozen_splits(new, earlier.with_cases([*earlier.cases, *returned]))
    there = {case.case_id for case in new.cases}
    added = len(there - known.keys())
    gone = sum(case.case_id not in there for case in earlier.cases)
    remarks = ["splits and folds are those of the earlier manifest (overwrite=true makes them anew)"]
    remarks += [f"{added} of {len(new)} cases are new"] if added else []
    remarks += [f"{gone} cases of the earlier manifest are not there any more, or cannot be read"] if gone else []
    return divided, remarks


def _kept(case: Case, known: Case | None) -> Case:
    """At the place that is known, where the source does not contradict it."""
    if known is None:
        return case
    if known.split != case.split and not (case.split == "train" and known.split in _OF_TRAIN):
        raise DataError(
            f"the data put {case.case_id} and perhaps others into another split ({case.split}) than the earlier "
            f"manifest ({known.split}). Give another output to keep both, or overwrite=true; a model trained on the "
            f"earlier one may have seen what is now held out"
        )
    return replace(case, split=known.split, fold=known.fold)
