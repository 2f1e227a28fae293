"""Either kind of head: memory banks (PatchCore) or Gaussians (PaDiM)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.heads import memory_banks
from detector.heads.head import Array, Gaussians, gaussians_from
from detector.heads.memory_banks import MemoryBanks, banks_from

Head = MemoryBanks | Gaussians
METHODS: Mapping[str, type[Head]] = {"patchcore": MemoryBanks, "padim": Gaussians}


def tensors_of(head: Head) -> dict[str, Array]:
    """Its arrays by name."""
    named = memory_banks.tensors_of(head) if isinstance(head, MemoryBanks) else vars(head)
    return {name: np.ascontiguousarray(array) for name, array in named.items()}


def head_from(method: str, tensors: Mapping[str, NDArray[Any]], channels: int, places: int, shrink: int) -> Head:
    """A head from arrays that may be damaged; ``shrink``: of its coarse scale, 1 where there is none.

    Raises:
        ValueError: no such method, a tensor is missing or one too many, or shapes, types or values do not fit.
    """
    if method not in METHODS:
        raise ValueError(f"there is no method {method[:60]!r}")
    if METHODS[method] is MemoryBanks:
        return banks_from(tensors, channels, shrink)
    if shrink != 1:
        raise ValueError(f"{method} has one scale, none that averages the input down by {shrink}")
    return gaussians_from(tensors, channels, places)
