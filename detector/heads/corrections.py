"""What was said of a model after it was taught, at one scale: patches that are good after all, and known-bad ones.

Kept apart from the memory bank, so that taking a correction back gives what was taught, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.heads.head import DIRECTIONS, Array


@dataclass(frozen=True)
class KnownBad:
    """J conditions, any of which makes a patch as far from normal as it says: ``offset + p·towards − square·|p|²`` for
    a patch's signature p in whole steps. ``towards``: J×S, ``square``: J, ``offset``: J, all float32; the value is in
    the units of distances, and below 0 it says nothing.

    With a ``square`` it is a ball round one patch (:func:`ball`), without one it is a direction.
    """

    towards: Array
    square: Array
    offset: Array

    def __len__(self) -> int:
        return len(self.offset)

    def __add__(self, more: KnownBad) -> KnownBad:
        """All of both."""
        return KnownBad(*(np.concatenate((one, vars(more)[name])) for name, one in vars(self).items()))

    def says(self, signatures: NDArray[np.int8]) -> Array:
        """N float32, from 0 on: how far from normal these patches (N×S) are at the least."""
        if not len(self):
            return np.zeros(len(signatures), np.float32)
        whole = signatures.astype(np.float32)
        lengths = np.einsum("ns,ns->n", whole, whole)
        said = whole @ self.towards.T - lengths[:, None] * self.square + self.offset
        return np.asarray(np.maximum(said.max(1), 0), np.float32)


def ball(signature: NDArray[np.int8], radius: float, level: float) -> KnownBad:
    """``level · (1 − b²/radius²)`` at a distance of b from a patch (S int8); all distances but ``level`` in steps."""
    centre, steep = signature.astype(np.float64), level / radius**2
    numbers = (2 * steep * centre[None], [steep], [level - steep * (centre @ centre)])
    return KnownBad(*(np.asarray(one, np.float32) for one in numbers))


@dataclass(frozen=True)
class Corrections:
    """``good``: K×S int8, signatures that the memory bank holds as well. ``bad``: what is known to be bad.

    The larger of the distance to the memory bank and of what is known to be bad is a patch's distance: known-bad
    outweighs forgiven, whichever was said first.
    """

    good: NDArray[np.int8]
    bad: KnownBad

    def __len__(self) -> int:
        return len(self.good) + len(self.bad)


def no_corrections(dimensions: int) -> Corrections:
    """None, for projected patches of so many dimensions."""
    length = min(dimensions, DIRECTIONS + 1)
    numbers = np.zeros(0, np.float32)
    return Corrections(np.zeros((0, length), np.int8), KnownBad(np.zeros((0, length), np.float32), numbers, numbers))
