"""The heart: a frame comes in, a verdict goes out. The only door between the server and the detector."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from detector import Calibration, Detector, TaughtModel, calibrate
from detector.images import BGRImage, encode_jpeg
from detector.score import display_score, heat
from server.inspection.calibrations import Calibrations, StoredCalibration
from server.words import HEATMAP_AT_THRESHOLD, Load, Verdict

log = logging.getLogger("defectvision.inspection")

Source = Literal["environment", "calibration", "model", "uncalibrated"]
PICTURE_SIDE, PICTURE_QUALITY = 640, 80
HEATMAP_SIDE = 64
"""Cells along the longer side of a heat map at the most: anomalib's maps are as large as the model's input."""


class NoModel(Exception):
    """There is no model to inspect with; the message says why."""


@dataclass(frozen=True)
class Threshold:
    """The threshold in force (raw) and where it comes from.

    Source ``uncalibrated``: there is none, ``value`` is 0, and every frame is an ANOMALY. Scores of other people's
    models may be on any scale, so no number would be a safe guess.
    """

    value: float
    source: Source

    @property
    def known(self) -> bool:
        return self.source != "uncalibrated"


@dataclass(frozen=True)
class Inspected:
    """What was found in one frame. ``heatmap``: h×w uint8, absolute scale; ``size``: of the frame, width and height in
    pixels; ``picture``: JPEG, width, height."""

    raw_score: float
    threshold: Threshold
    heatmap: NDArray[np.uint8]
    size: tuple[int, int]
    picture: tuple[bytes, int, int] | None = None

    @property
    def score(self) -> float:
        return display_score(self.raw_score, self.threshold.value) if self.threshold.known else 1.0

    @property
    def is_anomaly(self) -> bool:
        return not self.threshold.known or self.raw_score > self.threshold.value

    @property
    def verdict(self) -> Verdict:
        return "ANOMALY" if self.is_anomaly else "NORMAL"


class Inspection:
    """The model in use and the threshold in force. ``inspect`` may run in several threads at once."""

    def __init__(
        self, calibrations: Calibrations, *, threshold: float | None = None, category: str | None = None
    ) -> None:
        self._calibrations = calibrations
        self._environment_threshold = threshold
        self._category = category
        self._in_use: tuple[Detector, Threshold] | None = None
        # What is in force must be what is on disk, also when two people calibrate at once.
        self._changing = threading.Lock()
        self.why_no_model = "the server is starting"

    def use(self, model: Detector) -> None:
        """Inspect with this model from now on."""
        with self._changing:
            self._in_use = (model, self._threshold_for(model))
        log.info(
            "model in use category=%s hash=%s runtime=%s threshold=%.4g source=%s",
            self.category,
            model.hash[:12],
            model.runtime,
            self.threshold.value,
            self.threshold.source,
        )

    @property
    def ready(self) -> bool:
        return self._in_use is not None

    @property
    def model(self) -> Detector:
        """The model in use.

        Raises:
            NoModel: there is none yet.
        """
        return self._now()[0]

    @property
    def threshold(self) -> Threshold:
        """The threshold in force: environment before calibration before the model's default, if it has one.

        Raises:
            NoModel: there is no model yet.
        """
        return self._now()[1]

    @property
    def category(self) -> str:
        return self._category or self.model.category

    @property
    def calibration(self) -> StoredCalibration | None:
        """The stored calibration of this model on this runtime, in force or not."""
        return self._calibrations.get(self.model.hash, self.model.runtime)

    @property
    def warning(self) -> str | None:
        """What the operator has to do before a verdict means anything; or nothing."""
        if self._in_use is None or self.threshold.known:
            return None
        return "not calibrated: the model brings no threshold, so every part is an ANOMALY; calibrate on good parts"

    @property
    def taught_shapes(self) -> tuple[float, float] | None:
        """Narrowest and widest shape (width to height) of the pictures the model was taught with, if it says so."""
        model = self._in_use[0] if self._in_use else None
        return model.manifest.shapes if isinstance(model, TaughtModel) else None

    def inspect(self, load: Load, *, picture: bool = False, progress: Callable[[], None] = lambda: None) -> Inspected:
        """Judge one frame. For a worker thread; ``progress`` is called after each of its steps.

        Raises:
            ImageError: the frame cannot be decoded.
            NoModel: there is no model yet.
        """
        frame = load()
        progress()
        return self.inspect_frame(frame, picture=picture, progress=progress)

    def inspect_frame(
        self, frame: BGRImage, *, picture: bool = False, progress: Callable[[], None] = lambda: None
    ) -> Inspected:
        """Judge one decoded frame (H×W×3 uint8 BGR). For a worker thread; ``progress`` is called after each of its
        steps."""
        model, threshold = self._now()  # taken together: a new calibration or model never mixes into a frame
        detection = model.detect(frame)
        progress()
        return Inspected(
            detection.score,
            threshold,
            _heatmap(detection.anomaly_map, threshold),
            (frame.shape[1], frame.shape[0]),
            encode_jpeg(frame, quality=PICTURE_QUALITY, longest_side=PICTURE_SIDE) if picture else None,
        )

    def calibrate(self, model: Detector, scores: Sequence[float], k: float) -> Calibration:
        """Set the threshold of this place from raw scores ``model`` gave to normal images taken there, and store it.

        Raises:
            ValueError: too few scores, or a k that cannot be; nothing changes.
            OSError: it cannot be stored; nothing changes.
        """
        calibration = calibrate(scores, k)
        with self._changing:
            self._calibrations.put(model.hash, model.runtime, calibration)
            self._refresh()
        log.info("calibrated threshold=%.4g images=%d k=%g", calibration.threshold, calibration.n_images, k)
        return calibration

    def forget_calibration(self) -> None:
        """Go back to the model's default threshold.

        Raises:
            OSError: the file cannot be written; nothing changes.
        """
        with self._changing:
            self._calibrations.delete(self.model.hash, self.model.runtime)
            self._refresh()
        log.info("calibration deleted threshold=%.4g source=%s", self.threshold.value, self.threshold.source)

    def _refresh(self) -> None:
        self._in_use = (self.model, self._threshold_for(self.model))

    def _now(self) -> tuple[Detector, Threshold]:
        if self._in_use is None:
            raise NoModel(self.why_no_model)
        return self._in_use

    def _threshold_for(self, model: Detector) -> Threshold:
        if self._environment_threshold is not None:
            return Threshold(self._environment_threshold, "environment")
        stored = self._calibrations.get(model.hash, model.runtime)
        if stored is not None:
            return Threshold(stored.threshold, "calibration")
        if not 0 < model.threshold < math.inf:
            return Threshold(0.0, "uncalibrated")
        return Threshold(model.threshold, "model")


def _heatmap(anomaly_map: NDArray[np.float32], threshold: Threshold) -> NDArray[np.uint8]:
    if (longest := max(anomaly_map.shape)) > HEATMAP_SIDE:
        rows, columns = (max(1, round(length * HEATMAP_SIDE / longest)) for length in anomaly_map.shape)
        anomaly_map = np.asarray(cv2.resize(anomaly_map, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)
    if not threshold.known:
        return np.zeros(anomaly_map.shape, np.uint8)  # a colour says how far from the threshold: there is none
    return heat(anomaly_map, threshold.value, at_threshold=HEATMAP_AT_THRESHOLD)
