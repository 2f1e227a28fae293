"""PatchCore in full: memory banks of one or two scales, and what drawn defects taught.

The coarse scale is the input averaged down two- or threefold. What is noise at the fine one (grain of a texture, the
marks of a brush) is a surface there, and what is wrong with a whole shape lies in one patch. The distances of both are
combined by their fourth powers (:func:`detector.score.to_detection`): nearly the larger, and more where both agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.heads.corrections import Corrections
from detector.heads.drawn import DrawnDefects
from detector.heads.head import Array, NearestNeighbour, check_names, check_tensor, named, neighbour_from

SHRINKS = (1, 2, 3)
"""Pixels of the input, across and down, that the coarse scale may average into one; 1: there is no coarse scale."""
COARSE_SIDE = 128
"""Side, in pixels, of the smallest input the coarse scale may have: of fewer patches there is no telling which of their
channels vary."""
_COARSE, _DRAWN = "coarse.", "drawn."
"""How the names of the coarse scale's tensors, and of what drawn defects taught, begin."""


@dataclass(frozen=True)
class MemoryBanks:
    """``fine``: at the input as it is. ``coarse``: at the input averaged down by ``shrink``, if that is above 1.
    ``drawn``: learned from drawn defects, on the fine scale's patch features; may add to the score. ``corrections``:
    one for each scale, none where it is as it was taught; no part of a model's tensors."""

    fine: NearestNeighbour
    coarse: NearestNeighbour | None = None
    shrink: int = 1
    drawn: DrawnDefects | None = None
    corrections: tuple[Corrections, ...] = ()

    @property
    def scales(self) -> tuple[tuple[int, NearestNeighbour], ...]:
        """Each with what it averages the input down by, the fine one first."""
        return ((1, self.fine),) if self.coarse is None else ((1, self.fine), (self.shrink, self.coarse))

    @property
    def entries(self) -> int:
        """Patches in all memory banks."""
        return sum(len(scale.memory_bank) for _, scale in self.scales)

    @property
    def banks(self) -> Patches:
        """The memory banks."""
        empty = np.zeros((0, self.fine.memory_bank.shape[1]), np.float32)
        return Patches(self.fine.memory_bank, empty if self.coarse is None else self.coarse.memory_bank)


@dataclass(frozen=True)
class Patches:
    """Projected patch features of one or more frames, at both scales: ``fine`` N×D, ``coarse`` M×D float32
    (0×D without a coarse scale)."""

    fine: Array
    coarse: Array

    def none(self) -> Patches:
        """None of them."""
        return Patches(self.fine[:0], self.coarse[:0])


def tensors_of(head: MemoryBanks) -> dict[str, Array]:
    """Its arrays by name."""
    named = dict(vars(head.fine))
    if head.coarse is not None:
        named |= {_COARSE + name: array for name, array in vars(head.coarse).items()}
    if head.drawn is not None:
        named |= {_DRAWN + name: array for name, array in vars(head.drawn).items()}
    return named


def banks_from(tensors: Mapping[str, NDArray[Any]], channels: int, shrink: int) -> MemoryBanks:
    """From arrays that may be damaged.

    Raises:
        ValueError: a tensor is missing or one too many, or shapes, types or values do not fit.
    """
    if shrink not in SHRINKS:
        raise ValueError(f"its coarse scale averages the input down by {shrink}")
    fine = neighbour_from(tensors, "", channels)
    coarse = neighbour_from(tensors, _COARSE, channels) if shrink > 1 else None
    drawn = None
    if any(name.startswith(_DRAWN) for name in tensors):
        drawn = DrawnDefects(**named(tensors, DrawnDefects.__dataclass_fields__, _DRAWN))
        check_tensor(f"{_DRAWN}weights", drawn.weights, (channels,))
        check_tensor(f"{_DRAWN}offset", drawn.offset, (1,))
    head = MemoryBanks(fine, coarse, shrink, drawn)
    check_names(tensors, tensors_of(head))
    return head
