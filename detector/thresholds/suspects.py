"""Frames of a capture that look like defects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detector.thresholds.promises import Numbers, Outlook

_CORE = 0.55
"""Share of a capture, the lowest scores, that is taken for good before anything is known."""
_ONE_IN = 2000
"""An outlier lies where one good part in so many would."""
_MOSTLY = 0.5
"""Share of a capture above the threshold in force from which on it is the place that differs, not the parts."""


@dataclass(frozen=True)
class Suspect:
    """A frame of a capture that looks like a defect. ``index``: its place in the capture; ``score``: raw; ``why``: one
    clause."""

    index: int
    score: float
    why: str


def suspects(scores: Sequence[float], in_force: float | None) -> tuple[Suspect, ...]:
    """The frames of a capture that look like defects, in the order they were taken.

    Args:
        scores: raw, of at least two frames.
        in_force: the threshold in force, raw.
    """
    values = np.asarray(scores, np.float64)
    apart, above = _outliers(values), np.zeros(len(values), np.bool_)
    if in_force is not None and float((values > in_force).mean()) < _MOSTLY:
        above = values > in_force
    return tuple(
        Suspect(index, float(values[index]), _why(bool(above[index]), bool(apart[index])))
        for index in np.flatnonzero(apart | above).tolist()
    )


def _outliers(values: Numbers) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Those that stand apart from the lower part of a capture, which grows as long as the next one fits to it."""
    order = np.argsort(values)
    size = max(math.ceil(_CORE * len(values)), min(4, len(values)))
    if len(values) > size and values[order[0]] > 0:
        while size < len(values):
            core = values[order[:size]]
            if Outlook(core, size / 2).rejected(values[order[size]])[0] < 1 / _ONE_IN:
                break
            size += 1
    else:
        size = len(values)
    found = np.zeros(len(values), np.bool_)
    found[order[size:]] = True
    return found


def _why(above: bool, apart: bool) -> str:
    if above and apart:
        return "above the threshold in force, and far above the other frames"
    return "above the threshold in force" if above else "far above the other frames"
