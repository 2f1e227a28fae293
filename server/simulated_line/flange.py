"""The part this line makes: a turned steel flange with six bolt holes, a hub, an O-ring and an engraved mark."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from server.simulated_line.surface import SCALE, SIZE, Map, Surface, plane, polar, soften

RADIUS = 158.0
BOLT_CIRCLE, BOLT_HOLE, BOLT_CHAMFER = 122.0, 12.5, 16.5
BOLT_ANGLES = tuple(np.deg2rad(60 * k) for k in range(6))
RING, RING_THICKNESS = 89.0, 6.0
STEEL = np.array([0.96, 0.965, 0.95], np.float32)
_RUBBER = np.array([0.085, 0.08, 0.08], np.float32)
_MARK = "DV 40-6"

# Height over radius, camera pixels: bore, hub with chamfers, O-ring groove, face, a shallow step, outer chamfer.
_PROFILE = (
    (0, 0), (36, 0), (36.4, 18), (40.5, 23), (68, 23), (72.5, 19), (73.5, 10.5),
    (81, 10), (81.6, 6), (96.4, 6), (97, 10), (136, 10), (137, 8.6), (152, 8.6), (157.5, 3.5), (158.5, 0),
)  # fmt: skip


def _disc(x: float, y: float, radius: float) -> Map:
    """1 inside a circle with an edge one surface pixel wide, camera pixels."""
    return np.asarray(np.clip((radius - _distance(x, y)) * SCALE + 0.5, 0, 1), np.float32)


def _distance(x: float, y: float) -> Map:
    px, py = plane()
    return np.asarray(cv2.magnitude(px - np.float32(x), py - np.float32(y)), np.float32)


def bolt_hole(number: int) -> tuple[float, float]:
    """Centre of a bolt hole (0..5) in camera pixels from the part's centre."""
    angle = BOLT_ANGLES[number]
    return float(BOLT_CIRCLE * np.cos(angle)), float(BOLT_CIRCLE * np.sin(angle))


@cache
def _engraving() -> Map:
    """1 where the mark is engraved: text set along the bolt circle, between the two upper holes."""
    zoom, width, height = 6, 110, 26
    strip = np.zeros((height * zoom, width * zoom), np.uint8)
    font, size, weight = cv2.FONT_HERSHEY_DUPLEX, 3.6, 8
    (text_width, text_height), _ = cv2.getTextSize(_MARK, font, size, weight)
    origin = ((width * zoom - text_width) // 2, (height * zoom + text_height) // 2)
    cv2.putText(strip, _MARK, origin, font, size, 255, weight, cv2.LINE_AA)
    radius, angle = polar()
    column = (angle + np.pi / 2) * BOLT_CIRCLE * zoom + width * zoom / 2
    row = (BOLT_CIRCLE - radius) * zoom + height * zoom / 2
    smooth = cv2.GaussianBlur(strip, (0, 0), zoom / 3)
    mapped = cv2.remap(smooth, column, row, cv2.INTER_LINEAR)
    return np.asarray(mapped / 255, np.float32)


@cache
def _grooves() -> Map:
    """The fine turning marks, camera pixels of height, a function of the radius alone."""
    rng = np.random.default_rng(40)
    fine = rng.normal(0, 1, 4 * SIZE).astype(np.float32)
    radii = np.arange(4 * SIZE, dtype=np.float32) / 8  # camera pixels
    marks = cv2.GaussianBlur(fine[None], (0, 0), 3)[0] * 0.2 + cv2.GaussianBlur(fine[None], (0, 0), 14)[0] * 0.3
    return np.asarray(np.interp(polar()[0], radii, marks), np.float32)


@cache
def flawless() -> Surface:
    """The flange as drawn."""
    return machined()


def machined(missing_hole: int | None = None, missing_ring: bool = False) -> Surface:
    """The flange, with one bolt hole (0..5) not drilled or the O-ring forgotten if so asked."""
    x, y = plane()
    radius, _ = polar()
    height = np.interp(radius, *np.array(_PROFILE, float).T).astype(np.float32)
    solid = _disc(0, 0, RADIUS) - _disc(0, 0, 36)

    keyway = np.clip(np.minimum(np.minimum(7 - np.abs(x), 49 - y), y) * SCALE + 0.5, 0, 1).astype(np.float32)
    solid *= 1 - keyway
    height *= 1 - keyway

    for number in range(6):
        if number == missing_hole:
            continue
        cx, cy = bolt_hole(number)
        distance = _distance(cx, cy)
        height -= np.maximum(BOLT_CHAMFER - distance, 0)
        solid *= 1 - _disc(cx, cy, BOLT_HOLE)
    cx, cy = 0.0, BOLT_CIRCLE  # the dowel hole, blind, opposite the mark
    dowel = _disc(cx, cy, 5.5)
    height -= np.clip(7.5 - _distance(cx, cy), 0, 2)
    height -= 5 * dowel

    engraving = _engraving()
    height = soften(height, 0.45) + _grooves() - 1.1 * engraving
    sheen = 1 - 0.75 * engraving
    tint = STEEL * (1 - 0.55 * engraving)[..., None] * (1 - 0.8 * dowel)[..., None]

    if not missing_ring:
        rubber = np.clip((RING_THICKNESS - np.abs(radius - RING)) * SCALE + 0.5, 0, 1).astype(np.float32)
        bulge = 5 + np.sqrt(np.maximum(RING_THICKNESS**2 - (radius - RING) ** 2, 0))
        height = height * (1 - rubber) + bulge * rubber
        sheen = sheen * (1 - rubber)
        tint = tint * (1 - rubber[..., None]) + _RUBBER * rubber[..., None]
    return Surface(height.astype(np.float32), sheen.astype(np.float32), tint.astype(np.float32), solid)
