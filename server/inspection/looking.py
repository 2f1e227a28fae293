"""Looking at one frame with a model: what is asked, what is found, and who looks.

The one thing of an inspection that may be done elsewhere. What is asked is data, but for the model, which is named by
its hash; thresholds, verdicts and what becomes of them stay where the stream is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from detector import Detection, Detector
from detector.images import BGRImage, decode, encode_jpeg, is_jpeg
from server.inspection.condition import Condition, condition_of
from server.inspection.glimpse import Glimpse, glimpse
from server.inspection.inspected import KeptPicture, Sample, kept_of, sample_of
from server.inspection.regions import within
from server.parts import GateLook, gate_look
from server.recipes import Polygon, Regions
from server.words import Load

PICTURE_SIDE, PICTURE_QUALITY = 640, 80


class NotLooked(Exception):
    """Nobody looked at a frame: it is lost. One sentence says why."""


@dataclass(frozen=True)
class Encoded:
    """A frame as its sender encoded it, which another process can decode as well.

    Args:
        max_pixels: larger pictures are refused.
        sender: the stream it came on; None: of no stream.
    """

    data: bytes
    max_pixels: int
    sender: str | None = None

    @property
    def is_jpeg(self) -> bool:
        """Whether it is decoded in the process that asks for it; all else is in one more, and may take seconds."""
        return is_jpeg(self.data)

    def __call__(self) -> BGRImage:
        """Raises ImageError: it is broken, or too large."""
        return decode(self.data, max_pixels=self.max_pixels)


@dataclass(frozen=True)
class Wanted:
    """What is to be found in a frame, by the model that ``taught`` names as it was taught.

    Attributes:
        regions: where it is inspected.
        gate: a look at that; None where no gate says what a part is.
        picture: whether a JPEG for viewers is asked for; ``sample``: whether what a calibration keeps is.
        keep: whether what is kept for a correction is asked for, whatever is found.
        scene: whether a look that tells scenes apart is asked for.
    """

    taught: str = ""
    regions: Regions = field(default_factory=Regions)
    gate: Polygon | None = None
    picture: bool = False
    sample: bool = False
    keep: bool = False
    scene: bool = False


@dataclass(frozen=True)
class Looked:
    """What was found. ``size``: of the frame, width and height in pixels; ``frame``: itself, where it was decoded here;
    the others if they were asked for, see :class:`Wanted`."""

    found: Detection
    size: tuple[int, int]
    condition: Condition
    picture: tuple[bytes, int, int] | None = None
    sample: Sample | None = None
    kept: KeptPicture | None = None
    gate: GateLook | None = None
    scene: Glimpse | None = None
    frame: BGRImage | None = None


Ask = Callable[[], tuple[Detector, Wanted]]
"""Which model, and what to look for: read together, once the frame is there."""


class Looker(Protocol):
    """Who looks at frames; several threads may ask at once."""

    def look(self, load: Load, ask: Ask, progress: Callable[[], None]) -> Looked:
        """Look at one frame, and wait for what is found.

        Raises:
            ImageError: it cannot be decoded.
            NotLooked: nobody looked at it.
        """
        ...


class Here:
    """Looks in the thread that asks."""

    def look(self, load: Load, ask: Ask, progress: Callable[[], None]) -> Looked:
        frame = load()
        progress()
        model, wanted = ask()
        found = model.detect(frame)
        progress()
        return all_of(frame, found, model, wanted)


def all_of(frame: BGRImage, found: Detection, model: Detector, wanted: Wanted) -> Looked:
    """What is wanted of a frame (H×W×3 uint8 BGR) in which the model found this."""
    jpeg = picture_of(frame) if wanted.picture or wanted.keep else None
    return Looked(
        within(found, wanted.regions),
        (frame.shape[1], frame.shape[0]),
        condition_of(frame),
        jpeg if wanted.picture else None,
        sample_of(frame, model) if wanted.sample else None,
        kept_of(frame, model, jpeg, wanted.taught) if wanted.keep and jpeg is not None else None,
        None if wanted.gate is None else gate_look(frame, wanted.gate),
        glimpse(frame) if wanted.scene else None,
        frame,
    )


def picture_of(frame: BGRImage) -> tuple[bytes, int, int]:
    """A frame (H×W×3 uint8 BGR) for viewers and correctors: JPEG of up to 640 pixels, its width and height."""
    return encode_jpeg(frame, quality=PICTURE_QUALITY, longest_side=PICTURE_SIDE)
