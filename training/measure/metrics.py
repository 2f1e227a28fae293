"""Figures that say how well scores separate defective from good.

Everything here takes raw scores (feature distances). A picture is called ANOMALY when its score is above the
threshold; one exactly at the threshold is NORMAL. A figure that a set cannot give (no good or no defective
pictures) is ``None``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

AUPRO_FPR_LIMIT = 0.3
"""What the MVTec papers integrate to; MVTec AD 2 reports 0.05 as well."""

Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]


@dataclass(frozen=True)
class Decisions:
    """What a threshold makes of a labelled set: counts of pictures."""

    good: int
    defective: int
    false_rejects: int
    """Good parts called ANOMALY."""
    escapes: int
    """Defective parts called NORMAL."""

    @property
    def false_reject_rate(self) -> float | None:
        """Share of the good parts that are rejected, 0..1."""
        return self.false_rejects / self.good if self.good else None

    @property
    def escape_rate(self) -> float | None:
        """Share of the defective parts that pass, 0..1."""
        return self.escapes / self.defective if self.defective else None

    @property
    def f1(self) -> float | None:
        """F1 of finding the defective parts, 0..1; ``None`` without good or without defective parts."""
        if not self.good or not self.defective:
            return None
        found = self.defective - self.escapes
        return 2 * found / (2 * found + self.false_rejects + self.escapes)


def decide(scores: Scores, defective: Labels, threshold: float) -> Decisions:
    """Compare every score (N,) with the threshold."""
    anomaly = scores > threshold
    return Decisions(
        good=int(np.sum(~defective)),
        defective=int(np.sum(defective)),
        false_rejects=int(np.sum(anomaly & ~defective)),
        escapes=int(np.sum(~anomaly & defective)),
    )


def auroc(scores: Scores, defective: Labels) -> float | None:
    """Area under the ROC curve, 0..1: how likely a defective picture scores above a good one (ties: half)."""
    if defective.all() or not defective.any():
        return None
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(defective, scores))


RECALL_FALSE_REJECTS = 0.01
"""The share of good parts that a line bears to have rejected."""


@dataclass(frozen=True)
class RecallAt:
    """What the lowest threshold reaches that rejects no more than a share of the good pictures.

    Found by looking at good and defective pictures: it says what the scores allow, not what to expect on the line.
    """

    recall: float
    """Share of the defective pictures that are found, 0..1."""
    allowed: int
    """Good pictures that may be rejected: the share of them, rounded down. 0 where there are few."""
    good: int
    """Good pictures there are."""
    threshold: float
    """Raw; the score of a good picture."""


def recall_at(scores: Scores, defective: Labels, false_reject_rate: float = RECALL_FALSE_REJECTS) -> RecallAt | None:
    """Recall where at most a share of the good pictures is rejected; ``None`` without good or defective pictures.

    Args:
        scores: (N,), raw.
        defective: (N,).
        false_reject_rate: 0 or more and below 1.
    """
    if defective.all() or not defective.any():
        return None
    good = np.sort(scores[~defective])[::-1]
    # 1 % of 100 is .99999… in binary: the smallest excess must not cost a picture.
    allowed = int(false_reject_rate * good.size * (1 + 1e-12))
    threshold = float(good[allowed])
    return RecallAt(float(np.mean(scores[defective] > threshold)), allowed, int(good.size), threshold)


def best_f1(scores: Scores, defective: Labels) -> tuple[float, float] | None:
    """The threshold with the largest F1, and that F1. Found by looking at the defects: for information only.

    The threshold lies midway between the lowest score that it rejects and the next one below.
    """
    if defective.all() or not defective.any():
        return None
    from sklearn.metrics import precision_recall_curve

    precision, recall, at_least = precision_recall_curve(defective, scores)
    # The curve ends in a point without a threshold (precision 1, recall 0).
    f1 = 2 * precision[:-1] * recall[:-1] / np.maximum(precision[:-1] + recall[:-1], 1e-12)
    best = int(np.argmax(f1))
    # The curve rejects scores >= at_least[best]; this project rejects scores > threshold.
    lowest_rejected = float(at_least[best])
    below = scores[scores < lowest_rejected]
    next_lower = float(np.nextafter(lowest_rejected, -np.inf))
    threshold = min((float(below.max()) + lowest_rejected) / 2, next_lower) if below.size else next_lower
    return threshold, float(f1[best])


class PixelScores:
    """Anomaly-map values of good and of defective pixels, counted in fixed bins, for the pixel AUROC and AUPRO.

    Memory stays the same (24 MiB) for any number and size of pictures. A bin is what float32 values have in
    common in their upper bits: 4,096 bins for each power of two; values within 0.025 % may count as equal.

    The overlap with each defective region needs no bins of its own: averaged over regions, it is the share of
    defective pixels found, each weighing one over the size of its region.
    """

    _DROPPED_BITS: Final = 11
    _BINS: Final = 1 << (31 - _DROPPED_BITS)

    def __init__(self) -> None:
        self._good = np.zeros(self._BINS, np.int64)
        self._defective = np.zeros(self._BINS, np.int64)
        self._overlap = np.zeros(self._BINS, np.float64)
        self._regions = 0

    def add(self, anomaly_map: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
        """Count one picture.

        Args:
            anomaly_map: float32 (h, w), distances (below 0 counts as 0); enlarged to the mask's size.
            mask: bool (H, W), true where the part is defective. What touches, corners included, is one region.
        """
        height, width = mask.shape
        enlarged = cv2.resize(anomaly_map, (width, height), interpolation=cv2.INTER_LINEAR)
        # For floats that are not negative, the order of the values is the order of their bits. Adding 0 turns
        # -0.0, whose sign bit is set, into 0.0.
        distances = np.maximum(np.asarray(enlarged, np.float32), np.float32(0)) + np.float32(0)
        bins = (distances.view(np.uint32) >> self._DROPPED_BITS).astype(np.int64)
        # One picture's values lie in few of the million bins.
        lowest = int(bins.min())
        used = slice(lowest, int(bins.max()) + 1)
        bins -= lowest
        count = used.stop - lowest
        self._good[used] += np.bincount(bins[~mask], minlength=count)
        if not mask.any():
            return
        defective = bins[mask]
        self._defective[used] += np.bincount(defective, minlength=count)
        labels, regions = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
        of_pixel = regions[mask]
        self._overlap[used] += np.bincount(defective, 1 / np.bincount(of_pixel)[of_pixel], minlength=count)
        self._regions += labels - 1  # the background has a label too

    def auroc(self) -> float | None:
        """Area under the ROC curve over all pixels counted, 0..1."""
        if not self._good.any() or not self._defective.any():
            return None
        from sklearn.metrics import roc_auc_score

        good, defective = np.flatnonzero(self._good), np.flatnonzero(self._defective)
        return float(
            roc_auc_score(
                np.repeat([False, True], [good.size, defective.size]),
                np.concatenate([good, defective]),
                sample_weight=np.concatenate([self._good[good], self._defective[defective]]),
            )
        )

    def aupro(self, fpr_limit: float = AUPRO_FPR_LIMIT) -> float | None:
        """Area under the per-region-overlap curve up to a false-positive rate, divided by that rate: 0..1.

        Every defective region counts the same, however small. Bergmann et al., The MVTec Anomaly Detection Dataset,
        IJCV 2021, section 5.3.

        Args:
            fpr_limit: share of all good pixels called defective, above 0 and at most 1.
        """
        if not self._good.any() or not self._regions:
            return None
        from_the_top = np.flatnonzero(self._good + self._defective)[::-1]
        fpr = np.append(0, np.cumsum(self._good[from_the_top]) / self._good.sum())
        overlap = np.append(0, np.cumsum(self._overlap[from_the_top]) / self._regions)
        end = int(np.searchsorted(fpr, fpr_limit))  # the first point at the limit or beyond
        share = (fpr_limit - fpr[end - 1]) / (fpr[end] - fpr[end - 1])
        at_limit = overlap[end - 1] + share * (overlap[end] - overlap[end - 1])
        area = np.trapezoid(np.append(overlap[:end], at_limit), np.append(fpr[:end], fpr_limit))
        return float(area / fpr_limit)
