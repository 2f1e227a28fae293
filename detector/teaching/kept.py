"""What teaching remembers of the images: never more than fits in memory, however many come."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detector import near_copies
from detector.counted import counted
from detector.errors import ModelError
from detector.images import BGRImage
from detector.region import Spread

MIN_IMAGES = 5
MAX_FRAMES = 48
"""Images kept whole, chosen at random, to be scored, drawn on and relit: 15 MB at 320²."""
COMPARED = 48
"""Images compared, spread evenly over all, to see whether they show one part lying still."""
MAX_PATCHES = 200_000
"""Patches kept for the choice of the coreset, 140 MB; beyond that each image gives a share, chosen at random. Of a
coarse scale as many fewer as it has fewer in an image."""
MAX_NUMBERS = 80_000_000
"""Numbers in the patches kept, 320 MB, of which teaching makes three copies: fewer patches of a backbone with more than
400 channels, about as many as a coreset is chosen from of a WideResNet's 1536."""


class Kept:
    """Some of the images whole, and patches of all.

    Attributes:
        frames: images at input size by their number, a random sample of all seen so far.
        seen: how many images there were.
        shapes: narrowest and widest of them, width to height.
    """

    def __init__(self, seed: int, max_frames: int, shrinks: Sequence[int]) -> None:
        self._random = np.random.default_rng([seed, 1])
        self._max_frames = max_frames
        self.frames: dict[int, BGRImage] = {}
        self.seen = 0
        self.shapes = (math.inf, 0.0)
        self._patches = {shrink: _Patches(self._random, MAX_PATCHES // shrink**2) for shrink in shrinks}
        self._looks: list[near_copies.Look] = []
        self._first: BGRImage | None = None
        self._all_the_same = True

    def add(self, frame: BGRImage, patches: Mapping[int, NDArray[np.float32]], shape: float) -> None:
        """One image at input size, its patch features (N×C) at each scale, and how wide it was to its height before."""
        self.shapes = min(self.shapes[0], shape), max(self.shapes[1], shape)
        if self._first is None:
            self._first = frame
        self._all_the_same = self._all_the_same and np.array_equal(frame, self._first)
        self._looks.append(near_copies.look_of(frame))
        for shrink, kept in self._patches.items():
            kept.add(patches[shrink])
        # Reservoir sampling (Vitter 1985): every image has the same chance, however many come.
        if len(self.frames) < self._max_frames:
            self.frames[self.seen] = frame
        elif (place := int(self._random.integers(self.seen + 1))) < self._max_frames:
            del self.frames[sorted(self.frames)[place]]
            self.frames[self.seen] = frame
        self.seen += 1

    def require_enough(self) -> None:
        """Check that something can be learned.

        Raises:
            ModelError: too few images, or all of one part.
        """
        if self.seen < MIN_IMAGES:
            raise ModelError(
                f"{counted(self.seen, 'normal image is', 'normal images are')} too few to teach from: take at "
                f"least {MIN_IMAGES}, "
                "30 or more are better"
            )
        if self._all_the_same:
            raise ModelError("the normal images are all the same picture: take different ones, and check the camera")
        if near_copies.show_one_part(list(Spread(self._looks, COMPARED))):
            raise ModelError("the normal images show one part lying still: take pictures of different good parts")

    def copies(self) -> list[set[int]]:
        """The images kept, each with all its near-copies among those seen."""
        chosen = sorted(self.frames)
        return near_copies.groups(self._looks, chosen)

    def looked_at(self, number: int) -> dict[int, NDArray[np.float32]] | None:
        """All patches (N×C) of an image at each scale, in the order of the grid; None where not all were kept."""
        found = dict[int, NDArray[np.float32]]()
        for shrink, kept in self._patches.items():
            if (own := kept.all_of(number)) is None:
                return None
            found[shrink] = own
        return found

    def patches(self, without: set[int], shrink: int = 1) -> NDArray[np.float32]:
        """The patches kept at a scale (N×C), but for those of some images."""
        return self._patches[shrink].but(without)


_ALL = 1 << 30


class _Patches:
    """Of one scale, a share of each image."""

    def __init__(self, random: np.random.Generator, at_most: int) -> None:
        self._random, self._at_most = random, at_most
        self._of: list[NDArray[np.float32]] = []
        self._share = _ALL
        self._count = 0

    def add(self, patches: NDArray[np.float32]) -> None:
        self._of.append(self._some(patches))
        self._count += len(self._of[-1])
        at_most = min(self._at_most, MAX_NUMBERS // patches.shape[1])
        if self._count > at_most:
            self._share = max(1, at_most * 9 // 10 // len(self._of))
            self._of = [self._some(own) for own in self._of]
            self._count = sum(map(len, self._of))

    def all_of(self, number: int) -> NDArray[np.float32] | None:
        return self._of[number] if self._share == _ALL else None

    def but(self, without: set[int]) -> NDArray[np.float32]:
        return np.concatenate([own for number, own in enumerate(self._of) if number not in without])

    def _some(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        if len(patches) <= self._share:
            return patches
        return patches[self._random.choice(len(patches), self._share, replace=False)]
