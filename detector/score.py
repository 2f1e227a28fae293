"""From patch distances to an anomaly map, an image score and what a screen shows of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SMOOTHING_SIGMA = 1.0
"""Of the Gaussian over the distance map, in patches. Smoothing before the maximum is worth several points of AUROC on
small parts: one odd patch is noise, a cluster is a defect."""

_LOGIT = math.log(0.9 / 0.1)

DEFINITION = "maximum of the patch-distance map after a Gaussian of sigma 1 patch"


@dataclass(frozen=True)
class Detection:
    """What the detector says of one frame, in raw feature distances.

    ``score``: the image score, the anomaly map's largest value. ``anomaly_map``: float32, one value a patch
    (h×w), the whole frame from corner to corner.
    """

    score: float
    anomaly_map: NDArray[np.float32]


def to_detection(distances: NDArray[np.float32]) -> Detection:
    """Smooth a map of patch distances (h×w float32) and take its maximum."""
    smoothed = cv2.GaussianBlur(distances, (0, 0), SMOOTHING_SIGMA, borderType=cv2.BORDER_REFLECT_101)
    anomaly_map = np.asarray(smoothed, np.float32)
    return Detection(float(anomaly_map.max()), anomaly_map)


def display_score(raw_score: float, threshold: float, typical: float = math.nan) -> float:
    """0..1 for display only: 0.1 for a typical good part, 0.5 at the threshold, 0.9 as far beyond it; a logistic curve.

    Args:
        raw_score: of the frame.
        threshold: raw, in force.
        typical: mean of the raw scores of good parts; where it is unknown, or not below the threshold, half of that.
    """
    if not typical < threshold:
        typical = threshold / 2
    return 1 / (1 + math.exp(min(500.0, _LOGIT * (threshold - raw_score) / (threshold - typical))))


def heat(anomaly_map: NDArray[np.float32], threshold: float, *, at_threshold: int = 128) -> NDArray[np.uint8]:
    """Eight bits a value on an absolute scale: 0 is distance 0, ``at_threshold`` the threshold, linear, cut at 255."""
    return np.asarray(np.clip(np.rint(anomaly_map * (at_threshold / threshold)), 0, 255), np.uint8)


def overlay(frame: NDArray[np.uint8], heatmap: NDArray[np.uint8], *, opacity: float = 0.55) -> NDArray[np.uint8]:
    """The frame (H×W×3 BGR) with a heat map (h×w, 128 at the threshold) blended over it: nothing where it is cold."""
    height, width = frame.shape[:2]
    large = cv2.resize(heatmap, (width, height), interpolation=cv2.INTER_LINEAR)
    alpha = np.clip((large.astype(np.float32) - 77) / 77, 0, 1)[..., None] * opacity  # from 0.6 to 1.2 × threshold
    colours = cv2.applyColorMap(large, cv2.COLORMAP_JET)
    return np.asarray(frame * (1 - alpha) + colours * alpha, np.uint8)
