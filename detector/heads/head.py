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

DIRECTIONS = 127
"""Principal directions of the memory bank in which patches are compared one by one; the length of what is left makes
them 128 numbers."""
LEVELS = 127
"""Steps on either side of zero in which these numbers are counted: 8 bits."""
_HEADROOM = 1.1


@dataclass(frozen=True)
class NearestNeighbour:
    """PatchCore: distance to the nearest patch of the memory bank.

    ``mean``: C. ``projection``: C×D. ``memory_bank``: M×D, projected patches. ``step``: 1, the width of a quantisation
    step, in the units of the projected patches. All float32.

    Distances are measured between signatures: the first 127 dimensions of a projected patch and the length of the rest,
    so ``|σ(p)-σ(b)|² = |p₁-b₁|² + (|p₂|-|b₂|)² ≤ |p-b|²``, and 0 where p is b; each number rounded to whole steps, at
    most 127 of them. With whole numbers the search is exact in any order of summation: every processor, with 8-bit
    arithmetic or without, finds the same distances.
    """

    mean: Array
    projection: Array
    memory_bank: Array
    step: Array

    def signatures(self) -> NDArray[np.int8]:
        """M×128 (M×D where D is no more): the memory bank as it is compared."""
        return quantised(self.memory_bank, self.step).astype(np.int8)


def signature(patches: Array) -> Array:
    """N×D projected patches → N×128 (N×D where D is no more), not yet rounded."""
    if patches.shape[1] <= DIRECTIONS + 1:
        return patches
    first, rest = patches[:, :DIRECTIONS], patches[:, DIRECTIONS:]
    return np.concatenate([first, np.linalg.norm(rest, axis=1, keepdims=True)], 1)


def quantised(patches: Array, step: Array) -> Array:
    """N×D projected patches → N×128 (N×D where D is no more) float32: their signatures in whole steps."""
    return np.asarray(np.clip(np.rint(signature(patches) / step), -LEVELS, LEVELS), np.float32)


def fitting_step(memory_bank: Array) -> Array:
    """The step with which this bank (M×D) fits into the range of a signature, and with some room what may be remembered
    later. A number beyond the range counts as one at its end: as far from the bank as a signature can say."""
    largest = float(np.abs(signature(memory_bank)).max())
    return np.array([max(_HEADROOM * largest / LEVELS, 1e-6)], np.float32)


def half_squares(signatures: NDArray[np.int8]) -> Array:
    """M: half the squared lengths of signatures, in steps²; exact."""
    whole = signatures.astype(np.float32)
    return np.asarray(np.einsum("md,md->m", whole, whole) / 2, np.float32)


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


def neighbour_from(tensors: Mapping[str, NDArray[Any]], prefix: str, channels: int) -> NearestNeighbour:
    """One scale's memory bank from arrays that may be damaged, named after ``prefix``.

    Raises:
        KeyError: a tensor is missing.
        ValueError: shapes or types do not fit.
    """
    scale = NearestNeighbour(**{name: tensors[prefix + name] for name in NearestNeighbour.__dataclass_fields__})
    dimensions = scale.projection.shape[-1]
    expected: dict[str, tuple[int, ...]] = {
        "mean": (channels,),
        "projection": (channels, dimensions),
        "memory_bank": (max(1, len(scale.memory_bank)), dimensions),
        "step": (1,),
    }
    for name, array in vars(scale).items():
        check_tensor(prefix + name, array, expected[name])
    if not scale.step[0] > 0:
        raise ValueError("its quantisation step is not above 0")
    return scale


def gaussians_from(tensors: Mapping[str, NDArray[Any]], channels: int, places: int) -> Gaussians:
    """From arrays that may be damaged.

    Raises:
        KeyError: a tensor is missing.
        ValueError: shapes or types do not fit.
    """
    head = Gaussians(**{name: tensors[name] for name in Gaussians.__dataclass_fields__})
    dimensions = head.projection.shape[-1]
    expected = {
        "mean": (channels,),
        "projection": (channels, dimensions),
        "centres": (places, dimensions),
        "whitening": (places, dimensions, dimensions),
    }
    for name, array in vars(head).items():
        check_tensor(name, array, expected[name])
    return head


def check_tensor(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Check that it is finite float32 of this shape.

    Raises:
        ValueError: it is not; names it.
    """
    if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
        raise ValueError(f"its tensors have the wrong shape: {name} is {array.shape} {array.dtype}")
