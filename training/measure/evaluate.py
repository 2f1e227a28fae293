"""Measure a model on labelled pictures: how well it separates, what its threshold does, how fast it is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector import Detector
from training.data import TestPicture, datasets
from training.measure import metrics
from training.measure.promised import Promised, promised


@dataclass(frozen=True)
class PictureScore:
    """One picture's outcome."""

    path: str
    defect: str
    score: float
    """Image score, raw."""
    is_anomaly: bool
    lighting: str | None = None
    """The light it was taken in, where the data set says."""


@dataclass(frozen=True)
class TypeFigures:
    """The pictures of one type of defect (escapes), or the good ones (false rejects)."""

    defect: str
    pictures: int
    wrong: int
    """False rejects where ``defect`` is ``good``, escapes elsewhere."""
    wrong_rate: float
    image_auroc: float | None
    """This type against the good pictures; ``None`` for the good ones themselves, or without any."""


@dataclass(frozen=True)
class LightingFigures:
    """The pictures taken in one light."""

    lighting: str
    good: int
    defective: int
    image_auroc: float | None
    false_rejects: int
    false_reject_rate: float | None
    escapes: int
    escape_rate: float | None


@dataclass(frozen=True)
class Evaluation:
    """All figures. Scores and thresholds are raw feature distances, rates 0..1; ``None`` is unknown."""

    good: int
    defective: int
    threshold: float
    image_auroc: float | None
    pixel_auroc: float | None
    aupro: float | None
    """Area under the per-region-overlap curve up to a false-positive rate of 0.3, normalised."""
    f1: float | None
    false_rejects: int
    false_reject_rate: float | None
    escapes: int
    escape_rate: float | None
    recall: metrics.RecallAt | None
    """What scores allow where at most 1 % of the good pictures may be rejected. Found by looking: information only."""
    promise: Promised | None
    """Of the threshold, against the good pictures; ``None`` where none can be made."""
    by_type: tuple[TypeFigures, ...]
    by_lighting: tuple[LightingFigures, ...]
    """Empty where the data set does not say in which light its pictures were taken."""
    best_f1: float | None
    """The largest F1 any threshold reaches on this set. Found by looking at the defects: information only."""
    best_f1_threshold: float | None
    latency_median_ms: float
    """Of ``detect`` alone, without reading the file."""
    latency_p95_ms: float
    masks: int
    """Defective pictures with a mask."""
    notes: tuple[str, ...]
    """What this set could not say, and why."""
    pictures: tuple[PictureScore, ...]

    def as_json(self) -> dict[str, Any]:
        """The same as JSON types."""
        return asdict(self)


def evaluate(
    model: Detector,
    pictures: Sequence[TestPicture],
    *,
    threshold: float | None = None,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Inspect every picture, one in memory at a time.

    For the pixel AUROC and AUPRO, anomaly maps are enlarged bilinearly to the size of the mask. Good pictures count as
    masks without a defect; defective pictures without a mask are left out: nobody knows where theirs is.

    Args:
        pictures: at least one.
        threshold: raw; the model's own when ``None``.
        progress: called after each picture with how many are done.

    Raises:
        datasets.DataSetError: a picture or mask cannot be read or they do not match (:func:`training.check` leaves
            such files out), or a threshold that is not a positive number.
    """
    if threshold is None:
        threshold = model.threshold
    if not (math.isfinite(threshold) and threshold > 0):
        raise datasets.DataSetError(f"The threshold {threshold} is not a positive number. Give another --threshold.")
    masks = sum(picture.mask is not None for picture in pictures)
    pixels = metrics.PixelScores() if masks else None
    scores = np.empty(len(pictures), np.float64)
    latency_ms = np.empty(len(pictures), np.float64)
    for index, picture in enumerate(pictures):
        frame = datasets.read_picture(picture.path)
        if index == 0:
            model.detect(frame)  # the first detection after loading pays for memory and caches
        start = time.perf_counter()
        detection = model.detect(frame)
        latency_ms[index] = (time.perf_counter() - start) * 1000
        scores[index] = detection.score
        if pixels is not None and (picture.mask or not picture.defective):
            pixels.add(detection.anomaly_map, _truth(picture, (frame.shape[0], frame.shape[1])))
        if progress:
            progress(index + 1)
    return _figures(model, pictures, scores, latency_ms, threshold, pixels, masks)


def _truth(picture: TestPicture, size: tuple[int, int]) -> NDArray[np.bool_]:
    if picture.mask is None:
        return np.zeros(size, np.bool_)
    return datasets.mask_of(picture, size)


def _figures(
    model: Detector,
    pictures: Sequence[TestPicture],
    scores: metrics.Scores,
    latency_ms: NDArray[np.float64],
    threshold: float,
    pixels: metrics.PixelScores | None,
    masks: int,
) -> Evaluation:
    defective = np.array([picture.defective for picture in pictures], np.bool_)
    decisions = metrics.decide(scores, defective, threshold)
    best = metrics.best_f1(scores, defective)
    pixel_auroc = pixels.auroc() if pixels is not None else None
    return Evaluation(
        good=decisions.good,
        defective=decisions.defective,
        threshold=threshold,
        image_auroc=metrics.auroc(scores, defective),
        pixel_auroc=pixel_auroc,
        aupro=pixels.aupro() if pixels is not None else None,
        f1=decisions.f1,
        false_rejects=decisions.false_rejects,
        false_reject_rate=decisions.false_reject_rate,
        escapes=decisions.escapes,
        escape_rate=decisions.escape_rate,
        recall=metrics.recall_at(scores, defective),
        promise=promised(model, threshold, decisions.good, decisions.false_rejects),
        by_type=_by_type(pictures, scores, threshold),
        by_lighting=_by_lighting(pictures, scores, defective, threshold),
        best_f1=best[1] if best else None,
        best_f1_threshold=best[0] if best else None,
        latency_median_ms=float(np.median(latency_ms)),
        latency_p95_ms=float(np.percentile(latency_ms, 95)),
        masks=masks,
        notes=_notes(decisions, masks, pixel_auroc),
        pictures=tuple(
            PictureScore(str(picture.path), picture.defect, float(score), bool(score > threshold), picture.lighting)
            for picture, score in zip(pictures, scores, strict=True)
        ),
    )


def _by_type(pictures: Sequence[TestPicture], scores: metrics.Scores, threshold: float) -> tuple[TypeFigures, ...]:
    kinds = np.array([picture.defect for picture in pictures])
    good = kinds == datasets.GOOD
    figures = []
    for kind in dict.fromkeys(kinds.tolist()):
        of_kind = kinds == kind
        anomaly = scores[of_kind] > threshold
        wrong = int(np.sum(anomaly if kind == datasets.GOOD else ~anomaly))
        pair = of_kind | good
        image_auroc = metrics.auroc(scores[pair], ~good[pair])
        figures.append(TypeFigures(kind, anomaly.size, wrong, wrong / anomaly.size, image_auroc))
    return tuple(figures)


def _by_lighting(
    pictures: Sequence[TestPicture], scores: metrics.Scores, defective: metrics.Labels, threshold: float
) -> tuple[LightingFigures, ...]:
    figures = []
    for lighting in sorted({picture.lighting for picture in pictures if picture.lighting is not None}):
        chosen = np.array([picture.lighting == lighting for picture in pictures], np.bool_)
        decisions = metrics.decide(scores[chosen], defective[chosen], threshold)
        figures.append(
            LightingFigures(
                lighting,
                decisions.good,
                decisions.defective,
                metrics.auroc(scores[chosen], defective[chosen]),
                decisions.false_rejects,
                decisions.false_reject_rate,
                decisions.escapes,
                decisions.escape_rate,
            )
        )
    return tuple(figures)


def _notes(decisions: metrics.Decisions, masks: int, pixel_auroc: float | None) -> tuple[str, ...]:
    notes = []
    if not decisions.good:
        notes.append("There are no good pictures, so AUROC, F1 and false rejects are unknown: add test/good.")
    if not decisions.defective:
        notes.append("There are no defective pictures, so AUROC, F1 and escapes are unknown: add test/TYPE.")
    elif not masks:
        notes.append("There are no masks, so pixel AUROC and AUPRO are unknown.")
    elif pixel_auroc is None:
        notes.append("The masks mark no pixel, or every pixel, so pixel AUROC and AUPRO are unknown.")
    elif masks < decisions.defective:
        notes.append(
            f"Without a mask: {decisions.defective - masks} defective pictures, left out of pixel AUROC and AUPRO."
        )
    return tuple(notes)
