"""The threshold that belongs to a place: mean + k·std of raw scores of normal images taken there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DEFAULT_K = 3.0


@dataclass(frozen=True)
class Calibration:
    """A threshold and where it comes from; all scores raw."""

    threshold: float
    mean: float
    std: float
    n_images: int
    k: float


def calibrate(scores: Sequence[float], k: float = DEFAULT_K) -> Calibration:
    """Threshold from the raw scores of normal images: mean + k·std (sample standard deviation, N − 1).

    Raises:
        ValueError: fewer than two scores, k negative or not finite, a score that is not finite, or a threshold that
            could not be one: zero, or beyond every number.
    """
    if not math.isfinite(k) or k < 0:
        raise ValueError(f"k is {k}: it must be a number of 0 or more")
    if len(scores) < 2:
        raise ValueError(f"{len(scores)} normal images are too few: at least 2 are needed, 20 or more are better")
    values = np.asarray(scores, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("a score is not a finite number")
    mean, std = float(values.mean()), float(values.std(ddof=1))
    if mean + k * std <= 0:
        raise ValueError("all images score zero: the memory bank holds these very images; take new ones")
    if not math.isfinite(mean + k * std):
        raise ValueError(f"k is {k:g}: no part could ever be above such a threshold")
    return Calibration(mean + k * std, mean, std, len(scores), k)
