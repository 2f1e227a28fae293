"""What a picture is here, how large it may be, and which values it may have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.errors import ImageError

BGRImage = NDArray[np.uint8]
"""A picture: H×W×3, uint8, blue-green-red."""

TakeSize = Callable[[int, int], None]
"""Told the width and height that a header says before anything is decoded; raises ImageError if they are not taken."""

MIN_SIDE = 16
MAX_SIDE = 16_384
MAX_PIXELS = 64_000_000

NEARLY_BLACK = 1 << 12
"""A 16-bit picture with nothing as bright comes from a camera of 10 or 12 bits that did not fill the 16."""


def check_size(width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    """Raises ImageError for a size that is not taken."""
    if min(width, height) < MIN_SIDE or max(width, height) > MAX_SIDE or width * height > max_pixels:
        raise ImageError(
            f"the picture says it is {width}×{height} pixels; sides of {MIN_SIDE} to {MAX_SIDE} "
            f"and at most {max_pixels / 1e6:.4g} megapixels are taken"
        )


def three_channels(values: NDArray[Any]) -> NDArray[Any]:
    """H×W×3 of grey (H×W, or H×W×1 or 2) or RGB (H×W×3 or 4) values, in BGR order and without alpha."""
    if values.ndim == 2 or values.shape[2] < 3:
        return np.repeat(values.reshape(*values.shape[:2], -1)[..., :1], 3, axis=2)
    return np.ascontiguousarray(values[..., 2::-1])


def to_8_bits(values: NDArray[Any]) -> BGRImage:
    """8-bit values of 8- or 16-bit ones, by v / 257, rounded: the same for every picture, so a dark one stays dark.

    Raises:
        ImageError: values that do not say where white is, or that would all be nearly black.
    """
    if values.dtype == np.uint8:
        return np.asarray(values, np.uint8)
    if values.dtype != np.uint16:
        raise ImageError(
            f"the picture holds {values.dtype} values, which do not say where white is: save it with 8 or 16 bits a "
            "channel"
        )
    if (brightest := int(values.max())) < NEARLY_BLACK:
        raise ImageError(
            f"the picture has 16 bits a channel, but nothing in it is brighter than {brightest} of 65535, nearly "
            "black: have a camera of 10 or 12 bits fill the 16 (times 64 or 16), or save 8 bits"
        )
    return np.asarray(cv2.convertScaleAbs(values, alpha=1 / 257), np.uint8)
