"""Settings of where a classifier looked: the ways to find it out, and how many are examined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from medcnn.config.fields import nearest

WAYS = ("gradcam", "gradcam++", "occlusion", "integrated_gradients")  # medcnn/explain/build.py builds them
USUAL = "gradcam"


def ways_problems(ways: Sequence[str]) -> Iterator[str]:
    """Names that nobody knows, or twice."""
    for way in ways:
        if way not in WAYS:
            close = nearest(way, list(WAYS)) or f" There are: {', '.join(WAYS)}"
            yield f"explain: nothing is called {way!r}.{close}. explain=[] leaves heat maps out of the report"
    if len(set(ways)) < len(ways):
        yield f"explain: a way stands there twice, got {list(ways)}"
