"""What a line is run by: counts, yield and percentiles of one stretch of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Numbers:
    """Of all entries of one kind in a span, of one stream and recipe where they were asked for one by one.

    Attributes:
        span: index of the span that was asked for.
        total: parts (or changes, or inspected frames); ``rejected``: of them ANOMALY; ``failed``: of them FAILED.
        overruns: triggers that were refused.
        confirmed: entries of which this was said last; so are ``false_rejects`` and ``escapes``.
        cycle_sum: milliseconds, of all parts; ``cycle_max``: of the slowest, None without.
        scores: counts in bins of equal width from 0 to 1.
    """

    span: int
    stream: str | None
    recipe: str | None
    recipe_version: int | None
    total: int
    rejected: int
    failed: int
    overruns: int
    confirmed: int
    false_rejects: int
    escapes: int
    cycle_sum: float
    cycle_max: float | None
    scores: Sequence[int] = field(repr=False)

    @property
    def first_pass_yield(self) -> float | None:
        """Share of the parts that were NORMAL at once, 0..1."""
        return (self.total - self.rejected - self.failed) / self.total if self.total else None

    @property
    def false_reject_rate(self) -> float | None:
        """Share of the rejected parts of which a person said what they are that are good, 0..1."""
        said = self.confirmed + self.false_rejects
        return self.false_rejects / said if said else None

    @property
    def cycle_mean(self) -> float | None:
        """Milliseconds."""
        return self.cycle_sum / self.total if self.total and self.cycle_max is not None else None

    def percentile(self, percent: float) -> float | None:
        """Of the scores, 0..1, to about a bin's width; None without any.

        Args:
            percent: 0..100.
        """
        everything = sum(self.scores)
        if not everything:
            return None
        wanted, passed = percent / 100 * everything, 0
        for number, count in enumerate(self.scores):
            if count and passed + count >= wanted:
                return (number + max(wanted - passed, 0) / count) / len(self.scores)
            passed += count
        return 1.0
