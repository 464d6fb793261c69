"""Every finding: there where its fault is, and nowhere else."""

from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np
import pytest

from medcnn.data.audit.evidence import Evidence, Measured
from medcnn.data.audit.finding import Severity
from medcnn.data.audit.findings import find
from medcnn.data.audit.record import BoxRecord, MaskRecord
from medcnn.io.discover import Skipped
from medcnn.scan import Reason, Rejection

LOUD = (Severity.STOP, Severity.WARNING)


def the(findings, code):
    (one,) = [finding for finding in findings if finding.code == code]
    return one


@pytest.mark.parametrize("seed", range(8))
def test_a_clean_random_data_set_raises_no_alarm(evidence, clean_rows, make_record, seed) -> None:
    """Sites, scanners, ages and sexes drawn at random, classes and splits too."""
    generator = np.random.default_rng(seed)
    rows = clean_rows(400, seed)
    columns = [
        {
            "site": str(generator.choice(["north", "south", "west"])),
            "sex": str(generator.choice(["F", "M"])),
            "age": str(int(generator.normal(60, 15))),
        }
        for _ in rows
    ]
    records = [make_record(1000 * seed + n, modality=str(generator.choice(["CR", "DX"]))) for n in range(len(rows))]
    assert find(evidence(rows, records, columns)) == []


@pytest.mark.case("T21")
def test_a_patient_in_two_splits_stops(evidence, clean_rows) -> None:
    rows = clean_rows()
    rows[0], rows[1] = ("ill", "same", "train"), ("ill", "same", "test")
    found = the(find(evidence(rows)), "patient_in_two_splits")
    assert found.severity is Severity.STOP
    assert found.count == 1
    assert found.examples == (("c0000", "c0001"),)


@pytest.mark.case("T21")
def test_identical_pixels_by_where_they_stand(evidence, clean_rows, make_record, codes) -> None:
    rows = clean_rows()
    rows[:4] = [("ill", "a", "train"), ("ill", "b", "test"), ("well", "c", "val"), ("ill", "d", "val")]
    records = [make_record(n) for n in range(len(rows))]
    records[1] = records[0]
    records[3] = records[2]
    findings = find(evidence(rows, records))
    across = the(findings, "identical_pixels_across_splits")
    assert (across.severity, across.examples) == (Severity.STOP, (("c0000", "c0001"),))
    assert "drop_from_train" in across.remedy
    assert the(findings, "identical_pixels").examples == (("c0002", "c0003"),)
    assert the(findings, "identical_pixels_different_labels").examples == (("c0002", "c0003"),)
    assert "near_duplicates_across_splits" not in codes(findings)


@pytest.mark.case("T21")
def test_copies_between_val_and_test_have_another_remedy(evidence, clean_rows, make_record) -> None:
    rows = clean_rows()
    rows[:2] = [("ill", "a", "val"), ("ill", "b", "test")]
    records = [make_record(n) for n in range(len(rows))]
    records[1] = records[0]
    assert "drop_from_train" not in the(find(evidence(rows, records)), "identical_pixels_across_splits").remedy


@pytest.mark.case("T21")
def test_constant_images_are_no_copies(evidence, clean_rows, make_record, codes) -> None:
    rows = clean_rows()
    rows[:2] = [("ill", "a", "train"), ("ill", "b", "test")]
    records = [make_record(n) for n in range(len(rows))]
    records[0] = records[1] = make_record(0, least=5.0, greatest=5.0)
    findings = find(evidence(rows, records))
    assert codes(findings) == {"constant"}
    assert the(findings, "constant").count == 2


@pytest.mark.case("T21")
def test_near_duplicates_by_where_they_stand(evidence, clean_rows, make_record) -> None:
    def darker(of):
        planes = (of.signature_planes() * 0.8 + 10).astype(np.uint8)
        return replace(of, pixels=of.pixels + "'", signature=base64.b64encode(planes.tobytes()).decode())

    rows = clean_rows()
    rows[:6] = [("ill", "a", "train"), ("ill", "b", "test"), ("ill", "c", "val"), ("ill", "d", "val"),
                ("ill", "e", "train"), ("ill", "e", "train")]  # fmt: skip
    records = [make_record(n) for n in range(len(rows))]
    for n in (0, 2, 4):
        records[n + 1] = darker(records[n])
    findings = find(evidence(rows, records))
    across = the(findings, "near_duplicates_across_splits")
    assert (across.severity, across.examples) == (Severity.WARNING, (("c0000", "c0001"),))
    assert the(findings, "near_duplicates").examples == (("c0002", "c0003"),)
    assert the(findings, "near_duplicates_of_one_patient").severity is Severity.NOTE


def test_patients_with_several_labels_and_without_a_name(evidence, clean_rows) -> None:
    rows = clean_rows()
    rows[:3] = [("ill", "a", "train"), ("well", "a", "train"), ("ill", "", "train")]
    findings = find(evidence(rows))
    assert the(findings, "patient_with_several_labels").count == 1
    assert the(findings, "patient_unknown").count == 1


def test_labels_missing_and_misspelt(evidence, clean_rows) -> None:
    rows = clean_rows()
    rows[0], rows[1] = ("", "a", "train"), ("Ill ".strip(), "b", "train")
    findings = find(evidence(rows))
    assert the(findings, "label_missing").case_ids == ("c0000",)
    said = the(findings, "label_spelling")
    assert said.case_ids == ("c0001",)
    assert "'Ill' (1)" in said.text


def test_class_sizes(evidence, clean_rows, codes) -> None:
    rows = [("well", f"p{n}", split) for n, split in enumerate(["train"] * 200 + ["val"] * 50 + ["test"] * 50)]
    rows += [("ill", f"q{n}", "train") for n in range(15)] + [("ill", "q90", "val")]
    findings = find(evidence(rows))
    assert "20 to 1" in the(findings, "imbalance").text or "19 to 1" in the(findings, "imbalance").text
    assert the(findings, "class_missing_from_split").text == "Missing: 'ill' from test"
    assert the(findings, "class_too_small").text == "15 patients of 'ill' in train, 1 patient of 'ill' in val"
    assert codes(find(evidence([("well", f"p{n}", "") for n in range(30)]))) == {"one_class"}
    assert "too_many_classes" in codes(find(evidence([(f"name {n}", f"p{n}", "") for n in range(150)])))


def with_masks(evidence, clean_rows, make_record, masks, **more) -> list:
    rows = clean_rows()
    usual = MaskRecord({"0": 900, "1": 60, "2": 40})
    records = [make_record(n, masks={"": masks.get(n, usual)}) for n in range(len(rows))]
    return [one for one in find(evidence(rows, records, **more)) if one.code.startswith("mask")]


def test_good_masks_are_not_remarked_on(evidence, clean_rows, make_record) -> None:
    rare_but_real = {n: MaskRecord({"0": 900, "1": 60, "3": 40}) for n in range(30)}
    only_one = {n: MaskRecord({"0": 900, "1": 100}) for n in range(30, 160)}
    assert with_masks(evidence, clean_rows, make_record, rare_but_real | only_one) == []


def test_masks_with_odd_labels(evidence, clean_rows, make_record) -> None:
    masks = {n: MaskRecord({"0": 900, "255": 100}) for n in range(12)}
    (found,) = with_masks(evidence, clean_rows, make_record, masks)
    assert (found.code, found.count) == ("mask_values", 12)
    (found,) = with_masks(evidence, clean_rows, make_record, {7: MaskRecord({"0": 900, "1": 60, "9": 40})})
    assert (found.case_ids, "9" in found.text) == (("c0007",), True)
    (found,) = with_masks(evidence, clean_rows, make_record, {}, declared=(0, 1))
    assert (found.code, found.count) == ("mask_values", 400)


def test_masks_empty_full_elsewhere_and_unreadable(evidence, clean_rows, make_record, codes) -> None:
    masks = {
        0: MaskRecord({"0": 1000}),
        1: MaskRecord({"1": 1000}),
        2: MaskRecord({"0": 900, "1": 100}, {}, "GEOMETRY_MISMATCH", "corners lie apart", "Draw anew", 12.5),
        3: MaskRecord(problem="LABEL_VALUES", found="the mask holds 0.5", remedy="Correct the mask"),
    }
    findings = with_masks(evidence, clean_rows, make_record, masks)
    assert codes(findings) == {"mask_empty", "mask_full", "mask_geometry", "mask_rejected.LABEL_VALUES"}
    assert "12.50 mm" in the(findings, "mask_geometry").text
    assert the(findings, "mask_empty").severity is Severity.WARNING
    many = {n: MaskRecord({"0": 1000}) for n in range(60)}
    assert the(with_masks(evidence, clean_rows, make_record, many), "mask_empty").severity is Severity.NOTE


def test_boxes(evidence, clean_rows, make_record, codes) -> None:
    rows = clean_rows()
    boxes = [
        BoxRecord((("mass", (20.0, 30.0)), ("mass", (5.0, 9.0))), outside=1),
        BoxRecord(problem="is no JSON"),
        BoxRecord((("mass", (1.0, 30.0)),)),
    ]
    good = BoxRecord((("mass", (20.0, 30.0)),))
    records = [make_record(n, boxes=boxes[n] if n < 3 else good) for n in range(len(rows))]
    findings = find(evidence(rows, records))
    assert codes(findings) == {"box_outside", "box_invalid", "box_thin"}
    assert the(findings, "box_outside").case_ids == ("c0000",)


def test_one_of_another_kind(evidence, clean_rows, make_record, codes) -> None:
    rows = clean_rows()
    records = [make_record(n) for n in range(400)]
    records[3] = make_record(3, modality="MR")
    records[4] = make_record(4, spacing_mm=(5.0, 5.0))
    records[5] = make_record(5, shape=(1, 1024, 1024))
    records[6] = make_record(6, shape=(3, 128, 128))
    findings = find(evidence(rows, records))
    assert codes(findings) == {"stranger.modality", "odd_spacing", "odd_shape", "stranger.channels"}
    assert the(findings, "stranger.modality").case_ids == ("c0003",)
    assert "10.0 times" in the(findings, "odd_spacing").text
    assert the(findings, "odd_shape").case_ids == ("c0005",)


def test_portraits_and_landscapes_are_no_strangers(evidence, clean_rows, make_record) -> None:
    rows = clean_rows()
    shapes = [(1, 100, 380), (1, 380, 100)]
    assert find(evidence(rows, [make_record(n, shape=shapes[n % 7 == 0]) for n in range(400)])) == []


def test_spacing_known_of_some(evidence, clean_rows, make_record) -> None:
    rows = clean_rows()
    some = [make_record(n, spacing_mm=() if n % 10 == 0 else (0.5, 0.5)) for n in range(400)]
    assert the(find(evidence(rows, some)), "spacing_unknown").severity is Severity.WARNING
    none = [make_record(n, spacing_mm=()) for n in range(400)]
    assert the(find(evidence(rows, none)), "spacing_unknown").severity is Severity.NOTE


def test_a_scanner_that_predicts_the_class_is_a_shortcut(evidence, clean_rows, codes) -> None:
    rows = clean_rows()
    columns = [
        {"scanner": "old" if (label == "ill") != (n % 10 == 0) else "new"} for n, (label, _, _) in enumerate(rows)
    ]
    findings = find(evidence(rows, None, columns))
    assert codes(findings) == {"shortcut.scanner"}
    assert "Cramér's V 0.8" in findings[0].text or "Cramér's V 0.7" in findings[0].text


def test_a_size_that_predicts_the_class_is_a_shortcut(evidence, clean_rows, make_record, codes) -> None:
    rows = clean_rows()
    records = [make_record(n, shape=(1, 128 if label == "ill" else 160, 128)) for n, (label, _, _) in enumerate(rows)]
    assert codes(find(evidence(rows, records))) == {"shortcut.size in pixels"}


def test_splits_that_differ(evidence, clean_rows, make_record, codes) -> None:
    rows = clean_rows()
    columns = [{"site": "north" if split == "test" else "south"} for _, _, split in rows]
    records = [
        make_record(n, mean=5000.0 + n if split == "val" else 1000.0 + n % 90) for n, (_, _, split) in enumerate(rows)
    ]
    findings = find(evidence(rows, records, columns))
    assert codes(findings) == {"split_shift.site", "split_shift.mean intensity.val"}
    assert {finding.severity for finding in findings} == {Severity.WARNING}


def test_many_pictures_of_few_patients_are_no_evidence(evidence) -> None:
    """Eight patients with 50 pictures each, the ill all from the north: that comes by chance once in 35 times."""
    rows = [("ill" if p % 2 else "well", f"p{p}", "") for p in range(8) for _ in range(50)]
    columns = [{"site": "north" if p % 2 else "south"} for p in range(8) for _ in range(50)]
    assert not [one for one in find(evidence(rows, None, columns)) if one.code.startswith("shortcut")]


def test_columns_that_may_name_people_are_never_tested(evidence, clean_rows, codes) -> None:
    rows = clean_rows()
    columns = [{"patient_name": "Miller" if label == "ill" else "Smith"} for label, _, _ in rows]
    assert codes(find(evidence(rows, None, columns))) == set()


def test_rejections_by_reason(evidence, clean_rows) -> None:
    whole = evidence(clean_rows())
    broken = Rejection(Reason.TRUNCATED, "the file ends early", "Copy it again")
    left = Evidence(
        whole.manifest,
        whole.measured[3:],
        tuple((one.case, broken) for one in whole.measured[:3]),
        (Skipped("notes.txt", Rejection(Reason.NOT_DICOM, "no DICOM content", "Nothing")),),
    )
    findings = find(left)
    assert the(findings, "rejected.TRUNCATED").case_ids == ("c0000", "c0001", "c0002")
    assert the(findings, "skipped_files").severity is Severity.NOTE
    all_broken = Evidence(whole.manifest, (), tuple((one.case, broken) for one in whole.measured))
    assert the(find(all_broken), "nothing_readable").severity is Severity.STOP


def test_the_gravest_come_first(evidence, clean_rows, make_record) -> None:
    rows = clean_rows()
    rows[:3] = [("ill", "a", "train"), ("ill", "a", "test"), ("ill", "", "train")]
    records = [make_record(n, least=1.0, greatest=1.0) if n == 9 else make_record(n) for n in range(len(rows))]
    severities = [finding.severity for finding in find(evidence(rows, records))]
    assert severities == sorted(severities, key=list(Severity).index)
    assert set(severities) == set(Severity)


def test_a_data_set_without_labels_or_splits(evidence) -> None:
    made = evidence([("", f"p{n}", "") for n in range(30)])
    bare = tuple(replace(case, labels={}) for case in made.manifest.cases)
    measured = tuple(Measured(case, one.record) for case, one in zip(bare, made.measured, strict=True))
    assert find(Evidence(made.manifest.with_cases(bare), measured)) == []


def test_several_labels_are_each_a_question(evidence, clean_rows, codes) -> None:
    rows = clean_rows()
    made = evidence(rows, None, [{"site": "north" if label == "ill" else "south"} for label, _, _ in rows])
    labels = [
        {"ill": str(int(label == "ill")), "rare": "1" if n == 0 else "0", "fair": str(n % 2)}
        for n, (label, _, _) in enumerate(rows)
    ]
    cases = tuple(replace(case, labels=label) for case, label in zip(made.manifest.cases, labels, strict=True))
    measured = tuple(Measured(case, one.record) for case, one in zip(cases, made.measured, strict=True))
    findings = find(Evidence(made.manifest.with_cases(cases), measured))
    assert codes(findings) == {"class_missing_from_split", "shortcut.site.label ill"}
    assert "'rare' in test is always 0" in the(findings, "class_missing_from_split").text
