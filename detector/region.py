"""The part of the frame that is inspected: where parts ever were, learned from the normal images.

A small part on a plain background wastes the model's input on the background. Where that background is plain in every
normal image, the model looks at the rest only, and sees it larger. Wherever there is doubt it looks at the whole frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from detector.errors import ImageError
from detector.images import BGRImage
from detector.input_size import InputSize, shaped, square

T = TypeVar("T")

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
    """A rectangle of the frame, in cells: the whole frame is ``columns``×``rows`` cells, ``width``×``height`` of them
    from (``left``, ``top``) on are inspected. One cell is one patch of the anomaly map."""

    columns: int
    rows: int
    left: int
    top: int
    width: int
    height: int

    @property
    def is_full(self) -> bool:
        return (self.columns, self.rows) == (self.width, self.height)

    def input_size(self, stride: int) -> InputSize:
        """Of the model that looks at it, a cell being ``stride`` pixels wide and high."""
        return InputSize(self.height * stride, self.width * stride)

    @property
    def fractions(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom, 0..1 of the frame."""
        left, top = self.left / self.columns, self.top / self.rows
        return left, top, left + self.width / self.columns, top + self.height / self.rows

    def is_sound(self) -> bool:
        """Whether it lies within its frame."""
        return all(
            1 <= inspected <= length <= 8 * inspected and 0 <= start <= length - inspected
            for inspected, length, start in (
                (self.width, self.columns, self.left),
                (self.height, self.rows, self.top),
            )
        )

    def to_input(self, frame: BGRImage, size: InputSize) -> BGRImage:
        """The region of a frame (H×W×3 uint8 BGR), resized to that size.

        Raises:
            ImageError: not such an array.
        """
        _require_frame(frame)
        if not self.is_full:
            left, top, right, bottom = self.fractions
            rows, columns = _pixels(top, bottom, frame.shape[0]), _pixels(left, right, frame.shape[1])
            frame = frame[rows, columns]
        height, width = frame.shape[:2]
        if (height, width) == size:
            return frame
        # Area averaging on the way down: bilinear would alias, and fine texture change with the camera's resolution.
        shrinks = height >= size.height and width >= size.width
        filter_ = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(frame, (size.width, size.height), interpolation=filter_), np.uint8)

    def of_frame(self, whole: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Of the patches of the whole frame (rows×columns) those of the region (height×width)."""
        return whole[self.top : self.top + self.height, self.left : self.left + self.width]

    def to_frame(self, anomaly_map: NDArray[np.float32]) -> NDArray[np.float32]:
        """The map of the region (height×width float32) within the map of the whole frame (rows×columns), which is 0
        where nothing was inspected."""
        if self.is_full:
            return anomaly_map
        whole = np.zeros((self.rows, self.columns), np.float32)
        whole[self.top : self.top + self.height, self.left : self.left + self.width] = anomaly_map
        return whole


def _require_frame(frame: BGRImage) -> None:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise ImageError(f"a frame must be H×W×3 uint8 BGR, not {frame.shape} {frame.dtype}")


def _pixels(start: float, end: float, length: int) -> slice:
    first = min(round(start * length), length - 1)
    return slice(first, max(round(end * length), first + 1))


def full(size: InputSize, stride: int) -> Region:
    """The whole frame, as an input of that size sees it."""
    rows, columns = size.grid(stride)
    return Region(columns, rows, 0, 0, columns, rows)


@dataclass(frozen=True)
class Inputs:
    """What a network's input may be: about ``image_size``² pixels, each side a multiple of ``multiple``, in patches of
    ``stride`` pixels."""

    image_size: int
    multiple: int
    stride: int

    def of(self, shape: float) -> InputSize:
        """For something of that shape, width to height."""
        return shaped(self.image_size, self.multiple, shape)


@dataclass(frozen=True)
class Spread(Generic[T]):
    """A few of many images, or of what is known of them, evenly spread over a sequence and asked for each time they are
    looked at."""

    images: Sequence[T]
    at_most: int

    def __iter__(self) -> Iterator[T]:
        last = len(self.images) - 1
        for index in np.unique(np.linspace(0, last, min(last + 1, self.at_most)).astype(int)):
            yield self.images[int(index)]


def inspected(images: Iterable[BGRImage], inputs: Inputs, choice: Choice) -> Region:
    """What is inspected of frames like these normal images (H×W×3 uint8 BGR). Each is looked at once and let go.

    Raises:
        ImageError: one of them is not such an array.
    """
    if choice == "auto":
        return find_region(images, inputs)
    return _whole([_shape_of(image) for image in images], inputs)


def find_region(images: Iterable[BGRImage], inputs: Inputs) -> Region:
    """Where parts are in these normal images (H×W×3 uint8 BGR), with a margin. Each is looked at once and let go.

    The frame's edge is taken for background if it is plain: little contrast and few colours in all images. Foreground
    is what has contrast or another colour, in pieces of at least 3×3 blocks, in a twentieth of the images or more. A
    region never has fewer pixels than the model's input: enlarging shows nothing new.

    Returns:
        the region, or the whole frame where the background is not plain, nothing much would be gained, or there are no
        images.

    Raises:
        ImageError: one of them is not such an array.
    """
    looks = [_look(image) for image in images]
    shapes = [look.shape for look in looks]
    box = _foreground(looks) if looks else None
    if box is None:
        return _whole(shapes, inputs)
    size = square(inputs.image_size)
    across, down = _spans(box, shapes, size)
    shape = _median(shapes) * (across.length / down.length)
    if inputs.of(shape) != size:
        size = inputs.of(shape)
        across, down = _spans(box, shapes, size)
    height, width = size.grid(inputs.stride)
    (columns, left), (rows, top) = across.in_cells(width), down.in_cells(height)
    if width * height > _LARGEST * columns * rows:
        return _whole(shapes, inputs)
    return Region(columns, rows, left, top, width, height)


@dataclass(frozen=True)
class _Span:
    """A part of one of the frame's sides, 0..1."""

    centre: float
    length: float

    def in_cells(self, inside: int) -> tuple[int, int]:
        """How many cells the whole side is if the part is ``inside`` cells, and where it begins."""
        cells = max(inside, int(inside / self.length))
        first = int(min(max(self.centre - self.length / 2, 0.0), 1 - self.length) * cells)
        return cells, min(first, cells - inside)


def _spans(
    box: tuple[float, float, float, float], shapes: Sequence[tuple[int, int]], size: InputSize
) -> tuple[_Span, _Span]:
    """Across and down: the box with its margin, but no fewer pixels than the input has, in any image."""
    height, width = np.min(shapes, 0).tolist()
    spans = []
    for start, end, least in ((box[0], box[2], size.width / width), (box[1], box[3], size.height / height)):
        start, end = max(0.0, start - _MARGIN), min(1.0, end + _MARGIN)
        spans.append(_Span((start + end) / 2, min(1.0, max(end - start, _SMALLEST, least))))
    return spans[0], spans[1]


def _whole(shapes: Sequence[tuple[int, int]], inputs: Inputs) -> Region:
    return full(inputs.of(_median(shapes)), inputs.stride)


def _median(shapes: Sequence[tuple[int, int]]) -> float:
    """Width to height of images of these heights and widths; that of a square without any."""
    return float(np.median([width / height for height, width in shapes])) if shapes else 1.0


def _shape_of(image: BGRImage) -> tuple[int, int]:
    _require_frame(image)
    return image.shape[0], image.shape[1]


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
    shape = _shape_of(image)
    resized = cv2.resize(image, (_SIDE * _BLOCK, _SIDE * _BLOCK), interpolation=cv2.INTER_AREA)
    small = np.asarray(resized, np.float32)
    mean = _of_blocks(small)
    variance = _of_blocks(np.square(small)) - np.square(mean)
    return _Look(shape, np.sqrt(np.maximum(variance, 0)).max(-1), mean)


def _of_blocks(small: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of blocks."""
    return np.asarray(cv2.resize(small, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.float32)
