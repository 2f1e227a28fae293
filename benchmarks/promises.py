"""Whether thresholds keep what they promise, and what they let pass.

    python -m benchmarks.promises FOLDER [--cache FOLDER]

The folder holds data sets with labelled pictures, one in each of its folders. From the scores of good parts that no
memory bank has seen, some are drawn as if for a calibration, and the threshold is judged by the others: at random, or,
of sets with an order in time, a run of neighbours, judged by what came later. Scores are kept in the cache, so that an
interrupted run goes on; another detector needs another one.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy import optimize, stats  # type: ignore[import-untyped]

from benchmarks.good_scores import Scores, SetScores, gathered
from detector.thresholds import DEFAULT_RULE, KSigma, OneIn, Rule, calibrate, independent_parts
from detector.thresholds.promises import CONFIDENCE, HEAVY, MIN_PARTS, Outlook, Promise, kept
from training.reports.markdown import table

DRAWS = 200
TAKEN = (20, 50, 100)
LATER = 10
"""Parts at the least that a draw is judged by."""
MANY = 40
"""And from which on the share of them that is rejected says something."""
ONE_IN = 100
SHAPES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
DEFAULTS: tuple[Rule, ...] = (KSigma(2.5), KSigma(3.0), *(OneIn(one_in) for one_in in (20, 30, 35, 40, 50, 100)))


@dataclass(frozen=True)
class Promised:
    """A threshold, and the share of good parts above it: expected, and at most with 95 % confidence."""

    threshold: float
    expected: float
    at_most: float


PromisingRule = Callable[[Scores, int], Promised]
"""From scores in the order they were taken, and one in how many may be rejected."""


def gaussian(scores: Scores, one_in: int) -> Promised:
    """Scores taken for Gaussian: the next one lies above with this probability; bounded as tolerance limits are."""
    factor, at_most = _gaussian(len(scores), one_in)
    return Promised(float(scores.mean() + factor * scores.std(ddof=1)), 1 / one_in, at_most)


def gaussian_logs(scores: Scores, one_in: int) -> Promised:
    """The same of their logarithms."""
    found = gaussian(np.log(scores), one_in)
    return Promised(float(np.exp(found.threshold)), found.expected, found.at_most)


def three_sigma(scores: Scores, one_in: int) -> Promised:
    """mean + 3·std, which knows no target; what it would promise of Gaussian scores."""
    expected, at_most = _of_factor(len(scores), 3.0)
    return Promised(float(scores.mean() + 3 * scores.std(ddof=1)), expected, at_most)


def order_statistic(scores: Scores, one_in: int) -> Promised:
    """Conformal: the highest score, or a lower one where there are enough. Nothing is taken for granted."""
    count = len(scores)
    above = max(0, (count + 1) // one_in - 1)
    at_most = float(stats.beta.ppf(CONFIDENCE, above + 1, count - above))
    return Promised(float(np.sort(scores)[count - 1 - above]), (above + 1) / (count + 1), at_most)


def shipped(scores: Scores, one_in: int) -> Promised:
    """The rule of detector.thresholds."""
    return with_tail(scores, one_in, HEAVY)


def with_tail(scores: Scores, one_in: int, shape: float) -> Promised:
    """The same, its bound for another shape of the tail."""
    placing, promising = _outlooks(tuple(scores.tolist()))
    threshold = placing.threshold_for(1 / one_in)
    return Promised(threshold, promising.expected(threshold), promising.at_most(threshold, shape))


@cache
def _outlooks(scores: tuple[float, ...]) -> tuple[Outlook, Outlook]:
    """What places the threshold, of so many parts, and what promises, of so many independent ones: as in calibrate."""
    values, independent = np.array(scores), independent_parts(scores)
    placing = Outlook(values, len(values))
    return placing, placing if independent == len(values) else Outlook(values, independent)


RULES: dict[str, PromisingRule] = {
    "mean + 3·std": three_sigma,
    "Gaussian": gaussian,
    "Gaussian, logarithms": gaussian_logs,
    "order statistic (conformal)": order_statistic,
    "Gumbel, its own tail": lambda scores, one_in: with_tail(scores, one_in, 0.0),
    "**Gumbel, heavy tail** (shipped)": shipped,
}


@cache
def _gaussian(count: int, one_in: int) -> tuple[float, float]:
    factor = float(stats.t.ppf(1 - 1 / one_in, count - 1) * np.sqrt(1 + 1 / count))
    return factor, _of_factor(count, factor)[1]


@cache
def _of_factor(count: int, factor: float) -> tuple[float, float]:
    expected = float(stats.t.sf(factor / np.sqrt(1 + 1 / count), count - 1))
    root = np.sqrt(count)
    limit = optimize.brentq(lambda z: stats.nct.cdf(factor * root, count - 1, z * root) - CONFIDENCE, 0, factor)
    return expected, float(stats.norm.sf(limit))


@dataclass(frozen=True)
class Outcome:
    """What came of one draw."""

    name: str
    promised: Promised
    realised: float
    escapes: float
    later: int

    @property
    def kept(self) -> bool:
        return self.realised <= self.promised.at_most

    @property
    def but_for_chance(self) -> bool:
        """Kept, or broken by no more than chance explains: of 15 later parts one alone is 7 %."""
        promise = Promise(self.promised.expected, self.promised.at_most, CONFIDENCE, self.later, self.later)
        rejected = round(self.realised * self.later)
        return kept(promise, self.later - rejected, rejected) is not False


def draws(one: SetScores, count: int) -> Iterator[tuple[Scores, Scores]]:
    """Scores taken, in order, and those they are judged by; nothing where the set is too small."""
    spare = len(one.unseen) - count - LATER
    if spare < 0:
        return
    for number in range(DRAWS):
        random = np.random.default_rng([number, count])
        if one.ordered:
            start = int(random.integers(spare + 1))
            yield one.unseen[start : start + count], one.unseen[start + count :]
        else:
            order = random.permutation(len(one.unseen))
            yield one.unseen[order[:count]], one.unseen[order[count:]]


def outcomes(sets: Sequence[SetScores], count: int, rule: PromisingRule, one_in: int = ONE_IN) -> list[Outcome]:
    """Of all draws from which a promise is made: too few independent parts make none."""
    found = []
    for one in sets:
        for taken, later in draws(one, count):
            if independent_parts(taken.tolist()) >= MIN_PARTS:
                promised = rule(taken, one_in)
                above, escaped = later > promised.threshold, one.defective <= promised.threshold
                found.append(Outcome(one.name, promised, float(above.mean()), float(escaped.mean()), len(later)))
    return found


def over_sets(found: Sequence[Outcome], figure: Callable[[Outcome], float]) -> dict[str, float]:
    """The mean of a figure, for each set."""
    names = dict.fromkeys(one.name for one in found)
    return {name: float(np.mean([figure(one) for one in found if one.name == name])) for name in names}


def summary(found: Sequence[Outcome]) -> list[str]:
    """Means over sets, each with the same weight; the worst set."""
    kept = over_sets(found, lambda one: one.kept)
    worst = min(kept, key=kept.__getitem__)
    figures: list[Callable[[Outcome], float]] = [
        lambda one: one.promised.expected,
        lambda one: one.promised.at_most,
        lambda one: one.realised,
        lambda one: one.escapes,
    ]
    means = [f"{100 * np.mean(list(over_sets(found, figure).values())):.1f} %" for figure in figures]
    shares = (
        over_sets([one for one in found if one.later >= MANY], lambda one: one.kept),
        over_sets(found, lambda one: one.but_for_chance),
    )
    others = [f"{np.mean(list(share.values())):.0%}" if share else "" for share in shares]
    return [*means[:3], f"**{np.mean(list(kept.values())):.0%}**", *others, f"{worst} {kept[worst]:.0%}", means[3]]


HEADS = ["expected", "at most", "came true", "kept", f"{MANY} or more judge", "but for chance", "worst set", "escapes"]


def rules_compared(sets: Sequence[SetScores]) -> str:
    rows = [
        [count, name, *summary(found)]
        for count in TAKEN
        for name, rule in RULES.items()
        if (found := outcomes(sets, count, rule))
    ]
    return table(["parts", "rule", *HEADS], rows)


def targets(sets: Sequence[SetScores]) -> str:
    rows = [
        [f"1 in {one_in}", count, *summary(outcomes(sets, count, shipped, one_in))]
        for one_in in (20, 30, 50, 200, 1000)
        for count in TAKEN[:2]
    ]
    return table(["target", "parts", *HEADS], rows)


def kept_by_shape(sets: Sequence[SetScores], count: int) -> dict[float, dict[str, float]]:
    """In which share of draws the shipped rule is kept, for each shape of the tail and each set."""
    kept: dict[float, dict[str, list[bool]]] = {shape: {} for shape in SHAPES}
    for one in sets:
        for taken, later in draws(one, count):
            if independent_parts(taken.tolist()) < MIN_PARTS:
                continue
            placing, outlook = _outlooks(tuple(taken.tolist()))
            threshold = placing.threshold_for(1 / ONE_IN)
            realised = float((later > threshold).mean())
            for shape in SHAPES:
                kept[shape].setdefault(one.name, []).append(realised <= outlook.at_most(threshold, shape))
    return {shape: {name: float(np.mean(each)) for name, each in found.items()} for shape, found in kept.items()}


def chosen_by_others(kept: dict[float, dict[str, float]], name: str) -> float:
    """The lightest tail that keeps the promise on the mean of all sets but one."""
    means = {shape: np.mean([share for other, share in kept[shape].items() if other != name]) for shape in SHAPES}
    return next((shape for shape in SHAPES if means[shape] >= CONFIDENCE), SHAPES[-1])


def set_by_set(sets: Sequence[SetScores]) -> str:
    """The shipped rule, and whether it is kept on a set by the lightest tail that the other sets would have chosen."""
    kept = {count: kept_by_shape(sets, count) for count in TAKEN[:2]}
    rows = []
    for one in sets:
        row: list[object] = [f"{one.name}, in time" if one.ordered else one.name]
        for count in TAKEN[:2]:
            chosen = chosen_by_others(kept[count], one.name)
            shares = [kept[count][shape].get(one.name) for shape in (HEAVY, chosen)]
            row += [f"{share:.0%}" if share is not None else "" for share in shares]
            row[-1] = f"{row[-1]} ({chosen:g})" if row[-1] else ""
        refused = [independent_parts(taken.tolist()) < MIN_PARTS for taken, _ in draws(one, TAKEN[0])]
        rows.append([*row, f"{np.mean(refused):.0%}" if refused else ""])
    heads = [f"{count} parts: {what}" for count in TAKEN[:2] for what in ("kept", "tail chosen by the others")]
    return table(["pictures", *heads, f"no promise from {TAKEN[0]}"], rows)


def defaults(sets: Sequence[SetScores]) -> str:
    """What a model's own threshold would do, by rule: from held-out scores of teaching, on the test pictures."""
    rows = []
    for rule in DEFAULTS:
        thresholds = [calibrate(one.held_out.tolist(), rule).threshold for one in sets]
        rejected = sum(int((one.good > limit).sum()) for one, limit in zip(sets, thresholds, strict=True))
        good = sum(len(one.good) for one in sets)
        escapes = {one.name: float((one.bad <= limit).mean()) for one, limit in zip(sets, thresholds, strict=True)}
        name = f"mean + {rule.k:g}·std" if isinstance(rule, KSigma) else f"1 in {rule.one_in}"
        worst = max(escapes, key=escapes.__getitem__)
        name = f"**{name}** (default)" if rule == DEFAULT_RULE else name
        share = f"{rejected} of {good} ({rejected / good:.1%})"
        rows.append([name, share, f"{np.mean(list(escapes.values())):.1%}", f"{worst} {escapes[worst]:.0%}"])
    return table(["rule", "false rejects", "escapes, mean of sets", "most"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cache", type=Path)
    asked = parser.parse_args()
    folders = sorted(path.parent for path in asked.folder.glob("*/train"))
    with tempfile.TemporaryDirectory() as fresh:
        sets = [gathered(folder, asked.cache or Path(fresh)) for folder in folders]
    print(f"{DRAWS} draws of each of {len(sets)} sets, one in {ONE_IN} asked for; *kept*: the share of good parts that")
    print(f"was rejected later is within *at most*; then the same of the draws that {MANY} or more later parts judge;")
    print("then of all, where rejects beyond it count only if chance does not explain them (1 of 15 is 7 %).\n")
    print(f"{rules_compared(sets)}\n", flush=True)
    print(f"Other targets, by the shipped rule:\n\n{targets(sets)}\n")
    print(f"Set by set, 1 in {ONE_IN}, the shipped rule (tail {HEAVY:g}):\n\n{set_by_set(sets)}\n")
    print(f"The threshold a model brings along, from held-out pictures of teaching:\n\n{defaults(sets)}")


if __name__ == "__main__":
    main()
