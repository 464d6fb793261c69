"""index.html holds every case, runs nothing that data say, asks nothing of a network, and is the same every time."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from base64 import b64decode, b64encode
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from medcnn import __version__
from medcnn.batch.about import About
from medcnn.batch.colours import structure_colour
from medcnn.batch.ledger import Row
from medcnn.batch.results_page import page_parts, write_page
from medcnn.inference.expectation import Expectation
from medcnn.io.discover import Skipped
from medcnn.io.options import Reading
from medcnn.scan import Reason, Rejection

EVIL = (
    "</script><script>document.title='pwned'</script>",
    "<!--<script>",
    "<img src=x onerror=\"document.title='pwned'\">",
    "quote\"'`\\ & %20#1?.nii.gz",
    "\u202egpj.exe",
    "مرضى/صورة.nii.gz",
    "a\udcff.nii",
    "\0about\0",
    "n" * 255,
)
MODEL = About(
    kind="segmentation",
    model="0123456789abcdef" * 4,
    settings="feedbeef",
    task="heart",
    intended_use="CT of adults.",
    names=("left", "right"),
    codes={},
    spatial_dims=3,
    reading=Reading(),
    expects=Expectation((), (), 3, (0, 1), (0, 1), (0, 1), (0, 1)),
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def page_html(rows, about: About, skipped=(), thumbnail_of=lambda case_id: None, **known) -> str:
    return "".join(page_parts(rows, about, skipped, thumbnail_of, **known))


def row(case_id: str, reference: str = "", status: str = "ok", **known) -> Row:
    known = {"model": "m", "settings": "s", "input_sha256": "x", **known}
    return Row(case_id, reference or f"ward/{case_id}.nii.gz", status, **known)


def segmented(case_id: str, reference: str = "", **known) -> Row:
    known = {
        "volume_ml": {"left": 1.25, "right": 2.5},
        "expected_dice": {"left": 0.9},
        "masks": ("masks/a.nii.gz",),
        **known,
    }
    return row(case_id, reference, **known)


ROWS = [
    segmented("c-1", files={"masks/a.nii.gz": "f" * 64, "overlays/c-1.png": "f" * 64}, flags=("FOV: cut off",)),
    segmented("c-2", volume_ml={"left": 0.0, "right": 0.0}, expected_dice={}, disagreement=0.25, seconds=1.23456),
    row("c-3", reason="MODALITY: CT expected", flags=("MODALITY: CT expected",)),
    row("c-4", status="rejected", reason_code="SLICE_MISSING", found="slices 2 and 3", remedy="Send it again"),
    row("c-5", status="failed", reason_code="MEMORY", found="41 GB wanted", remedy="Use a larger machine"),
]


class Parsed(HTMLParser):
    """Elements with their attributes, and the text of each script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.text = ""
        self._script: str | None = None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self._script = dict(attrs).get("id") or f"own {len(self.scripts)}"
            self.scripts[self._script] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is None:
            self.text += data
        else:
            self.scripts[self._script] += data

    def json(self, name: str):
        return json.loads(self.scripts[name])


def test_each_case_is_there_with_what_is_known_of_it() -> None:
    found = Parsed(page_html(ROWS, MODEL)).json("rows")
    assert [(one["id"], one["state"]) for one in found] == [
        ("c-1", "answered"), ("c-2", "answered"), ("c-3", "withheld"), ("c-4", "rejected"), ("c-5", "failed"),
    ]  # fmt: skip
    assert found[0]["volume"] == [1.25, 2.5]
    assert found[0]["dice"] == [0.9, None]  # in the order of the names
    assert found[0]["files"] == ["masks/a.nii.gz", "overlays/c-1.png"]
    assert found[0]["flags"] == ["FOV: cut off"]
    assert (found[1]["disagreement"], found[1]["seconds"], "dice" in found[1]) == (0.25, 1.235, False)
    assert found[2]["reason"] == "MODALITY: CT expected"
    assert (found[3]["code"], found[3]["found"], found[3]["remedy"]) == (
        "SLICE_MISSING",
        "slices 2 and 3",
        "Send it again",
    )


def test_of_a_classifier_the_probabilities_are_in_the_order_of_its_classes() -> None:
    about = replace(MODEL, kind="classification", names=("normal", "pneumonia"))
    made = row("c-1", probability={"pneumonia": 0.875, "normal": 0.125}, decision="pneumonia", confidence=0.875)
    page = Parsed(page_html([made, row("c-2", reason="not known", probability={"normal": 1.0})], about))
    first, second = page.json("rows")
    assert (first["probability"], first["decision"], first["confidence"]) == ([0.125, 0.875], "pneumonia", 0.875)
    assert (second["state"], second["probability"]) == ("withheld", [1.0, None])
    assert page.json("about")["names"] == ["normal", "pneumonia"]


def test_the_page_says_what_it_is_for_and_by_which_model() -> None:
    page = Parsed(page_html(ROWS, MODEL, total=5, facts={"Members": "five of them"}))
    said = ("For research use only", "CT of adults.", MODEL.model, __version__, "five of them", "Predictions: heart")
    assert [text for text in said if text not in page.text] == []
    assert page.json("about")["colours"] == [structure_colour(0), structure_colour(1)]
    assert "Not finished" not in page.text
    assert "5 cases of 12 so far" in Parsed(page_html(ROWS, MODEL, total=12)).text
    assert "Not stated." in Parsed(page_html([], replace(MODEL, intended_use=""))).text


@pytest.mark.parametrize("text", EVIL, ids=range(len(EVIL)))
def test_text_from_data_stays_text(text: str) -> None:
    plain = Parsed(page_html(ROWS, MODEL, [skip("a")]))
    named = (text, f"{text}2")
    made = row(text, text, "rejected", reason_code=text, found=text, remedy=text, flags=(text,), files={text: "x"})
    about = replace(MODEL, task=text, names=named, intended_use=text)
    page = Parsed(page_html([made], about, [skip(text)], lambda case_id: b"x", facts={text: text}))
    assert {name for name, _ in page.elements} == {name for name, _ in plain.elements}
    assert set(page.scripts) == set(plain.scripts)
    assert page.json("rows")[0] == {"id": text, "ref": text, "state": "rejected", "code": text, "found": text,
                                    "remedy": text, "flags": [text], "seconds": 0.0, "files": [text]}  # fmt: skip
    assert page.json("about")["names"] == list(named)
    assert page.json("passed-over")["files"] == [[text, "NOT_AN_IMAGE", "x"]]
    assert page.json("thumbnails") == {text: b64encode(b"x").decode()}


def skip(reference: str) -> Skipped:
    return Skipped(reference, Rejection(Reason.NOT_AN_IMAGE, "x", "y"))


def test_nothing_is_loaded_but_what_lies_beside_it() -> None:
    page = Parsed(page_html(ROWS, MODEL))
    for tag, attributes in page.elements:
        assert not attributes.get("src"), tag
        assert not (attributes.get("href") or "").startswith(("http", "//")), tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert tag not in ("link", "iframe", "object", "base")
    policy = next(one["content"] for tag, one in page.elements if tag == "meta" and "http-equiv" in one) or ""
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    own = "".join(text for name, text in page.scripts.items() if name.startswith("own"))
    assert not re.search(r"https?://|\bfetch\(|XMLHttpRequest|innerHTML|insertAdjacent|document\.write|\beval\(", own)


def test_the_page_stands_alone_with_its_thumbnails(tmp_path: Path) -> None:
    (tmp_path / "thumbnails").mkdir()
    (tmp_path / "thumbnails" / "c-1.webp").write_bytes(b"RIFF-1")
    write_page(tmp_path, ROWS, MODEL, [skip("notes.txt"), skip("b.txt")])
    page = Parsed((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert {key: b64decode(value) for key, value in page.json("thumbnails").items()} == {"c-1": b"RIFF-1"}
    assert page.json("passed-over")["counts"] == {"NOT_AN_IMAGE": 2}
    assert (tmp_path / "index.html").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "thumbnails"]


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    write_page(tmp_path, ROWS, MODEL)
    first = (tmp_path / "index.html").read_bytes()
    write_page(tmp_path, list(ROWS), replace(MODEL))
    assert (tmp_path / "index.html").read_bytes() == first == page_html(ROWS, MODEL).encode()


def test_three_thousand_cases_fit_one_page() -> None:
    files = {"masks/a.nii.gz": "f" * 64, "overlays/a.png": "f" * 64}
    rows = [segmented(f"c-{number:032x}", f"site/{number}/{'x' * 60}", files=files) for number in range(3000)]
    page = page_html(rows, MODEL, thumbnail_of=lambda case_id: bytes(4096))
    assert len(page.encode()) < 25e6
    assert page.count('"state":"answered"') == 3000


def test_a_page_needs_no_torch() -> None:
    program = (
        "import sys\nimport medcnn.batch.viewer, medcnn.batch.results_page, medcnn.batch.about\n"
        "print([name for name in ('torch', 'monai', 'matplotlib', 'scipy', 'pandas') if name in sys.modules])\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "[]"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_shows_the_table_and_opens_the_case_of_the_link(tmp_path: Path) -> None:
    rows = [*ROWS, *(segmented(f"e-{number}", text) for number, text in enumerate(EVIL))]
    write_page(tmp_path, rows, MODEL)
    shown = dumped(tmp_path, "index.html#case=c-4")
    table = shown[shown.index('id="table"') :]
    assert table[: table.index("</table>")].count("<tr data-id=") == len(rows)
    assert "<title>Predictions: heart</title>" in shown  # no script of the data ran
    dialog = Parsed(shown[shown.index("<dialog") : shown.index("</dialog>")])
    assert "open" in dialog.elements[0][1]
    assert "slices 2 and 3" in dialog.text
    assert "Send it again" in dialog.text


def dumped(folder: Path, address: str) -> str:
    """The page as the browser holds it when its scripts have run."""
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000",
               f"--user-data-dir={folder / 'browser'}", "--dump-dom", f"{folder.as_uri()}/{address}"]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
