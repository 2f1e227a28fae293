"""PatchCore: a memory bank of normal patches; the distance to the nearest is the anomaly.

Roth et al., Towards Total Recall in Industrial Anomaly Detection, CVPR 2022 (arXiv 2106.08265): patch features of
several layers, locally aware pooling (section 3.1), a greedy coreset as memory bank (3.2), distance to the nearest
neighbour as anomaly (3.3). Ours: channels standardised and layers weighted, blind to light, no re-weighting, a smoothed
map, distances between signatures of 128 bytes (:class:`detector.heads.NearestNeighbour`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from detector.heads.coreset import MAX_CANDIDATES, greedy_coreset
from detector.heads.head import WIDEST, NearestNeighbour, fitting_step
from detector.heads.projection import Projection


def learn(
    patches: NDArray[np.float32],
    projection: Projection,
    size: int,
    seed: int,
    progress: Callable[[float], None],
) -> NearestNeighbour:
    """Choose the memory bank among patch features (N×C float32, as the backbone gives them)."""
    random = np.random.default_rng(seed)
    projection = projection.reduced(WIDEST, seed)
    if len(patches) > MAX_CANDIDATES:
        patches = patches[np.sort(random.choice(len(patches), MAX_CANDIDATES, replace=False))]
    with threadpool_limits(1, "blas"):  # rounding would depend on the number of threads
        projected = projection.apply(patches)
        chosen = greedy_coreset(projected, size, seed=seed, progress=progress)
        bank = projected[chosen]
        turned = _principal_directions(bank)
        bank = np.ascontiguousarray(bank @ turned)
        head = NearestNeighbour(
            projection.mean, np.ascontiguousarray(projection.matrix @ turned), bank, fitting_step(bank)
        )
    progress(1.0)
    return head


def _principal_directions(bank: NDArray[np.float32]) -> NDArray[np.float32]:
    """D×D rotation after which the bank's first dimensions hold most of its length: those of a signature."""
    _, directions = np.linalg.eigh((bank.T @ bank).astype(np.float64))
    directions = directions[:, ::-1]
    # Which way a direction points is chance; fixed, so that the same pictures give the same model.
    largest = np.take_along_axis(directions, np.abs(directions).argmax(0)[None], 0)
    return np.asarray(directions * np.sign(largest), np.float32)
