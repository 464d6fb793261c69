"""Whether a JPEG's data ends before its picture does, though an end marker follows: codecs fill the rest, silently."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

_OTHER = b"\x5a\x96\x3c\x69" * 16  # decodes to anything but what a codec fills in
_END = b"\xff\xd9"
_FLAT_PIXELS = 8


def ends_early(code: bytes, picture: npt.NDArray[Any], decode: Callable[[bytes], npt.NDArray[Any]]) -> bool:
    """Decode again with other data before the end marker: a whole picture never comes to it, a filled one changes.

    Only where the last pixels are alike, as filled ones are: most pictures need no second decoding.
    """
    last = picture[-1, -_FLAT_PIXELS:]
    if (last != last[-1]).any():
        return False
    end = code.rfind(_END)
    body = code[:end].rstrip(b"\xff")  # fill bytes in front of the marker would make markers of what follows them
    return end >= 0 and not np.array_equal(decode(body + _OTHER + code[end:]), picture)
