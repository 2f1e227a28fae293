"""How far the patches of one picture are from those of another, exactly and quickly.

Patch features as for PatchCore, of a small input. A channel's unit is what it varies by in drawn noise with the
spectrum of natural pictures, not in the parts shown: so that distances between two pictures are measured once, and
neither adding nor removing a third changes them. All is whole numbers, which add up to the same in any order: a
picture's distances do not depend on when it was shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.backbones import Layer, load_backbone
from detector.images import BGRImage
from detector.input_size import InputSize, shaped
from detector.runtimes import runtime

SIDE = 160
"""Of the square input, or of one with as many pixels where frames are far from square."""
DIMENSIONS = 64
"""Features are projected to so many at random: 64 bytes a patch."""
_WEIGHTS = (0.7, 1.0, 0.3)
"""Of the backbone's layers, from the finest. In a small input a defect is small too: the coarse layer hides it."""
_SIGMA = 0.7
"""Of the Gaussian over a map of distances, in patches."""
_LEVELS = 127
_STEP = 1 / 16
"""Of a projected feature; a typical patch is 1 long in each direction."""
UNITS = 16
"""In which distances are stored, to one step: as 16 bits they reach to the largest there can be."""
_TOGETHER = 4
"""Pictures compared at once: their products stay in a processor core's cache."""
_NOISE_PICTURES, _NOISE_CONTRAST, _NOISE_COLOUR = 6, 45.0, 20.0
_GAUSSIAN_BITS = 12

Signatures = NDArray[np.int8]
"""N×64: the patches of a picture."""
Units = NDArray[np.uint16]
Place = tuple[float, float, float, float]
"""Left, top, right, bottom, 0..1 of the frame."""


def eye(runtime_name: str, workers: int, shape: float) -> Eye:
    """For frames of that shape, width to height; the last few are kept compiled.

    Raises:
        ModelError: no such runtime, or what it needs is not installed.
    """
    return _eye(runtime_name, workers, shaped(SIDE, load_backbone().size_multiple, shape))


@lru_cache(maxsize=4)
def _eye(runtime_name: str, workers: int, size: InputSize) -> Eye:
    return Eye(runtime_name, workers, size)


class Eye:
    """Turns frames into signatures, all at the same input size. May be used by several threads at once."""

    def __init__(self, runtime_name: str, workers: int, size: InputSize) -> None:
        network = load_backbone()
        self._size = size
        self.grid = self._size.grid(network.grid_stride)
        self._features = runtime(runtime_name, workers=workers).features(network, self._size)
        noise = np.concatenate([self._features(picture) for picture in _natural_noise(self._size)])
        self._mean = noise.mean(0)
        self._matrix = (_projection(network.layers) / np.maximum(noise.std(0), 1e-3)[:, None]).astype(np.float32)

    def signatures(self, frame: BGRImage) -> Signatures:
        """Of a frame (H×W×3 uint8 BGR) of any size."""
        shrinks = frame.shape[0] >= self._size.height and frame.shape[1] >= self._size.width
        filter_ = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        small = np.asarray(cv2.resize(frame, (self._size.width, self._size.height), interpolation=filter_), np.uint8)
        steps = (self._features(small) - self._mean) @ self._matrix / np.float32(_STEP)
        return np.asarray(np.clip(np.rint(steps), -_LEVELS, _LEVELS), np.int8)


class Smoothing:
    """The Gaussian of an anomaly map as a matrix of whole numbers, and the largest value after it."""

    def __init__(self, grid: tuple[int, int]) -> None:
        self._grid = grid
        count = grid[0] * grid[1]
        points = np.eye(count, dtype=np.float32).reshape(count, *grid)
        spread = [cv2.GaussianBlur(one, (0, 0), _SIGMA, borderType=cv2.BORDER_REFLECT_101).ravel() for one in points]
        self._matrix = np.rint(np.stack(spread).astype(np.float64) * (1 << _GAUSSIAN_BITS))

    def largest(self, maps: Units) -> NDArray[np.float64]:
        """Of each of K maps (K×N), in steps of a feature's own units."""
        return np.asarray((maps.astype(np.float64) @ self._matrix).max(1) * (_STEP / UNITS / (1 << _GAUSSIAN_BITS)))

    def places(self, maps: Units) -> list[Place]:
        """Where each of K maps (K×N) is largest: all around that stands out by two thirds as much, or more."""
        smooth = (maps.astype(np.float64) @ self._matrix).reshape(len(maps), *self._grid)
        return [_place(one) for one in smooth]


def between(one: Signatures, others: Sequence[Signatures]) -> tuple[Units, Units]:
    """How far each of a picture's patches is from the nearest of each other picture's (K×N), and how far each of theirs
    is from the nearest of its own (K×N)."""
    there, back = (np.empty((len(others), len(one)), np.uint16) for _ in range(2))
    own = one.astype(np.float32)
    own_squares = np.square(own).sum(1)
    for start in range(0, len(others), _TOGETHER):
        block = np.stack(others[start : start + _TOGETHER]).astype(np.float32)
        squares = np.square(block).sum(2)
        squared = (block * np.float32(-2)) @ own.T  # pictures × theirs × own
        squared += squares[..., None]
        end = start + len(block)
        there[start:end] = _units(squared.min(1) + own_squares)
        squared += own_squares
        back[start:end] = _units(squared.min(2))
    return there, back


def _place(smooth: NDArray[np.float64]) -> Place:
    """Of a map (rows × columns), with half a patch around it."""
    rows, columns = smooth.shape
    row, column = np.unravel_index(int(smooth.argmax()), smooth.shape)
    above = smooth >= (float(np.median(smooth)) + 2 * float(smooth[row, column])) / 3
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(above.astype(np.uint8))
    left, top, width, height = (int(value) for value in boxes[labels[row, column], :4])
    return (
        max(0.0, (left - 0.5) / columns),
        max(0.0, (top - 0.5) / rows),
        min(1.0, (left + width + 0.5) / columns),
        min(1.0, (top + height + 0.5) / rows),
    )


def _units(squared: NDArray[np.float32]) -> Units:
    return np.asarray(np.rint(np.sqrt(squared) * UNITS), np.uint16)


def _projection(layers: Sequence[Layer]) -> NDArray[np.float64]:
    """C×64: orthonormal directions at random, after each layer's weight."""
    weights = np.repeat(_WEIGHTS, [layer.channels for layer in layers])
    gaussian = np.random.default_rng(0).standard_normal((len(weights), DIMENSIONS))
    directions, _ = np.linalg.qr(gaussian)
    return np.asarray(weights[:, None] * directions * np.sqrt(len(weights) / DIMENSIONS))


def _natural_noise(size: InputSize) -> list[BGRImage]:
    """Pictures whose amplitudes fall with the frequency as those of natural ones do."""
    random = np.random.default_rng(0)
    down, across = np.meshgrid(np.fft.fftfreq(size.height), np.fft.fftfreq(size.width), indexing="ij")
    frequency = np.hypot(down, across)
    frequency[0, 0] = 1 / max(size)

    def plane() -> NDArray[np.float64]:
        noise = np.fft.ifft2(np.fft.fft2(random.normal(size=size)) / frequency).real
        return np.asarray((noise - noise.mean()) / noise.std())

    pictures = []
    for _ in range(_NOISE_PICTURES):
        grey = plane()
        coloured = np.stack([grey + plane() / 2 for _ in range(3)], -1) * _NOISE_CONTRAST
        coloured += random.normal(115, _NOISE_COLOUR, 3)
        pictures.append(np.asarray(np.clip(coloured, 0, 255), np.uint8))
    return pictures
