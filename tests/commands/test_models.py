"""The verb models: a list that is counted, one network at a size, and what it does not take."""

from __future__ import annotations

import sys

import pytest

from medcnn import models
from medcnn.config.arguments import ArgumentError
from medcnn.config.compose import choices
from medcnn.config.model import FAMILIES, variants


def told(words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["medcnn models", *words])
    try:
        models.main()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    said = capsys.readouterr()
    return code, said.out + said.err


def test_every_variant_and_every_preset_is_listed() -> None:
    rows = list(models.rows())
    assert {row.variant for row in rows} >= {name for kind in FAMILIES for name in variants(kind)}
    assert {row.model for row in rows} <= set(choices("model"))
    assert len({(row.model, row.variant) for row in rows}) == len(rows)


def test_one_network_at_a_size(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = told(["name=mobilenetv2_100"], capsys, monkeypatch)
    assert code == 0
    head, row = said.splitlines()[:2]
    assert head.split("  ")[0] == "model="
    assert row.split()[:9] == ["mobilenet", "mobilenetv2_100", "3.50", "M", "0.30", "G", "224x224", "32", "inflated"]
    _, said = told(["name=mobilenetv2_100", "size=[448,448]", "classes=2"], capsys, monkeypatch)
    assert said.splitlines()[1].split()[2:7] == ["2.23", "M", "1.20", "G", "448x448"]  # four times the pixels
    _, said = told(["name=mobilenetv2_100", "size=[64,64,4]", "channels=1"], capsys, monkeypatch)
    assert " 64x64x4 " in said


def test_a_family_is_listed_whole(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "line", lambda row, *given: (row.model, row.variant, *[""] * 6))
    _, said = told(["name=vgg"], capsys, monkeypatch)
    assert [line.split() for line in said.splitlines()[1:7]] == [
        ["vgg", name] for name in dict.fromkeys(variants(FAMILIES[0]))
    ]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["name=densnet121"], "no network is called so. Did you mean densenet121?"),
        (["size=64"], "give two or three numbers of pixels"),
        (["size=[a,b]"], "give two or three numbers of pixels"),
        (["name=mobilenetv2_100", "size=[16,64]"], "mobilenetv2_100 wants at least 32 pixels a side"),
        (["channels=0"], "must be a number, 1 or more"),
        (["nam=x"], "did you mean name=?"),
    ],
)
def test_what_it_does_not_take(
    words: list[str], answer: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = told(words, capsys, monkeypatch)
    assert code == 2
    assert answer in said


def test_sizes_are_read_as_they_are_typed_elsewhere() -> None:
    assert models.sizes("[64,48]") == (64, 48)
    assert models.sizes("64x64x32") == (64, 64, 32)
    assert models.sizes("") == ()
    with pytest.raises(ArgumentError):
        models.sizes("[64]")
