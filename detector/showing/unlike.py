"""Which of the pictures shown are new when they come, and which look like no good part at all."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from detector.showing.patches import Place, Smoothing, Units

FEWEST = 8
"""Different parts below which none is struck out: among fewer, each is unlike the others."""
ONE_IN = 10
"""Parts for one that is struck out: 3 of 30. With 2 of 30 fewer good ones are, and more defects stay
(docs/benchmarks.md)."""
MOST_OUT = 12
"""Parts struck out at a time, whatever their number: a person looks at each."""


class Nearness:
    """Grows by one picture at a time: how far each is from the nearest patches of all others so far."""

    def __init__(self, smoothing: Smoothing, most: int, patches: int) -> None:
        self._smoothing = smoothing
        self._near = np.full((most, patches), np.iinfo(np.uint16).max, np.uint16)
        self._scores = np.full(most, np.inf)
        self._count = 0
        self._places: dict[int, Place] = {}
        """As far as they were asked for, and hold still."""

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
        for place in changed.tolist():
            self._places.pop(place, None)
        self._scores[changed] = self._smoothing.largest(self._near[changed])
        return count < 2 or bool(self._scores[count] > self._scores[:count].max())

    @property
    def places(self) -> list[Place]:
        """Of each picture so far, where it is farthest from all others; of two or more."""
        missing = [number for number in range(self._count) if number not in self._places]
        if missing:
            self._places |= zip(missing, self._smoothing.places(self._near[missing]), strict=True)
        return [self._places[number] for number in range(self._count)]

    @property
    def scores(self) -> NDArray[np.float64]:
        """Of each picture so far; without end for a single one."""
        return self._scores[: self._count]


def struck_out(scores: Sequence[float], kept: Collection[int]) -> list[int]:
    """Places of the parts that are to be decided on by a person, the most unlike the others first: the tenth that is
    farthest from all others, always.

    Good parts differ among themselves by as much as a small defect does: whatever limit was tried on the distance
    itself, it struck out more good ones for the same defects.

    Args:
        scores: of different parts.
        kept: places of those a person said to be good: never struck out, and none takes their turn.
    """
    if len(scores) < FEWEST:
        return []
    count = min((len(scores) + ONE_IN // 2) // ONE_IN, MOST_OUT)
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")[:count]
    return [place for place in order.tolist() if place not in kept]
