"""Teaching: from normal images to a model, one image in memory at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from detector import model_folder, near_copies, region
from detector.backbones import AnyBackbone, Features, load_backbone, quantise
from detector.errors import ModelError
from detector.heads import Head, KeptDirections, Projection, learn_projection, padim, patchcore
from detector.images import BGRImage
from detector.input_size import InputSize
from detector.light import (
    IN_NEW_LIGHT,
    AnyHead,
    LightGated,
    blind_ratio,
    known_light,
    light_blind_projection,
    light_scatter,
)
from detector.runtimes import Precision, Runtime, runtime
from detector.score import to_detection
from detector.taught_model import TaughtModel
from detector.thresholds import calibrate

Method = Literal["patchcore", "padim"]
PresetName = Literal["fast", "balanced", "fine"]


@dataclass(frozen=True)
class Preset:
    """Sizes that fit together. ``image_size``: side in pixels of a square input; ``coreset_size``: patches in the
    memory bank at the most."""

    image_size: int
    coreset_size: int


PRESETS: dict[PresetName, Preset] = {
    "fast": Preset(256, 1000),
    "balanced": Preset(320, 2000),
    "fine": Preset(448, 3000),
}
DEFAULT_PRESET: PresetName = "balanced"

HOLDOUT = 0.2
HELD_OUT_ENOUGH = 30
"""Normal images scored for the default threshold, if there are as many."""
MIN_IMAGES = 5
MAX_FRAMES = 48
"""Images kept whole, chosen at random, to be scored and relit: 15 MB at 320²."""
MAX_PATCHES = 200_000
"""Patches kept for the choice of the coreset, 140 MB; beyond that each image gives a share, chosen at random."""
MAX_NUMBERS = 80_000_000
"""Numbers in the patches kept, 320 MB, of which teaching makes three copies: fewer patches of a backbone with more than
400 channels, about as many as a coreset is chosen from of a WideResNet's 1536."""

SAMPLE_BYTES = 300_000_000
"""Of whole images from an iterator, held while their region is looked for: 60 of up to 1.6 megapixels, or the first
five of 20."""

Progress = Callable[[str, float], None]


class FitOptions(TypedDict, total=False):
    """What :func:`fit` may be told of how to learn."""

    method: Method
    preset: PresetName
    image_size: int | None
    coreset_size: int | None
    inspect: region.Choice
    light_blind: bool
    backbone: AnyBackbone | None
    precision: Precision
    seed: int


def fit(
    images: Iterable[BGRImage],
    *,
    method: Method = "patchcore",
    preset: PresetName = DEFAULT_PRESET,
    image_size: int | None = None,
    coreset_size: int | None = None,
    inspect: region.Choice = "auto",
    light_blind: bool = False,
    backbone: AnyBackbone | None = None,
    precision: Precision = "float32",
    holdout: float = HOLDOUT,
    seed: int = 0,
    category: str = "",
    fingerprint: str = "",
    total: int | None = None,
    runtime_name: str = "openvino",
    workers: int = 1,
    progress: Progress | None = None,
) -> TaughtModel:
    """Teach a detector on normal images.

    Args:
        images: H×W×3 uint8 BGR, at least 5. Each is looked at once and let go, whatever their number; a sequence may
            load them when asked (some are then asked for twice).
        method: ``patchcore``, or ``padim`` for parts that always lie the same way.
        preset: ``fast``, ``balanced`` or ``fine``: the two sizes that follow.
        image_size: side of the square input in pixels, a multiple of 16 (32 for most other backbones). Where what is
            inspected is far from square the input has its shape and about as many pixels (:mod:`detector.input_size`).
        coreset_size: patches in the memory bank at the most.
        inspect: ``auto`` leaves out a plain background, :func:`detector.region.find_region`; ``full`` nothing.
        light_blind: learn a second head that leaves out the directions in which light moves the features
            (:mod:`detector.light`), for frames whose light is new: mostly better there, and the same in the light that
            was taught. Takes twice as long to teach.
        backbone: another network than EfficientNet-Lite0.
        precision: ``float32``, ``bfloat16`` where the processor has it, or ``int8``: the backbone is quantised with a
            sample of the images (of an iterator the first, 60 or 300 MB) before anything is learned, so memory bank,
            held-out scores and threshold are those of the quantised one.
        holdout: share of the images held out at a time: a bank is made of the others and these are scored against it,
            until 30 images are scored or all are. Near-copies (:mod:`detector.near_copies`) are held out together and
            count as one. The default threshold follows from these raw scores, none of which a bank had seen; the
            model's own bank is then made of all images.
        seed: of every random choice; the same images and seed give the same model.
        category: what the parts are called.
        fingerprint: of the data set, for the manifest.
        total: number of images, for the progress of an iterator.
        runtime_name: ``openvino`` or ``torch``.
        workers: threads that will call ``detect`` at once.
        progress: called with a stage ("features", "memory bank") and 0..1 of the whole.

    Raises:
        ModelError: too few images, or a size that cannot be.
        ImageError: an image is not such an array.
    """
    network = backbone or load_backbone()
    image_size = image_size or _fitting(PRESETS[preset].image_size, network)
    coreset = PRESETS[preset].coreset_size if coreset_size is None else coreset_size
    _check(image_size, coreset, holdout, network)
    report = progress or (lambda stage, fraction: None)
    total = total or (len(images) if isinstance(images, Sized) else None)
    engine = runtime(runtime_name, workers=workers, precision=precision)
    sample, frames = _sampled(images)
    inputs = region.Inputs(image_size, network.size_multiple, network.grid_stride)
    inspected = region.inspected(sample, inputs, inspect)
    size = inspected.input_size(network.grid_stride)
    if precision == "int8" and (some := [inspected.to_input(image, size) for image in sample]):
        network = quantise(network, some)
    del sample  # whole pictures, if they came from an iterator
    features = engine.features(network, size)
    kept = _Kept(seed, padim.MAX_IMAGES if method == "padim" else MAX_FRAMES)
    for frame in frames:
        small = inspected.to_input(frame, size)
        kept.add(small, features(small), round(frame.shape[1] / frame.shape[0], 4))
        report("features", 0.4 * min(1.0, kept.seen / total) if total else 0.0)
    kept.require_enough()

    random = np.random.default_rng(seed)
    whole = [kept.frames[number] for number in sorted(kept.frames)]
    blinded = partial(light_blind_projection, light_scatter(whole, features, seed=seed)) if light_blind else None
    report("memory bank", 0.5)
    folds = _folds(kept.copies(), sorted(kept.frames), kept.seen, holdout, random)
    learner = _Learner(kept, network, None, method, coreset, seed, features)
    steps = _steps(report, (len(folds) + 1) * (2 if light_blind else 1))
    head: AnyHead
    head, scores = learner.validated(folds, engine, size, steps)
    threshold = calibrate(scores).threshold
    if light_blind:
        blind, others = replace(learner, directions=blinded).validated(folds, engine, size, steps)
        ratio = np.array([blind_ratio(scores, others)], np.float32)
        head = LightGated(head, blind, known_light.learn(whole), ratio)
    manifest = model_folder.describe(
        head,
        category=category,
        image_size=image_size,
        region=inspected,
        precision=precision,
        network=network,
        projection="standardised, layers weighted" + (IN_NEW_LIGHT if light_blind else ""),
        seed=seed,
        n_images=kept.seen,
        held_out_scores=scores,
        threshold=threshold,
        fingerprint=fingerprint,
        shapes=kept.shapes,
    )
    return TaughtModel(manifest, head, network, engine)


def _fitting(image_size: int, network: AnyBackbone) -> int:
    """The side nearest to a preset's that the network takes."""
    return round(image_size / network.size_multiple) * network.size_multiple


def _check(size: int, coreset: int, holdout: float, network: AnyBackbone) -> None:
    if size < 64 or size > 2048 or size % network.size_multiple:
        raise ModelError(
            f"image size {size} cannot be used: take a multiple of {network.size_multiple} from 64 to 2048"
        )
    if coreset < 1:
        raise ModelError(f"coreset size {coreset} cannot be used: take at least 1")
    if not 0 < holdout < 1:
        raise ModelError(f"holdout {holdout} cannot be used: take a share between 0 and 1")


def _sampled(images: Iterable[BGRImage]) -> tuple[Iterable[BGRImage], Iterable[BGRImage]]:
    """Some of the images, spread over a sequence or the first of an iterator, and all of them as they were before.

    Those of a sequence are asked for each time they are looked at, so that none is held; of an iterator no more are
    held than :data:`SAMPLE_BYTES` has room for.
    """
    if isinstance(images, Sequence):
        return region.Spread(images, region.SAMPLE), iter(images)
    rest, sample, held = iter(images), list[BGRImage](), 0
    for image in itertools.islice(rest, region.SAMPLE):
        sample.append(image)
        held += image.nbytes
        if held >= SAMPLE_BYTES:
            break
    return sample, itertools.chain(sample, rest)


class _Kept:
    """What teaching remembers of the images: some of them whole, and patches of all, never more than fit in memory.

    Attributes:
        frames: images at input size by their number, a random sample of all seen so far.
        seen: how many images there were.
        shapes: narrowest and widest of them, width to height.
    """

    def __init__(self, seed: int, max_frames: int) -> None:
        self._random = np.random.default_rng([seed, 1])
        self._max_frames = max_frames
        self.frames: dict[int, BGRImage] = {}
        self.seen = 0
        self.shapes = (math.inf, 0.0)
        self._patches: list[NDArray[np.float32]] = []
        self._share = 1 << 30
        self._count = 0
        self._looks: list[near_copies.Look] = []
        self._first: BGRImage | None = None
        self._all_the_same = True

    def add(self, frame: BGRImage, patches: NDArray[np.float32], shape: float) -> None:
        """One image at input size, its patch features (N×C), and how wide it was to its height before."""
        self.shapes = min(self.shapes[0], shape), max(self.shapes[1], shape)
        if self._first is None:
            self._first = frame
        self._all_the_same = self._all_the_same and np.array_equal(frame, self._first)
        self._looks.append(near_copies.look_of(frame))
        self._patches.append(self._some(patches))
        self._count += len(self._patches[-1])
        at_most = min(MAX_PATCHES, MAX_NUMBERS // patches.shape[1])
        if self._count > at_most:
            self._share = max(1, at_most * 9 // 10 // len(self._patches))
            self._patches = [self._some(own) for own in self._patches]
            self._count = sum(map(len, self._patches))
        # Reservoir sampling (Vitter 1985): every image has the same chance, however many come.
        if len(self.frames) < self._max_frames:
            self.frames[self.seen] = frame
        elif (place := int(self._random.integers(self.seen + 1))) < self._max_frames:
            del self.frames[sorted(self.frames)[place]]
            self.frames[self.seen] = frame
        self.seen += 1

    def require_enough(self) -> None:
        if self.seen < MIN_IMAGES:
            raise ModelError(
                f"{self.seen} normal images are too few to teach from: take at least {MIN_IMAGES}, "
                "30 or more are better"
            )
        if self._all_the_same:
            raise ModelError("the normal images are all the same picture: take different ones, and check the camera")

    def copies(self) -> list[set[int]]:
        """The images kept, each with all its near-copies among those seen."""
        chosen = sorted(self.frames)
        height, width = self.frames[chosen[0]].shape[:2]
        return near_copies.groups(self._looks, chosen, width / height)

    def patches(self, without: set[int]) -> NDArray[np.float32]:
        """The patches kept (N×C), but for those of some images."""
        return np.concatenate([own for number, own in enumerate(self._patches) if number not in without])

    def _some(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        if len(patches) <= self._share:
            return patches
        return patches[self._random.choice(len(patches), self._share, replace=False)]


@dataclass(frozen=True)
class _Learner:
    """Learns from what was kept, with or without some of the images."""

    kept: _Kept
    network: AnyBackbone
    directions: KeptDirections | None
    method: Method
    coreset: int
    seed: int
    features: Features

    def validated(
        self, folds: Sequence[_Fold], engine: Runtime, size: InputSize, steps: Iterator[Callable[[float], None]]
    ) -> tuple[Head, list[float]]:
        """Learned from everything, and the scores of held-out images against what was learned without them."""
        scores = []
        for fold in folds:
            distances = engine.distances(self.network, size, self.learn(fold.without, next(steps)))
            scores += [to_detection(distances(self.kept.frames[index])).score for index in sorted(fold.scored)]
        return self.learn(set(), next(steps)), scores

    def learn(self, without: set[int], progress: Callable[[float], None]) -> Head:
        patches = self.kept.patches(without)
        projection = learn_projection(patches, self.network.layers, self.directions)
        if self.method == "patchcore":
            return patchcore.learn(patches, projection, self.coreset, self.seed, progress)
        few = projection.reduced(padim.DIMENSIONS, self.seed)
        head = padim.learn(self._projected(few, without), few)
        progress(1.0)
        return head

    def _projected(self, projection: Projection, without: set[int]) -> NDArray[np.float32]:
        frames = [frame for number, frame in sorted(self.kept.frames.items()) if number not in without]
        return np.stack([projection.apply(self.features(frame)) for frame in frames])


@dataclass(frozen=True)
class _Fold:
    """Images scored against a bank ``without`` them and their near-copies."""

    scored: set[int] = field(default_factory=set)
    without: set[int] = field(default_factory=set)


def _folds(
    copies: Sequence[set[int]], kept: Sequence[int], n_images: int, holdout: float, random: np.random.Generator
) -> list[_Fold]:
    """Which of the images kept are held out together: a fifth of all at a time, near-copies always together, until
    enough different ones are scored or all are."""
    at_least = 2 if len(kept) == n_images else 0  # left for the bank
    size = min(max(2, round(holdout * n_images)), len(kept) - at_least)
    group_of = {number: group for group in copies for number in group}
    folds, different, done = [_Fold()], 0, set[int]()
    for index in random.permutation(len(kept)).tolist():
        group = group_of[kept[index]]
        if kept[index] in done:
            continue
        crowded = len(group) > 1 and folds[-1].without and len(folds[-1].without | group) > n_images // 2
        if len(folds[-1].scored) >= size or crowded:
            if different >= HELD_OUT_ENOUGH:
                break
            folds.append(_Fold())
        folds[-1].scored.update(group & set(kept))
        folds[-1].without.update(group)
        done |= group
        different += 1
    return folds


def _steps(report: Progress, count: int) -> Iterator[Callable[[float], None]]:
    """Progress of one memory bank after another, within the second half of the whole."""

    def step(number: int) -> Callable[[float], None]:
        return lambda fraction: report("memory bank", 0.5 + 0.5 * (number + fraction) / count)

    return map(step, range(count))
