"""Where the threshold of a place lies: by which rule, from which scores, and what it promises."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detector.counted import counted
from detector.score import LARGEST
from detector.thresholds.independence import independent_parts
from detector.thresholds.promises import MIN_PARTS, Numbers, Outlook, Promise, promise

DEFAULT_K = 3.0
MIN_K, MAX_K = 1.0, 10.0
"""Below the one every sixth good part is rejected; beyond the other nothing is ever found: the widest spread of good
parts seen so far asks for 6."""
_STORED_K = 100.0
"""What older files may hold."""
MIN_ONE_IN, MAX_ONE_IN = 5, 100_000


_TOO_FAR_APART = "the scores are so far apart that no part could ever be above such a threshold"


@dataclass(frozen=True)
class KSigma:
    """mean + k·std of the scores of good parts."""

    k: float


@dataclass(frozen=True)
class OneIn:
    """Reject one good part in so many, on average."""

    one_in: int


Rule = KSigma | OneIn
DEFAULT_RULE: Rule = OneIn(30)
"""Of teaching: on twelve products and three seeds 2.3 % of good parts are rejected and 16 % of the defects escape; at
1 in 35 it is 1.8 and 17 % (docs/calibration.md)."""


@dataclass(frozen=True)
class Calibration:
    """A threshold and where it comes from; all scores raw.

    ``k`` or ``one_in``: the rule, the other is nothing. ``promise``: of good parts rejected; ``no_promise``: why there
    is none, and what is needed for one. ``lowest_defect``: score of the known defect that kept the threshold lower than
    the rule would have it.
    """

    threshold: float
    mean: float
    std: float
    n_images: int
    k: float | None
    one_in: int | None = None
    promise: Promise | None = None
    no_promise: str | None = None
    lowest_defect: float | None = None


def calibrate(
    scores: Sequence[float],
    rule: Rule | float = DEFAULT_RULE,
    *,
    defects: Sequence[float] = (),
    independent: float | None = None,
) -> Calibration:
    """The threshold by this rule (a number means mean + k·std).

    Args:
        scores: raw scores of good parts, in the order they were taken.
        rule: where the threshold shall lie.
        defects: raw scores of parts known to be defective. Where all of them lie above all good parts, the threshold
            stays below them.
        independent: how many independent parts the scores are worth; by default what their order says. The threshold
            does not depend on it, the promise does.

    Raises:
        ValueError: fewer than two scores, a rule that cannot be, a score that is not finite, or a threshold that could
            not be one: zero, or beyond every number.
    """
    rule = checked(rule if isinstance(rule, KSigma | OneIn) else KSigma(rule))
    if len(scores) < 2:
        few = counted(len(scores), "normal image is", "normal images are")
        raise ValueError(f"{few} too few: at least 2 are needed, 20 or more are better")
    values = np.asarray(scores, np.float64)
    if not (np.isfinite(values).all() and np.isfinite(np.asarray(defects, np.float64)).all()):
        raise ValueError("a score is not a finite number")
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = float(values.mean()), float(values.std(ddof=1))
    if not (values > 0).any():
        raise ValueError("all images score zero: the memory bank holds these very images; take new ones")
    if not (math.isfinite(mean) and math.isfinite(std)):
        raise ValueError(_TOO_FAR_APART)
    independent = independent_parts(scores) if independent is None else independent
    if isinstance(rule, KSigma):
        threshold = mean + rule.k * std
    else:
        threshold = min(max(mean, Outlook(values, len(values)).threshold_for(1 / rule.one_in)), _highest(mean, std))
    if not 0 < threshold < LARGEST:
        raise ValueError(_TOO_FAR_APART)
    kept_below = _kept_below(threshold, values, defects)
    if kept_below is not None:
        threshold = _between(float(values.max()), kept_below)
    promised = promise(values, threshold, independent)
    return Calibration(
        threshold,
        mean,
        std,
        len(values),
        rule.k if isinstance(rule, KSigma) else None,
        rule.one_in if isinstance(rule, OneIn) else None,
        promised,
        None if promised else _why_not(len(values), independent),
        kept_below,
    )


def checked(rule: Rule) -> Rule:
    """The rule, if it can be one.

    Raises:
        ValueError: its number is out of range.
    """
    if isinstance(rule, KSigma) and not MIN_K <= rule.k <= MAX_K:
        raise ValueError(f"k is {rule.k}: it must be a number from {MIN_K:g} to {MAX_K:g}")
    if isinstance(rule, OneIn) and not MIN_ONE_IN <= rule.one_in <= MAX_ONE_IN:
        raise ValueError(f"one_in is {rule.one_in}: it must be a whole number from {MIN_ONE_IN} to {MAX_ONE_IN}")
    return rule


def _kept_below(threshold: float, values: Numbers, defects: Sequence[float]) -> float | None:
    """The lowest known defect, where the rule would let it pass though every good part lies below it."""
    if not len(defects):
        return None
    lowest = float(min(defects))
    return lowest if float(values.max()) < lowest <= threshold else None


def _between(good: float, defect: float) -> float:
    """In the middle, and below the defect also where no number lies between: what is at the threshold is not found."""
    middle = good + (defect - good) / 2
    return middle if middle < defect else good


def _why_not(parts: int, independent: float) -> str:
    more = math.ceil((MIN_PARTS - independent) * parts / independent)
    if independent > parts - 0.5:
        return f"{counted(parts, 'good part is', 'good parts are')} too few for a promise: take {max(1, more)} more"
    return (
        f"the {parts} frames are alike one after the other, worth about {in_parts(independent)}, too few for a "
        f"promise: take {max(1, more)} more of as many different parts as there are"
    )


def in_parts(worth: float) -> str:
    """So many parts, rounded."""
    return counted(round(worth), "part")


def fault(
    threshold: float,
    mean: float,
    std: float,
    n_images: int,
    k: float | None,
    one_in: int | None = None,
    lowest_defect: float | None = None,
) -> str | None:
    """What is wrong with a calibration that comes from a file: one clause; None where it can be what it says."""
    if not all(math.isfinite(number) for number in (threshold, mean, std, k, lowest_defect) if number is not None):
        return "a number in it is not finite"
    if n_images < 2:
        return f"a calibration on {counted(n_images, 'image')} cannot be"
    if (k is None) == (one_in is None):
        return "it must say either k or one_in"
    if std < 0 or not 0 < threshold < LARGEST or (k is not None and not 0 <= k <= _STORED_K):
        return f"threshold {threshold:g}, std {std:g} and k {k} cannot be"
    if one_in is not None and not (MIN_ONE_IN <= one_in <= MAX_ONE_IN and follows(threshold, mean, std)):
        return f"threshold {threshold:g} and one_in {one_in} cannot be"
    by_rule = threshold if k is None else mean + k * std
    if lowest_defect is not None:
        below = threshold < lowest_defect <= by_rule or k is None
        return None if below else f"its threshold {threshold:g} is not below the lowest defect ({lowest_defect:g})"
    if not math.isclose(threshold, by_rule, rel_tol=1e-9):
        return f"its threshold {threshold:g} is not mean + k·std ({by_rule:g})"
    return None


def follows(threshold: float, mean: float, std: float) -> bool:
    """Whether a threshold can be one that any rule makes of scores with this mean and standard deviation."""
    rounding = 1e-6
    return mean * (1 - rounding) <= threshold <= _highest(mean, std) * (1 + rounding)


def _highest(mean: float, std: float) -> float:
    return max(mean + _STORED_K * std, 2 * mean)
