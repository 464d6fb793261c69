"""The same patient, the same pixels or nearly the same picture where it should not be twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from medcnn.data.audit.evidence import Evidence, Measured, label_text
from medcnn.data.audit.finding import EXAMPLES, Finding, Severity
from medcnn.data.audit.near import NearPair, near_pairs
from medcnn.reporting.words import how_many

Group = Sequence[Measured]


def shared_patients(evidence: Evidence) -> Iterator[Finding]:
    """One patient in two splits stops training; one under two labels is worth knowing."""
    patients = evidence.patients()
    crossing = [cases for cases in patients.values() if len({case.split for case in cases}) > 1]
    if crossing:
        yield Finding(
            Severity.STOP,
            "patient_in_two_splits",
            "The same patient in two splits",
            f"Of {how_many(len(patients), 'patient')}, {len(crossing):,} with scans in more than one split: "
            f"a model would be tested on people it was trained on",
            "Give each patient one split, or remove the split column to have medcnn divide by patient",
            tuple(tuple(case.case_id for case in cases[:4]) for cases in crossing[:EXAMPLES]),
            len(crossing),
        )
    mixed = [cases for cases in patients.values() if len({label_text(case) for case in cases} - {""}) > 1]
    if mixed:
        yield Finding(
            Severity.NOTE,
            "patient_with_several_labels",
            "Patients with several labels",
            f"Of {how_many(len(patients), 'patient')}, {len(mixed):,} with scans under different labels",
            "Nothing, if a patient can change between scans; else look at these labels",
            tuple(tuple(case.case_id for case in cases[:4]) for cases in mixed[:EXAMPLES]),
            len(mixed),
        )
    unknown = sum(not case.patient_id for case in evidence.manifest.cases)
    if unknown:
        yield Finding(
            Severity.NOTE,
            "patient_unknown",
            "Patients that nobody named",
            f"{unknown:,} of {len(evidence.manifest):,} cases name no patient: each counts as a patient of its own, "
            f"and nothing can tell whether one person is in two splits",
            "Fill in patient_id where you know it",
            count=unknown,
        )


def identical_pixels(evidence: Evidence) -> Iterator[Finding]:
    """Constant pictures are exempt: that they are alike says nothing."""
    of_pixels: dict[str, list[Measured]] = defaultdict(list)
    for one in evidence.measured:
        if not one.record.is_constant:
            of_pixels[one.record.pixels].append(one)
    groups = [group for group in of_pixels.values() if len(group) > 1]
    crossing = [group for group in groups if _crosses(group)]
    within = [group for group in groups if not _crosses(group)]
    contrary = [group for group in groups if len({label_text(one.case) for one in group} - {""}) > 1]
    if contrary:
        yield Finding(
            Severity.WARNING,
            "identical_pixels_different_labels",
            "One picture, two labels",
            f"{how_many(len(contrary), 'picture')} with identical pixels under different labels. At least one label of "
            f"each is wrong, no model can get both right, and other labels may be as unreliable",
            "Find out which label is true before anything else; take out what cannot be settled",
            _examples(contrary),
            len(contrary),
        )
    if crossing:
        held_out = any(len({one.split for one in group} - {"train"}) > 1 for group in crossing)
        yield Finding(
            Severity.STOP,
            "identical_pixels_across_splits",
            "Identical pixels in two splits",
            f"{how_many(len(crossing), 'picture')} with identical pixels in more than one split: a model would be "
            f"tested on what it was trained on",
            "Take one of each group out of the manifest: copies between val, calib and test are never dropped for you"
            if held_out
            else "Take the copies out, or let training drop its own with data.duplicates=drop_from_train",
            _examples(crossing),
            len(crossing),
        )
    if within:
        yield Finding(
            Severity.WARNING,
            "identical_pixels",
            "Identical pixels within a split",
            f"{how_many(len(within), 'picture')} with identical pixels more than once in the same split, "
            f"{how_many(sum(map(len, within)) - len(within), 'case')} too many: they count twice in training and in "
            f"every figure",
            "Keep one of each group",
            _examples(within),
            len(within),
        )


def near_duplicates(evidence: Evidence) -> Iterator[Finding]:
    """Pairs by fine detail, identical ones left out. Neighbouring pictures of one known patient are only a note."""
    pairs = [(likeness, one, other) for likeness, one, other in _near(evidence)]
    crossing = [pair for pair in pairs if pair[1].split != pair[2].split]
    same = [pair for pair in pairs if pair[1].split == pair[2].split and _same_patient(pair[1], pair[2])]
    within = [pair for pair in pairs if pair[1].split == pair[2].split and not _same_patient(pair[1], pair[2])]
    if crossing:
        yield Finding(
            Severity.WARNING,
            "near_duplicates_across_splits",
            "Nearly the same picture in two splits",
            f"{how_many(len(crossing), 'pair')} of cases in different splits with the same fine detail (correlation "
            f"{crossing[-1][0]:.2f} to {crossing[0][0]:.2f}): copies saved in another way, or neighbouring pictures of "
            f"one person under two patient ids. Results may be too good",
            "Look at the pairs; where they are one person's, give them one patient_id and one split",
            _pair_examples(crossing),
            len(crossing),
        )
    if within:
        yield Finding(
            Severity.WARNING,
            "near_duplicates",
            "Nearly the same picture twice",
            f"{how_many(len(within), 'pair')} of cases of one split, not known to be of one patient, with the same "
            f"fine detail (correlation {within[-1][0]:.2f} to {within[0][0]:.2f})",
            "Look at the pairs; keep one of each, or give them one patient_id so that they are never split",
            _pair_examples(within),
            len(within),
        )
    if same:
        yield Finding(
            Severity.NOTE,
            "near_duplicates_of_one_patient",
            "Nearly the same pictures of one patient",
            f"{how_many(len(same), 'pair')} of cases of one patient, in one split, with the same fine detail",
            "Nothing; they tell a model less than their number says",
            _pair_examples(same),
            len(same),
        )


def _near(evidence: Evidence) -> list[tuple[float, Measured, Measured]]:
    """The likest first; pictures and volumes are compared among themselves."""
    of_kind: dict[int, list[Measured]] = defaultdict(list)
    for one in evidence.measured:
        if not one.record.is_constant:
            of_kind[len(one.record.sides_px)].append(one)
    found = []
    for group in of_kind.values():
        signatures = np.stack([one.record.signature_planes() for one in group])
        longest = np.array([max(one.record.sides_px) for one in group])
        pairs: list[NearPair] = near_pairs(signatures, longest)
        found += [(likeness, group[one], group[other]) for one, other, likeness in pairs]
    different = [pair for pair in found if pair[1].record.pixels != pair[2].record.pixels]
    return sorted(different, key=lambda pair: (-pair[0], pair[1].case_id, pair[2].case_id))


def _crosses(group: Group) -> bool:
    return len({one.split for one in group}) > 1


def _same_patient(one: Measured, other: Measured) -> bool:
    return bool(one.case.patient_id) and one.case.patient_id == other.case.patient_id


def _examples(groups: Sequence[Group]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(one.case_id for one in group[:4]) for group in groups[:EXAMPLES])


def _pair_examples(pairs: Sequence[tuple[float, Measured, Measured]]) -> tuple[tuple[str, ...], ...]:
    return tuple((one.case_id, other.case_id) for _, one, other in pairs[:EXAMPLES])
