"""What a model learned, apart from the backbone: how far a patch is from normal.

Both start with the same affine map of the backbone's patch features: ``(features - mean) @ projection``. It
standardises each channel, weighs the layers, if asked drops the directions in which light moves the features, and turns
what is left so that the first dimensions tell most. Being linear, it costs one small convolution a layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

DIRECTIONS = 127
"""Principal directions of the memory bank in which patches are compared one by one; the length of what is left makes
them 128 numbers."""
WIDEST = 512
"""Dimensions of projected patches at the most: wider features are projected at random first, which keeps distances."""
MOST_ENTRIES = 50_000
"""Patches in a memory bank at the most: it is chosen among 40,000
(:data:`detector.heads.coreset.MAX_CANDIDATES`), and by earlier versions among so many."""
LEVELS = 127
"""Steps on either side of zero in which these numbers are counted: 8 bits."""
_HEADROOM = 1.1
LARGEST = 1e10
"""Of the numbers in a model: projections divide by 1e-6 at the least, and patch features are some hundreds, so that
what a memory bank remembers is below 1e9. With numbers beyond every order, sums overflow."""
_TOGETHER = 256
"""Patches compared with a memory bank at once: their products stay in a processor core's cache."""
_FINEST, _COARSEST = 1e-6, 1e6
"""Steps of a quantisation. The fourth powers of the distances that the coarsest can say are float32 yet."""


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

    def distances_of(self, features: Array) -> Array:
        """Patch features (N×C) → N: how far each is from the memory bank. As every runtime computes it, but for the
        last bits of the projection."""
        patches = quantised(np.asarray((features - self.mean) @ self.projection, np.float32), self.step)
        signatures = self.signatures()
        bank, halves = np.ascontiguousarray(signatures.T, np.float32), half_squares(signatures)
        closest = np.empty(len(patches), np.float32)
        for start in range(0, len(patches), _TOGETHER):
            some = slice(start, start + _TOGETHER)
            closest[some] = (patches[some] @ bank - halves).max(1)
        squared = np.einsum("nd,nd->n", patches, patches) - 2 * closest
        return np.asarray(np.sqrt(squared) * self.step, np.float32)


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
    return np.array([max(_HEADROOM * largest / LEVELS, _FINEST)], np.float32)


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
        ValueError: a tensor is missing, or shapes, types or values do not fit.
    """
    scale = NearestNeighbour(**named(tensors, NearestNeighbour.__dataclass_fields__, prefix))
    dimensions = _dimensions(scale.projection, prefix)
    expected: dict[str, tuple[int, ...]] = {
        "mean": (channels,),
        "projection": (channels, dimensions),
        "memory_bank": (extent(prefix + "memory_bank", scale.memory_bank, 0, MOST_ENTRIES), dimensions),
        "step": (1,),
    }
    for name, array in vars(scale).items():
        check_tensor(prefix + name, array, expected[name])
    if not np.float32(_FINEST) <= scale.step[0] <= _COARSEST:
        raise ValueError(f"its quantisation step is {scale.step[0]:g}, not between {_FINEST:g} and {_COARSEST:g}")
    return scale


def gaussians_from(tensors: Mapping[str, NDArray[Any]], channels: int, places: int) -> Gaussians:
    """From arrays that may be damaged.

    Raises:
        ValueError: a tensor is missing, or shapes, types or values do not fit.
    """
    check_names(tensors, Gaussians.__dataclass_fields__)
    head = Gaussians(**named(tensors, Gaussians.__dataclass_fields__))
    dimensions = _dimensions(head.projection, "")
    expected = {
        "mean": (channels,),
        "projection": (channels, dimensions),
        "centres": (places, dimensions),
        "whitening": (places, dimensions, dimensions),
    }
    for name, array in vars(head).items():
        check_tensor(name, array, expected[name])
    return head


def named(tensors: Mapping[str, NDArray[Any]], names: Iterable[str], prefix: str = "") -> dict[str, NDArray[Any]]:
    """The tensors of these names, each found under ``prefix`` and its name.

    Raises:
        ValueError: one is missing; names it.
    """
    for name in names:
        if prefix + name not in tensors:
            raise ValueError(f"{prefix}{name} is missing")
    return {name: tensors[prefix + name] for name in names}


def check_names(tensors: Mapping[str, NDArray[Any]], names: Iterable[str]) -> None:
    """Check that there are no tensors but these.

    Raises:
        ValueError: there are; names one.
    """
    if others := sorted(set(tensors).difference(names)):
        raise ValueError(f"a model of this kind has no {others[0][:60]!r}")


def extent(name: str, array: NDArray[Any], axis: int, most: int) -> int:
    """The length of a tensor along an axis if it has a right shape: never 0.

    Raises:
        ValueError: it is longer than that of any model; names it.
    """
    length = max(1, array.shape[axis]) if array.ndim else 1
    if length > most:
        raise ValueError(f"{name} is {length:,} long, which no model's is: {most:,} at the most")
    return length


def _dimensions(projection: NDArray[Any], prefix: str) -> int:
    return extent(prefix + "projection", projection, -1, WIDEST)


def check_tensor(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Check that it is float32 of this shape, its numbers finite and of a size that a model can have.

    Raises:
        ValueError: it is not; names it.
    """
    if array.shape != shape or array.dtype != np.float32:
        raise ValueError(f"its tensors have the wrong shape: {name} is {array.shape} {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds numbers that are not finite")
    if (largest := float(np.abs(array).max())) > LARGEST:
        raise ValueError(f"{name} holds numbers no model has: {largest:g}")
