"""The pictures a model is most wrong about, each beside the same with its heat map, small enough for a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detector import Detector, images
from detector.images import BGRImage
from detector.score import heat, overlay
from training.data import TestPicture, datasets
from training.measure import Evaluation

WORST = 6
"""Pictures of each kind of mistake."""
CLOSEST = 2
"""Pictures shown where there is no mistake: how close it came."""
LONGEST_SIDE = 320


@dataclass(frozen=True)
class Exhibit:
    """One picture of a labelled set and what a model made of it."""

    path: str
    defect: str
    """The type of defect, or ``good``."""
    share: float
    """Image score as a share of the threshold: above 1 is ANOMALY."""
    picture: bytes
    """JPEG."""
    with_heat: bytes
    """The same with the heat map, anchored at the threshold, and the outline of the mask where there is one. JPEG."""
    width: int
    height: int
    outlined: bool

    @property
    def is_anomaly(self) -> bool:
        return self.share > 1

    @property
    def wrong(self) -> bool:
        return self.is_anomaly == (self.defect == datasets.GOOD)


@dataclass(frozen=True)
class Exhibits:
    """The worst first."""

    false_rejects: tuple[Exhibit, ...]
    """Good parts with the highest scores; parts that passed only if none was rejected."""
    escapes: tuple[Exhibit, ...]
    """Defective parts with the lowest scores; parts that were found only if none escaped."""


def worst(model: Detector, pictures: Sequence[TestPicture], evaluation: Evaluation) -> Exhibits:
    """Choose by the scores of an evaluation of these very pictures, and inspect the chosen ones once more.

    Raises:
        datasets.DataSetError: a picture or a mask cannot be read any more.
    """
    scored = list(zip(pictures, (picture.score for picture in evaluation.pictures), strict=True))
    good = sorted((pair for pair in scored if not pair[0].defective), key=lambda pair: -pair[1])
    defective = sorted((pair for pair in scored if pair[0].defective), key=lambda pair: pair[1])

    def show(pairs: list[tuple[TestPicture, float]], wrong: int) -> tuple[Exhibit, ...]:
        count = min(wrong, WORST) or CLOSEST
        return tuple(_exhibit(model, picture, score, evaluation.threshold) for picture, score in pairs[:count])

    return Exhibits(show(good, evaluation.false_rejects), show(defective, evaluation.escapes))


def _exhibit(model: Detector, picture: TestPicture, score: float, threshold: float) -> Exhibit:
    frame = datasets.read_picture(picture.path)
    anomaly_map = model.detect(frame).anomaly_map
    small = _small(frame)
    height, width = small.shape[:2]
    heated = overlay(small, heat(anomaly_map, threshold))
    if picture.mask:
        _outline(heated, datasets.mask_of(picture, (frame.shape[0], frame.shape[1])))
    return Exhibit(
        path=str(picture.path),
        defect=picture.defect,
        share=score / threshold,
        picture=images.encode_jpeg(small)[0],
        with_heat=images.encode_jpeg(heated)[0],
        width=width,
        height=height,
        outlined=picture.mask is not None,
    )


def _small(frame: BGRImage) -> BGRImage:
    height, width = frame.shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def _outline(picture: BGRImage, mask: NDArray[np.bool_]) -> None:
    height, width = picture.shape[:2]
    # Area averaging: a defect of a few pixels would fall through the sampling of the nearest one.
    small = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    contours, _ = cv2.findContours((small > 0).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):  # white on black shows on any ground
        cv2.drawContours(picture, contours, -1, colour, thickness)
