"""How a part lies to a template of it: turned and shifted, told to a fraction of a pixel of a small picture.

The part's middle gives the shift, and the pictures along circles round it, compared at all angles at once, the turns
that are worth trying. Each is made exact by inverse compositional Lucas-Kanade (Baker and Matthews 2004), whose
equations are solved once for all frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.registration.seen import Grey, Seen, middle_of

_BESIDE = 3
"""Pixels of background round the part that belong to a template, so that its outline counts."""
_ANGLES, _RADII = 256, 32
_TURNS = 4
"""Tried at the most: a part may look nearly the same turned by half or a quarter."""
_WORTH_TRYING = 0.7
"""Of the best turn's correlation."""
_STEPS = 15
"""Of making a turn exact; four or five are usual."""
_CLOSE = 0.02
"""Pixels of the small picture: a smaller step is the last."""
_WORSE = 0.1
"""By which the correlation may fall for a step before it is given up."""
_DAMPED = 1e-3
"""So that a part which looks the same from all sides is not turned by its noise."""
_INVERSE = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """How a part lies.

    Attributes:
        matrix: 2×3, from a place in the template's small picture to the same of the part in its own.
        turn: degrees, clockwise as seen, -180 to 180.
        middle: where the template's pivot lies, across and down.
        quality: correlation, -1 to 1.
    """

    matrix: Matrix
    turn: float
    middle: tuple[float, float]
    quality: float


@dataclass(frozen=True)
class Template:
    """What is compared with.

    Attributes:
        grey: h×w float32, of the part and a little round it.
        mask: h×w, where it counts.
        left, top: of it in its small picture.
        pivot: the part's middle in the small picture, across and down.
    """

    grey: Grey
    mask: NDArray[np.bool_]
    left: int
    top: int
    pivot: tuple[float, float]

    @cached_property
    def reach(self) -> float:
        """From the pivot to the farthest place that counts."""
        down, across = self._from_pivot
        return float(np.hypot(across, down).max())

    def pose(self, seen: Seen, *, turning: bool) -> Pose:
        """How a part lies that may be shifted, and turned any way if so said."""
        turns = self._turns(seen) if turning else [0.0]
        return max((self.refined(seen, turn, turning=turning) for turn in turns), key=lambda found: found.quality)

    def refined(self, seen: Seen, turn: float, *, turning: bool) -> Pose:
        """From the part's middle and a turn (degrees), which may stay as it is, to where the pictures fit best."""
        matrix, steps = turned(turn, self.pivot, seen.middle), self._steps
        size = self.grey.shape[1], self.grey.shape[0]
        best, quality = matrix, -1.0
        for _ in range(_STEPS):
            there = cv2.warpAffine(
                seen.grey, matrix @ self._place, size, flags=_INVERSE, borderMode=cv2.BORDER_REPLICATE
            )
            values = _standard(np.asarray(there, np.float32)[self.mask])
            fits = float(values @ self._standard)
            if fits > quality:
                best, quality = matrix, fits
            if fits < quality - _WORSE:
                break
            across, down, along = (steps @ (values - self._standard)).tolist()
            along = along if turning else 0.0
            to = self.pivot[0] + across, self.pivot[1] + down
            matrix = compose(matrix, turned(math.degrees(along / self.reach), self.pivot, to))
            if max(abs(across), abs(down), abs(along)) < _CLOSE:
                break
        x, y = (best @ (*self.pivot, 1.0)).tolist()
        return Pose(best, math.degrees(math.atan2(best[1, 0], best[0, 0])), (x, y), quality)

    def _turns(self, seen: Seen) -> list[float]:
        """Degrees, best first: where what differs along circles round the middle fits best."""
        spokes = _spokes(seen.grey, seen.middle, self.reach)
        curve = np.asarray(np.fft.irfft((spokes * self._spokes.conj()).sum(1), _ANGLES), np.float64)
        peaks = np.flatnonzero((curve >= np.roll(curve, 1)) & (curve > np.roll(curve, -1)))
        best: list[int] = sorted(peaks.tolist(), key=lambda place: -curve.item(place))[:_TURNS] or [0]
        return [360 * place / _ANGLES for place in best if curve[place] >= _WORTH_TRYING * curve[best[0]]]

    @cached_property
    def _from_pivot(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Down and across, of each place that counts."""
        rows, columns = (places.astype(np.float64) for places in np.nonzero(self.mask))
        return rows + self.top - self.pivot[1], columns + self.left - self.pivot[0]

    @cached_property
    def _place(self) -> Matrix:
        """From pixels of the template to those of its small picture, 3×3."""
        return np.array([[1, 0, self.left], [0, 1, self.top], [0, 0, 1]], np.float64)

    @cached_property
    def _standard(self) -> Grey:
        return _standard(self.grey[self.mask])

    @cached_property
    def _spokes(self) -> NDArray[np.complex64]:
        return _spokes(self.grey, (self.pivot[0] - self.left, self.pivot[1] - self.top), self.reach)

    @cached_property
    def _steps(self) -> Grey:
        """3×N: the step across, down and along the rim, in pixels, that a difference of standard pictures calls for."""
        slope_down, slope_across = (
            np.asarray(np.gradient(self.grey, axis=axis), np.float64)[self.mask] for axis in (0, 1)
        )
        down, across = self._from_pivot
        along = (across * slope_down - down * slope_across) / self.reach
        slopes = np.stack([slope_across, slope_down, along], 1)
        values = self.grey[self.mask].astype(np.float64)
        slopes = (slopes - slopes.mean(0)) / max(float(np.linalg.norm(values - values.mean())), 1e-6)
        standard = self._standard.astype(np.float64)
        slopes -= standard[:, None] * (standard @ slopes)  # contrast is no movement
        square = slopes.T @ slopes
        square += np.eye(3) * (_DAMPED * np.trace(square) / 3 + 1e-12)
        return np.asarray(-np.linalg.solve(square, slopes.T), np.float32)


def template_of(grey: Grey, mask: NDArray[np.uint8]) -> Template:
    """Of a part in a small picture (H×W), and the background right beside it."""
    beside = np.ones((2 * _BESIDE + 1, 2 * _BESIDE + 1), np.uint8)
    around = np.asarray(cv2.dilate(mask, beside), np.uint8)
    left, top, width, height = cv2.boundingRect(around)
    box = slice(top, top + height), slice(left, left + width)
    return Template(np.ascontiguousarray(grey[box]), around[box] > 0, left, top, middle_of(mask))


def turned(degrees: float, pivot: tuple[float, float], to: tuple[float, float]) -> Matrix:
    """Turned round a pivot, which comes to lie there; 2×3."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.concatenate([turn, (np.array(to) - turn @ pivot)[:, None]], 1)


def compose(second: Matrix, first: Matrix) -> Matrix:
    """One movement (2×3) after another."""
    return np.asarray(second @ np.concatenate([first, [[0, 0, 1]]]), np.float64)


def rescaled(matrix: Matrix, of: tuple[int, int], to: tuple[int, int]) -> Matrix:
    """The same movement in pixels of a picture of another height and width; pixels have their middles at whole
    numbers."""
    down, across = to[0] / of[0], to[1] / of[1]
    scale = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]])
    return np.asarray(compose(scale[:2], compose(matrix, np.linalg.inv(scale)[:2])), np.float64)


def _spokes(grey: Grey, middle: tuple[float, float], reach: float) -> NDArray[np.complex64]:
    """Of each circle round the middle, the waves along it without its mean, as much as it is long; waves×circles."""
    flags = cv2.INTER_LINEAR | cv2.WARP_FILL_OUTLIERS
    waves = np.fft.rfft(cv2.warpPolar(grey, (_RADII, _ANGLES), middle, reach, flags), axis=0)
    waves[0] = 0
    return np.asarray(waves * np.sqrt(np.arange(_RADII) + 0.5), np.complex64)


def _standard(values: Grey) -> Grey:
    """Mean 0, length 1."""
    centred = values - values.mean()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-6), np.float32)
