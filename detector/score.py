"""From patch distances to an anomaly map, an image score and what a screen shows of them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SMOOTHING_SIGMA = 1.0
"""Of the Gaussian over the distance map, in patches. Smoothing before the maximum is worth several points of AUROC on
small parts: one odd patch is noise, a cluster is a defect."""

DEFINITION = "maximum of the patch-distance map after a Gaussian of sigma 1 patch"


@dataclass(frozen=True)
class Detection:
    """What the detector says of one frame, in raw feature distances.

    ``score``: the image score, the anomaly map's largest value. ``anomaly_map``: float32, h×w patches of 8×8 pixels of
    the model's input, the whole frame from corner to corner.
    """

    score: float
    anomaly_map: NDArray[np.float32]


def to_detection(distances: NDArray[np.float32]) -> Detection:
    """Smooth a map of patch distances (h×w float32) and take its maximum."""
    smoothed = cv2.GaussianBlur(distances, (0, 0), SMOOTHING_SIGMA, borderType=cv2.BORDER_REFLECT_101)
    anomaly_map = np.asarray(smoothed, np.float32)
    return Detection(float(anomaly_map.max()), anomaly_map)


def display_score(raw_score: float, threshold: float) -> float:
    """0..1 for display only: half the share of the threshold, cut at 1, so 0.5 is at the threshold."""
    return min(1.0, max(0.0, 0.5 * raw_score / threshold))


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
