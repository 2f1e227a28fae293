"""The line's timetable: which part is where at what time, and whether it is a good one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from server.simulated_line.camera import DIM_COLUMNS, HEIGHT, WIDTH, expose
from server.simulated_line.defects import KINDS, Area, Kind, spoiled
from server.simulated_line.flange import flawless
from server.simulated_line.surface import Sprite, render

DWELL_SECONDS = 1.2
TRAVEL_SECONDS = 1.1
CYCLE_SECONDS = DWELL_SECONDS + TRAVEL_SECONDS
PITCH = 1000.0
"""Pixels from part to part: halfway between two of them the belt is empty."""

_FIRST_DEFECTIVE = 2  # a newcomer sees two good parts, then a find, within seconds
_GOLDEN = (5**0.5 - 1) / 2  # its multiples, modulo 1, spread evenly however many there are
_TEACHING_AT_REST = 0.2  # the rest is spread evenly over the way, where every few pixels look different
_POSE_X, _POSE_Y, _POSE_DEGREES = 4.0, 3.0, 3.0
_LIGHT = 0.025


@dataclass(frozen=True)
class SimulatedFrame:
    """What the camera sees at one moment.

    image: uint8 (480, 640, 3), BGR.
    part: number of the part nearest the centre of the picture, from 0.
    defect: scratch, dent, contamination or incomplete while that part's defect is in view, else None.
    """

    image: NDArray[np.uint8]
    part: int
    defect: str | None


@dataclass(frozen=True)
class _Part:
    sprite: Sprite
    x: float
    y: float
    light: float
    defect: Kind | None
    area: Area


class SimulatedLine:
    """An indexed line: each part slides in, rests under the camera for 1.2 s and slides on.

    The same seed gives the same parts in the same order, and the same picture at the same time.
    The first two parts are good and the third is defective, unless ``defect_rate`` is 0.
    """

    def __init__(self, seed: int = 0, defect_rate: float = 0.2) -> None:
        self._seed = seed
        self._defect_rate = defect_rate
        # Two parts can be near the camera. The next one is made as soon as the one before it rests,
        # so the 50 ms this takes never show as a jerk in the movement.
        self._part = lru_cache(maxsize=3)(self._make)

    def frame_at(self, seconds: float) -> SimulatedFrame:
        """The picture at this time on the line; time starts at 0, when part 0 comes to rest."""
        first, into_cycle = divmod(seconds, CYCLE_SECONDS)
        number = int(first)
        travelled, speed = _travel(max(0.0, into_cycle - DWELL_SECONDS) / TRAVEL_SECONDS)
        near = [(n, self._part(n), WIDTH / 2 + PITCH * (number - n + travelled)) for n in (number, number + 1)]
        sprites = [(part.sprite, x + part.x, HEIGHT / 2 + part.y) for _, part, x in near]
        nearest, part, x = min(near, key=lambda item: abs(item[2] - WIDTH / 2))
        rng = np.random.default_rng((self._seed, 1, round(seconds * 1e4)))
        image = expose((number + travelled) * -PITCH, sprites, speed, part.light, rng)
        off_centre = abs(x + part.x + part.area.x - WIDTH / 2)
        in_view = off_centre + part.area.radius / 2 < WIDTH / 2 - DIM_COLUMNS
        return SimulatedFrame(image, nearest, part.defect if in_view else None)

    def scheduled(self, part: int) -> Kind | None:
        """The defect that part of this number has, None for a good one. Costs next to nothing."""
        rng = np.random.default_rng((self._seed, 2, part))
        defective = bool(rng.random() < self._defect_rate)
        if part <= _FIRST_DEFECTIVE and self._defect_rate > 0:
            defective = part == _FIRST_DEFECTIVE
        return KINDS[rng.integers(len(KINDS))] if defective else None

    def _make(self, number: int) -> _Part:
        rng = np.random.default_rng((self._seed, 0, number))
        pose, light = rng.uniform(-1, 1, 3), 1 + _LIGHT * rng.uniform(-1, 1)
        kind = self.scheduled(number)
        surface, area = spoiled(kind, rng) if kind else (flawless(), Area(0, 0, 0))
        degrees = float(_POSE_DEGREES * pose[2])
        sprite = render(surface.turned(degrees))
        return _Part(sprite, _POSE_X * pose[0], _POSE_Y * pose[1], light, kind, area.turned(degrees))


def good_frames(count: int, seed: int = 1) -> Iterator[NDArray[np.uint8]]:
    """Pictures for teaching: good parts only, every phase of the movement, every variation of pose and light.

    100 are enough for the detector to pass every good part, moving or at rest, and to find every defect at rest.

    Yields:
        uint8 (480, 640, 3), BGR.
    """
    line = SimulatedLine(seed, defect_rate=0)
    for index in range(count):
        place = index * _GOLDEN % 1
        if place < _TEACHING_AT_REST:
            into_cycle = DWELL_SECONDS * place / _TEACHING_AT_REST
        else:
            travelled = (place - _TEACHING_AT_REST) / (1 - _TEACHING_AT_REST)
            into_cycle = DWELL_SECONDS + TRAVEL_SECONDS * _progress_at(travelled)
        yield line.frame_at(index // 2 * CYCLE_SECONDS + into_cycle).image


def _travel(progress: float) -> tuple[float, float]:
    """Eased movement at 0..1 of the travel time: pitches travelled, and speed in pixels per second."""
    travelled = progress**3 * (progress * (6 * progress - 15) + 10)
    speed = 30 * progress**2 * (1 - progress) ** 2 * PITCH / TRAVEL_SECONDS
    return travelled, speed


def _progress_at(travelled: float) -> float:
    """The inverse of _travel: share of the travel time after which this many pitches (0..1) are travelled."""
    progress = np.linspace(0, 1, 2001)
    return float(np.interp(travelled, [_travel(p)[0] for p in progress], progress))
