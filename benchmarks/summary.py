"""Rows of several seeds as one line of a table, and what of the detector's goals they reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.rows import Row
from detector import thresholds

TUNED = ("bottle", "hazelnut", "cookie", "cubes", "circuitboard")
"""The sets that layers, weights and search were once chosen on."""
NEWER = ("magnetic_tile", "kolektorsdd", "ballscrew", "fabric_gray", "fabric_twill", "pcb_traces_a", "solar_mono")
ELSEWHERE = "other"
"""Whatever lies in a folder of one's own: nothing was ever chosen on those."""


@dataclass(frozen=True)
class Summary:
    """One data set over all seeds: means, and the worst of them. Rates and shares 0..1."""

    data_set: str
    good: int
    defective: int
    auroc: float
    worst_auroc: float
    recall: float
    escape_rate: float
    worst_escapes: int
    false_reject_rate: float
    worst_false_rejects: int
    aupro: float | None
    seconds: float
    promised: int
    """Seeds whose threshold promised something."""
    kept: int
    """Of those, the ones whose rate of rejects was within the bound, or above it by no more than chance explains."""
    at_most: float | None
    """The bound, mean of the seeds that promised."""

    @property
    def group(self) -> str:
        return "tuned" if self.data_set in TUNED else "newer" if self.data_set in NEWER else ELSEWHERE


def summary(rows: Sequence[Row]) -> Summary:
    """Of the rows of one data set, one for each seed."""
    decisions = [row.decisions for row in rows]
    promises = [row.promise for row in rows if row.promise]
    return Summary(
        data_set=rows[0].data_set,
        good=len(rows[0].good),
        defective=len(rows[0].defective),
        auroc=fmean(row.auroc for row in rows),
        worst_auroc=min(row.auroc for row in rows),
        recall=fmean(row.recall.recall for row in rows),
        escape_rate=fmean(made.escapes / made.defective for made in decisions),
        worst_escapes=max(made.escapes for made in decisions),
        false_reject_rate=fmean(made.false_rejects / made.good for made in decisions),
        worst_false_rejects=max(made.false_rejects for made in decisions),
        aupro=mean([row.aupro for row in rows]),
        seconds=fmean(row.seconds for row in rows),
        promised=len(promises),
        kept=sum(_kept(row) for row in rows if row.promise),
        at_most=mean([promise["at_most"] for promise in promises]),
    )


def _kept(row: Row) -> bool:
    assert row.promise
    made = row.decisions
    outcome = thresholds.kept(thresholds.Promise(**row.promise), made.good - made.false_rejects, made.false_rejects)
    return outcome is not False


def mean(values: Sequence[float | None]) -> float | None:
    """Of those that are known."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


Sets = Mapping[str, Summary]
"""By data set."""
Summaries = Mapping[str, Sets]
"""By preset."""


def over(found: Sets, group: str, name: str) -> float | None:
    """Mean of a figure over the sets of a group, each counting the same."""
    return mean([getattr(one, name) for one in found.values() if one.group == group])


def all_false_rejects(found: Sets) -> float | None:
    """Share of all good pictures of all sets that were rejected."""
    good = sum(one.good for one in found.values())
    return sum(one.false_reject_rate * one.good for one in found.values()) / good if good else None


@dataclass(frozen=True)
class Goal:
    """What was asked for, what an older checkout reached, and what was reached."""

    what: str
    limit: float
    at_least: bool
    before: float | None
    reached: float | None
    digits: str
    """Format of the figures."""

    @property
    def line(self) -> list[str]:
        def written(value: float | None) -> str:
            return "–" if value is None else f"{value:{self.digits}}"

        met = "–"
        if self.reached is not None:
            met = "yes" if (self.reached >= self.limit if self.at_least else self.reached <= self.limit) else "**no**"
        sign = "≥" if self.at_least else "≤"
        return [self.what, f"{sign} {self.limit:{self.digits}}", written(self.before), written(self.reached), met]


def goals(now: Summaries, before: Summaries, default: str = "balanced") -> list[Goal]:
    """The goals that these data sets can tell of; others are left out."""
    old = {
        preset: {name: one for name, one in before.get(preset, {}).items() if name in sets}
        for preset, sets in now.items()
    }

    def goal(
        what: str, sign: str, limit: float, figure: Callable[[Sets], float | None], digits: str, preset: str = default
    ) -> Goal:
        return Goal(what, limit, sign == "≥", figure(old.get(preset, {})), figure(now.get(preset, {})), digits)

    def auroc(group: str) -> Callable[[Sets], float | None]:
        return lambda sets: over(sets, group, "auroc")

    def of_set(data_set: str, name: str) -> Callable[[Sets], float | None]:
        return lambda sets: getattr(sets[data_set], name) if data_set in sets else None

    def loss(sets: Sets) -> float | None:
        known = old[default]
        losses = [known[name].auroc - one.auroc for name, one in sets.items() if name in known and name in TUNED]
        return max(losses, default=None)

    def spread(sets: Sets) -> float | None:
        return max((one.auroc - one.worst_auroc for one in sets.values()), default=None)

    def escapes(sets: Sets) -> float | None:
        return mean([one.escape_rate for one in sets.values()])

    def kept(sets: Sets) -> float | None:
        promised = sum(one.promised for one in sets.values())
        return sum(one.kept for one in sets.values()) / promised if promised else None

    made = [
        goal(f"image AUROC, mean of the newer sets, *{default}*", "≥", 0.965, auroc("newer"), ".3f"),
        goal("the same, *fine*", "≥", 0.975, auroc("newer"), ".3f", "fine"),
        goal(f"image AUROC, mean of the other sets, *{default}*", "≥", 0.960, auroc(ELSEWHERE), ".3f"),
        goal("the same, *fine*", "≥", 0.970, auroc(ELSEWHERE), ".3f", "fine"),
        goal("largest loss of image AUROC of a tuned set", "≤", 0.002, loss, ".4f"),
        goal("image AUROC, circuitboard", "≥", 0.985, of_set("circuitboard", "auroc"), ".3f"),
        goal("worst seed below the mean, any set", "≤", 0.01, spread, ".3f"),
        goal("escapes at the default threshold, mean of all sets", "≤", 0.15, escapes, ".1%"),
        goal("with false rejects, of all good pictures", "≤", 0.02, all_false_rejects, ".1%"),
        goal("promises of default thresholds kept, all sets and seeds", "≥", 0.93, kept, ".0%"),
        goal("cookie, worst seed: escapes of 32", "≤", 4, of_set("cookie", "worst_escapes"), ".0f"),
        goal("cookie, worst seed: false rejects of 14", "≤", 1, of_set("cookie", "worst_false_rejects"), ".0f"),
    ]
    return [goal for goal in made if goal.reached is not None]
