"""Which frames count as parts: one of each, so that a part that lies still for an hour is one. No I/O.

Parts are told apart by the ids that the line says, else by another picture (16×16 cells of percent of the mean
brightness, which light alone does not change). Of a part a frame counts that is drawn by chance among its frames, as a
calibration takes frames at any time of their passage. What changes while the same part lies there is not the part: then
frames count again, every :data:`EVERY_S`, for how they were taken.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from server.drift.conditions import MATTERS
from server.inspection import Condition

SAME = 1.2
"""Percent of the mean brightness, root mean square: noise makes 0.2 to 0.8 of it, other parts 1.4 to 100 (twelve sets
of pictures)."""
EVERY_S = 2.0
"""Seconds after which a part counts though it is still there, and between two frames of it that count."""
SPACING_S = 0.5
"""Between two parts that are told apart by the picture alone: what moves is another picture with every frame."""


@dataclass(frozen=True)
class Counted:
    """A frame that counts. ``score``: raw; None where the part was not accepted, or is one that counted already."""

    condition: Condition
    score: float | None


@dataclass
class _Part:
    """The part that lies there: since when, how many frames of it there were, and the one that was drawn."""

    told: str | None
    cells: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    since: float
    frames: int
    drawn: Counted
    accepted: bool
    counted: float | None = None


class Thinning:
    """Of one stream.

    Args:
        seed: of what is drawn by chance.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._part: _Part | None = None

    def see(self, at: float, told: str | None, condition: Condition, score: float | None) -> Counted | None:
        """A frame was inspected; says what counts now, if anything does: it may be a frame of the part before.

        Args:
            at: seconds, monotonic.
            told: the part's id as the line says it.
            score: raw; None where the frame was not accepted.
        """
        part = self._part
        if part is None or self._begins(part, at, told, condition):
            self._part = _Part(told, condition.cells, at, 1, Counted(condition, score), score is not None)
            return None if part is None or part.counted is not None else _of(part)
        part.frames += 1
        part.accepted &= score is not None
        if part.counted is None:
            if self._random.random() * part.frames < 1:
                part.drawn = Counted(condition, score)
            if at - part.since < EVERY_S:
                return None
            part.counted = at
            return _of(part)
        if at - part.counted < EVERY_S or not _differs(condition, part.drawn.condition):
            return None
        part.counted = at
        return Counted(condition, None)

    def _begins(self, part: _Part, at: float, told: str | None, condition: Condition) -> bool:
        if told is not None or part.told is not None:
            return told != part.told
        if at - part.since < SPACING_S:
            return False
        apart = (condition.cells - part.cells).ravel()
        return float(np.sqrt(apart @ apart / apart.size)) > SAME


def _of(part: _Part) -> Counted:
    return part.drawn if part.accepted else Counted(part.drawn.condition, None)


def _differs(one: Condition, other: Condition) -> bool:
    """In light, contrast or focus: what moved is another picture already."""
    apart = (one.light - other.light, one.contrast - other.contrast, one.focus - other.focus)
    return any(abs(by) > matters / 2 for by, matters in zip(apart, MATTERS[:3].tolist(), strict=True))
