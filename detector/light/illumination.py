"""Patch features that are blind to light: the directions in which light moves them most are dropped.

Pictures of the teaching set are shown to the backbone a second time under simulated lights. How the features of the
same patch change between the two is what light does to them; the few directions that hold most of it are left out of
every distance. Nothing of it depends on the category, and the search runs in fewer dimensions than before.

This is nuisance attribute projection (Solomonoff, Campbell and Boardman, Advances in channel compensation for SVM
speaker recognition, ICASSP 2005): there the nuisance is the telephone, here the lamp.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from detector.backbones import Features
from detector.images import BGRImage
from detector.light.relighting import KINDS, Kind, random_light, relit

DROPPED = 0.08
"""Share of the directions that is left out: 14 of 176."""
PICTURES = 20
"""Pictures relit at the most, spread evenly over the teaching set."""
COPIES = 3
"""Lights each of them is shown under."""

LightScatter = NDArray[np.float64]
"""C×C: mean outer product of the changes that light makes in the backbone's own, not standardised, patch features."""


def light_scatter(
    frames: Sequence[BGRImage], features: Features, *, seed: int = 0, kinds: Sequence[Kind] = KINDS
) -> LightScatter:
    """How light moves the patch features of these frames.

    Args:
        frames: normal images at the model's input size, H×W×3 uint8 BGR, at least one.
        features: the backbone, frame → N×C float32.
        seed: of the lights and their noise.
        kinds: of light to show; all, except to find out what a light never shown does.
    """
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), PICTURES)).astype(int))
    changes = _changes([(number, frames[number]) for number in chosen.tolist()], features, seed, kinds)
    scatter, patches = np.zeros((1, 1)), 0
    with threadpool_limits(1, "blas"):  # rounding would depend on their number
        for change in changes:
            scatter = scatter + change.T @ change
            patches += len(change)
    return np.asarray(scatter / patches, np.float64)


def light_blind_projection(
    scatter: LightScatter, std: NDArray[np.float32], *, dropped: float = DROPPED
) -> NDArray[np.float32]:
    """The matrix P (C×D float32, orthonormal columns, D < C) that takes standardised patch features to those kept.

    ``patches @ P`` has the distances of the standardised features, less what lies along the directions dropped.

    Args:
        scatter: of :func:`light_scatter`.
        std: C float32, by which the features are divided in standardising.
        dropped: share of the C directions that is left out, 0..1: those in which light moves the features most.
    """
    deviation = std.astype(np.float64)
    with threadpool_limits(1, "blas"):
        _, directions = np.linalg.eigh(scatter / np.outer(deviation, deviation))  # those that light moves least first
    kept = max(1, len(std) - round(dropped * len(std)))
    return np.ascontiguousarray(directions[:, :kept], np.float32)


def _changes(
    numbered: Sequence[tuple[int, BGRImage]], features: Features, seed: int, kinds: Sequence[Kind]
) -> Iterator[NDArray[np.float32]]:
    for number, frame in numbered:
        here = features(frame)
        for copy in range(COPIES):
            random = np.random.default_rng([seed, number, copy])
            yield features(relit(frame, random_light(random, kinds), random)) - here
