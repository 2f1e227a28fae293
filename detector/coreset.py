"""Greedy k-center coreset: the few patches that leave no normal patch far from the memory bank.

Roth et al., Towards Total Recall in Industrial Anomaly Detection (CVPR 2022), algorithm 1; distances in a Gaussian
random projection (Johnson and Lindenstrauss 1984).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

PROJECTED_CHANNELS = 64
MAX_CANDIDATES = 50_000
"""Patches considered at the most: a seeded random choice of them when there are more. At 64 projected channels that is
13 MB, which stays in a processor's cache and keeps each greedy step at about 1 ms."""


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
        seed: of the projection, the candidates and the first choice.
        progress: called with 0..1 now and then.

    Returns:
        indices into ``patches``, in the order chosen.
    """
    random = np.random.default_rng(seed)
    candidates = np.arange(len(patches))
    if len(patches) > MAX_CANDIDATES:
        candidates = np.sort(random.choice(len(patches), MAX_CANDIDATES, replace=False))
    if len(candidates) <= size:
        return candidates
    channels = patches.shape[1]
    projected = patches[candidates]
    if channels > PROJECTED_CHANNELS:
        projection = random.standard_normal((channels, PROJECTED_CHANNELS), dtype=np.float32)
        projected = projected @ (projection / np.float32(np.sqrt(PROJECTED_CHANNELS)))
    squares = np.einsum("nc,nc->n", projected, projected)
    nearest = np.full(len(candidates), np.inf, np.float32)
    chosen = np.empty(size, np.intp)
    choice = int(random.integers(len(candidates)))
    for step in range(size):
        chosen[step] = choice
        distance = projected @ (-2 * projected[choice])
        distance += squares
        distance += squares[choice]
        np.minimum(nearest, distance, out=nearest)
        nearest[choice] = -np.inf  # rounding must never choose a patch twice
        choice = int(nearest.argmax())
        if progress is not None and step % 50 == 0:
            progress(step / size)
    return candidates[chosen]
