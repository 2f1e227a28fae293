"""From patch distances to an anomaly map, an image score and what a screen shows of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

SMOOTHING_SIGMA = 1.0
"""Of the Gaussian over the distance map, in patches. Smoothing before the maximum is worth several points of AUROC on
small parts: one odd patch is noise, a cluster is a defect."""

_LOGIT = math.log(0.9 / 0.1)

LARGEST = float(np.finfo(np.float32).max)
"""Of all scores: every threshold lies below it."""

POWER = 4
"""By which distances of the two scales are combined: 1 adds them, which costs small parts; without end takes the larger
one, which costs textures."""

DEFINITION = (
    "maximum of the patch-distance map after a Gaussian of sigma 1 patch, scales combined as the fourth root of the "
    "sum of fourth powers; plus the maximum of what drawn defects say, at most the distance there"
)


Map = NDArray[np.float32]
"""One value a patch, h×w."""


class Layers(NamedTuple):
    """What an anomaly map is put together of: ``distances`` of all scales, and what drawn defects say, ``added`` to
    them, at most the distance there."""

    distances: Map
    added: Map | None = None

    def together(self) -> tuple[float, Map]:
        """The image score, the largest distance and the most that is added, wherever each of them is; and the map,
        raised where something is added, to the score where that is most."""
        score = self.distances.max()
        most = np.float32(0) if self.added is None else self.added.max()
        if self.added is None or most <= 0:
            return float(score), self.distances
        raised = score + most
        surest = np.where(self.added == most, self.distances, -np.inf).max()
        return float(raised), np.minimum(self.distances + self.added * ((raised - surest) / most), raised)

    def summed(self) -> Map:
        """What there is of both in each place."""
        return self.distances if self.added is None else self.distances + self.added

    def each(self, change: Callable[[Map], Map]) -> Layers:
        """Both, changed the same."""
        return Layers(change(self.distances), None if self.added is None else change(self.added))


@dataclass(frozen=True)
class Detection:
    """What the detector says of one frame, in raw feature distances.

    ``score``: the image score, the anomaly map's largest value. ``anomaly_map``: float32, one value a patch
    (h×w), the whole frame from corner to corner. Both are finite where :func:`finite` made it. ``layers``: of the map,
    where they are more than one.
    """

    score: float
    anomaly_map: Map
    layers: Layers | None = None

    def laid(self, by: Callable[[Map], Map]) -> Detection:
        """The same with its maps laid elsewhere."""
        return Detection(self.score, by(self.anomaly_map), None if self.layers is None else self.layers.each(by))

    def only(self, seen: NDArray[np.bool_]) -> Detection:
        """What was found in some patches (h×w) alone: elsewhere the map is 0, and nothing that was found there is in
        the score or in what is left of the map."""
        layers = Layers(self.anomaly_map) if self.layers is None else self.layers
        here = layers.each(lambda whole: np.where(seen, whole, np.float32(0)))
        score, anomaly_map = here.together()
        # What is said of the whole frame only (a score that is not finite, or above its map) is said of every part.
        beyond = max(0.0, self.score - layers.together()[0])
        return Detection(score + beyond, anomaly_map)


def finite(score: float, anomaly_map: Map, layers: Layers | None = None) -> Detection:
    """What a model found, whatever it computed. A score or a map that is not finite is the largest there is, and the
    frame an ANOMALY: nothing that is no number is above a threshold, so the frame would be called NORMAL."""
    if math.isfinite(score) and np.isfinite(anomaly_map).all():
        return Detection(score, anomaly_map, layers)
    return Detection(LARGEST, np.nan_to_num(anomaly_map, nan=LARGEST, posinf=LARGEST))


class PatchMaps(NamedTuple):
    """What a model finds in one frame, patch by patch, float32.

    ``distances``: h×w, how far from normal. ``coarse``: the same at the coarse scale, on a grid of its own, if there is
    one. ``drawn``: h×w, what the score may rise by where it is above 0
    (:class:`detector.heads.DrawnDefects`), if the model learned from drawn defects.
    """

    distances: NDArray[np.float32]
    coarse: NDArray[np.float32] | None = None
    drawn: NDArray[np.float32] | None = None

    def times(self, ratio: NDArray[np.float32]) -> PatchMaps:
        """All of it in other units."""
        return PatchMaps(*(None if found is None else found * ratio for found in self))  # type: ignore[arg-type]


def to_detection(
    distances: NDArray[np.float32],
    coarse: NDArray[np.float32] | None = None,
    drawn: NDArray[np.float32] | None = None,
) -> Detection:
    """From :class:`PatchMaps` to an image score: smooth, combine the scales, take the maximum, add what drawn defects
    say. Where they raised the score, they raised the map: its largest value is the image score. Always finite
    (:func:`finite`)."""
    with np.errstate(over="ignore", invalid="ignore"):
        layers = _layers(distances, coarse, drawn)
        return finite(*layers.together(), None if layers.added is None else layers)


def _layers(
    distances: NDArray[np.float32], coarse: NDArray[np.float32] | None, drawn: NDArray[np.float32] | None
) -> Layers:
    together = smoothed(distances)
    if coarse is not None:
        height, width = together.shape
        enlarged = cv2.resize(smoothed(coarse), (width, height), interpolation=cv2.INTER_LINEAR)
        together = np.asarray((together**POWER + enlarged**POWER) ** np.float32(1 / POWER), np.float32)
    if drawn is None:
        return Layers(together)
    # No more than the distance, so that a patch which is in the memory bank adds nothing: it was said to be good.
    added = np.clip(smoothed(drawn), 0, together)
    return Layers(together, None if added.max() <= 0 else added)


def smoothed(patches: NDArray[np.float32]) -> NDArray[np.float32]:
    """A map (h×w float32) after the Gaussian."""
    return np.asarray(cv2.GaussianBlur(patches, (0, 0), SMOOTHING_SIGMA, borderType=cv2.BORDER_REFLECT_101), np.float32)


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
    with np.errstate(over="ignore"):
        return np.asarray(np.clip(np.rint(anomaly_map * (at_threshold / threshold)), 0, 255), np.uint8)


def overlay(frame: NDArray[np.uint8], heatmap: NDArray[np.uint8], *, opacity: float = 0.55) -> NDArray[np.uint8]:
    """The frame (H×W×3 BGR) with a heat map (h×w, 128 at the threshold) blended over it: nothing where it is cold."""
    height, width = frame.shape[:2]
    large = cv2.resize(heatmap, (width, height), interpolation=cv2.INTER_LINEAR)
    alpha = np.clip((large.astype(np.float32) - 102) / 52, 0, 1)[..., None] * opacity  # from 0.8 to 1.2 × threshold
    colours = cv2.applyColorMap(large, cv2.COLORMAP_JET)
    return np.asarray(frame * (1 - alpha) + colours * alpha, np.uint8)
