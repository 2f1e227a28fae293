"""The lighting study: what a change of light costs, with several ways of teaching, and what wins it back.

It learns with the product's own parts (region, projection, memory bank, gate) and scores as its runtimes do, between
signatures, but in NumPy: one backbone pass a picture then serves all ways of teaching. Light and its noise are applied
at input size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from detector import region
from detector.backbones import Features, load_backbone
from detector.errors import ModelError
from detector.heads import NearestNeighbour, half_squares, learn_projection, patchcore, quantised
from detector.images import BGRImage
from detector.light import (
    KINDS,
    Kind,
    KnownLight,
    LightScatter,
    Severity,
    blind_ratio,
    draw_light,
    known_light,
    light_blind_projection,
    light_scatter,
    random_light,
    relit,
)
from detector.runtimes import runtime
from detector.score import to_detection
from detector.thresholds import calibrate
from training.measure import metrics
from training.measure.lighting import CONDITIONS, Lamp, moved

IMAGE_SIZE = 320
CORESET_SIZE = 1000
MAX_TRAINING = 60
"""Training pictures taken at the most, spread evenly."""
COVERED = 5
"""Normal pictures of each light added by *coverage*."""
HOLDOUT = 5
"""A fifth of the pictures is held out at a time for the threshold."""
FOLDS = 2

NONE, LIGHTING, GEOMETRY, COVERAGE = "as taught", "lighting augmentation", "geometry augmentation", "coverage"
BLIND, UNSEEN = "light-blind", "light-blind, light not shown"
GATED, GATED_UNSEEN = "light-blind where new", "light-blind where new, light not shown"
TEACHINGS = (NONE, LIGHTING, GEOMETRY, COVERAGE, BLIND, UNSEEN, GATED, GATED_UNSEEN)
"""*Light-blind where new* is what ``fit(light_blind=True)`` teaches; *light-blind* asks the blind bank always."""
FAMILIES: tuple[tuple[Kind, ...], ...] = (
    ("overexposed", "underexposed"),
    ("gain",),
    ("warm", "cool"),
    ("gradient", "shadow"),
)
"""Lights that resemble each other: those left out together to see what a light does that the model was never shown."""

_LEARNED = (NONE, LIGHTING, GEOMETRY, COVERAGE, BLIND, UNSEEN)
"""Those that need memory banks of their own."""

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


_Grid = tuple[int, int]
"""Rows and columns of patches."""


@dataclass(frozen=True, eq=False)
class _Bank:
    head: NearestNeighbour
    grid: _Grid
    held_out: tuple[float, ...] = ()
    """Scores of training pictures, each by a bank made without it."""

    @property
    def threshold(self) -> float:
        return calibrate(self.held_out).threshold

    @cached_property
    def _entries(self) -> NDArray[np.float32]:
        return self.head.signatures().astype(np.float32)

    @cached_property
    def _half_squares(self) -> NDArray[np.float32]:
        return half_squares(self.head.signatures())

    def score(self, features: NDArray[np.float32]) -> float:
        """Image score of a frame's patch features, N×C as the backbone gives them."""
        projected = np.asarray((features - self.head.mean) @ self.head.projection, np.float32)
        whole = quantised(projected, self.head.step)
        nearest = (whole @ self._entries.T - self._half_squares).max(1)
        squared = np.einsum("nd,nd->n", whole, whole) - 2 * nearest
        return to_detection((np.sqrt(squared) * self.head.step).reshape(self.grid).astype(np.float32)).score


@dataclass(frozen=True, eq=False)
class _Gate:
    """Both banks, and in which light the second one is asked."""

    ordinary: _Bank
    blind: _Bank
    known: KnownLight

    @property
    def threshold(self) -> float:
        return self.ordinary.threshold


_Banks = dict[str, _Bank | _Gate]
"""What is asked in each condition."""


def study(
    name: str,
    training: Sequence[BGRImage],
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
        test: labelled pictures, likewise, one at a time.
        defective: for each of them.
        image_size: side of the square input in pixels, a multiple of 16; far from square the same number of pixels.
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
    training: Sequence[BGRImage],
    test: Iterable[BGRImage],
    labels: metrics.Labels,
    image_size: int,
    coreset_size: int,
    severity: Severity,
    seed: int,
    report: Progress,
) -> LightingStudy:
    if len(training) < HOLDOUT:
        raise ModelError(f"{len(training)} training pictures are too few: take at least {HOLDOUT}")
    network = load_backbone()
    pictures = region.Spread(training, MAX_TRAINING)
    inputs = region.Inputs(image_size, network.size_multiple, network.grid_stride)
    inspected = region.find_region(pictures, inputs)
    size, grid = inspected.input_size(network.grid_stride), (inspected.height, inspected.width)
    features = runtime("openvino").features(network, size)
    frames = [inspected.to_input(picture, size) for picture in pictures]
    banks: dict[str, _Banks] = {}
    for number, teaching in enumerate(_LEARNED):
        report(f"teaching: {teaching}", 0.5 * number / len(_LEARNED))
        banks[teaching] = _teach(teaching, frames, features, grid, coreset_size, severity, seed)
    known = known_light.learn(frames)
    for gated, blind in ((GATED, BLIND), (GATED_UNSEEN, UNSEEN)):
        banks[gated] = {light: _gate(banks[NONE][light], bank, known) for light, bank in banks[blind].items()}
    scores: dict[tuple[str, str], list[float]] = {}
    for number, picture in enumerate(test):
        frame = inspected.to_input(picture, size)
        for condition in CONDITIONS:
            lit = Lamp(condition, severity, seed)(frame, number)
            score = _scorer(lit, features(lit))
            for teaching, by_condition in banks.items():
                if condition in by_condition:
                    scores.setdefault((teaching, condition), []).append(score(by_condition[condition]))
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


def _gate(ordinary: _Bank | _Gate, blind: _Bank | _Gate, known: KnownLight) -> _Gate:
    assert isinstance(ordinary, _Bank) and isinstance(blind, _Bank)
    return _Gate(ordinary, blind, known)


def _scorer(frame: BGRImage, features: NDArray[np.float32]) -> Callable[[_Bank | _Gate], float]:
    """Scores one frame; a bank that several ways of teaching share is searched once."""
    score = cache(lambda bank: bank.score(features))

    def either(asked: _Bank | _Gate) -> float:
        if isinstance(asked, _Bank):
            return float(score(asked))
        if asked.known.is_new(frame):
            return float(score(asked.blind)) * blind_ratio(asked.ordinary.held_out, asked.blind.held_out)
        return float(score(asked.ordinary))

    return either


def _outcome(teaching: str, light: str, scores: metrics.Scores, labels: metrics.Labels, threshold: float) -> Outcome:
    decisions = metrics.decide(scores, labels, threshold)
    return Outcome(teaching, light, metrics.auroc(scores, labels), decisions.false_rejects, decisions.escapes)


def _teach(
    teaching: str, frames: list[BGRImage], features: Features, grid: _Grid, size: int, severity: Severity, seed: int
) -> _Banks:
    """The bank for each condition; the same one for all, but for *light not shown*."""
    taught = _taught(teaching, frames, severity, seed)
    if teaching == BLIND:
        bank = _calibrated(taught, features, grid, size, seed, light_scatter(frames, features, seed=seed))
        return dict.fromkeys(CONDITIONS, bank)
    if teaching == UNSEEN:
        banks: _Banks = {}
        for family in FAMILIES:
            others = [kind for kind in KINDS if kind not in family]
            scatter = light_scatter(frames, features, seed=seed, kinds=others)
            bank = _calibrated(taught, features, grid, size, seed, scatter)
            banks |= dict.fromkeys(family, bank)
        return banks
    return dict.fromkeys(CONDITIONS, _calibrated(taught, features, grid, size, seed))


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
    grid: _Grid,
    size: int,
    seed: int,
    scatter: LightScatter | None = None,
) -> _Bank:
    """A bank of everything, with the threshold from training pictures held out in turn under the original light."""
    order = np.random.default_rng(seed).permutation(len(taught)).tolist()
    held_out = max(2, len(taught) // HOLDOUT)
    every = [[features(frame) for frame in one] for one in taught]
    scores = []
    for start in range(0, FOLDS * held_out, held_out):
        fold = set(order[start : start + held_out])
        bank = _bank([own for number, own in enumerate(every) if number not in fold], grid, size, seed, scatter)
        scores += [bank.score(every[number][0]) for number in sorted(fold)]
    return dataclasses.replace(_bank(every, grid, size, seed, scatter), held_out=tuple(scores))


def _bank(
    every: Sequence[Sequence[NDArray[np.float32]]], grid: _Grid, size: int, seed: int, scatter: LightScatter | None
) -> _Bank:
    patches = np.concatenate([own for one in every for own in one])
    blinded = None if scatter is None else partial(light_blind_projection, scatter)
    projection = learn_projection(patches, load_backbone().layers, blinded)
    head = patchcore.learn(patches, projection, size, seed, lambda fraction: None)
    return _Bank(head, grid)
