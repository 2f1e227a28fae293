"""What was found in one frame, and what is kept of one for a calibration or a correction."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detector import Detector, TaughtModel
from detector.images import BGRImage, encode_jpeg, encode_png
from detector.near_copies import Look, look_of
from detector.registration import Moved
from detector.score import display_score, heat
from server.inspection.condition import Condition
from server.inspection.glimpse import Glimpse
from server.inspection.threshold import Threshold
from server.parts import GateLook
from server.recipes import ModelVersion, Recipe, Regions
from server.words import HEATMAP_AT_THRESHOLD, Verdict

HEATMAP_SIDE = 64
"""Cells along the longer side of a heat map at the most: anomalib's maps are as large as the model's input."""
SAMPLE_SIDE = 160
_SAMPLE_QUALITY = 75


@dataclass(frozen=True)
class Sample:
    """What is kept of a frame for a calibration: ``picture`` is a JPEG of up to 160 pixels, a few kB."""

    look: Look
    picture: bytes


@dataclass(frozen=True)
class KeptPicture:
    """What is kept of a frame that somebody may say of what it was.

    Attributes:
        input: PNG of what the model looked at, lossless; None where the model cannot be corrected.
        taught: hash of the model as it was taught: for another one the input means nothing.
        picture: JPEG of the frame, up to 640 pixels, with its width and height.
        moved: how the part lies, where the model laid it on its reference (:meth:`detector.TaughtModel.looked_at`).
    """

    input: bytes | None
    taught: str
    picture: tuple[bytes, int, int]
    moved: Moved | None = None

    @property
    def size(self) -> int:
        """Bytes it takes in memory, about."""
        return len(self.input or b"") + len(self.picture[0])


ScoredBy = tuple[tuple[str, str], str, Regions]
"""What scores of frames have to have in common to be compared: model (hash and runtime), id of the recipe, regions."""


def scored_by(model: tuple[str, str], recipe: Recipe) -> ScoredBy:
    """What frames are scored by that this model looks at with this recipe."""
    return model, recipe.id, recipe.regions


NO_RECIPE = Recipe("", "", 1, ModelVersion(""))
"""Of what was inspected without one."""


@dataclass(frozen=True)
class Inspected:
    """What was found in one frame. ``heatmap``: h×w uint8, absolute scale; ``size``: of the frame, width and height in
    pixels; ``model``: its hash and runtime; ``picture``: JPEG, width, height; ``sample`` and ``kept``: if they were
    asked for; ``recipe``: it was inspected with; ``gate``: a look at that, if a gate says what a part is;
    ``condition``: how the frame was taken; ``scene``: a look that tells scenes apart, if that was asked for."""

    raw_score: float
    threshold: Threshold
    heatmap: NDArray[np.uint8]
    size: tuple[int, int]
    model: tuple[str, str]
    picture: tuple[bytes, int, int] | None = None
    sample: Sample | None = None
    kept: KeptPicture | None = None
    recipe: Recipe = NO_RECIPE
    gate: GateLook | None = None
    condition: Condition | None = None
    scene: Glimpse | None = None

    @property
    def scored_by(self) -> ScoredBy:
        """Model, recipe and regions."""
        return scored_by(self.model, self.recipe)

    @property
    def score(self) -> float:
        if not self.threshold.known:
            return 1.0
        return display_score(self.raw_score, self.threshold.value, self.threshold.typical)

    @property
    def is_anomaly(self) -> bool:
        return not self.threshold.known or self.raw_score > self.threshold.value

    @property
    def verdict(self) -> Verdict:
        return "ANOMALY" if self.is_anomaly else "NORMAL"


def sample_of(frame: BGRImage, model: Detector) -> Sample:
    """What a calibration keeps of a frame (H×W×3 uint8 BGR). For a worker thread; costs about a millisecond."""
    if isinstance(model, TaughtModel):
        seen = model.manifest.region.to_input(frame, model.input_size)
    else:
        seen = np.asarray(cv2.resize(frame, model.input_size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    return Sample(look_of(seen), encode_jpeg(frame, quality=_SAMPLE_QUALITY, longest_side=SAMPLE_SIDE)[0])


def kept_of(frame: BGRImage, model: Detector, picture: tuple[bytes, int, int], taught: str) -> KeptPicture:
    """What is kept of a frame (H×W×3 uint8 BGR). For a worker thread; costs some milliseconds."""
    if not isinstance(model, TaughtModel):
        return KeptPicture(None, taught, picture)
    seen, moved = model.looked_at(frame)
    return KeptPicture(encode_png(seen), taught, picture, moved)


def heatmap_of(anomaly_map: NDArray[np.float32], threshold: Threshold) -> NDArray[np.uint8]:
    """An anomaly map (h×w float32) as it is shown: at most 64 cells long, 8 bits on an absolute scale."""
    if (longest := max(anomaly_map.shape)) > HEATMAP_SIDE:
        rows, columns = (max(1, round(length * HEATMAP_SIDE / longest)) for length in anomaly_map.shape)
        anomaly_map = np.asarray(cv2.resize(anomaly_map, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)
    if not threshold.known:
        return np.zeros(anomaly_map.shape, np.uint8)  # a colour says how far from the threshold: there is none
    return heat(anomaly_map, threshold.value, at_threshold=HEATMAP_AT_THRESHOLD)
