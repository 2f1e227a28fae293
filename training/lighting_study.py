"""The lighting study: what a change of light costs, with several ways of teaching, and what wins it back.

It scores with the product's parts (backbone, coreset, smoothed map) on pictures at input size, one backbone pass a
picture for all ways of teaching. Light and its noise are applied at input size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from detector.backbone import load_backbone
from detector.calibration import DEFAULT_K, calibrate
from detector.coreset import greedy_coreset
from detector.errors import ModelError
from detector.illumination import light_blind_projection, light_scatter
from detector.images import BGRImage
from detector.relighting import KINDS, Kind, Severity, draw_light, random_light, relit
from detector.runtimes import Features, runtime
from detector.score import to_detection
from training import metrics
from training.lighting import CONDITIONS, Lamp, moved

IMAGE_SIZE = 320
CORESET_SIZE = 1000
MAX_TRAINING = 60
"""Training pictures taken at the most, spread evenly."""
COVERED = 5
"""Normal pictures of each light added by *coverage*."""
HOLDOUT = 5
"""A fifth of the pictures is held out at a time for the threshold."""
FOLDS = 2
MAX_PATCHES = 20_000
"""Patches from which a memory bank is chosen, evenly from all pictures."""

NONE, LIGHTING, GEOMETRY, COVERAGE = "as taught", "lighting augmentation", "geometry augmentation", "coverage"
BLIND, UNSEEN = "light-blind", "light-blind, light not shown"
TEACHINGS = (NONE, LIGHTING, GEOMETRY, COVERAGE, BLIND, UNSEEN)
FAMILIES: tuple[tuple[Kind, ...], ...] = (
    ("overexposed", "underexposed"),
    ("gain",),
    ("warm", "cool"),
    ("gradient", "shadow"),
)
"""Lights that resemble each other: those left out together to see what a light does that the model was never shown."""

Progress = Callable[[str, float], None]

_Frames = tuple[BGRImage, ...]
"""What one training picture contributes to teaching, itself first."""


@dataclass(frozen=True)
class Outcome:
    """One way of teaching under one light. AUROC 0..1, or ``None`` without both good and defective pictures;
    false rejects and escapes, in pictures, at the threshold calibrated under the original light."""

    teaching: str
    light: str
    image_auroc: float | None
    false_rejects: int
    escapes: int


@dataclass(frozen=True)
class LightingStudy:
    """All figures of one data set."""

    name: str
    training: int
    good: int
    defective: int
    image_size: int
    coreset_size: int
    severity: Severity
    seed: int
    outcomes: tuple[Outcome, ...]

    def outcome(self, teaching: str, light: str) -> Outcome | None:
        """That one, ``None`` where it was not measured."""
        return next((one for one in self.outcomes if (one.teaching, one.light) == (teaching, light)), None)


@dataclass(frozen=True)
class _Bank:
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    projection: NDArray[np.float32] | None
    patches: NDArray[np.float32]
    threshold: float = np.inf

    def score(self, features: NDArray[np.float32]) -> float:
        """Image score of a frame's patch features, N×C as the backbone gives them."""
        patches = _standardised(features, self.mean, self.std, self.projection)
        squared = (-2 * patches) @ self.patches.T
        squared += np.einsum("nc,nc->n", self.patches, self.patches)
        nearest = squared.min(1) + np.einsum("nc,nc->n", patches, patches)
        side = round(len(nearest) ** 0.5)
        return to_detection(np.sqrt(np.maximum(nearest, 0)).reshape(side, side)).score


def study(
    name: str,
    training: Iterable[BGRImage],
    test: Iterable[BGRImage],
    defective: Sequence[bool],
    *,
    image_size: int = IMAGE_SIZE,
    coreset_size: int = CORESET_SIZE,
    severity: Severity = 2,
    seed: int = 0,
    progress: Progress | None = None,
) -> LightingStudy:
    """Teach in every way, then inspect every test picture in every light.

    Args:
        name: of the data set, for the report.
        training: normal pictures, H×W×3 uint8 BGR, at least 5; of more than 60, 60 spread evenly are taken.
        test: labelled pictures, likewise.
        defective: for each of them.
        image_size: side of the square input in pixels, a multiple of 16.
        coreset_size: patches in each memory bank, the same for all ways of teaching.
        severity: of the lights, 1 or 2; *mixed* has both.
        seed: of every random choice.
        progress: called with a stage and 0..1 of the whole.

    Raises:
        ModelError: too few training pictures, or a size that cannot be.
    """
    if image_size < 64 or image_size > 2048 or image_size % 16:
        raise ModelError(f"image size {image_size} cannot be used: take a multiple of 16 from 64 to 2048")
    # One thread: NumPy's threads wait for each other spinning, and rounding would depend on their number.
    with threadpool_limits(1, "blas"):
        return _study(
            name,
            training,
            test,
            np.array(defective, np.bool_),
            image_size,
            coreset_size,
            severity,
            seed,
            progress or (lambda stage, fraction: None),
        )


def _study(
    name: str,
    training: Iterable[BGRImage],
    test: Iterable[BGRImage],
    labels: metrics.Labels,
    image_size: int,
    coreset_size: int,
    severity: Severity,
    seed: int,
    report: Progress,
) -> LightingStudy:
    features = runtime("openvino").features(load_backbone(), image_size)
    frames = _spread([_at_input_size(picture, image_size) for picture in training], MAX_TRAINING)
    if len(frames) < HOLDOUT:
        raise ModelError(f"{len(frames)} training pictures are too few: take at least {HOLDOUT}")
    banks: dict[str, dict[str, _Bank]] = {}
    for number, teaching in enumerate(TEACHINGS):
        report(f"teaching: {teaching}", 0.5 * number / len(TEACHINGS))
        banks[teaching] = _teach(teaching, frames, features, coreset_size, severity, seed)
    scores: dict[tuple[str, str], list[float]] = {}
    for number, picture in enumerate(test):
        frame = _at_input_size(picture, image_size)
        for condition in CONDITIONS:
            own = features(Lamp(condition, severity, seed)(frame, number))
            for teaching, by_condition in banks.items():
                if condition in by_condition:
                    scores.setdefault((teaching, condition), []).append(by_condition[condition].score(own))
        report("inspecting", 0.5 + 0.5 * (number + 1) / len(labels))
    return LightingStudy(
        name=name,
        training=len(frames),
        good=int(np.sum(~labels)),
        defective=int(np.sum(labels)),
        image_size=image_size,
        coreset_size=coreset_size,
        severity=severity,
        seed=seed,
        outcomes=tuple(
            _outcome(teaching, condition, np.array(values), labels, banks[teaching][condition].threshold)
            for (teaching, condition), values in scores.items()
        ),
    )


def _outcome(teaching: str, light: str, scores: metrics.Scores, labels: metrics.Labels, threshold: float) -> Outcome:
    decisions = metrics.decide(scores, labels, threshold)
    return Outcome(teaching, light, metrics.auroc(scores, labels), decisions.false_rejects, decisions.escapes)


def _teach(
    teaching: str, frames: list[BGRImage], features: Features, size: int, severity: Severity, seed: int
) -> dict[str, _Bank]:
    """The bank for each condition; the same one for all, but for *light not shown*."""
    taught = _taught(teaching, frames, severity, seed)
    if teaching == BLIND:
        bank = _calibrated(taught, features, size, seed, light_scatter(frames, features, seed=seed))
        return dict.fromkeys(CONDITIONS, bank)
    if teaching == UNSEEN:
        banks: dict[str, _Bank] = {}
        for family in FAMILIES:
            others = [kind for kind in KINDS if kind not in family]
            bank = _calibrated(taught, features, size, seed, light_scatter(frames, features, seed=seed, kinds=others))
            banks |= dict.fromkeys(family, bank)
        return banks
    return dict.fromkeys(CONDITIONS, _calibrated(taught, features, size, seed))


def _taught(teaching: str, frames: list[BGRImage], severity: Severity, seed: int) -> list[_Frames]:
    covered = set(np.linspace(0, len(frames) - 1, min(COVERED, len(frames))).astype(int).tolist())
    taught = []
    for number, frame in enumerate(frames):
        random = np.random.default_rng([seed, 1000, number])
        copies: list[BGRImage] = []
        if teaching == LIGHTING:
            copies = [relit(frame, random_light(random), random)]
        elif teaching == GEOMETRY:
            copies = [moved(frame, random)]
        elif teaching == COVERAGE and number in covered:
            copies = [relit(frame, draw_light(kind, severity, random), random) for kind in KINDS]
        taught.append((frame, *copies))
    return taught


def _calibrated(
    taught: list[_Frames],
    features: Features,
    size: int,
    seed: int,
    scatter: NDArray[np.float64] | None = None,
) -> _Bank:
    """A bank of everything, with the threshold from training pictures held out in turn under the original light."""
    order = np.random.default_rng(seed).permutation(len(taught)).tolist()
    held_out = max(2, len(taught) // HOLDOUT)
    every = [[features(frame) for frame in one] for one in taught]
    scores = []
    for start in range(0, FOLDS * held_out, held_out):
        fold = set(order[start : start + held_out])
        bank = _bank([own for number, own in enumerate(every) if number not in fold], size, seed, scatter)
        scores += [bank.score(every[number][0]) for number in sorted(fold)]
    whole = _bank(every, size, seed, scatter)
    return _Bank(whole.mean, whole.std, whole.projection, whole.patches, calibrate(scores, DEFAULT_K).threshold)


def _bank(
    every: Sequence[Sequence[NDArray[np.float32]]], size: int, seed: int, scatter: NDArray[np.float64] | None
) -> _Bank:
    random = np.random.default_rng(seed)
    pictures = [own for one in every for own in one]
    share = max(1, MAX_PATCHES // len(pictures))
    patches = np.concatenate(
        [own if len(own) <= share else own[random.choice(len(own), share, replace=False)] for own in pictures]
    )
    mean = patches.mean(0, dtype=np.float64).astype(np.float32)
    std = np.maximum(patches.std(0, dtype=np.float64), 1e-6).astype(np.float32)
    projection = None if scatter is None else light_blind_projection(scatter, std)
    patches = _standardised(patches, mean, std, projection)
    return _Bank(mean, std, projection, np.ascontiguousarray(patches[greedy_coreset(patches, size, seed=seed)]))


def _standardised(
    features: NDArray[np.float32],
    mean: NDArray[np.float32],
    std: NDArray[np.float32],
    projection: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    patches = np.asarray((features - mean) / std, np.float32)
    return patches if projection is None else np.asarray(patches @ projection, np.float32)


def _spread(frames: list[BGRImage], at_most: int) -> list[BGRImage]:
    if len(frames) <= at_most:
        return frames
    return [frames[index] for index in np.linspace(0, len(frames) - 1, at_most).astype(int).tolist()]


def _at_input_size(picture: BGRImage, size: int) -> BGRImage:
    filter_ = cv2.INTER_AREA if min(picture.shape[:2]) >= size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (size, size), interpolation=filter_), np.uint8)
