"""Greedy k-center coreset: the few patches that leave no normal patch far from the memory bank.

Roth et al., Towards Total Recall in Industrial Anomaly Detection (CVPR 2022), algorithm 1, by exact distances: the
paper's random projection to a few dimensions is quicker, and costs accuracy on small parts and between seeds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

MAX_CANDIDATES = 40_000
"""Patches considered at the most: a seeded random choice of them when there are more."""

FARTHEST = 1024
"""Patches among which one round of the search chooses."""
_BLOCK = 1024
"""Patches updated at once: their distances to a round's choices stay in a processor core's cache."""


def greedy_coreset(
    patches: NDArray[np.float32],
    size: int,
    *,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.intp]:
    """Choose patches so that the largest distance from any patch to the nearest chosen one is small.

    Args:
        patches: N×C float32, standardised patch features.
        size: how many to choose; all are chosen when there are no more than that.
        seed: of the candidates and the first choice.
        progress: called with 0..1 now and then.

    Returns:
        indices into ``patches``, in the order chosen.
    """
    # One thread: NumPy's threads wait for each other spinning, which is several times slower while the other cores
    # inspect frames; and rounding would depend on their number.
    with threadpool_limits(1, "blas"):
        return _greedy(patches, size, np.random.default_rng(seed), progress or (lambda fraction: None))


def _greedy(
    patches: NDArray[np.float32], size: int, random: np.random.Generator, progress: Callable[[float], None]
) -> NDArray[np.intp]:
    candidates = np.arange(len(patches))
    if len(patches) > MAX_CANDIDATES:
        candidates = np.sort(random.choice(len(patches), MAX_CANDIDATES, replace=False))
    if len(candidates) <= size:
        return candidates
    points = _Points(patches[candidates])
    fresh = chosen = [int(random.integers(len(candidates)))]
    while len(chosen) < size:
        points.cover(fresh)
        fresh = points.farthest(size - len(chosen))
        chosen = chosen + fresh
        progress((len(chosen) - 1) / size)
    return candidates[chosen]


class _Points:
    """Points (N×C float32) and the squared distance of each to its nearest chosen one; −∞ for the chosen themselves,
    so that rounding never chooses one twice.

    The next choice is always the farthest point, and distances only ever shrink. So among the few farthest points the
    search can go on by itself until it falls to the distance of those left out; only then does every point need to hear
    of the choices made, all at once. The choices are those of the plain algorithm, in a tenth of the time.
    """

    def __init__(self, points: NDArray[np.float32]) -> None:
        self._points = points
        self._squares = np.einsum("nc,nc->n", points, points)
        self._nearest = np.full(len(points), np.inf, np.float32)

    def cover(self, chosen: list[int]) -> None:
        """Take new choices into every point's distance."""
        for start in range(0, len(self._points), _BLOCK):
            block = np.arange(start, min(start + _BLOCK, len(self._points)))
            self._nearest[block] = np.minimum(self._nearest[block], self._squared_distances(chosen, block).min(0))
        self._nearest[chosen] = -np.inf

    def farthest(self, at_most: int) -> list[int]:
        """The next choices in order, at least one: as many as are certain without updating every point."""
        order = np.argpartition(self._nearest, -min(FARTHEST + 1, len(self._points)))
        few = np.sort(order[-FARTHEST:])
        left_out = self._nearest[order[:-FARTHEST]].max(initial=-np.inf)
        between, nearest = self._squared_distances(few, few), self._nearest[few]
        chosen: list[int] = []
        choice = int(nearest.argmax())
        while not chosen or (len(chosen) < at_most and nearest[choice] > left_out):
            chosen.append(int(few[choice]))
            nearest = np.minimum(nearest, between[choice])
            nearest[choice] = -np.inf
            choice = int(nearest.argmax())
        return chosen

    def _squared_distances(self, rows: list[int] | NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float32]:
        squared = (-2 * self._points[rows]) @ self._points[columns].T
        squared += self._squares[rows][:, None]
        squared += self._squares[columns]
        return squared
