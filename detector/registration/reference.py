"""How parts lay that were taught, and frames turned and shifted so that theirs lie the same way."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from detector.images import BGRImage
from detector.registration.seen import SHORTEST, SIDE, Small, part_in, small_picture
from detector.registration.template import Matrix, Template, rescaled

_SAME_SHAPE = 0.03
"""Share by which a frame's shape may differ from that of those taught."""
_NARROWEST = 3
"""Pixels of a template's sides at the least."""


Moved = tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class Alignment:
    """How the part in a frame lies.

    Attributes:
        matrix: 2×3 float64, from the place of a point on the reference to its place in the frame, in pixels of the
            frame, whose middles are at whole numbers. Moves nothing where it is not sure.
        turn: degrees, clockwise as seen, -180 to 180.
        quality: correlation with the reference, -1 to 1; 0 where there is no part.
        is_sure: whether the frame is to be moved by it.
    """

    matrix: Matrix
    turn: float = 0.0
    quality: float = 0.0
    is_sure: bool = False


class Reference(msgspec.Struct, frozen=True, dict=True):
    """How parts lay, as a model's manifest holds it. Lengths are pixels of the small picture of a frame.

    Attributes:
        height, width: of the small picture, the longer one :data:`SIDE`.
        top, left, rows, columns: where in it the part lies, with a little of the background.
        grey: rows×columns bytes, the parts' mean picture.
        part: rows×columns bits, packed: where the part is, and the background right beside it.
        pivot: the part's middle, across and down.
        turns: degrees, from and to: what the taught ones were turned by and a little more. Equal where turns are not
            taken out: such a part looks the same from all sides, or always lay the same way.
        quality: correlation from which an alignment is sure.
    """

    height: int
    width: int
    top: int
    left: int
    rows: int
    columns: int
    grey: bytes
    part: bytes
    pivot: tuple[float, float]
    turns: tuple[float, float]
    quality: float

    @property
    def is_turning(self) -> bool:
        """Whether turns are taken out, not shifts alone."""
        return self.turns[1] > self.turns[0]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the part and a little round it, 0..1 of a frame in which it lies so."""
        right, bottom = self.left + self.columns, self.top + self.rows
        return self.left / self.width, self.top / self.height, right / self.width, bottom / self.height

    def is_sound(self) -> bool:
        """Whether one may have been learned: its lengths and numbers fit together."""
        return (
            SHORTEST <= min(self.height, self.width) <= max(self.height, self.width) == SIDE
            and self.top >= 0
            and self.left >= 0
            and min(self.rows, self.columns) >= _NARROWEST
            and self.top + self.rows <= self.height
            and self.left + self.columns <= self.width
            and len(self.grey) == self.rows * self.columns
            and len(self.part) == math.ceil(self.rows * self.columns / 8)
            and any(self.part)
            and 0 <= self.pivot[0] <= self.width
            and 0 <= self.pivot[1] <= self.height
            and -360 <= self.turns[0] <= self.turns[1] <= self.turns[0] + 360
            and 0 < self.quality < 1
        )

    def align(self, frame: BGRImage) -> Alignment:
        """How the part in a frame (H×W×3 uint8 BGR, any size) lies."""
        size, small = (frame.shape[0], frame.shape[1]), (self.height, self.width)
        if abs(math.log(size[1] / size[0] * self.height / self.width)) > _SAME_SHAPE:
            return _unmoved()
        found = self.align_small(small_picture(frame, small))
        if not found.is_sure:
            return found
        return Alignment(rescaled(found.matrix, small, size), found.turn, found.quality, is_sure=True)

    def align_small(self, small: Small) -> Alignment:
        """The same for a small picture (:func:`small_picture`), in pixels of it."""
        seen = part_in(small)
        if seen is None:
            return _unmoved()
        pose = self._template.pose(seen, turning=self.is_turning)
        low, high = self.turns
        turned_as_taught = not self.is_turning or (pose.turn - low) % 360 <= high - low
        if not (pose.quality >= self.quality and turned_as_taught):
            return _unmoved(pose.turn, pose.quality)
        return Alignment(pose.matrix, pose.turn, pose.quality, is_sure=True)

    @cached_property
    def _template(self) -> Template:
        shape = self.rows, self.columns
        grey = np.frombuffer(self.grey, np.uint8).reshape(shape).astype(np.float32)
        bits = np.unpackbits(np.frombuffer(self.part, np.uint8), count=self.rows * self.columns)
        return Template(grey, bits.reshape(shape) > 0, self.left, self.top, self.pivot)


def reference_of(template: Template, shape: tuple[int, int], turns: tuple[float, float], quality: float) -> Reference:
    """To keep in a model.

    Args:
        template: in a small picture of that ``shape``, height and width.
        turns: degrees, from and to.
        quality: correlation from which an alignment is sure.
    """
    rows, columns = template.grey.shape
    return Reference(
        *shape,
        top=template.top,
        left=template.left,
        rows=rows,
        columns=columns,
        grey=np.clip(np.rint(template.grey), 0, 255).astype(np.uint8).tobytes(),
        part=np.packbits(template.mask).tobytes(),
        pivot=template.pivot,
        turns=turns,
        quality=quality,
    )


@dataclass(frozen=True)
class Laid:
    """A frame as if its part lay like the reference, of the same size as it was; or as it was, where that is not sure
    or there is no reference."""

    frame: BGRImage
    alignment: Alignment | None = None

    @property
    def moved(self) -> Moved | None:
        """2×3 numbers that take a place on the reference to its place in the frame, both 0..1 of width and height;
        None where nothing was moved."""
        if self.alignment is None or not self.alignment.is_sure:
            return None
        height, width = self.frame.shape[:2]
        # Middles of pixels are at whole numbers, corners of the frame half a pixel before the first.
        to_pixels = np.array([[width, 0, -0.5], [0, height, -0.5], [0, 0, 1]])
        forth = np.linalg.inv(to_pixels) @ np.vstack([self.alignment.matrix, (0, 0, 1)]) @ to_pixels
        (a, b, c), (d, e, f) = forth[:2].tolist()
        return (a, b, c), (d, e, f)

    def as_seen(self, anomaly_map: NDArray[np.float32]) -> NDArray[np.float32]:
        """A map (h×w float32) of :attr:`frame`, from corner to corner, as a map of what the camera saw. Its largest
        value stays what it is, at its place, or at the edge where that is beyond it."""
        if self.alignment is None or not self.alignment.is_sure:
            return anomaly_map
        rows, columns = anomaly_map.shape
        forth = rescaled(self.alignment.matrix, (self.frame.shape[0], self.frame.shape[1]), (rows, columns))
        moved = cv2.warpAffine(anomaly_map, forth, (columns, rows), flags=cv2.INTER_LINEAR)
        row, column = np.unravel_index(int(anomaly_map.argmax()), anomaly_map.shape)
        x, y = forth @ (float(column), float(row), 1.0)
        seen = np.minimum(np.asarray(moved, np.float32), anomaly_map[row, column])
        seen[min(max(round(y), 0), rows - 1), min(max(round(x), 0), columns - 1)] = anomaly_map[row, column]
        return np.asarray(seen, np.float32)


def lay(frame: BGRImage, reference: Reference | None) -> Laid:
    """Turn and shift a frame (H×W×3 uint8 BGR) so that its part lies like the reference. What would come from beyond
    its edge is its edge, plain background, once more."""
    if reference is None or not _is_frame(frame):  # the region says what is wrong with what is no frame
        return Laid(frame)
    alignment = reference.align(frame)
    if not alignment.is_sure:
        return Laid(frame, alignment)
    height, width = frame.shape[:2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(frame, alignment.matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return Laid(np.asarray(moved, np.uint8), alignment)


def _is_frame(frame: BGRImage) -> bool:
    return frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3 and 0 not in frame.shape


def _unmoved(turn: float = 0.0, quality: float = 0.0) -> Alignment:
    return Alignment(np.eye(2, 3), turn, quality)
