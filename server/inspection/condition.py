"""How a frame was taken: its light, contrast and focus, and where it has edges. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.images import BGRImage
from server.inspection.lying import Edges, Lying, edges_of

SIDE = 64
"""Pixels along the shorter side of the small picture that is looked at."""
_FINE = 256
"""How many steps of focus there are along the shorter side: about what models see of a frame."""
_LINES = 32
"""Rows in which focus is looked for."""
CELLS = 16
_DARK = 1e-4
"""Of white, so that logarithms of black pictures are finite."""
NAMES = ("light", "contrast", "focus", "across", "down", "size")


@dataclass(frozen=True)
class Condition:
    """How a frame was taken: numbers each of which changes with one thing that may happen to a camera.

    Attributes:
        light: base-2 logarithm of the mean of linear light, white is 0: half the light is one less.
        contrast: the same of its standard deviation over its mean.
        focus: the same of the energy of fine edges over the variance.
        edges: where it has edges, to tell how it lies.
        cells: 16×16 float32, how much brighter than the mean each is, percent: whether frames show the same.
    """

    light: float
    contrast: float
    focus: float
    edges: Edges
    cells: NDArray[np.float32]

    def figures(self, lying: Lying) -> NDArray[np.float64]:
        """Six figures, in the order of :data:`NAMES`; the last three against what a :class:`Lying` is made of."""
        return np.array([self.light, self.contrast, self.focus, *lying.of(self.edges)])

    @property
    def size(self) -> int:
        """Bytes it takes in memory, about."""
        return self.edges.nbytes + self.cells.nbytes


def condition_of(frame: BGRImage) -> Condition:
    """Look at a frame (H×W×3 uint8 BGR). For a worker thread; half a millisecond, whatever the camera."""
    height, width = frame.shape[:2]
    step = max(1, min(height, width) // (2 * SIDE))
    few = np.ascontiguousarray(frame[::step, ::step, 1])
    scale = SIDE / min(few.shape)
    size = max(2, round(few.shape[1] * scale)), max(2, round(few.shape[0] * scale))
    small = _linear()[cv2.resize(few, size, interpolation=cv2.INTER_AREA)]
    mean = float(small.mean())
    deviation = float(small.std())
    cells = cv2.resize(small, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    return Condition(
        light=float(np.log2(mean + _DARK)),
        contrast=float(np.log2((deviation + _DARK) / (mean + _DARK))),
        focus=_focus(frame),
        edges=edges_of(small),
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


@cache
def _linear() -> NDArray[np.float32]:
    """sRGB level → linear light, 0..1."""
    value = np.arange(256) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)
