"""How a frame was taken: its light, contrast and focus, and where what it shows lies. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.images import BGRImage

SIDE = 64
"""Pixels along the shorter side of the small picture that is looked at."""
_FINE = 256
"""How many steps of focus there are along the shorter side: about what models see of a frame."""
_LINES = 32
"""Rows in which focus is looked for."""
CELLS = 16
_DARK = 1e-4
"""Of white, so that logarithms of black pictures are finite."""
_PLAIN = 2.0
"""Times the median edge that an edge must be to count as one: noise on a plain background lies everywhere."""

NAMES = ("light", "contrast", "focus", "across", "down", "size")


@dataclass(frozen=True)
class Condition:
    """Six figures of a frame, each of which changes with one thing that may happen to a camera.

    Attributes:
        light: base-2 logarithm of the mean of linear light, white is 0: half the light is one less.
        contrast: the same of its standard deviation over its mean.
        focus: the same of the energy of fine edges over the variance.
        across, down: middle of all edges, in shares of the frame's width and height.
        size: base-2 logarithm of how far they lie from it (root mean square, in shares of the shorter side): a zoom by
            10 % adds 0.14.
        cells: 16×16 float32, how much brighter than the mean each is, percent: whether frames show the same.
    """

    light: float
    contrast: float
    focus: float
    across: float
    down: float
    size: float
    cells: NDArray[np.float32]

    @property
    def figures(self) -> NDArray[np.float64]:
        """The six, in the order of :data:`NAMES`."""
        return np.array([getattr(self, name) for name in NAMES])


def condition_of(frame: BGRImage) -> Condition:
    """Look at a frame (H×W×3 uint8 BGR). For a worker thread; a quarter of a millisecond, whatever the camera."""
    height, width = frame.shape[:2]
    step = max(1, min(height, width) // (2 * SIDE))
    few = np.ascontiguousarray(frame[::step, ::step, 1])
    scale = SIDE / min(few.shape)
    size = max(2, round(few.shape[1] * scale)), max(2, round(few.shape[0] * scale))
    small = _linear()[cv2.resize(few, size, interpolation=cv2.INTER_AREA)]
    mean = float(small.mean())
    deviation = float(small.std())
    across, down, spread = _lies(small)
    cells = cv2.resize(small, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    return Condition(
        light=float(np.log2(mean + _DARK)),
        contrast=float(np.log2((deviation + _DARK) / (mean + _DARK))),
        focus=_focus(frame),
        across=across,
        down=down,
        size=float(np.log2(spread + 1e-3)),
        cells=np.asarray((cells - mean) * (100 / (mean + 100 * _DARK)), np.float32),
    )


def _focus(frame: BGRImage) -> float:
    """Brenner's gradient at the scale that models see, across and down from some rows, over the variance there."""
    height, width = frame.shape[:2]
    lag = max(1, round(min(height, width) / _FINE))
    if min(height, width) <= 2 * lag:
        return 0.0
    step = max(1, (height - lag) // _LINES)
    rows, below = (np.ascontiguousarray(some[: height - lag : step, :, 1]) for some in (frame, frame[lag:]))
    energy = cv2.norm(rows, below, cv2.NORM_L2SQR) / rows.size
    energy += cv2.norm(rows[:, lag:], rows[:, :-lag], cv2.NORM_L2SQR) / (rows.size - len(rows) * lag)
    variance = float(cv2.meanStdDev(rows)[1][0, 0]) ** 2
    return float(np.log2((energy + 0.1) / (variance + 0.1)))


def _lies(small: NDArray[np.float32]) -> tuple[float, float, float]:
    """Middle of the edges in a small picture, across and down, and how far they lie from it."""
    height, width = small.shape
    edges = np.abs(small[1:, 1:] - small[:-1, 1:]) + np.abs(small[1:, 1:] - small[1:, :-1])
    strong = np.maximum(edges - np.float32(_PLAIN * np.median(edges)), 0)
    total = float(strong.sum())
    if total <= 0:
        return 0.5, 0.5, 0.4
    x, y = np.arange(1, width), np.arange(1, height)
    in_columns, in_rows = strong.sum(0) / total, strong.sum(1) / total
    across, down = float(in_columns @ x), float(in_rows @ y)
    spread = float(in_columns @ (x - across) ** 2 + in_rows @ (y - down) ** 2) ** 0.5
    return across / width, down / height, spread / min(height, width)


@cache
def _linear() -> NDArray[np.float32]:
    """sRGB level → linear light, 0..1."""
    value = np.arange(256) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)
