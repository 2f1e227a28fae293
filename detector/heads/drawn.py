"""What drawn defects teach: a linear classifier on patch features, which may add to the distance's score.

A memory bank knows how far a patch is from normal, and not in which directions defects move patches. Logistic
regression between normal patches and patches of defects drawn into normal images (:mod:`detector.drawn_defects`) knows
a little of that. It is no detector of its own; so it may only add, from where it says more than it ever says of
held-out normal images, and no more than the distance itself (:func:`detector.score.to_detection`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from detector.heads.head import Array

_SAY = 0.5
"""Of the distance's score, in standard deviations of held-out normal images, for one of its own."""
_FROM = 2.0
"""Standard deviations above the mean of held-out normal images from which it is heard."""
_L2 = 250.0
"""Weight of the squared weights (of standardised channels) beside the log-likelihood: with as many as 10,000 patches
only directions that many defects share are learned."""
_ROUNDS = 6
"""Of Newton's method, from zero."""


@dataclass(frozen=True)
class DrawnDefects:
    """``weights``: C, ``offset``: 1, float32: ``features @ weights + offset`` is what the score may rise by, where it
    is above 0, in the units of distances."""

    weights: Array
    offset: Array


def learn(normal: NDArray[np.float32], defective: NDArray[np.float32]) -> DrawnDefects:
    """Logistic regression between patch features, N×C and M×C float32; what it says are log odds: a :class:`Trust`
    makes distances of them."""
    features = np.concatenate([normal, defective])
    is_defect = np.concatenate([np.zeros(len(normal), np.float32), np.ones(len(defective), np.float32)])
    mean = normal.mean(0)
    spread = np.maximum(normal.std(0), 1e-6)
    standardised = np.ones((len(features), features.shape[1] + 1), np.float32)
    standardised[:, :-1] = (features - mean) / spread
    penalty = np.full(standardised.shape[1], _L2)
    penalty[-1] = 1e-6
    weights = np.zeros(standardised.shape[1])
    with threadpool_limits(1, "blas"):  # rounding would depend on the number of threads
        for _ in range(_ROUNDS):
            odds = np.clip(standardised @ weights.astype(np.float32), -15, 15)
            probability = 1 / (1 + np.exp(-odds))
            gradient = standardised.T @ (probability - is_defect) + penalty * weights
            curvature = np.maximum(probability * (1 - probability), 1e-6)
            hessian = (standardised * curvature[:, None]).T @ standardised + np.diag(penalty)
            weights = weights - np.linalg.solve(hessian.astype(np.float64), gradient.astype(np.float64))
    scaled = weights[:-1] / spread
    offset = weights[-1] - float(mean @ scaled)
    return DrawnDefects(scaled.astype(np.float32), np.array([offset], np.float32))


@dataclass(frozen=True)
class Trust:
    """How far a classifier's log odds are believed: not at all up to ``silent``, from there on by ``gain`` distances
    each."""

    gain: float
    silent: float

    def raised_by(self, odds: NDArray[np.float32]) -> NDArray[np.float32]:
        """A map of log odds in the units of distances, above 0 where they are believed."""
        return np.asarray(self.gain * (odds - self.silent), np.float32)

    def of(self, learned: DrawnDefects) -> DrawnDefects:
        """A classifier whose word is that already."""
        return DrawnDefects(
            np.asarray(self.gain * learned.weights, np.float32),
            np.asarray(self.gain * (learned.offset - self.silent), np.float32),
        )


def trusted(distances: Sequence[float], odds: Sequence[float]) -> Trust | None:
    """How far, by held-out normal images: a classifier that says something of them is heard less, and later.

    Args:
        distances: their image scores by distance alone.
        odds: the largest log odds in each of them.

    Returns:
        None where these images cannot tell: fewer than three, or all the same.
    """
    if len(odds) < 3 or not (np.std(odds) > 0 and np.std(distances) > 0):
        return None
    spread = float(np.std(odds, ddof=1))
    return Trust(_SAY * float(np.std(distances, ddof=1)) / spread, float(np.mean(odds)) + _FROM * spread)
