"""The part of the frame that is inspected: where parts ever were, learned from the normal images.

A small part on a plain background wastes the model's input on the background. Where that background is plain in every
normal image, the model looks at the rest only, and sees it larger. Wherever there is doubt it looks at the whole frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from detector.errors import ImageError
from detector.images import BGRImage

Choice = Literal["auto", "full"]
CHOICES: tuple[Choice, ...] = ("auto", "full")

SAMPLE = 60
"""Normal images looked at for the choice of a region."""
_SIDE, _BLOCK = 64, 8
"""The frame is judged in 64×64 blocks of 8×8 pixels."""
_RING = 3
"""Blocks along the frame's edge that must be background for anything to be called background."""
_PLAIN_CONTRAST, _PLAIN_COLOUR = 10.0, 20.0
"""Grey levels up to which the ring's contrast within a block, and its colours, are plain."""
_CONTRAST, _COLOUR = 4.0, 24.0
"""Grey levels from which a block is part of something, on the plainest background; more where that is less plain."""
_MARGIN = 0.04
"""Of the frame's sides, round what was found."""
_LARGEST = 0.7
"""Share of the frame's area above which cropping gains too little to leave anything out."""
_SMALLEST = 0.4
"""Share of a side that is inspected at the least."""


class Region(msgspec.Struct, frozen=True):
    """A rectangle of the frame, in cells: the whole frame is ``columns``×``rows`` cells, ``side``×``side`` of them from
    (``left``, ``top``) on are inspected. One cell is one patch of the anomaly map."""

    columns: int
    rows: int
    left: int
    top: int
    side: int

    @property
    def is_full(self) -> bool:
        return self.columns == self.rows == self.side

    @property
    def fractions(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom, 0..1 of the frame."""
        left, top = self.left / self.columns, self.top / self.rows
        return left, top, left + self.side / self.columns, top + self.side / self.rows

    def is_sound(self) -> bool:
        """Whether it lies within its frame."""
        return all(
            1 <= self.side <= length <= 8 * self.side and 0 <= start <= length - self.side
            for length, start in ((self.columns, self.left), (self.rows, self.top))
        )

    def to_input(self, frame: BGRImage, size: int) -> BGRImage:
        """The region of a frame (H×W×3 uint8 BGR), resized to size×size.

        Raises:
            ImageError: not such an array.
        """
        _require_frame(frame)
        if not self.is_full:
            left, top, right, bottom = self.fractions
            rows, columns = _pixels(top, bottom, frame.shape[0]), _pixels(left, right, frame.shape[1])
            frame = frame[rows, columns]
        height, width = frame.shape[:2]
        if (height, width) == (size, size):
            return frame
        # Area averaging on the way down: bilinear would alias, and fine texture change with the camera's resolution.
        filter_ = cv2.INTER_AREA if min(height, width) >= size else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(frame, (size, size), interpolation=filter_), np.uint8)

    def to_frame(self, anomaly_map: NDArray[np.float32]) -> NDArray[np.float32]:
        """The map of the region (side×side float32) within the map of the whole frame (rows×columns), which is 0
        where nothing was inspected."""
        if self.is_full:
            return anomaly_map
        whole = np.zeros((self.rows, self.columns), np.float32)
        whole[self.top : self.top + self.side, self.left : self.left + self.side] = anomaly_map
        return whole


def _require_frame(frame: BGRImage) -> None:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise ImageError(f"a frame must be H×W×3 uint8 BGR, not {frame.shape} {frame.dtype}")


def _pixels(start: float, end: float, length: int) -> slice:
    first = min(round(start * length), length - 1)
    return slice(first, max(round(end * length), first + 1))


def full(side: int) -> Region:
    """The whole frame, as side×side cells."""
    return Region(side, side, 0, 0, side)


@dataclass(frozen=True)
class Spread:
    """A few of many images, evenly spread over a sequence and asked for each time they are looked at."""

    images: Sequence[BGRImage]
    at_most: int

    def __iter__(self) -> Iterator[BGRImage]:
        last = len(self.images) - 1
        for index in np.unique(np.linspace(0, last, min(last + 1, self.at_most)).astype(int)):
            yield self.images[int(index)]


def find_region(images: Iterable[BGRImage], side: int, size: int) -> Region:
    """Where parts are in these normal images (H×W×3 uint8 BGR), with a margin. Each is looked at once and let go.

    The frame's edge is taken for background if it is plain: little contrast and few colours in all images. Foreground
    is what has contrast or another colour, in pieces of at least 3×3 blocks, in a twentieth of the images or more.

    Args:
        side: cells along the sides of the region: the input size divided by the stride of the patch grid.
        size: pixels along the sides of the model's input; a region is never smaller, enlarging shows nothing new.

    Returns:
        the region, or the whole frame where the background is not plain, nothing much would be gained, or there are no
        images.

    Raises:
        ImageError: one of them is not such an array.
    """
    looks = [_look(image) for image in images]
    box = _foreground(looks) if looks else None
    if box is None:
        return full(side)
    height, width = (min(look.shape[axis] for look in looks) for axis in (0, 1))
    spans = []
    for start, end, pixels in ((box[0], box[2], width), (box[1], box[3], height)):
        start, end = max(0.0, start - _MARGIN), min(1.0, end + _MARGIN)
        span = min(1.0, max(end - start, _SMALLEST, size / pixels))
        cells = max(side, int(side / span))
        first = int(min(max((start + end - span) / 2, 0.0), 1 - span) * cells)
        spans.append((cells, min(first, cells - side)))
    (columns, left), (rows, top) = spans
    if side * side > _LARGEST * columns * rows:
        return full(side)
    return Region(columns, rows, left, top, side)


@dataclass(frozen=True)
class _Look:
    """What is remembered of an image: height and width in pixels, the contrast (64×64) within each of its blocks, the
    largest of the channels, and their mean colours (64×64×3)."""

    shape: tuple[int, int]
    contrast: NDArray[np.float32]
    colour: NDArray[np.float32]


def _foreground(looks: Sequence[_Look]) -> tuple[float, float, float, float] | None:
    ring = np.ones((_SIDE, _SIDE), np.bool_)
    ring[_RING:-_RING, _RING:-_RING] = False
    contrast = np.stack([look.contrast for look in looks])
    background = np.stack([np.median(look.colour[ring], 0) for look in looks])
    difference = np.abs(np.stack([look.colour for look in looks]) - background[:, None, None]).max(-1)
    ring_contrast, ring_difference = (float(np.quantile(of[:, ring], 0.9)) for of in (contrast, difference))
    if ring_contrast > _PLAIN_CONTRAST or ring_difference > _PLAIN_COLOUR:
        return None
    something = (contrast > max(2 * ring_contrast, _CONTRAST)) | (difference > max(2 * ring_difference, _COLOUR))
    kernel = np.ones((3, 3), np.uint8)
    pieces = [cv2.morphologyEx(one.astype(np.uint8), cv2.MORPH_OPEN, kernel) for one in something]
    rows, columns = np.nonzero(np.sum(pieces, 0) >= max(min(2, len(looks)), 0.05 * len(looks)))
    if not len(rows):
        return None
    left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return left / _SIDE, top / _SIDE, right / _SIDE, bottom / _SIDE


def _look(image: BGRImage) -> _Look:
    _require_frame(image)
    small = cv2.resize(image, (_SIDE * _BLOCK, _SIDE * _BLOCK), interpolation=cv2.INTER_AREA).astype(np.float32)
    blocks = small.reshape(_SIDE, _BLOCK, _SIDE, _BLOCK, 3)
    return _Look((image.shape[0], image.shape[1]), blocks.std((1, 3)).max(-1), blocks.mean((1, 3)))
