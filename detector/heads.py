"""What a model learned, apart from the backbone: how far a patch is from normal.

Both start with the same affine map of the backbone's patch features: ``(features - mean) @ projection``. It
standardises each channel, weighs the layers, if asked drops the directions in which light moves the features, and turns
what is left so that the first dimensions tell most. Being linear, it costs one small convolution a layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

SCREENED = 62
"""Dimensions in which every patch is compared with the whole bank."""
REFINED = 0.1
"""Share of the patches, those farthest by then, whose distance is computed in all dimensions."""


@dataclass(frozen=True)
class NearestNeighbour:
    """PatchCore: distance to the nearest patch of the memory bank.

    ``mean``: C. ``projection``: C×D. ``memory_bank``: M×D, projected patches. All float32.

    The search has two stages. For patch p and bank entry b, cut each into its first 62 dimensions and the rest:
    ``|p-b|² ≥ |p₁-b₁|² + (|p₂|-|b₂|)²``, a lower bound that takes 63 multiplications instead of D, and 0 where p is b.
    All patches are compared so; the tenth that is then farthest, which decides the image score, is compared exactly.
    """

    mean: Array
    projection: Array
    memory_bank: Array

    @property
    def screened(self) -> bool:
        """Whether two stages pay."""
        return bool(self.memory_bank.shape[1] > 1.5 * SCREENED)

    def screen(self) -> Array:
        """M×63: what the first stage compares with."""
        first, rest = self.memory_bank[:, :SCREENED], self.memory_bank[:, SCREENED:]
        return np.concatenate([first, np.linalg.norm(rest, axis=1, keepdims=True)], 1)

    def squares(self) -> Array:
        """M: squared lengths of the bank's patches."""
        return np.asarray(np.einsum("md,md->m", self.memory_bank, self.memory_bank), np.float32)


@dataclass(frozen=True)
class Gaussians:
    """PaDiM: Mahalanobis distance to the normal distribution of each place.

    ``mean``: C. ``projection``: C×D. ``centres``: N×D, the mean at each of the N places of the patch grid.
    ``whitening``: N×D×D, W with ``W Wᵀ`` the inverse covariance there. All float32.
    """

    mean: Array
    projection: Array
    centres: Array
    whitening: Array


Head = NearestNeighbour | Gaussians
METHODS: Mapping[str, type[Head]] = {"patchcore": NearestNeighbour, "padim": Gaussians}


def refined(patches: int) -> int:
    """How many of so many patches the second stage compares."""
    return min(patches, max(64, round(REFINED * patches)))


def tensors_of(head: Head) -> dict[str, Array]:
    """Its arrays by name."""
    return {name: np.ascontiguousarray(array) for name, array in vars(head).items()}


def head_from(method: str, tensors: Mapping[str, NDArray[Any]], channels: int, places: int) -> Head:
    """A head from arrays that may be damaged.

    Raises:
        KeyError: no such method, or a tensor is missing.
        ValueError: shapes or types do not fit.
    """
    head = METHODS[method](**{name: tensors[name] for name in METHODS[method].__dataclass_fields__})
    dimensions = head.projection.shape[-1]
    expected: dict[str, tuple[int, ...]] = {"mean": (channels,), "projection": (channels, dimensions)}
    if isinstance(head, NearestNeighbour):
        expected["memory_bank"] = (max(1, len(head.memory_bank)), dimensions)
    else:
        expected |= {"centres": (places, dimensions), "whitening": (places, dimensions, dimensions)}
    for name, array in vars(head).items():
        if array.shape != expected[name] or array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError(f"its tensors have the wrong shape: {name} is {array.shape} {array.dtype}")
    return head
