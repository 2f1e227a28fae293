"""Where a frame is inspected: a recipe's polygons on the grid of an anomaly map."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from detector import Detection
from server.recipes import Polygon, Regions

_FINE = 16
"""Steps along a cell's side in which polygons are drawn."""
_IGNORED = 0.5
"""Share of a cell that is to be ignored from which on it is: less may hide a defect beside it."""


def within(detection: Detection, regions: Regions) -> Detection:
    """What was found where a recipe inspects: elsewhere the map is 0, and nothing of it is in the score."""
    if not regions.include and not regions.ignore:
        return detection
    return detection.only(inspected_cells(regions, *detection.anomaly_map.shape))


@lru_cache(maxsize=64)
def inspected_cells(regions: Regions, rows: int, columns: int) -> NDArray[np.bool_]:
    """Which cells of a rows×columns map are inspected: those that ``include`` touches, but for those that ``ignore``
    covers by half."""
    seen = np.ones((rows, columns), np.bool_)
    if regions.include:
        seen = _covered(regions.include, rows, columns) > 0
    if regions.ignore:
        seen &= _covered(regions.ignore, rows, columns) < _IGNORED
    seen.flags.writeable = False
    return seen


def _covered(polygons: tuple[Polygon, ...], rows: int, columns: int) -> NDArray[np.float32]:
    """Share of each cell (rows×columns float32) that any of them covers."""
    drawn = np.zeros((rows * _FINE, columns * _FINE), np.uint8)
    scale = np.array([columns * _FINE, rows * _FINE], np.float64)
    for polygon in polygons:
        # Each by itself: where two overlap, even-odd filling would leave a hole.
        corners = np.clip(np.rint(np.array(polygon) * scale), 0, scale - 1)
        cv2.fillPoly(drawn, [corners.astype(np.int32)], 1)
    return np.asarray(cv2.resize(drawn.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA), np.float32)
