"""The threshold that belongs to a place: mean + k·std of raw scores of normal images taken there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DEFAULT_K = 3.0
MAX_K = 100.0
"""Beyond it nothing is ever found; the widest spread of good parts seen so far asks for 6."""


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
        ValueError: fewer than two scores, k not from 0 to 100, a score that is not finite, or a threshold that could
            not be one: zero, or beyond every number.
    """
    if not 0 <= k <= MAX_K:
        raise ValueError(f"k is {k}: it must be a number from 0 to {MAX_K:g}")
    if len(scores) < 2:
        raise ValueError(f"{len(scores)} normal images are too few: at least 2 are needed, 20 or more are better")
    values = np.asarray(scores, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("a score is not a finite number")
    with np.errstate(over="ignore"):
        mean, std = float(values.mean()), float(values.std(ddof=1))
    if mean + k * std <= 0:
        raise ValueError("all images score zero: the memory bank holds these very images; take new ones")
    if not math.isfinite(mean + k * std):
        raise ValueError("the scores are so far apart that no part could ever be above such a threshold")
    return Calibration(mean + k * std, mean, std, len(scores), k)


def fault(threshold: float, mean: float, std: float, n_images: int, k: float) -> str | None:
    """What is wrong with a calibration that comes from a file: one clause; None where it can be what it says."""
    if not all(map(math.isfinite, (threshold, mean, std, k))):
        return "a number in it is not finite"
    if n_images < 2:
        return f"a calibration on {n_images} images cannot be"
    if not 0 <= k <= MAX_K or std < 0 or threshold <= 0:
        return f"threshold {threshold:g}, std {std:g} and k {k:g} cannot be"
    if not math.isclose(threshold, mean + k * std, rel_tol=1e-9):
        return f"its threshold {threshold:g} is not mean + k·std ({mean + k * std:g})"
    return None
