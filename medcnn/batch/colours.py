"""The colours of structures, the same on every picture and page."""

from __future__ import annotations

# Okabe and Ito's colours (2008), lighter where they would be lost on a dark scan; of more structures they come again.
STRUCTURE_COLOURS = ("#56b4e9", "#e69f00", "#00c48f", "#f07ab8", "#f0e442", "#ff6b3d", "#b79cff", "#9be15d")


def structure_colour(number: int) -> str:
    """Of the structure at this place of a rule's names, as #rrggbb."""
    return STRUCTURE_COLOURS[number % len(STRUCTURE_COLOURS)]


def rgb(colour: str) -> tuple[int, int, int]:
    """Of #rrggbb, 0 to 255 each."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue
