"""Sequential tests with a stated rate of false warnings, for a baseline that is known from few parts. No I/O, no clock.

Each test asks whether the mean of a number in 0..1, given all that came before, is above a *limit*. It bets on that: a
bet of stake ``s`` multiplies what it holds by ``1 + s·(value − limit)``, which is no gain on average wherever the mean
is at most the limit, whatever the distribution. Shiryaev and Roberts' sum of what bets begun at every part would hold
has at most the number of parts as its mean. It has a head start of ``H``, as if ``H`` bets had been begun with the
first part (Moustakides, Polunchenko and Tartakovsky's SR-r): what differs from a calibration often does so from the
beginning. So by Doob's inequality

    P(the sum reaches A within N parts) ≤ (H + N) / A.

:data:`ENOUGH` is that A, with H = N, for all tests of a stream together (a union bound). Nothing of it asks for a
normal distribution, or for a mean and a deviation that are known: what the baseline's few parts leave open is in the
limits (:func:`rank_limit`, :func:`share_limit`), with a chance of error of its own that counts as well.

Neighbours that are alike say less than independent ones: a value that is worth ``1/t`` of a part enters as the ``t``-th
root of its bet. By Hölder's inequality that is what ``t`` sequences of independent values, each bet on by itself, hold
in geometric mean. How alike they are is measured (:mod:`server.drift.scores`), so here, and only here, the bound is as
good as the measurement; ``benchmarks/drift.py`` shows what came of it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

PARTS = 100_000
"""In control, within which a stream gives a false warning with a chance of at most :data:`FALSE`."""
FALSE = 0.01
TESTS = 14
"""Of one stream: higher and lower, of scores and six figures of the picture."""
_BY_CHANCE = FALSE / 2 / TESTS
"""For one test to warn by what the parts bring, and as much by what the baseline happened to be."""
HEAD = float(PARTS)
ENOUGH = (HEAD + PARTS) / _BY_CHANCE
"""Evidence that is enough for a warning."""
BACK = 1000.0
"""Evidence that is enough to take one back: if that is wrong, the test begins anew, and nothing is lost."""

STAKES = np.array([0.2, 0.4, 0.6, 0.8])
"""Shares of the largest stake that can lose no more than it holds: how far beyond the limit a mean will be is not
known, and small stakes find what is little beyond it."""
_MOST = 1e250
"""So that what was evident for days does not overflow."""

Values = NDArray[np.float64]


class Evidence:
    """That means are above their limits: one test, or many side by side that have nothing to do with each other.

    Args:
        shape: of the arrays that ``see`` takes.
        head: start of the sums.
    """

    def __init__(self, *shape: int, head: float = HEAD) -> None:
        self._sums = np.full((*shape, len(STAKES)), head)

    def see(self, values: Values, limits: Values, worth: float | Values = 1.0) -> Values:
        """Take the next value of each test.

        Args:
            values: 0..1.
            limits: the mean that is not exceeded in control, above 0 and below 1.
            worth: in independent parts, above 0 and at most 1.

        Returns:
            the evidence; it is enough from :data:`ENOUGH` on.
        """
        stakes = STAKES / limits[..., None]
        gains = (1 + stakes * (values - limits)[..., None]) ** np.asarray(worth, np.float64)[..., None]
        self._sums = np.minimum((1 + self._sums) * gains, _MOST)
        return self.now

    @property
    def now(self) -> Values:
        """The evidence so far."""
        return np.asarray(self._sums.mean(-1), np.float64)

    def forget(self, tests: NDArray[np.bool_] | None = None) -> None:
        """Begin anew without a head start, all or some of them."""
        self._sums[... if tests is None else tests] = 0.0


def rank_limit(worth: float) -> float:
    """How far the mean rank (0..1) of parts like those of a baseline may be from a half, by what its parts happened to
    be.

    A part's place among the baseline's is a mean of independent uniform numbers, and those are strictly sub-Gaussian:
    Chernoff's bound with their own variance says how far that strays.

    Args:
        worth: of the baseline, in independent parts.
    """
    return math.sqrt(math.log(1 / _BY_CHANCE) / (6 * max(worth, 1.0)))


def share_limit(worth: float) -> float:
    """The share of parts like those of a baseline that lie beyond its most extreme one, at the most: more do with the
    chance ``(1 − share) ** worth`` (Wilks 1941).

    Args:
        worth: of the baseline, in independent parts.
    """
    return float(1 - _BY_CHANCE ** (1 / max(worth, 1.0)))
