"""Defects drawn into normal images: scratches, spots and blobs, filled with what does not belong there.

They look like no particular defect, and teach a classifier (:mod:`detector.heads.drawn`) in which directions something
that does not belong moves patch features. As a judge of settings they were tried and are none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.images import BGRImage

_AT_MOST = 3
"""Defects drawn into one image."""
_VISIBLE = 4.0
"""Grey levels by which a pixel must change to count as part of a defect."""

Picture = NDArray[np.float32]
Shape = NDArray[np.float32]


@dataclass(frozen=True)
class Drawn:
    """``image``: H×W×3 uint8 BGR. ``cover``: H×W float32, 1 where something was drawn that can be seen."""

    image: BGRImage
    cover: NDArray[np.float32]


def draw(image: BGRImage, other: BGRImage, random: np.random.Generator) -> Drawn:
    """One to three defects in a normal image, some of them filled with pieces of another one of the same size."""
    picture, cover = image.astype(np.float32), np.zeros(image.shape[:2], np.float32)
    for _ in range(int(random.integers(1, _AT_MOST + 1))):
        shape = _SHAPES[int(random.integers(len(_SHAPES)))](random, picture.shape[0], picture.shape[1])
        filled = _FILLS[int(random.integers(len(_FILLS)))](random, picture, other)
        edge = cv2.GaussianBlur(shape, (0, 0), random.uniform(0.5, 1.5)) if random.random() < 0.8 else shape
        opacity = edge * np.float32(random.uniform(0.4, 1.0))
        box = _where(opacity)
        change = (filled[box] - picture[box]) * opacity[box][..., None]
        seen = np.abs(change).max(2) > _VISIBLE
        cover[box] = np.maximum(cover[box], shape[box] * seen)
        picture[box] += change
    return Drawn(np.asarray(np.clip(picture, 0, 255), np.uint8), cover)


def _where(opacity: NDArray[np.float32]) -> tuple[slice, slice]:
    """Rows and columns that hold all that is not 0."""
    left, top, width, height = cv2.boundingRect((opacity > 0).view(np.uint8))
    return slice(top, top + height), slice(left, left + width)


def covered(cover: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.float32]:
    """The share of each patch of a grid (rows, columns) that a defect covers."""
    return np.asarray(cv2.resize(cover, (grid[1], grid[0]), interpolation=cv2.INTER_AREA), np.float32)


def _ellipse(random: np.random.Generator, height: int, width: int) -> Shape:
    shape = np.zeros((height, width), np.float32)
    side = min(height, width) * _between(random, 0.024, 0.18)
    centre = float(random.uniform(0.05, 0.95) * width), float(random.uniform(0.05, 0.95) * height)
    axes = side, side * float(random.uniform(0.4, 1))
    cv2.ellipse(shape, (centre, axes, float(random.uniform(0, 180))), 1.0, -1, cv2.LINE_AA)
    return shape


def _scratch(random: np.random.Generator, height: int, width: int) -> Shape:
    shape = np.zeros((height, width), np.float32)
    length, pieces = min(height, width) * _between(random, 0.06, 0.4), int(random.integers(3, 7))
    angles = random.uniform(0, 2 * np.pi) + np.cumsum(random.normal(0, 0.4, pieces))
    steps = np.stack([np.cos(angles), np.sin(angles)], 1) * length / pieces
    start = random.uniform(0.05, 0.95, 2) * (width, height)
    points = np.concatenate([start[None], start + np.cumsum(steps, 0)])
    thickness = max(1, round(_between(random, 1, 7)))
    cv2.polylines(shape, [np.asarray(points * 8, np.int32)], False, 1.0, thickness, cv2.LINE_AA, 3)
    return shape


def _blob(random: np.random.Generator, height: int, width: int) -> Shape:
    reach = min(height, width) * _between(random, 0.03, 0.12)
    across, down = random.uniform(0.05, 0.95) * width, random.uniform(0.05, 0.95) * height
    columns, rows = np.arange(width, dtype=np.float32) - across, np.arange(height, dtype=np.float32) - down
    near = np.exp(rows[:, None] ** 2 / (-2 * reach * reach)) * np.exp(columns**2 / (-2 * reach * reach))
    noise = cv2.GaussianBlur(random.standard_normal((height, width), np.float32), (0, 0), max(1.5, reach / 3))
    return np.asarray(near * (1.5 + 0.5 * noise / noise.std()) > 0.9, np.float32)


def _piece_of_another(random: np.random.Generator, picture: Picture, other: BGRImage) -> Picture:
    height, width = other.shape[:2]
    by = [int(random.integers(side // 8, side - side // 8)) for side in (height, width)]
    return np.roll(other, by, (0, 1)).astype(np.float32)


def _brighter_or_darker(random: np.random.Generator, picture: Picture, other: BGRImage) -> Picture:
    step = np.full(3, random.choice([-1, 1]) * random.uniform(15, 80))
    if random.random() < 0.3:
        step = step + random.uniform(-15, 15, 3)
    return picture + step.astype(np.float32)


def _plain(random: np.random.Generator, picture: Picture, other: BGRImage) -> Picture:
    colour = random.uniform(0, 255, 3) if random.random() < 0.5 else np.full(3, random.uniform(0, 255))
    noise = random.standard_normal((*picture.shape[:2], 1), np.float32) * np.float32(random.uniform(0, 12))
    return noise + colour.astype(np.float32)


def _turned_and_blurred(random: np.random.Generator, picture: Picture, other: BGRImage) -> Picture:
    height, width = other.shape[:2]
    turn = cv2.getRotationMatrix2D(
        (width / 2, height / 2), float(random.uniform(20, 340)), float(random.uniform(0.7, 1.4))
    )
    turned = cv2.warpAffine(other, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    return cv2.GaussianBlur(turned, (0, 0), random.uniform(0.5, 3)).astype(np.float32)


def _between(random: np.random.Generator, low: float, high: float) -> float:
    """Any size as likely as its double."""
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


_SHAPES: Sequence[Callable[[np.random.Generator, int, int], Shape]] = (_ellipse, _scratch, _blob)
_FILLS: Sequence[Callable[[np.random.Generator, Picture, BGRImage], Picture]] = (
    _piece_of_another,
    _brighter_or_darker,
    _plain,
    _turned_and_blurred,
)
