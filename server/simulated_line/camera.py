"""The fixed camera over the belt: what stands still in its picture, its light, its lens and its sensor."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from server.simulated_line.surface import REACH, Sprite

Image = NDArray[np.uint8]

WIDTH, HEIGHT = 640, 480
EXPOSURE_SECONDS = 1 / 50

_BELT_LENGTH = 2560
_RAIL = 34
_DARK, _DUSK = 28, 112  # columns at either side that the hoods keep black, and that they dim
DIM_COLUMNS = _DARK + _DUSK // 2
"""Columns at either side in less than half the light: what lies there is not yet, or no longer, in view."""

_NOISE_TILES = 6
_NOISE_ROOM = 32  # extra rows and columns, so that a tile can be laid at many offsets
_SENSOR_OFFSET = 16  # keeps the noise of black pixels inside 8 bits until it is added


def expose(
    belt: float, sprites: Iterable[tuple[Sprite, float, float]], speed: float, gain: float, rng: np.random.Generator
) -> Image:
    """One picture.

    Args:
        belt: how far the belt has run, pixels.
        sprites: parts with the x and y of their centre in the picture, pixels; those out of view are skipped.
        speed: of the belt, pixels per second; the exposure smears what moves.
        gain: brightness of the light, 1 is nominal.
        rng: the sensor's noise.

    Returns:
        uint8 (HEIGHT, WIDTH, 3), BGR.
    """
    picture = _belt_at(belt)
    for sprite, x, y in sprites:
        _lay(sprite, x, y, picture)
    smear = round(abs(speed) * EXPOSURE_SECONDS)
    if smear > 1:
        picture = np.asarray(cv2.blur(picture, (smear, 1)), np.uint8)
    passing, rails = _rails()
    framed = np.asarray(cv2.add(cv2.multiply(picture, passing, scale=1 / 255), rails), np.uint8)
    return _sensed(framed, gain, rng)


def _belt_at(run: float) -> Image:
    start = run % _BELT_LENGTH
    column = int(start)
    matrix = np.array([[1, 0, column - start], [0, 1, 0]], np.float32)
    strip = _belt()[:, column : column + WIDTH + 1]
    return np.asarray(cv2.warpAffine(strip, matrix, (WIDTH, HEIGHT)), np.uint8)


def _lay(sprite: Sprite, x: float, y: float, picture: Image) -> None:
    left, top = x - REACH, y - REACH
    x0, x1 = max(0, int(left)), min(WIDTH, int(left) + 2 * REACH)
    y0, y1 = max(0, int(top)), min(HEIGHT, int(top) + 2 * REACH)
    if x0 >= x1 or y0 >= y1:
        return
    matrix = np.array([[1, 0, left - x0], [0, 1, top - y0]], np.float32)
    size = (x1 - x0, y1 - y0)
    passing = cv2.warpAffine(sprite.passing, matrix, size, borderValue=(255, 255, 255))
    light = cv2.warpAffine(sprite.light, matrix, size)
    below = picture[y0:y1, x0:x1]
    picture[y0:y1, x0:x1] = cv2.add(cv2.multiply(below, passing, scale=1 / 255), light)


def _sensed(picture: Image, gain: float, rng: np.random.Generator) -> Image:
    """Light fall-off and shot noise (grows with the signal) in one multiplication, read noise in one addition."""
    shot, read = _noise()
    lit = cv2.multiply(picture, shot[rng.integers(_NOISE_TILES)], scale=gain / 200)
    row, column = rng.integers(_NOISE_ROOM, size=2)
    tile = read[rng.integers(_NOISE_TILES)][row : row + HEIGHT, column : column + WIDTH]
    return np.asarray(cv2.addWeighted(lit, 1.0, tile, 1.0, -_SENSOR_OFFSET), np.uint8)


@cache
def _belt() -> Image:
    """The whole belt, uint8 (HEIGHT, _BELT_LENGTH + WIDTH + 1, 3); the tail repeats the head."""
    rng = np.random.default_rng(7)
    grain = rng.normal(0, 1, (HEIGHT, _BELT_LENGTH)).astype(np.float32)
    grain = np.pad(grain, ((0, 0), (0, WIDTH + 1)), mode="wrap")
    pebbles = cv2.GaussianBlur(grain, (0, 0), 1.1)
    relief = pebbles - np.roll(pebbles, (1, 1), (0, 1))  # lit from the upper left
    wear = cv2.GaussianBlur(rng.normal(0, 1, (HEIGHT, 1)).astype(np.float32), (0, 0), sigmaX=1, sigmaY=9)
    level = 44 + 17 * relief + 5 * pebbles + 9 * wear
    colour = np.array([1.06, 1.02, 0.94], np.float32)
    return np.asarray(np.clip(level[..., None] * colour, 0, 255), np.uint8)


@cache
def _rails() -> tuple[Image, Image]:
    """The two guide rails: share of the belt still seen, and their own light; uint8 (HEIGHT, WIDTH, 3) each."""
    rng = np.random.default_rng(11)
    rows = np.arange(HEIGHT, dtype=np.float32)
    inside = np.maximum(_RAIL - rows, _RAIL - (HEIGHT - 1 - rows))  # pixels from a rail's edge, positive on it
    solid = np.clip(inside, 0, 1)
    shadow_depth = np.where(rows < HEIGHT / 2, 13.0, 6.0)  # the light comes from above the picture's middle
    shadow = 1 - 0.7 * np.exp(-((np.maximum(-inside, 0) / shadow_depth) ** 2))
    passing = np.repeat(((1 - solid) * shadow)[:, None], WIDTH, axis=1)

    brushed = cv2.GaussianBlur(rng.normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), sigmaX=40, sigmaY=0.6)
    level = 86 + 55 * brushed + 20 * np.exp(-(((inside - 20) / 9) ** 2))[:, None]
    bevel = np.exp(-(((inside - 2.5) / 1.6) ** 2))
    level += (np.where(rows < HEIGHT / 2, -38, 62) * bevel)[:, None]
    _scale_marks(level)
    _screws(level)
    level *= solid[:, None]
    colour = np.array([1.0, 0.985, 0.96], np.float32)
    light = np.clip(level[..., None] * colour, 0, 255).astype(np.uint8)
    return np.repeat((passing * 255).astype(np.uint8)[..., None], 3, axis=2), light


def _scale_marks(level: NDArray[np.float32]) -> None:
    """A ruler engraved in the lower rail."""
    for tick in range(WIDTH // 10):
        length = 12 if tick % 10 == 0 else 8 if tick % 5 == 0 else 5
        top = HEIGHT - _RAIL + 8
        level[top : top + length, tick * 10 + 2] *= 0.45


def _screws(level: NDArray[np.float32]) -> None:
    """Socket-head screws that hold the upper rail."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    for centre_x, turn in ((104, 0.2), (536, 0.7)):
        dx, dy = x - centre_x, y - 14
        distance, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
        edge = cv2.GaussianBlur((distance < 9).astype(np.float32), (0, 0), 0.7)
        lit = 1 + 0.5 * np.clip(distance / 9, 0, 1) ** 3 * np.cos(angle + 2.2)
        level[:] = level * (1 - edge) + edge * 92 * lit
        folded = (angle + turn) % (np.pi / 3) - np.pi / 6
        socket = np.clip(4.2 - distance * np.cos(folded) + 0.5, 0, 1)
        level *= 1 - 0.82 * socket
        gap = np.exp(-(((distance - 10) / 0.9) ** 2))
        level *= 1 - 0.5 * gap


@cache
def _noise() -> tuple[list[Image], list[Image]]:
    """Tiles of lens shading times shot noise (200 is a factor of 1), and of read noise around the sensor's offset."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    from_corner = np.hypot((x - 290) / 400, (y - 215) / 400)  # the lamp hangs a little to the upper left
    # Hoods to both sides keep the hall's light out: parts come out of the dark and go back into it.
    lit = np.clip((np.minimum(x, WIDTH - 1 - x) - _DARK) / _DUSK, 0, 1)
    shading = (1.06 - 0.2 * from_corner**2) * lit**2 * (3 - 2 * lit)
    shot, read = [], []
    for _ in range(_NOISE_TILES):
        shot.append(
            np.clip(200 * shading[..., None] * (1 + 0.013 * _grain(rng, HEIGHT, WIDTH)) + 0.5, 0, 255).astype(np.uint8)
        )
        room = _grain(rng, HEIGHT + _NOISE_ROOM, WIDTH + _NOISE_ROOM)
        read.append(np.clip(_SENSOR_OFFSET + 1.7 * room + 0.5, 0, 255).astype(np.uint8))
    return shot, read


def _grain(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Noise of a colour sensor after demosaicing: mostly luminance, a little colour, slightly soft."""
    luminance = rng.standard_normal((height, width, 1), np.float32)
    colour = cv2.GaussianBlur(rng.standard_normal((height, width, 3), np.float32), (0, 0), 0.8)
    return np.asarray(0.85 * luminance + 0.8 * colour, np.float32)
