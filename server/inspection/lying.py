"""How what a frame shows lies, against the mean of other frames: what stands fixed in all of them adds up, what lies
freely blurs away. No I/O."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 32
"""Of the small pictures of edges that are compared."""
Edges = NDArray[np.int8]
"""SIDE×SIDE: how strong edges are, in 32nds of their standard deviation over the frame; 0 is the mean."""

_FARTHEST, _MARGIN = 4, 6
"""Cells by which a frame may be moved, an eighth of its sides; and that are left around it for comparing sizes."""
_SIZES = np.linspace(-0.3, 0.3, 7)
"""Base-2 logarithms of sizes that are tried."""
_STEPS = 32.0


def edges_of(small: NDArray[np.float32]) -> Edges:
    """Of a small picture (H×W float32, linear light 0..1): where it changes, whatever the light."""
    logs = np.log(np.asarray(cv2.resize(small, (2 * SIDE, 2 * SIDE), interpolation=cv2.INTER_AREA)) + 0.02)
    strong = cv2.magnitude(cv2.Sobel(logs, cv2.CV_32F, 1, 0), cv2.Sobel(logs, cv2.CV_32F, 0, 1))
    strong = cv2.GaussianBlur(np.minimum(strong, 3 * strong.mean()), (0, 0), 1.5)
    cells = cv2.resize(strong, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    scaled = (cells - cells.mean()) * (_STEPS / (cells.std() + 1e-6))
    return np.asarray(np.clip(np.rint(scaled), -127, 127), np.int8)


class Lying:
    """What frames are compared with.

    Args:
        reference: mean of the edges of frames.
    """

    def __init__(self, reference: Edges) -> None:
        middle = (SIDE - 1) / 2
        plain = np.asarray(reference, np.float32)
        self._sizes: list[NDArray[np.float32]] = [_enlarged(plain, times, middle) for times in np.exp2(_SIZES).tolist()]
        self._plain = plain

    def of(self, edges: Edges) -> tuple[float, float, float]:
        """How much farther right and down a frame's contents lie, in shares of its sides, and the base-2 logarithm of
        how much larger they are."""
        across, down, _ = _found(self._plain, edges, _FARTHEST)
        likeness = np.array([_found(one, edges, _MARGIN)[2] for one in self._sizes])
        best = int(likeness.argmax())
        size = float(_SIZES[best])
        if 0 < best < len(likeness) - 1:
            size += _top(*likeness[best - 1 : best + 2].tolist()) * float(_SIZES[1] - _SIZES[0])
        return across, down, size


def _enlarged(plain: NDArray[np.float32], times: float, middle: float) -> NDArray[np.float32]:
    still = middle - times * middle
    matrix = np.array([[times, 0, still], [0, times, still]], np.float32)
    return np.asarray(cv2.warpAffine(plain, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE), np.float32)


def _found(reference: NDArray[np.float32], edges: Edges, margin: int) -> tuple[float, float, float]:
    """Where the middle of a frame is found in a reference, and how like it is there, -1..1."""
    seen = edges[margin:-margin, margin:-margin].astype(np.float32)
    likeness = cv2.matchTemplate(reference, seen, cv2.TM_CCOEFF_NORMED)
    if not np.isfinite(likeness).all():
        return 0.0, 0.0, 0.0
    _, highest, _, (x, y) = cv2.minMaxLoc(likeness)
    across, down = float(x), float(y)
    if 0 < x < 2 * margin:
        across += _top(*likeness[y, x - 1 : x + 2].tolist())
    if 0 < y < 2 * margin:
        down += _top(*likeness[y - 1 : y + 2, x].tolist())
    return (margin - across) / SIDE, (margin - down) / SIDE, highest


def _top(left: float, middle: float, right: float) -> float:
    """Where the top of a parabola through three neighbours lies, -0.5..0.5 steps from the middle one."""
    bend = left - 2 * middle + right
    return 0.0 if bend >= 0 else 0.5 * (left - right) / bend
