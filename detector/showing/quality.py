"""Whether a picture can be taught from at all: not black, not saturated, not blank, not blurred.

Every limit leaves alone what pictures of twelve products show by themselves: black and white boards of which half is
clipped, bottles with soft edges, cloth without a single edge. In doubt a picture is good: it is shown to a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.images import BGRImage

_LONGER_SIDE = 480
"""Of the picture that is looked at, in pixels: what a network sees of it is not sharper."""
_NOISE, _WIDER = 0.8, 2.0
"""Standard deviations, in these pixels, of the smoothing against a camera's noise, and of the blur a second look is
taken through."""
_EDGES, _STEEP = 0.005, 0.5
"""Sharpness is measured by the edges at least half as steep as the steepest, of which this share of all is left out:
what a camera's noise makes is not among them."""
_FLAT = 4.0
"""Slope, of 8 a grey level and pixel, below which there is no edge: not across, where all edges run across."""
_NARROWEST = 0.5
"""Pixels."""
_CLIPPED = 250
"""Grey level from which a pixel is taken for clipped."""

_BLACK, _BLACK_HIGHLIGHT = 16.0, 40.0
"""Grey levels: a black picture is darker than that on average, and in its brightest hundredth."""
_DARKER = 0.3
"""Share of the others' brightness below which a picture is not of the same light."""
_SATURATED, _MORE_SATURATED = 0.9, 0.4
"""Share of clipped pixels: of any picture, and above what is usual among the others."""
_BLANK = 1.5
"""Grey levels of contrast below which there is nothing to be seen."""
_WIDEST = 5.5
"""Pixels of 480 over which the steepest edges may stretch: those of twelve products take 0.5 to 4.3."""
_WIDER_THAN_OTHERS = 1.9
"""Times those of the sharper ones among the others; of good pictures of twelve products 1.6 at the most."""
_SHARPER = 0.25
"""Share of the others that is sharper than what a picture is compared with: one may be sharp by chance."""
_FEWEST = 3
"""Other pictures from which on a comparison says something."""


@dataclass(frozen=True)
class Quality:
    """What a frame is like, as a picture.

    ``brightness``: mean grey level, 0..255. ``highlight``: of its brightest hundredth. ``clipped``: share of pixels
    that are as bright as can be, 0..1. ``contrast``: standard deviation of grey levels. ``sharpness``: 1 / the width of
    its steepest edges in pixels, the longer side being 480 of them, in the direction that is less sharp; noise counts
    as sharp.
    """

    brightness: float
    highlight: float
    clipped: float
    contrast: float
    sharpness: float


def quality_of(frame: BGRImage) -> Quality:
    """Of a frame (H×W×3 uint8 BGR) of any size: a few milliseconds, whatever it is."""
    grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)  # first: a third to shrink
    height, width = grey.shape
    shrink = min(1.0, _LONGER_SIDE / max(height, width))
    if shrink < 1:
        size = max(1, round(width * shrink)), max(1, round(height * shrink))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    counts = np.bincount(grey.ravel(), minlength=256)
    share = np.cumsum(counts) / grey.size
    mean, deviation = cv2.meanStdDev(grey)
    return Quality(
        brightness=float(mean[0, 0]),
        highlight=float(np.searchsorted(share, 0.99)),
        clipped=float(counts[_CLIPPED:].sum() / grey.size),
        contrast=float(deviation[0, 0]),
        sharpness=1 / _edge_width(np.asarray(grey, np.uint8)),
    )


def fault_of(quality: Quality, others: Sequence[Quality]) -> str | None:
    """Why a picture cannot be taught from, as one clause for the person who shows parts; None where it can.

    Args:
        quality: of the picture.
        others: of the pictures taken already, of the same kind of part; fewer than three say nothing.
    """
    usual = _Usual(others) if len(others) >= _FEWEST else None
    if quality.brightness < _BLACK and quality.highlight < _BLACK_HIGHLIGHT:
        return "it is black: take the cover off the lens, or switch the light on"
    if quality.clipped > _SATURATED or (usual and quality.clipped > usual.clipped + _MORE_SATURATED):
        return "it is saturated, most of it is as bright as can be: take some light away, or a shorter exposure"
    if quality.contrast < _BLANK:
        return "it is blank, there is nothing to be seen on it: put a part before the camera"
    if usual and quality.brightness < _DARKER * usual.brightness:
        return "it is far darker than the others: switch the light on again, or move what casts the shadow"
    if quality.sharpness < 1 / _WIDEST:
        return "it is blurred: hold the part still, and focus the camera on it"
    if usual and quality.sharpness * _WIDER_THAN_OTHERS < usual.sharpness:
        return "it is blurred, the others are sharper: hold the part still, and focus the camera on it"
    return None


class _Usual:
    """What is usual among pictures."""

    def __init__(self, pictures: Sequence[Quality]) -> None:
        self.clipped = float(np.median([one.clipped for one in pictures]))
        self.brightness = float(np.median([one.brightness for one in pictures]))
        self.sharpness = float(np.quantile([one.sharpness for one in pictures], 1 - _SHARPER))


def _edge_width(grey: NDArray[np.uint8]) -> float:
    """Of the steepest edges, in pixels, across or down, whichever is wider.

    A blur of known width flattens a narrow edge a lot and a wide one little; how much says how wide it was, whatever
    the contrast. Motion blurs edges in one direction only.
    """
    fine = cv2.GaussianBlur(np.asarray(grey, np.float32), (0, 0), _NOISE)
    wide = cv2.GaussianBlur(fine, (0, 0), _WIDER)
    return max(_width(np.asarray(fine), np.asarray(wide), *way) for way in ((1, 0), (0, 1)))


def _width(fine: NDArray[Any], wide: NDArray[Any], dx: int, dy: int) -> float:
    before, after = (np.abs(cv2.Sobel(of, cv2.CV_32F, dx, dy)) for of in (fine, wide))
    ridges = after >= cv2.dilate(after, np.ones((1 + 4 * dy, 1 + 4 * dx), np.uint8))
    slopes = after[ridges]
    steepest = slopes >= max(_STEEP * float(np.sort(slopes)[int((1 - _EDGES) * len(slopes))]), _FLAT)
    if not steepest.any():
        return _NARROWEST
    steeper = float(before[ridges][steepest].sum()) / float(slopes[steepest].sum())
    return max(_NARROWEST, _WIDER / float(np.sqrt(max(steeper**2 - 1, 1e-3))))
