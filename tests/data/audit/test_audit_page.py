"""The page and the tables beside it: whole, bounded, escaped, for the owner only."""

from __future__ import annotations

import base64
import csv
import re
import stat
from html.parser import HTMLParser

import pytest

from medcnn.data.audit.audit import Audit
from medcnn.data.audit.evidence import Evidence
from medcnn.data.audit.findings import find
from medcnn.data.audit.page import MOST_THUMBNAILS, render, write_csv, write_page
from medcnn.io.discover import Skipped
from medcnn.scan import Reason, Rejection

EVIL = "<script>alert(1)</script>"


class Page(HTMLParser):
    """Tags and their attributes; the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data) -> None:
        self.text += data


def audit_of(evidence: Evidence) -> Audit:
    return Audit(evidence, tuple(find(evidence)))


@pytest.fixture
def faulty(evidence, clean_rows, make_record) -> Audit:
    rows = clean_rows()
    rows[:4] = [(EVIL, "a", "train"), ("ill", "a", "test"), ("ill", "b", "train"), ("ill", "c", "test")]
    thumbnail = base64.b64encode(b"jpeg").decode()
    records = [make_record(n, thumbnail=thumbnail, body_part=EVIL if n % 2 else "CHEST") for n in range(len(rows))]
    records[3] = records[2]
    whole = evidence(rows, records)
    broken = Rejection(Reason.TRUNCATED, "the file ends early", "Copy it again")
    skipped = (Skipped(f"folder/{EVIL}.txt", Rejection(Reason.NOT_DICOM, "no DICOM content", "Nothing")),)
    return audit_of(Evidence(whole.manifest, whole.measured[:-1], ((whole.manifest.cases[-1], broken),), skipped))


@pytest.mark.case("S06")
def test_nothing_is_run_and_nothing_is_fetched(faulty) -> None:
    text = render(faulty)
    page = Page(text)
    assert {tag for tag, _ in page.tags} & {"script", "iframe", "object", "embed", "link", "form", "a"} == set()
    assert EVIL in page.text  # as words
    assert EVIL not in text
    sources = [value for _, attrs in page.tags for name, value in attrs.items() if name in ("src", "href")]
    assert sources
    assert all(value is not None and value.startswith("data:image/jpeg;base64,") for value in sources)
    assert not re.search(r"https?://|url\(|@import|\son\w+=", text)
    assert "default-src 'none'" in text


def test_the_page_says_the_verdict_and_every_finding(faulty, tmp_path) -> None:
    path = write_page(tmp_path / "out" / "audit.html", faulty)
    text = path.read_text(encoding="utf-8")
    words = Page(text).text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "Training stops on this data" in words
    for finding in faulty.findings:
        assert finding.title in words
    assert "c0002" in words
    assert "2.png" in words
    assert "TRUNCATED" in words
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_a_good_data_set_says_so(evidence, clean_rows) -> None:
    page = Page(render(audit_of(evidence(clean_rows()))))
    assert "This data can be trained on; 0 warnings" in page.text
    assert "Nothing that speaks against this data" in page.text


def test_ten_thousand_cases_stay_below_ten_megabytes(evidence, clean_rows, make_record, monkeypatch) -> None:
    from medcnn.data.audit import findings as findings_module
    from medcnn.data.audit.copy_findings import near_duplicates

    checks = tuple(check for check in findings_module.CHECKS if check is not near_duplicates)  # timed elsewhere
    monkeypatch.setattr(findings_module, "CHECKS", checks)
    thumbnail = base64.b64encode(bytes(4000)).decode()
    records = [make_record(n, thumbnail=thumbnail, pixels=f"{n // 2}") for n in range(10_000)]
    columns = [{"site": f"site {n % 19}"} for n in range(10_000)]
    text = render(audit_of(evidence(clean_rows(10_000), records, columns)))
    assert len(text) < 10e6
    assert 0 < text.count("data:image/jpeg") <= MOST_THUMBNAILS


def test_the_tables_beside_it(faulty, tmp_path) -> None:
    paths = write_csv(tmp_path, faulty)
    assert [path.name for path in paths] == ["audit-findings.csv", "audit-rejected.csv"]
    findings, rejected = (list(csv.DictReader(path.open(newline="", encoding="utf-8"))) for path in paths)
    assert {row["code"] for row in findings} == {finding.code for finding in faulty.findings}
    copies = [row for row in findings if row["code"] == "identical_pixels_across_splits"]
    assert [(row["case_id"], row["image"], row["group"]) for row in copies] == [
        ("c0002", "2.png", "1"),
        ("c0003", "3.png", "1"),
    ]
    assert [row["reason"] for row in rejected] == ["TRUNCATED", "NOT_DICOM"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in paths)


@pytest.mark.case("S04")
def test_no_cell_is_a_formula(evidence, clean_rows, tmp_path) -> None:
    evil = "=cmd()|'/c calc'!A1"
    whole = evidence(clean_rows())
    skip = Skipped(evil, Rejection(Reason.NOT_DICOM, "@sum", "+1+1"))
    audit = audit_of(Evidence(whole.manifest, whole.measured, (), (skip,)))
    for path in write_csv(tmp_path, audit):
        for row in csv.reader(path.open(newline="", encoding="utf-8")):
            assert not [cell for cell in row if cell[:1] in ("=", "@", "+", "-")]
