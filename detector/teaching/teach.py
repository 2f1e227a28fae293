"""From normal images to a model, one image in memory at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypedDict

import numpy as np

from detector import model_folder, region
from detector.backbones import AnyBackbone, load_backbone, quantise
from detector.errors import ModelError
from detector.heads import COARSE_SIDE, padim
from detector.images import BGRImage
from detector.input_size import LARGEST_SIDE
from detector.light import (
    IN_NEW_LIGHT,
    AnyHead,
    LightGated,
    blind_ratio,
    known_light,
    light_blind_projection,
    light_scatter,
)
from detector.registration import Choice as Register
from detector.runtimes import Precision, runtime
from detector.taught_model import TaughtModel
from detector.teaching.folds import folds_of
from detector.teaching.kept import MAX_FRAMES, Kept
from detector.teaching.learner import Learner
from detector.teaching.lessons import Lessons, draw_lessons
from detector.teaching.registering import chosen as chosen_way
from detector.teaching.remembered import Remembered
from detector.thresholds import calibrate

Method = Literal["patchcore", "padim"]
PresetName = Literal["fast", "balanced", "fine"]


@dataclass(frozen=True)
class Preset:
    """Sizes that fit together. ``image_size``: side in pixels of a square input; ``coreset_size``: patches in the
    memory bank at the most; ``shrink``: what the coarse scale averages the input down by, 1 without a coarse scale."""

    image_size: int
    coreset_size: int
    shrink: int


PRESETS: dict[PresetName, Preset] = {
    "fast": Preset(256, 1000, 1),
    "balanced": Preset(320, 1536, 2),
    "fine": Preset(480, 2048, 3),
}
DEFAULT_PRESET: PresetName = "balanced"
_COARSE_SHARE = 1 / 3
"""Patches in the coarse scale's memory bank for one in the fine one's: it has fewer to tell apart."""

HOLDOUT = 0.2

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
    register: Register
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
    register: Register = "auto",
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
    memory: Remembered | None = None,
) -> TaughtModel:
    """Teach a detector on normal images.

    Args:
        images: H×W×3 uint8 BGR, at least 5. Each is looked at once and let go, whatever their number; a sequence may
            load them when asked (some are then asked for twice).
        method: ``patchcore``, or ``padim`` for parts that always lie the same way.
        preset: ``fast``, ``balanced`` or ``fine``: the two sizes that follow, and the coarse scale.
        image_size: side of the square input in pixels, a multiple of 16 (32 for most other backbones). Where what is
            inspected is far from square the input has its shape and about as many pixels (:mod:`detector.input_size`).
            What cannot be averaged down has no coarse scale: for ``balanced`` no multiple of 32 or below 256, for
            ``fine`` no multiple of 48 or below 384.
        coreset_size: patches in the memory bank at the most; a third of it in that of the coarse scale.
        inspect: ``auto`` leaves out a plain background, :func:`detector.region.find_region`; ``full`` nothing.
        register: ``on`` turns and shifts frames so that parts lie like a reference (:mod:`detector.registration`)
            before anything else is done; ``off`` takes them as they lie. ``auto`` registers parts of which it is
            measured that more is found then of what is drawn on them. It takes up to twice as long to teach where parts
            do not lie the same way in all images, and no longer elsewhere. The manifest says why.
        light_blind: learn a second head that leaves out the directions in which light moves the features
            (:mod:`detector.light`), for frames whose light is new: mostly better there, and the same in the light that
            was taught. Takes twice as long to teach.
        backbone: another network than EfficientNet-Lite0.
        precision: ``float32``, ``bfloat16`` where the processor has it, or ``int8``: the backbone is quantised with a
            sample of the images (of an iterator the first, 60 or 300 MB) before anything is learned, so memory bank,
            held-out scores and threshold are those of the quantised one.
        holdout: share of the images held out at a time: a bank is made of the others and these are scored against it,
            until 30 images are scored or all are. Near-copies (:mod:`detector.near_copies`) are held out together, and
            one of them is scored. The default threshold follows from these raw scores, of images that no bank had seen;
            the model's own bank is then made of all images.
        seed: of every random choice, from 0 on; the same images and seed give the same model.
        category: what the parts are called, in 1000 characters or fewer.
        fingerprint: of the data set, for the manifest.
        total: number of images, for the progress of an iterator.
        runtime_name: ``openvino`` or ``torch``.
        workers: threads that will call ``detect`` at once.
        progress: called with a stage ("features", "memory bank") and 0..1 of the whole, from several threads, one at a
            time. What it raises ends teaching.
        memory: of teaching before with some of these images; what is found in new ones is added. The model is the same
            without.

    Raises:
        ModelError: too few images, all of one part, a size, seed or category that cannot be, or parts that cannot be
            registered as asked.
        ImageError: an image is not such an array.
    """
    network = backbone or load_backbone()
    chosen = PRESETS[preset]
    shrink = _shrink(chosen, image_size, network) if method == "patchcore" else 1
    multiple = network.size_multiple * shrink
    image_size = image_size or _fitting(chosen.image_size, multiple)
    coreset = chosen.coreset_size if coreset_size is None else coreset_size
    _check(image_size, coreset, holdout, multiple, seed, category)
    report = progress or (lambda stage, fraction: None)
    total = total or (len(images) if isinstance(images, Sized) else None)
    engine = runtime(runtime_name, workers=workers, precision=precision)
    sample, frames = _sampled(images)
    inputs = region.Inputs(image_size, multiple, network.grid_stride)
    way = chosen_way(sample, inputs, inspect, register, network, engine, seed)
    inspected = way.region
    size = inspected.input_size(network.grid_stride)
    if precision == "int8" and (some := [way.to_input(image, size) for image in sample]):
        network = quantise(network, some)
    del sample  # whole pictures, if they came from an iterator
    eyes = memory or Remembered(0)
    features = {scale: eyes.features(engine, network, size, scale) for scale in sorted({1, shrink})}
    kept = Kept(seed, padim.MAX_IMAGES if method == "padim" else MAX_FRAMES, list(features))
    for frame in frames:
        small = way.to_input(frame, size)
        patches = {scale: look(small) for scale, look in features.items()}
        kept.add(small, patches, round(frame.shape[1] / frame.shape[0], 4))
        report("features", 0.4 * min(1.0, kept.seen / total) if total else 0.0)
    kept.require_enough()

    random = np.random.default_rng(seed)
    whole = [kept.frames[number] for number in sorted(kept.frames)]
    folds = folds_of(kept.copies(), sorted(kept.frames), kept.seen, holdout, random)
    coresets: dict[int, int] = {}
    lessons: Callable[[Callable[[float], None]], Lessons] | None = None
    if method == "patchcore":
        coresets = {scale: coreset if scale == 1 else coarse_size(coreset) for scale in features}
        grid = size.grid(network.grid_stride)
        apart = [fold.without for fold in folds]
        lessons = partial(draw_lessons, kept.frames, apart, eyes.compiled(engine, network, size), grid, seed)
    report("memory bank", 0.5)
    learner = Learner(kept, network, features, coresets, lessons, seed)
    first, *second = _halves(report, 2 if light_blind else 1)
    head: AnyHead
    head, scores = learner.validated(folds, engine, size, first)
    threshold = _threshold_of(scores)
    if light_blind:
        blinded = partial(light_blind_projection, light_scatter(whole, features[1], seed=seed))
        # What drawn defects taught are directions in the light that was taught.
        blind, others = replace(learner, directions=blinded, lessons=None).validated(folds, engine, size, *second)
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
        reference=way.reference,
        registration=way.why,
    )
    return TaughtModel(manifest, head, network, engine)


def coarse_size(coreset_size: int) -> int:
    """Patches in the memory bank of the coarse scale at the most, where the fine one's has so many."""
    return max(1, round(_COARSE_SHARE * coreset_size))


def _shrink(preset: Preset, image_size: int | None, network: AnyBackbone) -> int:
    """What the coarse scale averages the input down by: nothing where a size was asked for that cannot be averaged
    down, or would be too small to show anything then."""
    if image_size is None:
        return preset.shrink
    fits = image_size % (network.size_multiple * preset.shrink) == 0 and image_size // preset.shrink >= COARSE_SIDE
    return preset.shrink if fits else 1


def _fitting(image_size: int, multiple: int) -> int:
    """The side nearest to a preset's that the network takes, at all scales."""
    return round(image_size / multiple) * multiple


def _check(size: int, coreset: int, holdout: float, multiple: int, seed: int, category: str) -> None:
    if size < 64 or size > LARGEST_SIDE or size % multiple:
        raise ModelError(f"image size {size} cannot be used: take a multiple of {multiple} from 64 to {LARGEST_SIDE}")
    if coreset < 1:
        raise ModelError(f"coreset size {coreset} cannot be used: take at least 1")
    if not 0 < holdout < 1:
        raise ModelError(f"holdout {holdout} cannot be used: take a share between 0 and 1")
    if not 0 <= seed < 1 << 63:
        raise ModelError(f"seed {seed} cannot be used: take a whole number from 0 on, of 63 bits at the most")
    if len(category) > model_folder.LONGEST_CATEGORY:
        raise ModelError(
            f"a category of {len(category)} characters cannot be used: take {model_folder.LONGEST_CATEGORY} at the most"
        )


def _threshold_of(scores: Sequence[float]) -> float:
    try:
        return calibrate(scores).threshold
    except ValueError as error:
        raise ModelError(f"the normal images make no threshold: {error}") from error


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


def _halves(report: Progress, count: int) -> list[Callable[[float], None]]:
    """Progress of one or two kinds of head, one after the other, within the second half of the whole."""

    def part(number: int) -> Callable[[float], None]:
        return lambda fraction: report("memory bank", 0.5 + 0.5 * (number + fraction) / count)

    return [part(number) for number in range(count)]
