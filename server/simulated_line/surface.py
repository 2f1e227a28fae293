"""The surface of a part as seen from above, and the light that falls on it.

All maps are square, ``SIZE`` pixels a side at ``SCALE`` pixels to one pixel of the camera, the part in the middle.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]

SCALE = 2
REACH = 208
"""Half the side of a rendered part in camera pixels: the part and the shadow it throws."""
SIZE = 2 * REACH * SCALE

_KEY_LIGHT = (-0.52, -0.58, 0.63)
_FILL_LIGHT = (0.66, -0.12, 0.74)
_ALONG_GROOVES, _ACROSS_GROOVES = 0.12, 0.42  # Ward roughness of a turned face


@dataclass(frozen=True)
class Surface:
    """What a part is made of, point by point.

    height: float32 (SIZE, SIZE), camera pixels towards the camera.
    sheen: float32 (SIZE, SIZE), 1 where the turned grooves are intact, 0 where the surface is matt.
    tint: float32 (SIZE, SIZE, 3) BGR, share of the light that is reflected.
    solid: float32 (SIZE, SIZE), 1 on the part, 0 where the belt shows.
    """

    height: Map
    sheen: Map
    tint: Map
    solid: Map

    def turned(self, degrees: float) -> Surface:
        """The same part lying turned about its centre, counter-clockwise."""
        centre = ((SIZE - 1) / 2, (SIZE - 1) / 2)
        matrix = cv2.getRotationMatrix2D(centre, degrees, 1.0)
        return Surface(
            *(
                np.asarray(cv2.warpAffine(layer, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE), np.float32)
                for layer in (self.height, self.sheen, self.tint, self.solid)
            )
        )


@dataclass(frozen=True)
class Sprite:
    """A rendered part, ready to be laid over the belt: ``belt * passing / 255 + light``.

    light: uint8 (2·REACH, 2·REACH, 3) BGR, what the part itself sends to the camera.
    passing: uint8 (2·REACH, 2·REACH, 3), the share of the belt that is still seen, shadow included.
    """

    light: NDArray[np.uint8]
    passing: NDArray[np.uint8]


@cache
def plane() -> tuple[Map, Map]:
    """x and y of every surface pixel in camera pixels from the part's centre, float32 (SIZE, SIZE) each."""
    axis = ((np.arange(SIZE) - (SIZE - 1) / 2) / SCALE).astype(np.float32)
    x, y = np.meshgrid(axis, axis)
    return x, y


@cache
def polar() -> tuple[Map, Map]:
    """Radius in camera pixels and angle in radians (0 right, clockwise) of every surface pixel."""
    x, y = plane()
    return np.hypot(x, y), np.arctan2(y, x)


@cache
def _groove_direction() -> tuple[Map, Map]:
    x, y = plane()
    radius = np.maximum(np.hypot(x, y), 1e-3)
    return np.asarray(-y / radius, np.float32), np.asarray(x / radius, np.float32)


def soften(layer: Map, camera_pixels: float) -> Map:
    """Gaussian blur with a standard deviation in camera pixels."""
    return np.asarray(cv2.GaussianBlur(layer, (0, 0), camera_pixels * SCALE), np.float32)


def _soften_widely(layer: Map, camera_pixels: float) -> Map:
    """As soften, at a quarter of the resolution: wide blurs need no more."""
    small = cv2.resize(layer, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), camera_pixels * SCALE / 4)
    return np.asarray(cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR), np.float32)


def _half_vector(light: tuple[float, float, float]) -> tuple[float, float, float]:
    half = np.array(light) / np.linalg.norm(light) + np.array((0.0, 0.0, 1.0))
    x, y, z = half / np.linalg.norm(half)
    return float(x), float(y), float(z)


def render(surface: Surface) -> Sprite:
    """The part under the line's two soft lights, as the camera's sprite."""
    slope_x = cv2.Sobel(surface.height, cv2.CV_32F, 1, 0, scale=SCALE / 8)
    slope_y = cv2.Sobel(surface.height, cv2.CV_32F, 0, 1, scale=SCALE / 8)
    nz = 1 / np.sqrt(slope_x * slope_x + slope_y * slope_y + 1)
    nx, ny = -slope_x * nz, -slope_y * nz
    tx, ty = _groove_direction()
    t_dot_n = tx * nx + ty * ny

    grooves = np.zeros_like(nz)
    gloss = np.zeros_like(nz)
    for light, strength in ((_KEY_LIGHT, 1.0), (_FILL_LIGHT, 0.42)):
        hx, hy, hz = _half_vector(light)
        n_dot_h = np.maximum(hx * nx + hy * ny + hz * nz, 0.05)
        along = (hx * tx + hy * ty - t_dot_n * n_dot_h) ** 2
        across = np.maximum(1 - along - n_dot_h * n_dot_h, 0)
        grooves += strength * cv2.exp(-(along / _ALONG_GROOVES**2 + across / _ACROSS_GROOVES**2) / (n_dot_h * n_dot_h))
        gloss += strength * n_dot_h**24

    lx, ly, lz = _KEY_LIGHT
    facing = np.maximum(lx * nx + ly * ny + lz * nz, 0)
    occlusion = np.clip(1 - 0.055 * np.maximum(_soften_widely(surface.height, 7) - surface.height, 0), 0.25, 1)
    # What stands higher towards the key light throws a soft shadow.
    towards = np.array([[1, 0, 7 * SCALE], [0, 1, 8 * SCALE]], np.float32)
    caster = cv2.warpAffine(_soften_widely(surface.height, 3), towards, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
    shade = 1 - 0.45 * np.clip((caster - surface.height - 2.0) / 9, 0, 1)

    room = (0.06 + 0.17 * facing) * occlusion * shade
    shine = surface.sheen * (1.2 * grooves * shade + 0.02) + 0.07 * gloss * occlusion
    exposure = surface.tint * (room + shine)[..., None]
    encoded = (1 - cv2.exp(-1.8 * exposure)) ** (1 / 1.9)  # film-like shoulder, then the camera's gamma

    side = (2 * REACH, 2 * REACH)
    light_map = cv2.resize(encoded * surface.solid[..., None], side, interpolation=cv2.INTER_AREA)
    solid = np.asarray(cv2.resize(surface.solid, side, interpolation=cv2.INTER_AREA), np.float32)
    passing = (1 - solid) * _belt_light(solid)
    return Sprite(
        light=np.clip(light_map * 255 + 0.5, 0, 255).astype(np.uint8),
        passing=np.repeat(np.clip(passing * 255 + 0.5, 0, 255).astype(np.uint8)[..., None], 3, axis=2),
    )


def _belt_light(solid: Map) -> Map:
    """Share of the light that reaches the belt around and inside a part, same shape as ``solid``."""
    away = np.array([[1, 0, 11], [0, 1, 13]], np.float32)
    cast = cv2.GaussianBlur(cv2.warpAffine(solid, away, solid.shape[::-1]), (0, 0), 8)
    touching = cv2.GaussianBlur(solid, (0, 0), 5)
    return np.asarray((1 - 0.7 * cast) * (1 - 0.75 * touching), np.float32)
