"""What can go wrong with a flange, each drawn differently every time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from server.simulated_line.flange import BOLT_CIRCLE, RING, bolt_hole, flawless, machined
from server.simulated_line.surface import SCALE, SIZE, Map, Surface, plane, soften

Kind = Literal["scratch", "dent", "contamination", "incomplete"]
KINDS: tuple[Kind, ...] = ("scratch", "dent", "contamination", "incomplete")


@dataclass(frozen=True)
class Area:
    """A circle around a defect, in camera pixels from the part's centre."""

    x: float
    y: float
    radius: float

    def turned(self, degrees: float) -> Area:
        """The same area on a part turned counter-clockwise."""
        cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        return Area(float(self.x * cosine + self.y * sine), float(self.y * cosine - self.x * sine), self.radius)


def spoiled(kind: Kind, rng: np.random.Generator) -> tuple[Surface, Area]:
    """A flange with one defect of this kind, and where it is."""
    return _DRAW[kind](rng)


def _stroke(points: NDArray[np.float64], width: float) -> Map:
    """A soft-edged line through points (N, 2) in camera pixels, 0..1."""
    fine = 4  # fractional bits
    pixels = np.round((points * SCALE + SIZE / 2) * 2**fine).astype(np.int32)
    canvas = np.zeros((SIZE, SIZE), np.uint8)
    cv2.polylines(canvas, [pixels], False, 255, max(1, round(width * SCALE)), cv2.LINE_AA, fine)
    return soften((canvas / 255).astype(np.float32), 0.4)


def _bend(centre: NDArray[np.float64], heading: float, length: float, turn: float) -> NDArray[np.float64]:
    """An arc of this length through the centre that turns by ``turn`` radians on its way, (40, 2)."""
    along = np.linspace(-0.5, 0.5, 40)
    direction = heading + turn * along
    path = np.cumsum(np.column_stack((np.cos(direction), np.sin(direction))), axis=0) * (length / 40)
    return np.asarray(path - path.mean(axis=0) + centre)


def _somewhere_on_the_face(rng: np.random.Generator) -> NDArray[np.float64]:
    """A point on the bolt circle between two holes, clear of the mark and the dowel hole."""
    angle = np.deg2rad(rng.choice((-30, 30, 150, 210)) + rng.uniform(-8, 8))
    radius = BOLT_CIRCLE + rng.uniform(-7, 7)
    return np.array((radius * np.cos(angle), radius * np.sin(angle)))


def _around(centre: NDArray[np.float64], radius: float) -> Area:
    return Area(float(centre[0]), float(centre[1]), radius)


def _scratch(rng: np.random.Generator) -> tuple[Surface, Area]:
    part = flawless()
    centre = _somewhere_on_the_face(rng)
    outwards = float(np.arctan2(centre[1], centre[0]))
    # Across the turning marks, where a handling scratch shows: along them it hides.
    heading = outwards + np.pi / 2 + rng.choice((-1, 1)) * rng.uniform(0.5, 1.1)
    length = rng.uniform(80, 105)
    path = _bend(centre, heading, length, rng.uniform(-0.5, 0.5))
    groove = _stroke(path, 2.6)
    second = _stroke(path[6:30] + rng.uniform(4, 6) * np.array((-np.sin(heading), np.cos(heading))), 1.5)
    groove = np.maximum(groove, 0.8 * second)
    tint = part.tint * (1 + 1.9 * groove)[..., None]
    spoilt = replace(part, height=part.height - 2.6 * groove, tint=tint.astype(np.float32))
    return spoilt, _around(centre, length / 2)


def _dent(rng: np.random.Generator) -> tuple[Surface, Area]:
    part = flawless()
    x, y = plane()
    centre = _somewhere_on_the_face(rng)
    size, squeeze, heading = rng.uniform(12, 14.5), rng.uniform(1.0, 1.25), rng.uniform(0, np.pi)
    u = (x - centre[0]) * np.cos(heading) + (y - centre[1]) * np.sin(heading)
    v = (y - centre[1]) * np.cos(heading) - (x - centre[0]) * np.sin(heading)
    distance = np.hypot(u * squeeze, v / squeeze) / size
    hollow = np.exp(-(distance**3)).astype(np.float32)
    rim = np.exp(-(((distance - 1.25) / 0.22) ** 2)).astype(np.float32)
    height = part.height - rng.uniform(8.0, 9.5) * hollow + 1.2 * rim
    return replace(part, height=height, sheen=part.sheen * (1 - 0.35 * hollow)), _around(centre, size * 1.3)


def _contamination(rng: np.random.Generator) -> tuple[Surface, Area]:
    return (_oil, _chip, _fibre)[rng.integers(3)](rng)


def _oil(rng: np.random.Generator) -> tuple[Surface, Area]:
    part = flawless()
    x, y = plane()
    centre = _somewhere_on_the_face(rng)
    coarse = rng.normal(0, 1, (24, 24)).astype(np.float32)
    waves = cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    size = rng.uniform(24, 30)
    edge = size - np.hypot(x - centre[0], y - centre[1]) + 4.5 * waves
    film = soften(np.clip(edge / 2 + 0.5, 0, 1).astype(np.float32), 0.6)
    pool = soften(np.clip(edge / 14, 0, 1).astype(np.float32), 1.5)
    stain = np.array([0.20, 0.32, 0.45], np.float32)  # BGR: old oil is amber to brown
    deep = film * (0.62 + 0.38 * pool)
    tint = part.tint * (1 - deep[..., None] * (1 - stain))
    spoilt = Surface(part.height + 2.2 * pool, part.sheen * (1 - 0.55 * film), tint.astype(np.float32), part.solid)
    return spoilt, _around(centre, size)


def _chip(rng: np.random.Generator) -> tuple[Surface, Area]:
    """A curl of swarf left by the lathe."""
    centre = _somewhere_on_the_face(rng)
    loops, size, heading = rng.uniform(3.0, 3.8), rng.uniform(6.5, 8.0), rng.uniform(0, np.pi)
    angle = np.linspace(0, loops * 2 * np.pi, 160)
    along = np.linspace(-0.5, 0.5, 160) * loops * size * 1.3 + 0.6 * size * np.cos(angle)
    across = size * np.linspace(0.75, 1.15, 160) * np.sin(angle)
    cosine, sine = np.cos(heading), np.sin(heading)
    path = centre + np.column_stack((along * cosine - across * sine, along * sine + across * cosine))
    curl = _stroke(path, 2.6)
    spoilt = _laid_on(curl, 6.0, np.array([1.0, 1.35, 1.75], np.float32))  # BGR: steel gone straw-coloured in the cut
    return spoilt, _around(centre, loops * size * 0.8)


def _fibre(rng: np.random.Generator) -> tuple[Surface, Area]:
    centre = _somewhere_on_the_face(rng)
    length = rng.uniform(95, 125)
    heading = float(np.arctan2(centre[1], centre[0])) + np.pi / 2 + rng.uniform(-0.7, 0.7)
    path = _bend(centre, heading, length, rng.choice((-1, 1)) * rng.uniform(1.6, 2.8))
    path += 3 * np.sin(np.linspace(0, rng.uniform(5, 9), len(path)))[:, None]
    thread = _stroke(path, 2.5)
    dyes = np.array([[0.46, 0.15, 0.07], [0.09, 0.07, 0.44]], np.float32)
    return _laid_on(thread, 4.0, dyes[rng.integers(len(dyes))]), _around(centre, length * 0.4)


def _laid_on(shape: Map, thickness: float, tint: NDArray[np.float32]) -> Surface:
    """The flange with something of this shape, thickness (camera pixels) and BGR tint lying on it."""
    part = flawless()
    cover = shape[..., None]
    return Surface(
        part.height + thickness * shape,
        part.sheen * (1 - shape),
        part.tint * (1 - cover) + tint * cover,
        np.maximum(part.solid, shape),
    )


def _incomplete(rng: np.random.Generator) -> tuple[Surface, Area]:
    if rng.random() < 0.35:
        return machined(missing_ring=True), Area(0, 0, RING)
    number = int(rng.integers(6))
    return machined(missing_hole=number), Area(*bolt_hole(number), 18)


_DRAW: dict[Kind, Callable[[np.random.Generator], tuple[Surface, Area]]] = {
    "scratch": _scratch,
    "dent": _dent,
    "contamination": _contamination,
    "incomplete": _incomplete,
}
