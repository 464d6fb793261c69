"""The walk over a config that finds every value outside its limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from medcnn.config.fields import all_problems, choice, nearest, number, numbers


@dataclass
class Inner:
    size: int = number(3, at_least=1, at_most=5)
    kind: str = choice("plain", "plain", "fancy")

    def problems(self) -> Iterator[str]:
        if self.kind == "fancy" and self.size < 3:
            yield "size: fancy ones start at 3"


@dataclass
class Outer:
    share: float = number(0.5, above=0, below=1)
    budget: float | None = number(None, above=0)
    edges: list[float] = numbers([1.0, 2.0], above=0)  # noqa: RUF009  a field
    inner: Inner = field(default_factory=Inner)


def test_defaults_are_without_problems() -> None:
    assert list(all_problems(Outer())) == []


@pytest.mark.parametrize(
    ("outer", "expected"),
    [
        (Outer(share=0), ["share: must be > 0, got 0"]),
        (Outer(share=1), ["share: must be < 1, got 1"]),
        (Outer(share=float("nan")), ["share: must be > 0, got nan", "share: must be < 1, got nan"]),
        (Outer(budget=0), ["budget: must be > 0, got 0"]),
        (Outer(edges=[1, 0, -1]), ["edges: every entry must be > 0, got [1, 0, -1]"]),
        (Outer(inner=Inner(size=6)), ["inner.size: must be <= 5, got 6"]),
        (Outer(inner=Inner(2, "fancy")), ["inner.size: fancy ones start at 3"]),
        (Outer(inner=Inner(kind="fanci")), ["inner.kind: 'fanci' is not one of plain, fancy. Did you mean fancy?"]),
    ],
)
def test_each_limit(outer: Outer, expected: list[str]) -> None:
    assert list(all_problems(outer)) == expected


def test_a_stray_attribute_is_named_with_the_nearest() -> None:
    outer = Outer()
    outer.inner.sise = 3  # type: ignore[attr-defined]  # what +inner.sise=3 leaves behind
    assert list(all_problems(outer)) == ["inner.sise: not a known setting. Did you mean size?"]


def test_nothing_is_suggested_for_what_is_like_nothing() -> None:
    assert nearest("zzz", ["alpha", "beta"]) == ""
    assert nearest("alpa", ["alpha", "beta"]) == " Did you mean alpha?"
