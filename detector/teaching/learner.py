"""Learning from what was kept, with or without some of the images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detector.backbones import AnyBackbone, Features
from detector.heads import (
    DrawnDefects,
    Head,
    KeptDirections,
    MemoryBanks,
    Projection,
    Trust,
    drawn,
    learn_projection,
    padim,
    patchcore,
)
from detector.input_size import InputSize
from detector.runtimes import Runtime
from detector.score import PatchMaps, smoothed, to_detection
from detector.teaching.folds import Fold
from detector.teaching.kept import Kept
from detector.teaching.lessons import Lessons, some

Step = Callable[[float], None]


@dataclass(frozen=True)
class Learner:
    """Learns heads of one kind.

    Attributes:
        features: of each scale, by what it averages the input down by.
        coresets: patches in the memory bank of each scale at the most; empty for PaDiM.
        lessons: of drawn defects; None to do without.
        directions: that are kept of the patch features; None for all.
    """

    kept: Kept
    network: AnyBackbone
    features: Mapping[int, Features]
    coresets: Mapping[int, int]
    lessons: Lessons | None
    seed: int
    directions: KeptDirections | None = None

    def validated(
        self, folds: Sequence[Fold], engine: Runtime, size: InputSize, steps: Iterator[Step]
    ) -> tuple[Head, list[float]]:
        """Learned from everything, and the scores of held-out images against what was learned without them."""
        found: list[PatchMaps] = []
        for fold in folds:
            distances = engine.distances(self.network, size, self.learn(fold.without, next(steps)))
            found += [distances(self.kept.frames[index]) for index in sorted(fold.scored)]
        head = self.learn(set(), next(steps))
        trust = _trust(found)
        if isinstance(head, MemoryBanks) and head.drawn is not None:
            head = replace(head, drawn=trust.of(head.drawn) if trust else None)
        return head, [to_detection(*_raised(maps, trust)).score for maps in found]

    def learn(self, without: set[int], progress: Step) -> Head:
        """Learned from all but some images. What drawn defects say is in log odds."""
        if not self.coresets:
            return self._gaussians(without, progress)
        scales = {}
        for number, (shrink, coreset) in enumerate(self.coresets.items()):
            patches = self.kept.patches(without, shrink)
            projection = learn_projection(patches, self.network.layers, self.directions)
            scales[shrink] = patchcore.learn(
                patches, projection, coreset, self.seed, _share(progress, number, len(self.coresets))
            )
        coarse = next((shrink for shrink in scales if shrink > 1), 1)
        return MemoryBanks(scales[1], scales[coarse] if coarse > 1 else None, coarse, self._drawn(without))

    def _drawn(self, without: set[int]) -> DrawnDefects | None:
        if self.lessons is None:
            return None
        normal, defective = self.lessons.but(without)
        if not len(defective):
            return None
        return drawn.learn(np.concatenate([normal, some(self.kept.patches(without), self.seed)]), defective)

    def _gaussians(self, without: set[int], progress: Step) -> Head:
        projection = learn_projection(self.kept.patches(without), self.network.layers, self.directions)
        few = projection.reduced(padim.DIMENSIONS, self.seed)
        head = padim.learn(self._projected(few, without), few)
        progress(1.0)
        return head

    def _projected(self, projection: Projection, without: set[int]) -> NDArray[np.float32]:
        frames = [frame for number, frame in sorted(self.kept.frames.items()) if number not in without]
        return np.stack([projection.apply(self.features[1](frame)) for frame in frames])


def _trust(found: Sequence[PatchMaps]) -> Trust | None:
    """How far drawn defects are believed, by what is said of held-out images."""
    heard = [(maps, maps.drawn) for maps in found if maps.drawn is not None]
    if len(heard) < len(found):  # without those of a fold nothing could be drawn
        return None
    return drawn.trusted(
        [to_detection(maps.distances, maps.coarse).score for maps, _ in heard],
        [float(smoothed(odds).max()) for _, odds in heard],
    )


def _raised(maps: PatchMaps, trust: Trust | None) -> PatchMaps:
    """With what drawn defects say in the units of distances."""
    return maps._replace(drawn=trust.raised_by(maps.drawn) if trust and maps.drawn is not None else None)


def _share(progress: Step, number: int, count: int) -> Step:
    """Progress of one of several parts."""
    return lambda fraction: progress((number + fraction) / count)
