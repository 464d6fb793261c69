"""The page: complete, self-contained, safe against what stands in names, and free of paths and UIDs."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medcnn.evaluation.classification import evaluate_classification
from medcnn.evaluation.intervals import Estimate
from medcnn.reporting.classification_figures import classification_figures
from medcnn.reporting.figures import save
from medcnn.reporting.page import (
    WITHHELD,
    Audit,
    CaseCard,
    ModelCard,
    Report,
    Section,
    SplitSummary,
    looks_private,
    render,
    withheld,
    write_report,
)

EVIL = "<script>alert(1)</script>"


class Reader(HTMLParser):
    """Tags, the places they refer to, and the text between."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.references, self.text, self.open = [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)
        self.references += [v for k, v in attributes if k in {"src", "href", "srcset", "data", "action", "poster"}]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} closes something else"

    def handle_data(self, data):
        self.text.append(data)

    def words(self):
        return " ".join(" ".join(self.text).split())


def summary(name="test", notes=()):
    return SplitSummary(name, {"auroc": Estimate(0.97, 0.95, 0.98, 624, "patient")}, 624, 312, "patient", notes)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A report with every part."""
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 60)
    probability = random.dirichlet([1, 1, 1], 60)
    result = evaluate_classification(
        probability, truth, kind="multiclass", class_names=["none", "mass", "nodule"], num_resamples=50
    )
    figures = classification_figures(result, probability, truth, split="test")
    saved = save(figures["confusion_test"], tmp_path_factory.mktemp("figures"), "confusion_test")
    ramp = np.tile(np.linspace(0, 1, 500), (250, 1))
    return Report(
        title="Masses on chest radiographs",
        subtitle="xray_cls",
        summaries=[SplitSummary.of("test", result), summary("val", ["only 4 patients with mass"])],
        notes=["thresholds come from val"],
        sections=[Section("Decisions", [saved], "How to read it")],
        worst=[
            CaseCard("c01", "mass", "none", 0.98, "p01", "test", ramp, ramp),
            CaseCard("c02", "mass", "mass", 0.6, image=None),
        ],
        audit=Audit({"train": {"none": 1000, "mass": 20}}, {"train": 900}, ["12 duplicates"], ["8 bit"]),
        model_card=ModelCard("Sorting radiographs", ["adults only"], {"Network": "resnet18"}),
        config={"data.root": "/home/somebody/scans", "seed": 0, "tracking.uri": "https://me:secret@host/x"},
        versions={"torch": "2.14.0"},
    )


def test_every_part_is_on_the_page(full):
    words = Reader(render(full)).words()
    for part in (
        "Masses on chest radiographs",
        "For research use only",
        "AUROC, test",
        "Class by class, test",
        "val: only 4 patients with mass",
        "thresholds come from val",
        "decided none",
        "truth mass",
        "patient p01",
        "no picture",
        "How to read it",
        "12 duplicates",
        "1,020",
        "Sorting radiographs",
        "adults only",
        "resnet18",
        "2.14.0",
    ):
        assert part in words, part
    assert str(f"{full.summaries[0].estimates['auroc'].value:.3f}") in words


def test_the_page_asks_nothing_of_the_network_and_runs_nothing(full):
    page = render(full)
    reader = Reader(page)
    assert reader.references
    assert all(reference.startswith("data:image/png;base64,") for reference in reader.references)
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(reader.tags)
    without_pictures = re.sub(r"data:image/png;base64,[^\"]+", "", page)
    assert not re.search(r"https?:|url\(|@import|\bon\w+=", without_pictures)
    assert "default-src 'none'" in page


def test_tags_are_balanced(full):
    assert Reader(render(full)).open == []


def test_embedded_pictures_can_be_read_and_cases_are_small(full):
    pictures = [Image.open(io.BytesIO(base64.b64decode(r.partition(",")[2]))) for r in Reader(render(full)).references]
    assert [picture.format for picture in pictures] == ["PNG", "PNG"]
    assert pictures[0].size == (320, 160)
    dark, bright = (np.asarray(pictures[0])[80, column].astype(int).sum() for column in (10, 300))
    assert dark < bright


def test_what_stands_in_names_is_text_never_markup():
    report = Report(
        title=EVIL,
        subtitle=EVIL,
        summaries=[
            SplitSummary(
                EVIL, {"auroc": Estimate(1, 1, 1, 1), f"auroc.{EVIL}": Estimate(1, 1, 1, 1)}, 1, 1, EVIL, [EVIL]
            )
        ],
        notes=[EVIL],
        worst=[CaseCard("c1", EVIL, EVIL, 0.5, split=EVIL)],
        worst_text=EVIL,
        sections=[],
        audit=Audit({EVIL: {EVIL: 1}}, {}, [EVIL], [EVIL]),
        model_card=ModelCard(EVIL, [EVIL], {EVIL: EVIL}),
        config={"<script>": "<script>"},
        versions={EVIL: EVIL},
    )
    page = render(report)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "script" not in Reader(page).tags


def test_paths_and_urls_in_the_settings_are_withheld(full):
    page = render(full)
    assert "somebody" not in page
    assert "secret" not in page
    assert page.count(WITHHELD) == 2


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3, "3"),
        (None, ""),
        (0.001, "0.001"),
        ("resnet18", "resnet18"),
        (Path("scans"), WITHHELD),
        ("C:\\scans", WITHHELD),
        ("~/scans", WITHHELD),
        (["a", "x/y"], f"a, {WITHHELD}"),
        ("1.2.840.10008.5.1.4.1.1.1", WITHHELD),
        ("1.2.3", "1.2.3"),
    ],
)
def test_withheld(value, shown):
    assert withheld(value) == shown


@pytest.mark.parametrize("private", ["ward3/scan.dcm", "D:\\scan.dcm", "1.2.276.0.7230010.3.1.4"])
@pytest.mark.parametrize("place", ["case_id", "patient_key"])
def test_a_case_named_by_path_or_uid_is_refused_without_repeating_it(private, place, tmp_path):
    card = CaseCard(**{"case_id": "c1", "truth": "a", "decision": "b", "confidence": 1.0, place: private})
    with pytest.raises(ValueError, match="give the keyed ids") as caught:
        write_report(tmp_path / "report.html", Report("title", worst=[card]))
    assert private not in str(caught.value)
    assert not list(tmp_path.iterdir())
    assert looks_private(private)


def test_a_report_of_nothing_but_a_title_is_a_page(tmp_path):
    path = write_report(tmp_path / "deep" / "report.html", Report("Empty"))
    words = Reader(path.read_text(encoding="utf-8")).words()
    assert "Empty" in words
    assert "not a medical device" in words


def test_an_undefined_metric_is_a_dash_and_has_no_bar():
    nan = float("nan")
    report = Report("t", summaries=[SplitSummary("test", {"auroc": Estimate(nan, nan, nan, 2)}, 2, 2, "case")])
    page = render(report)
    assert "nan" not in Reader(page).words()
    assert 'class="bar"' not in page
