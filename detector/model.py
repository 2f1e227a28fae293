"""What the server and the measurements need of a model, whoever made it."""

from __future__ import annotations

from typing import Protocol

from detector.images import BGRImage
from detector.input_size import InputSize
from detector.score import Detection


class Detector(Protocol):
    """A taught model, ready to inspect. ``detect`` may be called from several threads at once."""

    @property
    def category(self) -> str:
        """What the parts are called."""
        ...

    @property
    def image_size(self) -> int:
        """Side, in pixels, of the square that has about as many as the input."""
        ...

    @property
    def input_size(self) -> InputSize:
        """Height and width of the input, in pixels."""
        ...

    @property
    def hash(self) -> str:
        """sha256 that names this very model; a calibration belongs to it."""
        ...

    @property
    def runtime(self) -> str:
        """Name of the runtime it is compiled for."""
        ...

    @property
    def threshold(self) -> float:
        """The default threshold, raw: a start, until the place is calibrated. ``nan`` where the model brings none."""
        ...

    def detect(self, frame: BGRImage, /) -> Detection:
        """Score one frame (H×W×3 uint8 BGR, any size). The score is finite; where what was computed is not, it is above
        every threshold.

        Raises:
            ImageError: not such an array.
        """
        ...
