"""Where the lines, bars and marks of a report's charts lie, in SVG units; the templates only draw them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.measure import Labels, Scores

WIDTH, HEIGHT = 340.0, 280.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 20.0, 12.0, 40.0
HISTOGRAM_HEIGHT = 196.0
MIDDLE = 84.0
"""Where the bars of good pictures stand on and those of defective ones hang from."""
LONGEST_BAR = 62.0

BINS_TO_THRESHOLD = 24
"""So the threshold lies on the edge of a bin, and no bin mixes NORMAL with ANOMALY."""
MOST_SHARE = 4
"""Scores further above the threshold are put into the last bin."""

CORNERS = (0.05, 0.1, 0.2, 0.4)
LABEL_HEIGHT = 15.0
LETTER_WIDTH = 7.0
LONGEST_LABEL = (WIDTH - LEFT) / 2 - 11
"""There is room for this on one side of every mark; longer names run out of the chart."""


@dataclass(frozen=True)
class Tick:
    position: float
    label: str


@dataclass(frozen=True)
class Mark:
    """A model's point."""

    name: str
    x: float
    y: float


@dataclass(frozen=True)
class Roc:
    """ROC curves, or one corner of them: SVG paths by model, and where each model's threshold puts it."""

    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    paths: Mapping[str, str]
    marks: tuple[Mark, ...]
    corner: float
    """The largest false-positive rate shown."""


@dataclass(frozen=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    wrong: bool


@dataclass(frozen=True)
class Histogram:
    """Shares of the good pictures upwards, of the defective ones downwards."""

    good: tuple[Bar, ...]
    defective: tuple[Bar, ...]
    threshold: float
    """Across."""
    across: tuple[Tick, ...]
    tallest: float
    """The share that the longest bar stands for."""


@dataclass(frozen=True)
class Labelled:
    """A mark and where its name is written."""

    mark: Mark
    label_y: float
    leftwards: bool


@dataclass(frozen=True)
class TradeOff:
    """Latency across (logarithmic), image AUROC up."""

    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    points: tuple[Labelled, ...]


@dataclass(frozen=True)
class Outcome:
    """A model's scores on labelled pictures."""

    name: str
    scores: Scores
    defective: Labels
    threshold: float

    @property
    def both(self) -> bool:
        """Whether there are good and defective pictures."""
        return bool(self.defective.any() and not self.defective.all())


def roc_points(scores: Scores, defective: Labels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False-positive and true-positive rates from (0, 0) to (1, 1); equal scores are one step.

    Args:
        scores: (N,), raw.
        defective: (N,), some true and some false.
    """
    order = np.argsort(-scores, kind="stable")
    last_of_equal = np.append(np.diff(scores[order]) != 0, True)
    found = np.cumsum(defective[order])[last_of_equal]
    rejected = np.cumsum(~defective[order])[last_of_equal]
    return np.append(0, rejected / rejected[-1]), np.append(0, found / found[-1])


def roc(outcomes: Sequence[Outcome]) -> tuple[Roc, ...]:
    """The whole chart, and its upper left corner enlarged where that shows more; nothing without both labels."""
    outcomes = [outcome for outcome in outcomes if outcome.both]
    if not outcomes:
        return ()
    curves = {outcome.name: roc_points(outcome.scores, outcome.defective) for outcome in outcomes}
    points = {outcome.name: _operating_point(outcome) for outcome in outcomes}
    charts = [_roc(curves, points, 1.0)]
    # How far from the corner each curve passes by; a curve of a perfect model goes through it.
    passes = max(float(np.min(np.maximum(fpr, 1 - tpr))) for fpr, tpr in curves.values())
    corner = next((span for span in CORNERS if span >= 2 * passes), None)
    if passes > 0 and corner is not None:
        charts.append(_roc(curves, points, corner))
    return tuple(charts)


def histograms(outcomes: Sequence[Outcome]) -> dict[str, Histogram]:
    """One for each model, all on the same scales: scores as shares of each model's threshold."""
    if not outcomes:
        return {}
    shares = {outcome.name: outcome.scores / outcome.threshold for outcome in outcomes}
    lowest = min(float(own.min()) for own in shares.values())
    highest = max(float(own.max()) for own in shares.values())
    first = max(0, math.floor(4 * (min(lowest, 0.9) - 0.1))) * BINS_TO_THRESHOLD // 4
    last = math.ceil(min(MOST_SHARE, max(1.25, highest)) * BINS_TO_THRESHOLD)
    counted = {
        outcome.name: tuple(
            _shares(shares[outcome.name][of_kind], first, last) for of_kind in (good, outcome.defective)
        )
        for outcome in outcomes
        for good in (~outcome.defective,)
    }
    tallest = max(float(kind.max()) for kinds in counted.values() for kind in kinds)
    return {name: _histogram(good, defective, first, tallest) for name, (good, defective) in counted.items()}


def trade_off(points: Sequence[tuple[str, float, float]]) -> TradeOff | None:
    """How good and how fast: of (name, latency in ms, image AUROC); ``None`` for less than two models."""
    if len(points) < 2:
        return None
    fastest, slowest = min(ms for _, ms, _ in points), max(ms for _, ms, _ in points)
    low, high = math.log10(fastest / 1.5), math.log10(slowest * 1.5)
    worst = min(auroc for _, _, auroc in points)
    step = next(step for step in (0.005, 0.01, 0.02, 0.05, 0.1, 0.25) if 1 - worst <= 4 * step)
    bottom = max(0.0, 1 - step * max(2, math.ceil((1 - worst) / step + 0.25)))
    marks = [
        Mark(name, _across((math.log10(ms) - low) / (high - low)), _up((auroc - bottom) / (1 - bottom)))
        for name, ms, auroc in points
    ]
    values = [value for decade in range(-2, 6) for value in (10.0**decade, 2 * 10.0**decade, 5 * 10.0**decade)]
    inside = [value for value in values if low <= math.log10(value) <= high]
    return TradeOff(
        across=tuple(Tick(_across((math.log10(value) - low) / (high - low)), f"{value:g}") for value in inside),
        up=tuple(
            Tick(_up((value - bottom) / (1 - bottom)), f"{value:.3f}")
            for value in np.arange(bottom, 1 + step / 2, step).tolist()
        ),
        points=_labelled(marks),
    )


def _across(share: float, left: float = LEFT) -> float:
    return round(left + share * (WIDTH - left - RIGHT), 1)


def _up(share: float) -> float:
    return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def _operating_point(outcome: Outcome) -> tuple[float, float]:
    anomaly = outcome.scores > outcome.threshold
    return float(anomaly[~outcome.defective].mean()), float(anomaly[outcome.defective].mean())


def _roc(
    curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    points: Mapping[str, tuple[float, float]],
    corner: float,
) -> Roc:
    def x(fpr: float) -> float:
        return _across(fpr / corner)

    def y(tpr: float) -> float:
        return _up(1 - (1 - tpr) / corner)

    paths = {
        name: "M"
        + "L".join(f"{x(fpr)} {y(tpr)}" for fpr, tpr in zip(*(rates.tolist() for rates in curve), strict=True))
        for name, curve in curves.items()
    }
    shares = [quarter / 4 for quarter in range(5)]
    return Roc(
        across=tuple(Tick(_across(share), _percent(share * corner)) for share in shares),
        up=tuple(Tick(_up(share), _percent(1 - (1 - share) * corner)) for share in shares),
        paths=paths,
        marks=tuple(
            Mark(name, x(fpr), y(tpr)) for name, (fpr, tpr) in points.items() if fpr <= corner and tpr >= 1 - corner
        ),
        corner=corner,
    )


def _shares(shares_of_threshold: NDArray[np.float64], first: int, last: int) -> NDArray[np.float64]:
    """Shares of all pictures by bin; a bin takes its upper edge, because a score at the threshold is NORMAL."""
    places = np.ceil(shares_of_threshold * BINS_TO_THRESHOLD).astype(np.int64) - 1
    counts = np.bincount(np.clip(places, first, last - 1) - first, minlength=last - first)
    return counts / max(1, shares_of_threshold.size)


def _histogram(good: NDArray[np.float64], defective: NDArray[np.float64], first: int, tallest: float) -> Histogram:
    bins = len(good)
    left, right = first / BINS_TO_THRESHOLD, (first + bins) / BINS_TO_THRESHOLD

    def across(share_of_threshold: float) -> float:
        return _across((share_of_threshold - left) / (right - left), left=RIGHT)

    def bars(shares: NDArray[np.float64], *, upwards: bool) -> tuple[Bar, ...]:
        made = []
        for place in np.flatnonzero(shares).tolist():
            start, end = ((first + place + step) / BINS_TO_THRESHOLD for step in (0, 1))
            height = round(max(2.0, LONGEST_BAR * float(shares[place]) / tallest), 1)
            x, width = across(start) + 0.5, round(across(end) - across(start) - 1, 1)
            made.append(Bar(x, MIDDLE - height if upwards else MIDDLE, width, height, (start >= 1) == upwards))
        return tuple(made)

    step = 0.25 if right - left <= 1.25 else 0.5
    ticks = [count * step for count in range(math.ceil(left / step), math.floor(right / step) + 1)]
    return Histogram(
        good=bars(good, upwards=True),
        defective=bars(defective, upwards=False),
        threshold=across(1),
        across=tuple(Tick(across(share), f"{share:g}×") for share in ticks),
        tallest=tallest,
    )


def _labelled(marks: Sequence[Mark]) -> tuple[Labelled, ...]:
    """Names are written beside their marks, over no other name or mark: where there is no room, further down."""
    taken = [_Box(mark.x - 8, mark.x + 8, mark.y - 7, mark.y + 7) for mark in marks]
    placed = []
    for mark in sorted(marks, key=lambda mark: (mark.y, mark.x)):
        label, box = next(
            (label, box)
            for label, box in _places(mark)
            if box.left >= LEFT and box.right <= WIDTH and not any(box.overlaps(other) for other in taken)
        )
        taken.append(box)
        placed.append(label)
    return tuple(placed)


@dataclass(frozen=True)
class _Box:
    left: float
    right: float
    top: float
    bottom: float

    def overlaps(self, other: _Box) -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


def _places(mark: Mark) -> Iterator[tuple[Labelled, _Box]]:
    """Where a name may stand, the best place first."""
    length = min(LETTER_WIDTH * len(mark.name), LONGEST_LABEL)
    for step in itertools.count():
        y = mark.y + step * LABEL_HEIGHT
        for leftwards in (False, True):
            near, far = (mark.x - 10, mark.x - 10 - length) if leftwards else (mark.x + 10, mark.x + 10 + length)
            box = _Box(min(near, far), max(near, far), y - LABEL_HEIGHT / 2 + 0.5, y + LABEL_HEIGHT / 2 - 0.5)
            yield Labelled(mark, y, leftwards), box


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"
