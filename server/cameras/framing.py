"""What becomes of a camera's picture before it is handed out: its size, the part of it, and how often."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

MAX_SIDE = 8192
MAX_FPS = 240.0


@dataclass(frozen=True)
class Crop:
    """A rectangle of the picture, in pixels from its top left corner. Raises ValueError when it is none."""

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if min(self.x, self.y) < 0 or min(self.width, self.height) < 1:
            raise ValueError(f"crop {self} is empty or begins outside the picture: x, y ≥ 0 and w, h ≥ 1")

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.width},{self.height}"

    @classmethod
    def parse(cls, text: str) -> Crop:
        """From ``X,Y,W,H`` in pixels. Raises ValueError when it is anything else."""
        numbers = [part.strip() for part in text.split(",")]
        if len(numbers) != 4 or not all(re.fullmatch(r"-?[0-9]{1,6}", number) for number in numbers):
            raise ValueError(f"crop {text!r} is not X,Y,W,H: give four numbers of pixels, as 100,50,640,480")
        return cls(*map(int, numbers))


@dataclass(frozen=True)
class Framing:
    """Size first, then crop.

    ``width`` and ``height`` in pixels; with one of the two the other keeps the aspect ratio, with neither the
    picture keeps its size. Raises ValueError when one is out of range, or the crop cannot lie in that size.
    """

    width: int | None = None
    height: int | None = None
    crop: Crop | None = None

    def __post_init__(self) -> None:
        for side, pixels in (("width", self.width), ("height", self.height)):
            if pixels is not None and not 1 <= pixels <= MAX_SIDE:
                raise ValueError(f"{side} must be 1 to {MAX_SIDE} pixels, not {pixels}")
        self._check_crop(self.width or MAX_SIDE, self.height or MAX_SIDE)

    def of(self, image: Image) -> Image:
        """A BGR uint8 H×W×3 image, sized and cropped. Raises ValueError when the crop reaches beyond it, or a side
        would become longer than :data:`MAX_SIDE`."""
        height, width = image.shape[:2]
        wanted = self._size(width, height)
        if wanted != (width, height):
            if max(wanted) > MAX_SIDE:  # with a width alone, the height is up to the camera
                raise ValueError(f"a picture of {width}×{height} would become {wanted[0]}×{wanted[1]}: ask for less")
            shrinks = wanted[0] * wanted[1] < width * height
            way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            image = np.asarray(cv2.resize(image, wanted, interpolation=way), np.uint8)
        if self.crop is None:
            return image
        self._check_crop(*wanted)
        x, y = self.crop.x, self.crop.y
        # Contiguous: a view would keep the whole picture alive.
        return np.ascontiguousarray(image[y : y + self.crop.height, x : x + self.crop.width])

    def _size(self, width: int, height: int) -> tuple[int, int]:
        if self.width and self.height:
            return self.width, self.height
        if self.width:
            return self.width, max(1, round(height * self.width / width))
        if self.height:
            return max(1, round(width * self.height / height)), self.height
        return width, height

    def _check_crop(self, width: int, height: int) -> None:
        crop = self.crop
        if crop is not None and (crop.x + crop.width > width or crop.y + crop.height > height):
            raise ValueError(f"crop {crop} reaches beyond the picture of {width}×{height}: make it smaller")


class Throttle:
    """Lets at most ``fps`` frames a second through, evenly, whatever the rate they come at.

    Raises:
        ValueError: fps is not above 0 and at most :data:`MAX_FPS`.
    """

    def __init__(self, fps: float) -> None:
        if not 0 < fps <= MAX_FPS:
            raise ValueError(f"fps must be above 0 and at most {MAX_FPS:g}, not {fps:g}")
        self._interval = 1 / fps
        self._due = -math.inf

    def admits(self, now: float) -> bool:
        """Whether the frame that came at ``now`` (seconds, never going back) is let through."""
        if now < self._due - self._interval / 4:  # a quarter: cameras are not clocks
            return False
        # From when it was due, not from now: else 30 fps capped at 20 would become 15. After a gap, from now.
        is_on_time = now - self._due < self._interval
        self._due = (self._due if is_on_time else now) + self._interval
        return True
