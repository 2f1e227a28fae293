"""From the backbone's patch features to those that distances are measured in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.backbones import Layer

KeptDirections = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""What each channel is divided by (C float32) → C×D float32 with orthonormal columns: the directions that are kept."""


@dataclass(frozen=True)
class Projection:
    """The affine map ``(features - mean) @ matrix``; ``mean``: C, ``matrix``: C×D, float32."""

    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]

    def apply(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """N×C → N×D."""
        return np.asarray((features - self.mean) @ self.matrix, np.float32)

    def reduced(self, dimensions: int, seed: int) -> Projection:
        """The same in fewer dimensions, by a random semi-orthogonal matrix (Kim et al., Semi-orthogonal Embedding for
        Efficient Unsupervised Anomaly Segmentation, arXiv 2105.14737)."""
        if dimensions >= self.matrix.shape[1]:
            return self
        gaussian = np.random.default_rng(seed).standard_normal((self.matrix.shape[1], dimensions))
        orthonormal, _ = np.linalg.qr(gaussian)
        return Projection(self.mean, np.ascontiguousarray(self.matrix @ orthonormal.astype(np.float32)))


def learn_projection(
    patches: NDArray[np.float32], layers: Sequence[Layer], kept: KeptDirections | None = None
) -> Projection:
    """Standardise each channel, weigh the layers and, if told which, keep some directions only.

    Args:
        patches: N×C float32.
        layers: in the order of the channels.
        kept: says which directions are kept (:func:`detector.light.light_blind_projection` those that light leaves
            alone); None keeps all.
    """
    mean, std = _moments(patches)
    weights = np.repeat([layer.weight for layer in layers], [layer.channels for layer in layers]).astype(np.float32)
    spread = std / weights
    matrix = np.diag(1 / spread)
    if kept is not None:
        matrix = matrix @ kept(spread)
    return Projection(mean, np.ascontiguousarray(matrix, np.float32))


def _moments(patches: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each channel: float32 within a block and float64 over the blocks, exact to 1e-6
    without a copy of everything in float64."""
    mean = patches.mean(0, dtype=np.float64).astype(np.float32)
    squares = np.zeros(patches.shape[1], np.float64)
    for start in range(0, len(patches), 4096):
        block = patches[start : start + 4096] - mean
        squares += np.einsum("nc,nc->c", block, block)
    return mean, np.maximum(np.sqrt(squares / len(patches)), 1e-6).astype(np.float32)
