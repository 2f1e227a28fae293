"""Whether a part is in the gate: a part of the picture that is compared with how it looks empty. No I/O, no clock.

Limits: between two parts the gate has to be seen empty in an inspected frame, or they are one; what looks like the
empty gate at 16×16 cells (a part of the belt's colour without an edge) is not seen; a hand in the gate is a part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.images import BGRImage
from server.recipes import GATE_SIDE, Polygon

GateLook = NDArray[np.float32]
"""The gate at 16×16 cells, float32: brightness in percent of the mean of the frame's middle half; cells outside of a
polygon are NaN."""

State = Literal["empty", "moving", "resting"]

_POINTS = 64
"""Along a side of the gate that are looked at: a tenth of a millisecond, whatever the camera."""
_DARK = 8.0
"""Brightness below which a picture is as dark as that: what is left is noise."""
CLEAR = 6.0
"""Percent of that brightness (root of the mean square over the cells) from which on something is there."""
LEFT = 0.6
"""Of that, below which it is gone: what is at the edge does not come and go with the noise."""
TIMES_NOISE = 4.0
STILL, STILL_OF_ALL = 3.0, 0.025
"""Percent by which frames that follow one another may differ while a part lies still; or so much of how bright the gate
is, since noise grows with light; or so many times the noise of the empty gate."""
_SLOWLY = 0.05
"""By which the empty gate follows daylight, and its noise the frames."""


def gate_look(frame: BGRImage, gate: Polygon) -> GateLook:
    """A look at the gate in a frame (H×W×3 uint8 BGR); an empty polygon is all of the frame. For a worker thread."""
    height, width = frame.shape[:2]
    step = max(1, min(height, width) // _POINTS)
    # The middle half: what comes and goes beside the gate is not more light, as long as it covers less than that. Its
    # mean and not the median, which is a whole number: in a dark picture the next one is 3 % away.
    values = np.sort(frame[::step, ::step, 1], axis=None)
    middle = max(float(values[values.size // 4 : -(values.size // 4) or None].mean()), _DARK)
    left, top, right, bottom = _box(gate)
    x0, y0 = min(int(left * width), width - 1), min(int(top * height), height - 1)
    x1, y1 = max(x0 + 1, round(right * width)), max(y0 + 1, round(bottom * height))
    cut = frame[y0:y1, x0:x1, 1]
    rows, columns = (max(1, length // _POINTS) for length in cut.shape)
    few = np.ascontiguousarray(cut[::rows, ::columns])
    cells = cv2.resize(few, (GATE_SIDE, GATE_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    look = np.asarray(cells * (100 / middle), np.float32)
    if gate:
        look[~_inside(gate)] = np.nan
    return look


def packed(look: GateLook) -> tuple[int, ...]:
    """A look as a recipe keeps it: 256 whole numbers, tenths of a percent, row by row; -1 outside of the polygon."""
    return tuple(
        -1 if np.isnan(value) else int(min(max(round(float(value) * 10), 0), 32_000)) for value in look.ravel()
    )


def unpacked(kept: Sequence[int]) -> GateLook:
    """The look that a recipe keeps."""
    look = np.array(kept, np.float32).reshape(GATE_SIDE, GATE_SIDE) / 10
    look[look < 0] = np.nan
    return np.asarray(look, np.float32)


class Gate:
    """What is in the gate of one stream, from frame to frame.

    Args:
        empty: how it looks without a part.
    """

    def __init__(self, empty: GateLook) -> None:
        self._empty = empty
        self._last: GateLook | None = None
        self._noise = 0.0
        self._present = False

    def see(self, look: GateLook) -> State:
        """What a frame shows."""
        last, self._last = self._last, look
        moved = float("inf") if last is None else _difference(look, last)
        away = _difference(look, self._empty)
        clear = max(CLEAR, TIMES_NOISE * self._noise)
        self._present = away > (clear * LEFT if self._present else clear)
        if not self._present:
            self._empty = np.asarray(self._empty + _SLOWLY * (look - self._empty), np.float32)
            if np.isfinite(moved) and moved <= clear:
                self._noise += _SLOWLY * (moved - self._noise)
            return "empty"
        still = max(STILL, STILL_OF_ALL * _difference(look, np.zeros_like(look)), TIMES_NOISE * self._noise)
        return "resting" if moved <= still else "moving"


def _difference(one: GateLook, other: GateLook) -> float:
    """Root of the mean square over the cells of the polygon, percent."""
    apart = (one - other).ravel()
    apart = apart[~np.isnan(apart)]
    return float(np.sqrt(apart @ apart / apart.size)) if apart.size else 0.0


def _box(gate: Polygon) -> tuple[float, float, float, float]:
    if not gate:
        return 0.0, 0.0, 1.0, 1.0
    xs, ys = zip(*gate, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _inside(gate: Polygon) -> NDArray[np.bool_]:
    """Which cells of the gate's box have their middle in the polygon (GATE_SIDE×GATE_SIDE); one at the least."""
    left, top, right, bottom = _box(gate)
    scale = (GATE_SIDE * 16) / np.array([max(right - left, 1e-9), max(bottom - top, 1e-9)])
    corners = np.rint((np.array(gate) - [left, top]) * scale).astype(np.int32)
    fine = np.zeros((GATE_SIDE * 16, GATE_SIDE * 16), np.uint8)
    cv2.fillPoly(fine, [corners], 1)
    share = cv2.resize(fine.astype(np.float32), (GATE_SIDE, GATE_SIDE), interpolation=cv2.INTER_AREA)
    inside = np.asarray(share >= 0.5)
    return inside if inside.any() else np.asarray(share >= share.max())
