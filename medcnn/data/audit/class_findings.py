"""Labels as words and numbers: missing, misspelt, rare, absent from a split."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from medcnn.data.audit.evidence import NO_SPLIT, Evidence
from medcnn.data.audit.finding import Finding, Severity, singles
from medcnn.reporting.words import how_many

IMBALANCE = 10  # times: the largest class against the smallest
FEW_TO_TEST, FEW_TO_TRAIN = 5, 20  # patients of a class: fewer give no figure, or nothing to learn from
_MOST_CLASSES = 100  # more words than this are no classes


def missing_labels(evidence: Evidence) -> Iterator[Finding]:
    """Of data with one label per case; of several, an empty one means `not known`."""
    if evidence.manifest.label_names != [""]:
        return
    without = [case.case_id for case in evidence.manifest.cases if not case.labels[""]]
    if without:
        yield Finding(
            Severity.WARNING,
            "label_missing",
            "Cases without a label",
            f"{len(without):,} of {len(evidence.manifest):,} cases have no label",
            "Fill in the label, or take the rows out: training for classification stops at them",
            singles(without),
            len(without),
        )


def label_spellings(evidence: Evidence) -> Iterator[Finding]:
    """Words that differ in case, spaces, hyphens or underscores only."""
    counts = Counter(case.labels[""] for case in evidence.manifest.cases) if evidence.classes else Counter()
    alike: dict[str, list[str]] = defaultdict(list)
    for word in evidence.classes:
        alike[re.sub(r"[\s_\-]+", "", word.casefold())].append(word)
    groups = [words for words in alike.values() if len(words) > 1]
    if groups:
        said = "; ".join(" and ".join(f"{word!r} ({counts[word]:,})" for word in words) for words in groups[:5])
        rare = {min(words, key=lambda word: counts[word]) for words in groups}
        yield Finding(
            Severity.WARNING,
            "label_spelling",
            "Labels that look like the same word",
            f"{said}: each spelling would be a class of its own",
            "Write each class in one way",
            singles([case.case_id for case in evidence.manifest.cases if case.labels[""] in rare]),
            len(groups),
        )


def class_sizes(evidence: Evidence) -> Iterator[Finding]:
    """Too few, by patients where they are known, else by cases."""
    if evidence.manifest.label_names not in ([], [""]):
        yield from _several_labels(evidence)
    if not evidence.classes:
        return
    if len(evidence.classes) == 1:
        yield Finding(
            Severity.WARNING,
            "one_class",
            "One class only",
            f"Every label is {evidence.classes[0]!r}: there is nothing to tell apart",
            "Add scans of another class, or train on masks or boxes",
        )
        return
    if len(evidence.classes) > _MOST_CLASSES:
        yield Finding(
            Severity.WARNING,
            "too_many_classes",
            "The labels are no classes",
            f"There are {len(evidence.classes):,} different labels for {len(evidence.manifest):,} cases",
            "Check that the label column holds the class and not a number or a name of each case",
        )
        return
    yield from _imbalance(evidence)
    yield from _by_split(evidence)


def _several_labels(evidence: Evidence) -> Iterator[Finding]:
    """Labels that can be true together: each needs patients who have it and who do not, in every split."""
    absent = []
    for name in evidence.manifest.label_names:
        for split in evidence.splits:
            cases = [case for case in evidence.manifest.cases if (case.split or NO_SPLIT) == split]
            answers = {case.labels[name] for case in cases} - {""}
            if len(answers) < 2:
                absent.append(f"{name!r} in {split} is {'always ' + answers.pop() if answers else 'never known'}")
    if absent:
        yield Finding(
            Severity.WARNING,
            "class_missing_from_split",
            "A label without both answers in a split",
            "; ".join(absent[:8]) + (f" and {len(absent) - 8} more" if len(absent) > 8 else ""),
            "Divide anew (remove the split column), or add scans: what is not there is neither learned nor measured",
            count=len(absent),
        )


def _imbalance(evidence: Evidence) -> Iterator[Finding]:
    counts = Counter(case.labels[""] for case in evidence.manifest.cases if case.labels[""]).most_common()
    (large, most), (small, fewest) = counts[0], counts[-1]
    if most >= IMBALANCE * fewest:
        yield Finding(
            Severity.WARNING,
            "imbalance",
            "Unequal classes",
            f"{most:,} cases of {large!r} against {fewest:,} of {small!r}, {most / fewest:.0f} to 1",
            "Judge by AUROC, sensitivity and balanced accuracy rather than accuracy; more scans of the rare class help "
            "most",
            count=fewest,
        )


def _by_split(evidence: Evidence) -> Iterator[Finding]:
    people: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in evidence.manifest.cases:
        people[one.split or NO_SPLIT, one.labels[""]].add(one.patient_id or f"case {one.case_id}")
    by_patient = any(case.patient_id for case in evidence.manifest.cases)
    unit = "patient" if by_patient else "case"
    absent, few = [], []
    for split in evidence.splits:
        enough = FEW_TO_TRAIN if split in ("train", NO_SPLIT) else FEW_TO_TEST
        for name in evidence.classes:
            count = len(people[split, name])
            if not count:
                absent.append(f"{name!r} from {split}")
            elif count < enough:
                few.append(f"{how_many(count, unit)} of {name!r} in {split}")
    if absent:
        yield Finding(
            Severity.WARNING,
            "class_missing_from_split",
            "A class is missing from a split",
            f"Missing: {', '.join(absent[:8])}" + (f" and {len(absent) - 8} more" if len(absent) > 8 else ""),
            "Divide anew (remove the split column), or add scans: what is not there is neither learned nor measured",
            count=len(absent),
        )
    if few:
        yield Finding(
            Severity.WARNING,
            "class_too_small",
            "Too few of a class",
            ", ".join(few[:8]) + (f" and {len(few) - 8} more" if len(few) > 8 else ""),
            f"Expect wide intervals: below {FEW_TO_TEST} {unit}s in a held-out split or {FEW_TO_TRAIN} in training, a "
            f"figure says little",
            count=len(few),
        )
