"""Which of the pictures shown are new when they come, and which look like no good part at all."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from detector.showing.patches import Smoothing, Units

FEWEST = 8
"""Different parts below which none is struck out: among fewer, each is unlike the others."""
_ONE_IN = 15
"""Parts for one that may be struck out: 2 of 30."""
_FAR = 1.5
"""Robust standard deviations, in logarithms of scores, from the median to a part that may be struck out."""
_LEAST_SPREAD = 0.01


class Nearness:
    """Grows by one picture at a time: how far each is from the nearest patches of all others so far."""

    def __init__(self, smoothing: Smoothing, most: int, patches: int) -> None:
        self._smoothing = smoothing
        self._near = np.full((most, patches), np.iinfo(np.uint16).max, np.uint16)
        self._scores = np.full(most, np.inf)
        self._count = 0

    def add(self, there: Units, back: Units) -> bool:
        """One more: its patches' distances to each picture so far (K×N), and theirs to it (K×N).

        Returns:
            whether it is new: farther from all others than any of the others is from all the rest. If pictures come in
            no order, that happens to the n-th with probability 1/n.
        """
        count = self._count
        self._count += 1
        if not count:
            return True
        before = self._near[:count]
        nearer = np.minimum(before, back)
        changed = np.flatnonzero((nearer != before).any(1))
        before[:] = nearer
        self._near[count] = there.min(0)
        changed = np.append(changed, count)
        self._scores[changed] = self._smoothing.largest(self._near[changed])
        return count < 2 or bool(self._scores[count] > self._scores[:count].max())

    @property
    def scores(self) -> NDArray[np.float64]:
        """Of each picture so far; without end for a single one."""
        return self._scores[: self._count]


def struck_out(scores: Sequence[float], kept: Collection[int]) -> list[int]:
    """Places of the parts that are to be decided on by a person, the most unlike the others first.

    The few farthest from all others, if they stand apart at all: good parts differ among themselves by as much as a
    small defect makes, so a limit that all good parts stay below would let most defects pass.

    Args:
        scores: of different parts.
        kept: places of those a person said to be good: never struck out, and none takes their turn.
    """
    if len(scores) < FEWEST:
        return []
    logs = np.log(np.maximum(np.asarray(scores, np.float64), 1e-9))
    middle = np.median(logs)
    spread = max(1.4826 * float(np.median(np.abs(logs - middle))), _LEAST_SPREAD)
    order = np.argsort(-logs, kind="stable")[: math.ceil(len(scores) / _ONE_IN)]
    return [place for place in order.tolist() if place not in kept and logs[place] > middle + _FAR * spread]
