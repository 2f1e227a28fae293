"""Learning from what was kept, with or without some of the images."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

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
from detector.images import BGRImage
from detector.input_size import InputSize
from detector.runtimes import Runtime
from detector.score import PatchMaps, smoothed, to_detection
from detector.teaching.folds import Fold
from detector.teaching.kept import Kept
from detector.teaching.lessons import Lessons, some

Step = Callable[[float], None]
Patches = Mapping[int, NDArray[np.float32]]


class Inspect(Protocol):
    def __call__(self, frame: BGRImage, patches: Patches | None = None, /) -> PatchMaps: ...


AT_ONCE = 2
"""Memory banks made side by side, where there are as many cores: each is made in one thread. Defects are drawn, and
looked at by the runtime, in another."""


@dataclass(frozen=True)
class Learner:
    """Learns heads of one kind.

    Attributes:
        features: of each scale, by what it averages the input down by.
        coresets: patches in the memory bank of each scale at the most; empty for PaDiM.
        lessons: makes those of drawn defects; None to do without.
        directions: that are kept of the patch features; None for all.
    """

    kept: Kept
    network: AnyBackbone
    features: Mapping[int, Features]
    coresets: Mapping[int, int]
    lessons: Callable[[Step], Lessons] | None
    seed: int
    directions: KeptDirections | None = None

    def validated(
        self, folds: Sequence[Fold], engine: Runtime, size: InputSize, progress: Step
    ) -> tuple[Head, list[float]]:
        """Learned from everything, and the scores of held-out images against what was learned without them."""
        together = _Together(progress, len(folds) + 2)
        # Limited here, once for all threads: where one of them lifted a limit of its own, the others would compute in
        # several threads, and round otherwise.
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(1 + min(AT_ONCE, os.cpu_count() or 1)) as pool:
            lessons = None if self.lessons is None else pool.submit(self.lessons, together.step())
            try:
                whole = pool.submit(self.learn, set(), together.step(), lessons)
                tried = [pool.submit(self._tried, fold, engine, size, together.step(), lessons) for fold in folds]
                head, found = whole.result(), [maps for one in tried for maps in one.result()]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        trust = _trust(found)
        if isinstance(head, MemoryBanks) and head.drawn is not None:
            head = replace(head, drawn=trust.of(head.drawn) if trust else None)
        return head, [to_detection(*_raised(maps, trust)).score for maps in found]

    def _tried(
        self, fold: Fold, engine: Runtime, size: InputSize, progress: Step, lessons: Future[Lessons] | None
    ) -> list[PatchMaps]:
        """What is found in a fold's images by what is learned without them."""
        inspect = self.inspecting(self.learn(fold.without, progress, lessons), engine, size)
        return [inspect(self.kept.frames[number], self.kept.looked_at(number)) for number in sorted(fold.scored)]

    def inspecting(self, head: Head, engine: Runtime, size: InputSize) -> Inspect:
        """What a head finds in an image at input size, of which all patches (N×C) at each scale may be known: then it
        is not looked at again, nor is a graph compiled for what inspects a few images; but a runtime that rounds
        patches has to."""
        if not isinstance(head, MemoryBanks) or not engine.is_exact:
            distances = engine.distances(self.network, size, head)
            return lambda frame, patches=None: distances(frame)
        return lambda frame, patches=None: self._maps(
            head, patches or {shrink: look(frame) for shrink, look in self.features.items()}, size
        )

    def _maps(self, head: MemoryBanks, patches: Patches, size: InputSize) -> PatchMaps:
        stride = self.network.grid_stride
        scales = [
            scale.distances_of(patches[shrink]).reshape(size.shrunk(shrink).grid(stride))
            for shrink, scale in head.scales
        ]
        odds = None
        if head.drawn is not None:
            odds = (patches[1] @ head.drawn.weights + head.drawn.offset).reshape(scales[0].shape)
        return PatchMaps(scales[0], scales[1] if len(scales) > 1 else None, odds)

    def learn(self, without: set[int], progress: Step, lessons: Future[Lessons] | None = None) -> Head:
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
        return MemoryBanks(scales[1], scales[coarse] if coarse > 1 else None, coarse, self._drawn(without, lessons))

    def _drawn(self, without: set[int], lessons: Future[Lessons] | None) -> DrawnDefects | None:
        if lessons is None:
            return None
        normal, defective = lessons.result().but(without)
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


class _Together:
    """Progress of several parts that go on side by side, each worth the same."""

    def __init__(self, progress: Step, count: int) -> None:
        self._progress, self._count = progress, count
        self._parts: list[float] = []
        self._lock = threading.Lock()

    def step(self) -> Step:
        """Of the next part."""
        number = len(self._parts)
        self._parts.append(0.0)

        def step(fraction: float) -> None:
            with self._lock:
                self._parts[number] = fraction
                self._progress(sum(self._parts) / self._count)

        return step


def _share(progress: Step, number: int, count: int) -> Step:
    """Progress of one of several parts."""
    return lambda fraction: progress((number + fraction) / count)
