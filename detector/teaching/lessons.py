"""Patch features of defects drawn into normal images, and of what is normal there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.backbones import Features
from detector.drawn_defects import covered, draw
from detector.images import BGRImage

PICTURES = 60
"""Drawn on, with replacement: half a second of teaching."""
DEFECTIVE = 0.25
"""Share of a patch that must be covered for it to be one of a defect."""
_BESIDE = np.ones((5, 5), np.uint8)
"""Patches round a defect that are neither: the network sees it from there."""
_NORMAL_EACH = 80
"""Normal patches kept of each picture drawn on."""
_NORMAL = 5000
"""And of untouched ones."""


@dataclass(frozen=True)
class Lessons:
    """``normal`` N×C and ``defective`` M×C float32 patch features, each with the numbers of the two images it was made
    of (N×2, M×2)."""

    normal: NDArray[np.float32]
    normal_of: NDArray[np.intp]
    defective: NDArray[np.float32]
    defective_of: NDArray[np.intp]

    def but(self, without: set[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Normal and defective patches in which none of some images has a part."""
        gone = list(without)
        return (
            self.normal[~np.isin(self.normal_of, gone).any(1)],
            self.defective[~np.isin(self.defective_of, gone).any(1)],
        )


def draw_lessons(
    frames: Mapping[int, BGRImage],
    together: Sequence[set[int]],
    features: Features,
    grid: tuple[int, int],
    seed: int,
    progress: Callable[[float], None],
) -> Lessons:
    """Draw on frames at input size (by their number), and look at them with the backbone.

    Args:
        frames: by their number.
        together: which are held out together. What is drawn on one of them is filled with pieces of one of them, so
            that without them, a classifier has still the lessons of all others; and each has as many lessons.
        features: at input size.
        grid: rows and columns of patches.
        seed: of what is drawn, and where.
        progress: called with 0..1 for each picture.
    """
    random = np.random.default_rng([seed, 2])
    left = set(frames).difference(*together)
    groups = [sorted(group & set(frames)) for group in (*together, left) if group & set(frames)]
    parts: list[tuple[NDArray[np.float32], NDArray[np.float32], tuple[int, int]]] = []
    count = max(PICTURES, len(groups))
    for number in range(count):
        group = groups[number % len(groups)]
        own, other = (group[int(random.integers(len(group)))] for _ in range(2))
        drawn = draw(frames[own], frames[other], random)
        share = covered(drawn.cover, grid)
        patches = features(drawn.image)
        apart = np.nonzero(cv2.dilate(share, _BESIDE).ravel() <= 0)[0]
        apart = np.sort(random.choice(apart, min(_NORMAL_EACH, len(apart)), replace=False))
        parts.append((patches[apart], patches[share.ravel() > DEFECTIVE], (own, other)))
        progress((number + 1) / count)
    return Lessons(
        np.concatenate([normal for normal, _, _ in parts]),
        np.repeat([of for _, _, of in parts], [len(normal) for normal, _, _ in parts], axis=0),
        np.concatenate([defective for _, defective, _ in parts]),
        np.repeat([of for _, _, of in parts], [len(defective) for _, defective, _ in parts], axis=0),
    )


def some(patches: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Untouched normal patches (N×C), not more than are needed."""
    if len(patches) <= _NORMAL:
        return patches
    return patches[np.sort(np.random.default_rng([seed, 3]).choice(len(patches), _NORMAL, replace=False))]
