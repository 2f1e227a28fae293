"""The size of a model's input: a square, or the shape of what is inspected where that is far from square.

Squeezed into a square, a tall picture loses the cracks that run along it; one a little wider than high loses nothing,
and more of it fits (docs/benchmarks.md).
"""

from __future__ import annotations

import math
from typing import NamedTuple

LARGEST_SIDE = 2048
"""In pixels, of the square that has about as many as the input, at the most."""
FAR_FROM_SQUARE = 1.5
"""Longer side to shorter from which the input keeps the shape."""
LONGEST = 4.0
"""And up to which: what is longer still is squeezed to that."""


class InputSize(NamedTuple):
    """Of a model's input, in pixels."""

    height: int
    width: int

    def grid(self, stride: int) -> tuple[int, int]:
        """Rows and columns of patches of that stride."""
        return self.height // stride, self.width // stride

    def shrunk(self, times: int) -> InputSize:
        """Averaged down so many times."""
        return InputSize(self.height // times, self.width // times)

    def __str__(self) -> str:
        """``320²``, or width × height."""
        return f"{self.width}²" if self.height == self.width else f"{self.width}×{self.height}"


def square(image_size: int) -> InputSize:
    """A square of that side."""
    return InputSize(image_size, image_size)


def shaped(image_size: int, multiple: int, shape: float) -> InputSize:
    """The input for something of that shape: about as many pixels as a square of ``image_size``.

    Args:
        image_size: side of the square, a multiple of ``multiple``.
        multiple: what both sides must be multiples of.
        shape: width to height of what is inspected.
    """
    if max(shape, 1 / shape) < FAR_FROM_SQUARE:
        return square(image_size)
    wanted = min(max(shape, 1 / shape), LONGEST)
    shorter_side = image_size / math.sqrt(wanted)

    def error(sides: tuple[int, int]) -> float:
        """A tenth more pixels, or fewer, is as bad as a shape that is wrong by a quarter."""
        shorter, longer = sides
        of_shape = abs(math.log(longer / shorter / wanted))
        return of_shape + 2.5 * abs(math.log(shorter * longer / image_size**2))

    shorter, longer = min(
        (
            (short * multiple, long * multiple)
            for short in _near(shorter_side / multiple)
            for long in (*_near(short * wanted), *_near((image_size / multiple) ** 2 / short))
        ),
        key=error,
    )
    return InputSize(longer, shorter) if shape < 1 else InputSize(shorter, longer)


def _near(number: float) -> tuple[int, int]:
    """The whole numbers on either side, at least 1."""
    return max(1, math.floor(number)), max(1, math.ceil(number))


def is_sound(size: InputSize, image_size: int, multiple: int) -> bool:
    """Whether :func:`shaped` may have made it."""
    shorter, longer = sorted(size)
    return (
        64 <= image_size <= LARGEST_SIDE
        and not any(side % multiple for side in (image_size, *size))
        and shorter > 0
        and longer <= 2 * LONGEST * shorter
        and image_size**2 / 2 <= shorter * longer <= 2 * image_size**2
    )
