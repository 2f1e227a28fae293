"""What a stream is inspected with, and every change of it: frozen data, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from detector.score import LARGEST

Point = tuple[float, float]
Polygon = tuple[Point, ...]
"""Corners, x and y from 0 to 1 of the whole frame, from its left top."""

Points = NDArray[np.float64]

MOST_POLYGONS, MOST_CORNERS = 16, 64
"""Of a recipe's regions, and of one of them."""
LONGEST_NAME, LONGEST_WHY = 60, 200
SMALLEST_AREA = 1e-4
"""Share of the frame, below which a polygon is a slip of the finger."""
MOST_WINDOW = 50
"""Frames that a decision may look back on."""

GATE_SIDE = 16
"""Cells along each side of a gate by which is seen whether a part is in it."""

Action = Literal[
    "taught", "taught more", "forgiven", "remembered", "correction undone", "regions", "rule", "decision", "options",
    "parts", "renamed", "restored", "copied", "imported",
]  # fmt: skip


class RecipeError(ValueError):
    """It cannot be a recipe, or not this one; one sentence that says why."""


class Regions(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a frame is inspected: inside of ``include`` (everywhere, if there is none), and not in ``ignore``."""

    include: tuple[Polygon, ...] = ()
    ignore: tuple[Polygon, ...] = ()


class ThresholdRule(Struct, frozen=True, forbid_unknown_fields=True):
    """How the threshold is placed, one of three: by calibrations that reject about one in so many good parts, by mean +
    k · std, or ``raw``: put there by hand, whatever is calibrated."""

    one_in: int | None = None
    k: float | None = None
    raw: float | None = None


DEFAULT_RULE = ThresholdRule(one_in=30)
"""Of a recipe that nobody changed, and what to go back to where no other is remembered."""


class Decision(Struct, frozen=True, forbid_unknown_fields=True):
    """How verdicts on frames become the verdict on a stream.

    ``frame``: each frame's own. ``n_of_m``: ANOMALY while at least ``n`` of the last ``m`` frames are. ``hysteresis``:
    ANOMALY from a score above the threshold on, until ``m`` frames in a row score below ``release`` times it.
    """

    kind: Literal["frame", "n_of_m", "hysteresis"] = "frame"
    n: int = 1
    m: int = 1
    release: float = 0.9


class PartRule(Struct, frozen=True, forbid_unknown_fields=True):
    """What a part is on a stream, and how the frames of its passage make its one verdict.

    ``by``: what says that there is one. ``line``: the ids that the line names; where it names none, there are verdicts
    on frames only. ``trigger``: each trigger that is taken. ``gate``: what comes into the gate.
    ``n``: ANOMALY where at least so many of its frames are (all, if it has fewer); 1: its worst frame decides.
    ``frames``: its verdict is given with so many frames; 0: with one after a trigger, else when the part is gone.
    ``delay_ms``: frames that arrive so soon after a trigger are not of its part. ``within_ms``: after that the verdict
    is given by the frames that arrived by then; without any it is FAILED.
    ``gate``: of the frame; no corners: all of it. ``empty``: how that looks without a part, 16×16 cells in tenths of
    percent of the mean of the frame's middle half, -1 outside. ``rests``: judged by the frames in which it lies still.
    """

    by: Literal["line", "trigger", "gate"] = "line"
    n: int = 1
    frames: int = 0
    delay_ms: float = 0.0
    within_ms: float = 1000.0
    gate: Polygon = ()
    empty: tuple[int, ...] = ()
    rests: bool = True


def part_words(rule: PartRule) -> str:
    """What a part is, one clause."""
    by = {"line": "parts by the line's ids", "trigger": "parts by triggers", "gate": "parts by the gate"}[rule.by]
    frames = (
        "all their frames" if rule.frames == 0 and rule.by != "trigger" else f"{max(1, rule.frames)} of their frames"
    )
    return f"{by}, judged by {frames}" + (f", ANOMALY from {rule.n} on" if rule.n > 1 else "")


class StreamOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """``max_fps``: inspections in a second at the most."""

    max_fps: float | None = None


class ModelVersion(Struct, frozen=True, forbid_unknown_fields=True):
    """A model as it was taught (its hash) and the corrections it has since, by their names, in order."""

    taught: str
    corrections: tuple[str, ...] = ()


class Recipe(Struct, frozen=True, forbid_unknown_fields=True):
    """One version of what streams are inspected with.

    Attributes:
        id: never changes, whatever it is called.
        version: counts its changes, from 1.
        changed, who, why: when this version was made (ISO 8601), by whom, and what for.
    """

    id: str
    name: str
    version: int
    model: ModelVersion
    regions: Regions = Regions()
    rule: ThresholdRule = DEFAULT_RULE
    decision: Decision = Decision()
    options: StreamOptions = StreamOptions()
    parts: PartRule = PartRule()
    changed: str = ""
    who: str = ""
    why: str = ""


class RecipeChange(Struct, frozen=True, forbid_unknown_fields=True):
    """One step of a recipe's history. ``on``: on which data. ``before``: the version it came from, if there was one."""

    when: str
    who: str
    action: Action
    why: str
    on: str
    before: Recipe | None
    after: Recipe


CHANGEABLE = ("regions", "rule", "decision", "options", "parts")
"""What a version says beside its name and its model."""


def check_name(name: str) -> str:
    """A recipe's name, without blanks around it.

    Raises:
        RecipeError: it cannot be one.
    """
    name = " ".join(name.split())
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise RecipeError(f"a recipe's name has 1 to {LONGEST_NAME} characters that can be printed")
    return name


def check(recipe: Recipe) -> Recipe:
    """The recipe, if it can be one.

    Raises:
        RecipeError: it cannot; says what.
    """
    check_name(recipe.name)
    check_regions(recipe.regions)
    _check_rule(recipe.rule)
    _check_decision(recipe.decision)
    check_parts(recipe.parts)
    fps = recipe.options.max_fps
    if fps is not None and not 0.01 <= fps <= 1000:
        raise RecipeError("max_fps is from 0.01 to 1000 inspections a second")
    return recipe


def check_parts(rule: PartRule) -> None:
    """Check that it can say what a part is.

    Raises:
        RecipeError: it cannot; says what.
    """
    if not 1 <= rule.n <= MOST_WINDOW or not 0 <= rule.frames <= MOST_WINDOW:
        raise RecipeError(f"a part is judged by 1 to {MOST_WINDOW} of its frames")
    if rule.frames and rule.n > rule.frames:
        raise RecipeError(f"{rule.n} of a part's frames cannot be anomalies where {rule.frames} are looked at")
    if not 0 <= rule.delay_ms <= 60_000 or not 10 <= rule.within_ms <= 60_000:
        raise RecipeError("delay_ms is from 0 to 60,000, within_ms from 10 to 60,000 milliseconds")
    if rule.gate:
        check_polygon(rule.gate)
    if rule.empty and (len(rule.empty) != GATE_SIDE**2 or not all(-1 <= value <= 32_000 for value in rule.empty)):
        raise RecipeError(f"an empty gate is {GATE_SIDE**2} whole numbers from -1 to 32,000")
    if rule.by == "gate" and not any(value >= 0 for value in rule.empty):
        raise RecipeError("a gate is told apart from how it looks empty: take the empty gate out of the picture first")


def check_regions(regions: Regions) -> None:
    """Check that every polygon is one.

    Raises:
        RecipeError: one has too few or too many corners, lies outside of the frame, crosses itself, or is empty.
    """
    if len(regions.include) + len(regions.ignore) > MOST_POLYGONS:
        raise RecipeError(f"a recipe has {MOST_POLYGONS} regions at the most")
    for polygon in (*regions.include, *regions.ignore):
        check_polygon(polygon)


def check_polygon(polygon: Sequence[Point]) -> None:
    """Check that corners make a polygon on the frame.

    Raises:
        RecipeError: they do not; says why.
    """
    if not 3 <= len(polygon) <= MOST_CORNERS:
        raise RecipeError(f"a region has 3 to {MOST_CORNERS} corners, not {len(polygon)}")
    if not all(0 <= x <= 1 and 0 <= y <= 1 for x, y in polygon):
        raise RecipeError("a region lies on the frame: corners are from 0 to 1 of its width and height")
    if any(here == there for here, there in _edges(polygon)):
        raise RecipeError("a region has the same corner twice in a row")
    if _crosses_itself(polygon):
        raise RecipeError("a region's edges cross each other: draw it without crossing")
    if abs(area(polygon)) < SMALLEST_AREA:
        raise RecipeError("a region is too small to show anything")


def area(polygon: Sequence[Point]) -> float:
    """Share of the frame (shoelace formula); negative where the corners run against the clock's hands."""
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in _edges(polygon)) / 2


def _edges(polygon: Sequence[Point]) -> list[tuple[Point, Point]]:
    return list(zip(polygon, (*polygon[1:], polygon[0]), strict=True))


def _crosses_itself(polygon: Sequence[Point]) -> bool:
    """Whether two edges without a common corner touch. All at once: of 16 regions there are 30,000 pairs, and a recipe
    is looked at where streams wait."""
    starts = np.array(polygon, np.float64)
    ends = np.roll(starts, -1, axis=0)
    first, second = np.triu_indices(len(starts), 2)
    apart = (first > 0) | (second < len(starts) - 1)
    first, second = first[apart], second[apart]
    a, b, c, d = starts[first], ends[first], starts[second], ends[second]
    touching = ((a, b, c), (a, b, d), (c, d, a), (c, d, b))
    sides = [_side(*points) for points in touching]
    crossed = (sides[0] * sides[1] < 0) & (sides[2] * sides[3] < 0)
    return bool(
        any([crossed.any(), *(((s == 0) & _on(*points)).any() for s, points in zip(sides, touching, strict=True))])
    )


def _side(p: Points, q: Points, r: Points) -> NDArray[np.float64]:
    """On which side of the lines from p to q the points r lie (each N×2)."""
    return np.asarray((q[:, 0] - p[:, 0]) * (r[:, 1] - p[:, 1]) - (q[:, 1] - p[:, 1]) * (r[:, 0] - p[:, 0]))


def _on(p: Points, q: Points, r: Points) -> NDArray[np.bool_]:
    """Whether points r of the lines from p to q lie between these."""
    return np.asarray(((np.minimum(p, q) <= r) & (r <= np.maximum(p, q))).all(axis=1))


def _check_rule(rule: ThresholdRule) -> None:
    given = [value for value in (rule.one_in, rule.k, rule.raw) if value is not None]
    if len(given) != 1:
        raise RecipeError("a threshold rule is one of one_in, k and raw")
    if rule.one_in is not None and not 5 <= rule.one_in <= 100_000:
        raise RecipeError("one_in is from 5 to 100,000 good parts")
    if rule.k is not None and not 1 <= rule.k <= 10:
        raise RecipeError("k is from 1 to 10 standard deviations")
    if rule.raw is not None and not 0 < rule.raw < LARGEST:  # above it not even a frame without a score would alarm
        raise RecipeError("a threshold is a number above 0 that scores can exceed")


def _check_decision(decision: Decision) -> None:
    if not 1 <= decision.n <= decision.m <= MOST_WINDOW:
        raise RecipeError(f"a decision is by n of the last m frames, 1 ≤ n ≤ m ≤ {MOST_WINDOW}")
    if not 0.1 <= decision.release <= 1:
        raise RecipeError("release is from 0.1 to 1 of the threshold")
