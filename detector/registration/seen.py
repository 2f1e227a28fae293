"""A part on a plain background, found in a small picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.images import BGRImage

SIDE = 128
"""Longer side of the small picture in which parts are looked for."""
SHORTEST = 16
"""And its shorter one at the least."""

_SMOOTH = 1.0
"""Standard deviation of the smoothing, in pixels of the small picture."""
_RING = 2
"""Pixels along its edge that must be background."""
_PLAIN = 20.0
"""Grey levels up to which nine tenths of the edge may differ from a smooth course of light for it to be plain."""
_PART = 12.0
"""Grey levels from which something is part, on the plainest background; twice what its edge differs elsewhere."""
_LEAST, _MOST = 0.01, 0.75
"""Share of the frame that a part covers."""

Small = NDArray[np.uint8]
Grey = NDArray[np.float32]


def small_picture(frame: BGRImage, shape: tuple[int, int] | None = None) -> Small:
    """A frame (H×W×3 uint8 BGR) of that height and width, or with a longer side of :data:`SIDE`."""
    height, width = frame.shape[:2]
    if shape is None:
        scale = SIDE / max(height, width)
        shape = max(1, round(height * scale)), max(1, round(width * scale))
    shrinks = height >= shape[0] and width >= shape[1]
    filter_ = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame, (shape[1], shape[0]), interpolation=filter_), np.uint8)


@dataclass(frozen=True)
class Seen:
    """A part in a small picture.

    Attributes:
        grey: H×W float32, the whole picture, smoothed.
        mask: H×W uint8, 1 where the part is, its holes included.
        middle: of the part, across and down.
    """

    grey: Grey
    mask: NDArray[np.uint8]
    middle: tuple[float, float]

    @cached_property
    def area(self) -> int:
        """In pixels."""
        return int(np.count_nonzero(self.mask))


def part_in(small: Small) -> Seen | None:
    """The largest thing on a plain background; None where the edge is not plain, nothing lies on it, or what lies there
    is cut off by the edge."""
    height, width = small.shape[:2]
    if min(height, width) < SHORTEST:
        return None
    smooth = np.asarray(cv2.GaussianBlur(small.astype(np.float32), (0, 0), _SMOOTH), np.float32)
    light = _light(height, width)
    background = light.terms @ (light.fit @ smooth[light.ring])
    difference = np.abs(smooth - background).max(2)
    noise = float(np.quantile(difference[light.ring], 0.9))
    if noise > _PLAIN:
        return None
    something = (difference > max(2 * noise, _PART)).astype(np.uint8)
    outlines, _ = cv2.findContours(
        cv2.morphologyEx(something, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)),
        cv2.RETR_EXTERNAL,
        cv2.CHAIN_APPROX_NONE,
    )
    if not outlines:
        return None
    mask = np.zeros((height, width), np.uint8)
    cv2.drawContours(mask, [max(outlines, key=cv2.contourArea)], -1, 1, -1)
    cut_off = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
    if cut_off or not _LEAST <= mask.mean() <= _MOST:
        return None
    grey = np.asarray(cv2.cvtColor(smooth, cv2.COLOR_BGR2GRAY), np.float32)
    return Seen(grey, mask, middle_of(mask))


def middle_of(mask: NDArray[np.uint8]) -> tuple[float, float]:
    """Of what is 1 in a mask (H×W), across and down."""
    moments = cv2.moments(mask, binaryImage=True)
    return moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]


@dataclass(frozen=True)
class _Light:
    """Lamps light a plain background up to the second degree: the six ``terms`` at each pixel (H×W×6), the ``ring``
    (H×W) along the edge, and what makes the terms' shares of the values there (6×N)."""

    terms: Grey
    ring: NDArray[np.bool_]
    fit: Grey


@lru_cache(maxsize=16)
def _light(height: int, width: int) -> _Light:
    grid: Any = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    y, x = grid.astype(np.float32)
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], 2)
    ring = np.ones((height, width), np.bool_)
    ring[_RING:-_RING, _RING:-_RING] = False
    return _Light(terms, ring, np.asarray(np.linalg.pinv(terms[ring].astype(np.float64)), np.float32))
