"""What is to be thought of a capture before its threshold is in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detector import near_copies
from detector.counted import counted
from detector.thresholds.independence import independent_parts
from detector.thresholds.promises import MIN_PARTS
from detector.thresholds.rules import Calibration, OneIn, Rule, calibrate, checked, in_parts
from detector.thresholds.suspects import Suspect, suspects

SHOWN = 4
"""Frames with the highest scores that are named beside the suspects: on hard surfaces a defect is among them."""
_BINS = 24
_STILL_PARTS = 3.0
"""Independent parts below which no rule makes a threshold."""
_STILL_SPREAD = 0.2
"""Of the spread that teaching found from part to part: frames that differ less show one part."""
_BLANK_GREY_LEVELS = 1.0
"""Contrast of a small picture that shows nothing."""
_HIGHER = 1.5
"""Times the middle score of teaching: from there on the capture shows something else than what was taught."""
_FORGIVING = 2.0
"""Times the threshold in force: a new one beyond it is worth a question."""


@dataclass(frozen=True)
class Histogram:
    """Counts of scores between neighbouring ``edges`` (raw, one more than counts): of the capture, of teaching."""

    edges: tuple[float, ...]
    captured: tuple[int, ...]
    taught: tuple[int, ...]


@dataclass(frozen=True)
class Margin:
    """Raw scores: the highest of the good parts, the lowest of the known defects."""

    highest_good: float
    lowest_defect: float


@dataclass(frozen=True)
class Judgement:
    """What is to be thought of a capture.

    ``calibration``: of all frames, near-copies counted once; nothing where the capture is ``refused`` and none could be
    made. ``without_suspects``: the same but for the suspects; nothing without suspects, or where too few frames are
    left. ``highest``: places of the frames with the highest scores that are no suspects, the highest first.
    ``independent``: parts that all frames are worth. ``refused``: why it cannot be set at all. ``warnings``: why it
    should not be set unseen. ``now_rejected``, ``then_rejected`` and ``then_without_suspects``: of the last ``of``
    frames inspected, by the threshold in force, by the new one, and by that without suspects (nothing where there is
    none).
    """

    calibration: Calibration | None
    without_suspects: Calibration | None
    suspects: tuple[Suspect, ...]
    highest: tuple[int, ...]
    independent: float
    refused: str | None
    warnings: tuple[str, ...]
    histogram: Histogram
    now_rejected: int
    then_rejected: int
    then_without_suspects: int | None
    of: int
    margin: Margin | None

    @property
    def warnings_in_force(self) -> tuple[str, ...]:
        """The warnings as they read once ``calibration`` is in force: nothing can be left out of it any more."""
        count = len(self.suspects)
        counted_in = f"{_look_bad(count)}, and the threshold was placed with {'it' if count == 1 else 'them'}"
        return tuple(counted_in if one == _before(count) else one for one in self.warnings)


def judge(
    scores: Sequence[float],
    rule: Rule,
    *,
    in_force: float | None,
    taught: Sequence[float] = (),
    recent: Sequence[float] = (),
    defects: Sequence[float] = (),
    looks: Sequence[near_copies.Look] | None = None,
) -> Judgement:
    """Judge a capture of frames of good parts.

    Args:
        scores: raw, in the order the frames were taken.
        rule: where the threshold shall lie.
        in_force: the threshold in force, raw; nothing where there is none.
        taught: raw scores of the good parts held out at teaching.
        recent: raw scores of the frames inspected last.
        defects: raw scores of parts known to be defective.
        looks: a small picture of each frame (:func:`detector.near_copies.look_of`), or nothing.

    Raises:
        ValueError: the rule cannot be, a score is not finite, or there is not a look for each score.
    """
    checked(rule)
    if looks is not None and len(looks) != len(scores):
        raise ValueError(f"{len(looks)} pictures do not fit to {len(scores)} scores")
    if not all(np.isfinite(np.asarray(values, np.float64)).all() for values in (scores, taught, recent, defects)):
        raise ValueError("a score is not a finite number")
    found = suspects(scores, in_force, taught) if len(scores) > 1 else ()
    apart = {suspect.index for suspect in found}
    clear = [score for index, score in enumerate(scores) if index not in apart]
    different = _different(scores, looks)
    good, every = [scores[index] for index in different if index not in apart], [scores[index] for index in different]
    # Near-copies count once, and neighbours that are no copies still may resemble each other.
    worth = min(independent_parts(clear), independent_parts(good))
    worth_all = min(independent_parts(scores), independent_parts(every))
    refused = _refusal(scores, clear, rule, taught, looks, worth)
    calibration = without = None
    try:
        calibration = calibrate(every, rule, defects=defects, independent=worth_all)
    except ValueError as error:
        refused = refused or str(error)
    if found and not refused:
        try:
            without = calibrate(good, rule, defects=defects, independent=worth)
        except ValueError:
            without = None  # what is left says too little: there is nothing to offer
    then = without or calibration
    return Judgement(
        calibration,
        without,
        found,
        tuple(place for place in np.argsort(scores)[::-1].tolist() if place not in apart)[:SHOWN],
        worth_all,
        refused,
        (*_warnings(clear, found, taught, in_force, then), *_few(len(scores), len(different)), *_missed(defects, then)),
        _histogram(scores, taught, in_force, then),
        sum(score > in_force for score in recent) if in_force is not None else len(recent),
        _above(recent, calibration) if calibration else len(recent),
        _above(recent, without) if without else None,
        len(recent),
        Margin(max(clear), min(defects)) if len(defects) and clear else None,
    )


def _above(scores: Sequence[float], calibration: Calibration) -> int:
    return sum(score > calibration.threshold for score in scores)


def _refusal(
    scores: Sequence[float],
    clear: Sequence[float],
    rule: Rule,
    taught: Sequence[float],
    looks: Sequence[near_copies.Look] | None,
    worth: float,
) -> str | None:
    """Why the frames cannot make a threshold; ``clear``: the scores without suspects, for defects that come one after
    the other make frames look alike that are not; ``worth``: independent parts among the different ones of these."""
    if len(scores) < 2:
        return f"{counted(len(scores), 'frame is', 'frames are')} too few: take at least 2, 20 or more are better"
    if looks is not None and float(np.median([look.contrast for look in looks])) < _BLANK_GREY_LEVELS:
        return "the frames show nothing: uncover the lens, check light and camera, then capture again"
    spread = float(np.std(scores, ddof=1))
    usual = float(np.std(taught, ddof=1)) if len(taught) >= MIN_PARTS else 0.0
    still = (
        (looks is not None and near_copies.show_one_part(looks))
        or (len(clear) >= MIN_PARTS and spread < _STILL_SPREAD * usual)
        or spread <= 1e-6 * abs(float(np.mean(scores)))
    )
    if still:
        return "the frames show one part lying still: let different good parts pass while capturing"
    if len(clear) >= MIN_PARTS and worth < _STILL_PARTS:
        return (
            f"each frame resembles the one before, so that all of them are worth about {in_parts(worth)}: let more "
            "good parts pass, or leave more time between frames"
        )
    if isinstance(rule, OneIn) and worth < MIN_PARTS:
        return (
            f"the frames are worth about {in_parts(worth)}, and a target needs at least {MIN_PARTS}: let more good "
            "parts pass, leave more time between frames, or set the threshold by mean + k·std"
        )
    return None


def _different(scores: Sequence[float], looks: Sequence[near_copies.Look] | None) -> list[int]:
    """One frame of each group of near-copies, the first; all frames where there are no looks."""
    every = list(range(len(scores)))
    if looks is None or len(looks) < 3:
        return every
    return sorted(min(group) for group in near_copies.groups(looks, every))


def _look_bad(suspects: int) -> str:
    return "1 frame looks like a defect" if suspects == 1 else f"{suspects} frames look like defects"


def _before(suspects: int) -> str:
    """What is said of suspects while they can be left out."""
    return f"{_look_bad(suspects)}: look at {'it' if suspects == 1 else 'them'}, and leave out what is not good"


def _warnings(
    scores: Sequence[float],
    found: Sequence[Suspect],
    taught: Sequence[float],
    in_force: float | None,
    then: Calibration | None,
) -> tuple[str, ...]:
    warnings = []
    if found:
        warnings.append(_before(len(found)))
    if scores and in_force is not None and sum(score > in_force for score in scores) >= len(scores) / 2:
        warnings.append(
            "most of the frames lie above the threshold in force: are these good parts of the kind that was taught, "
            "in the light they were taught in?"
        )
    elif scores and len(taught) and float(np.median(scores)) > _HIGHER * float(np.median(taught)) > 0:
        times = float(np.median(scores)) / float(np.median(taught))
        warnings.append(
            f"the scores are {times:.1f} times those of teaching: if light, camera or parts have changed, teach again"
        )
    elif then is not None and in_force is not None and then.threshold > _FORGIVING * in_force:
        warnings.append(
            f"the new threshold is {then.threshold / in_force:.1f} times the one in force, so little will be found: "
            "is the rule too forgiving?"
        )
    return tuple(warnings)


def _few(frames: int, different: int) -> tuple[str, ...]:
    if different == frames or different >= MIN_PARTS:
        return ()
    return (
        f"the {frames} frames show only {counted(different, 'different part')}: let more of them pass, or the "
        "threshold fits to these alone",
    )


def _missed(defects: Sequence[float], then: Calibration | None) -> tuple[str, ...]:
    """Known defects that the new threshold lets pass."""
    passing = sum(score <= then.threshold for score in defects) if then else 0
    if not passing or then is None:
        return ()
    return (
        f"{passing} of {len(defects)} known defects would pass: the lowest has {min(defects):.4g}, the threshold is "
        f"{then.threshold:.4g}; a rule that rejects more good parts finds more",
    )


def _histogram(
    scores: Sequence[float], taught: Sequence[float], in_force: float | None, then: Calibration | None
) -> Histogram:
    shown = [*scores, *taught, *([in_force] if in_force is not None else []), *([then.threshold] if then else [])]
    low, high = (min(shown), max(shown)) if shown else (0.0, 1.0)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    edges = np.linspace(max(0.0, low - room) if low >= 0 else low - room, high + room, _BINS + 1)
    counts = (np.histogram(np.asarray(values, np.float64), edges)[0].tolist() for values in (scores, taught))
    captured, known = (tuple(int(count) for count in one) for one in counts)
    return Histogram(tuple(edges.tolist()), captured, known)
