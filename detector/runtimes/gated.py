"""Distances by either kind of head: a single one, or one for known and one for new light."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detector.backbones import AnyBackbone
from detector.heads import MemoryBanks
from detector.input_size import InputSize
from detector.light import AnyHead, LightGated
from detector.runtimes.runtime import Distances, Runtime, Seen
from detector.score import PatchMaps


def distances_of(engine: Runtime, backbone: AnyBackbone, size: InputSize, head: AnyHead) -> Distances:
    """How far each patch is from normal, by either kind of head."""
    if not isinstance(head, LightGated):
        return engine.distances(backbone, size, head)
    known, new = (engine.distances(backbone, size, one) for one in (head.ordinary, head.blind))
    return _Gated(known, new, head)


class _Gated:
    def __init__(self, in_known: Distances, in_new: Distances, head: LightGated) -> None:
        self._in_known, self._in_new, self._head = in_known, in_new, head

    def __call__(self, frame: NDArray[np.uint8], /) -> PatchMaps:
        if self._head.known.is_new(frame):
            return self._in_new(frame).times(self._head.ratio)
        return self._in_known(frame)

    def seen(self, frame: NDArray[np.uint8], /) -> Seen:
        raise TypeError("this model has memory banks for two kinds of light")

    def with_corrections(self, head: MemoryBanks) -> Distances:
        raise TypeError("this model has memory banks for two kinds of light")
