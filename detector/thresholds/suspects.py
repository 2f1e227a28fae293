"""Frames of a capture that look like defects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.thresholds.promises import MIN_PARTS, Numbers, Outlook, at_least

_CORE = 0.5
"""Share of a capture, the lowest scores, that is taken for good before anything is known."""
_FEWEST = 4
_FAR = 6.0
"""Standard deviations of the core, in logarithms of scores, from its median to the next frame that belongs to it: of 20
good parts of twelve products 8 % of the captures have one farther away."""
_UNLIKELY = 0.05
"""Probability below which so many frames above the threshold, or one so far above, are not left to chance."""
_MOSTLY = 0.5
"""Share of a capture above the threshold in force from which on it is the place that differs, not the parts."""


@dataclass(frozen=True)
class Suspect:
    """A frame of a capture that looks like a defect. ``index``: its place in the capture; ``score``: raw; ``why``: one
    clause."""

    index: int
    score: float
    why: str


def suspects(scores: Sequence[float], in_force: float | None, taught: Sequence[float]) -> tuple[Suspect, ...]:
    """The frames of a capture that look like defects, in the order they were taken.

    Args:
        scores: raw, of at least two frames.
        in_force: the threshold in force, raw.
        taught: raw scores of good parts held out at teaching: they say how many of them lie above the threshold anyway.
    """
    values = np.asarray(scores, np.float64)
    apart, above = _outliers(values), _above(values, in_force, np.asarray(taught, np.float64))
    return tuple(
        Suspect(index, float(values[index]), _why(bool(above[index]), bool(apart[index])))
        for index in np.flatnonzero(apart | above).tolist()
    )


def _above(values: Numbers, in_force: float | None, taught: Numbers) -> NDArray[np.bool_]:
    """Those above the threshold in force: all of them where they are more than good parts would be, else those farther
    above it than one of so many good parts would be."""
    if in_force is None or float((values > in_force).mean()) >= _MOSTLY:
        return np.zeros(len(values), np.bool_)
    above = values > in_force
    if not above.any() or len(taught) < MIN_PARTS or in_force <= 0 or not taught.any():
        return above
    outlook = Outlook(taught, len(taught))
    if at_least(int(above.sum()), len(values), outlook.expected(in_force)) < _UNLIKELY:
        return above
    unlikely = [len(values) * outlook.expected(float(value)) < _UNLIKELY for value in values[above]]
    found = np.zeros(len(values), np.bool_)
    found[np.flatnonzero(above)[unlikely]] = True
    return found


def _outliers(values: Numbers) -> NDArray[np.bool_]:
    """Those that stand apart from the lower part of a capture, which grows as long as the next one fits to it."""
    found = np.zeros(len(values), np.bool_)
    size = max(math.ceil(_CORE * len(values)), _FEWEST)
    order = np.argsort(values)
    if size >= len(values) or values[order[0]] <= 0:
        return found
    logs = np.log(values[order])
    while size < len(values) and logs[size] <= np.median(logs[:size]) + _FAR * max(logs[:size].std(ddof=1), 1e-6):
        size += 1
    found[order[size:]] = True
    return found


def _why(above: bool, apart: bool) -> str:
    if above and apart:
        return "above the threshold in force, and far above the other frames"
    return "above the threshold in force" if above else "far above the other frames"
