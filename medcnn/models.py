"""Models: the networks that classify, by name, and what each costs.

python -m medcnn.models [name=densenet121] [size=[64,64]] [channels=1] [classes=2]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from medcnn.config.arguments import ArgumentError, key_values
from medcnn.config.errors import ConfigError
from medcnn.config.fields import nearest
from medcnn.config.model import FAMILIES, ClassifierConf, PlainCNNConf, ResNetConf, variants

USAGE = """usage: python -m medcnn.models [name=<variant or family>] [size=[64,64]] [channels=3] [classes=1000]

The networks that classify: parameters, multiply-adds, the least side of an input, whether volumes get a network of
their own or the pictures' inflated, and which ImageNet weights this machine has. Nothing is kept: all is counted anew.

  name=densenet121   one variant, or a whole family; without it all
  size=[64,64]       of the input, three numbers for volumes; without it what the family was published for
  channels=3         of the input
  classes=1000       outputs; 1000, as published, makes the numbers comparable
"""

_COLUMNS = ("model=", "variant", "parameters", "multiply-adds", "at", "least px", "volumes", "weights here")
_NUMBERS = (2, 3, 5)  # of the columns, to the right
_DEPTHS = (18, 34, 50)


@dataclass(frozen=True)
class Row:
    """One network as it is listed, with the words that choose it."""

    model: str
    variant: str
    conf: ClassifierConf


def rows() -> Iterator[Row]:
    """Every network that classifies, with its presets' words."""
    yield Row("plain_cnn", "", PlainCNNConf())
    for depth in _DEPTHS:
        yield Row(f"resnet{depth}", "", ResNetConf(depth=depth))
    for depth in _DEPTHS:
        yield Row("seresnet", f"model.depth={depth}", ResNetConf(depth=depth, attention="se"))
    for kind in FAMILIES:
        for name in dict.fromkeys(variants(kind)):
            conf = replace(kind(), variant=name)
            yield Row(conf.name, name, conf)


def chosen(name: str) -> list[Row]:
    """Those of that name: a variant, a family, or all for an empty one. Raises ArgumentError."""
    known = list(rows())
    found = [row for row in known if name in ("", row.model, row.variant, row.conf.name)]
    if not found:
        names = sorted({word for row in known for word in (row.model, row.variant) if word})
        raise ArgumentError(f"name={name}: no network is called so.{nearest(name, names)} medcnn models lists them")
    return found


def sizes(text: str) -> tuple[int, ...]:
    """`[64,64]` as numbers; () for an empty one. Raises ArgumentError."""
    found = tuple(int(number) for number in re.findall(r"\d+", text))
    if text and (len(found) not in (2, 3) or re.search(r"[^\d\[\],\sx]", text)):
        raise ArgumentError(f"size={text}: give two or three numbers of pixels, size=[64,64]")
    return found


def line(row: Row, size_px: Sequence[int], channels: int, classes: int) -> tuple[str, ...]:
    """What is printed of one network, in the order of the columns."""
    from medcnn.networks.cost import cost_of, minimum_px
    from medcnn.networks.families import expected, has_volumes
    from medcnn.networks.imagenet import weights_here

    own = has_volumes(row.conf)
    dims = 3 if len(size_px) == 3 and own else 2  # an inflated network is as demanding as that of pictures
    if size_px:
        least = minimum_px(row.conf, dims)
        if min(size_px[:dims]) < least:
            raise ArgumentError(
                f"size={list(size_px)}: {row.variant or row.model} wants at least {least} pixels a side"
            )
    whole: Sequence[int] = size_px or (expected(row.conf).side_px,) * 2
    cost = cost_of(row.conf, in_channels=channels, num_outputs=classes, size_px=whole)
    if not size_px:
        least = minimum_px(row.conf, dims, stride=cost.stride)
    shown = f"{cost.parameters / 1e6:.2f} M", f"{cost.multiply_adds / 1e9:.2f} G", "x".join(map(str, whole))
    return (row.model, row.variant, *shown, str(least), "own" if own else "inflated", weights_here(row.conf) or "-")


def table(lines: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest entry; numbers to the right."""
    whole = [_COLUMNS, *lines]
    widths = [max(len(row[index]) for row in whole) for index in range(len(_COLUMNS))]
    return "\n".join(
        "  ".join(
            f"{cell:>{width}}" if index in _NUMBERS else f"{cell:<{width}}"
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in whole
    )


def main() -> None:
    """The command."""
    words = sys.argv[1:]
    if any(word in ("-h", "--help") for word in words):
        print(USAGE)  # noqa: T201
        return
    try:
        given = key_values(words, {"name": "", "size": "", "channels": "3", "classes": "1000"})
        size_px, found = sizes(given["size"]), chosen(given["name"])
        channels, classes = (_count(key, given[key]) for key in ("channels", "classes"))
        print(table([line(row, size_px, channels, classes) for row in found]))  # noqa: T201
    except (ArgumentError, ConfigError) as error:
        print(f"medcnn models: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    print("\nmodel=<first column> model.variant=<second>; docs/networks.md says more")  # noqa: T201


def _count(key: str, text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ArgumentError(f"{key}={text}: must be a number, 1 or more")
    return int(text)


if __name__ == "__main__":
    main()
