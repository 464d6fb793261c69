"""PNG and JPEG pictures."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medcnn.scan import Reason, Scan, ScanRejected

MAX_PIXELS = 2**28


def looks_like_picture(head: bytes) -> bool:
    """PNG or JPEG by their first bytes."""
    return head[:8] == b"\x89PNG\r\n\x1a\n" or head[:3] == b"\xff\xd8\xff"


def read_picture(path: Path) -> Scan:
    """(1, H, W) for grey, (3, H, W) for colour and palettes; upright after EXIF, transparency dropped."""
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pillow's own size warning; the check below decides
        try:
            with Image.open(path, formats=("PNG", "JPEG")) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise ScanRejected(
                        Reason.SIZE_IMPLAUSIBLE,
                        f"the picture claims {picture.width} x {picture.height} pixels",
                        "Save it smaller",
                    )
                pixels, value_range = _pixels(ImageOps.exif_transpose(picture))
        except Image.DecompressionBombError:
            raise ScanRejected(Reason.BOMB, "the picture unpacks to far too many pixels", "Save it smaller") from None
        except ScanRejected:
            raise
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            code = Reason.PIXEL_DATA_TRUNCATED if "truncated" in str(error) else Reason.DECODE_FAILED
            raise ScanRejected(
                code, f"the picture cannot be decoded ({type(error).__name__})", "Save it again"
            ) from None
    voxels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    return Scan(
        voxels=np.ascontiguousarray(voxels, dtype=np.float32),
        value_range=value_range,
        facts={"format": "picture", "spacing_source": "unknown"},
    )


def _pixels(picture: Any) -> tuple[npt.NDArray[Any], tuple[float, float]]:
    """(H, W) or (H, W, 3), and the range of the bit depth."""
    mode = picture.mode
    if mode.startswith("I"):  # 16-bit grey, which pillow holds in 16 or 32 bits
        return np.asarray(picture, dtype=np.float32), (0.0, 65535.0)
    if mode == "1":
        picture = picture.convert("L")
    elif mode in ("LA", "La"):
        picture = picture.getchannel(0)
    elif mode != "L":
        picture = picture.convert("RGB")
    return np.asarray(picture), (0.0, 255.0)
