"""A heat map as a message carries it."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray

from server.words import Heatmap


def heatmap_message(heatmap: NDArray[np.uint8]) -> Heatmap:
    """An anomaly map (h×w uint8, absolute scale) as it is told."""
    height, width = heatmap.shape
    return Heatmap(width, height, base64.b64encode(heatmap.tobytes()).decode())
