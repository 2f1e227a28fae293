"""Whether accepted parts score as those of the baseline did. By ranks: scores are skewed, and only their order counts.
No I/O, no clock.

The baseline is what a calibration kept, and the accepted parts that follow until there are :data:`WANTED` of them.
While it grows, each part is ranked among all before it: parts that may be exchanged for each other have independent
uniform ranks, exactly, however few there are (Vovk, Nouretdinov and Gammerman 2003). Then it stands, so that what
leaves it slowly is found too, and what its parts leave open is in the limit (:func:`rank_limit`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median

import numpy as np

from detector.thresholds import independent_parts
from server.drift.sequential import BACK, ENOUGH, Evidence, Values, rank_limit

WANTED, MOST = 400, 1000
"""Independent parts that a baseline is to be worth, and the most it is made of: more where neighbours are alike."""
TOLERATED = 0.07
"""Of the mean rank: a quarter of a standard deviation is no news."""
WINDOW, WINDOWS = 128, 16
"""Parts in a row from which it is told how alike neighbours are, and of how many such the median counts: a change makes
its own window look alike, and no other."""
_WIDEST = 0.45


def ranks(baseline: Values, scores: Values) -> Values:
    """Place of scores among those of a sorted baseline, 0..1; in the middle of those that are equal."""
    places = np.searchsorted(baseline, scores, "left") + np.searchsorted(baseline, scores, "right")
    return np.asarray(places / (2 * max(len(baseline), 1)), np.float64)


class Alike:
    """How alike neighbours are: :attr:`worth` of one part in independent parts, above 0 to 1; None before the first
    window is full."""

    def __init__(self) -> None:
        self._window: list[float] = []
        self._worths: deque[float] = deque(maxlen=WINDOWS)
        self.worth: float | None = None

    def see(self, score: float) -> None:
        self._window.append(score)
        if len(self._window) == WINDOW:
            self._worths.append(independent_parts(self._window) / WINDOW)
            self.worth = median(self._worths)
            self._window.clear()


class Scores:
    """The test of scores of one stream, in both directions.

    Attributes:
        out: 1 where they are higher than the baseline's, -1 where lower, else 0.

    Args:
        known: raw scores of good parts that a calibration was made from.
        worth: of those, in independent parts.
    """

    def __init__(self, known: Sequence[float] = (), worth: float = 0.0) -> None:
        # No more of them than they are worth, spread evenly: each is ranked as an independent part.
        count = max(0, min(len(known), round(worth)))
        chosen = np.linspace(0, len(known) - 1, count).round().astype(int)
        self._baseline = np.sort(np.asarray(known, np.float64)[chosen])
        self._known = float(count)
        self._followed = 0
        self._alike = Alike()
        self._first: list[float] = []
        self._evidence, self._back = Evidence(2), Evidence(1, head=0)
        self._recent: deque[float] = deque(maxlen=50)
        self.out = 0

    @property
    def baseline(self) -> Values:
        """Raw scores, sorted."""
        return self._baseline

    @property
    def worth(self) -> float:
        """Of the baseline, in independent parts."""
        return self._known + self._followed * (self._alike.worth or 1.0)

    @property
    def stands(self) -> bool:
        """Whether the baseline grows no more."""
        return self._alike.worth is not None and (self.worth >= WANTED or len(self._baseline) >= MOST)

    @property
    def evidence(self) -> Values:
        """Of higher and of lower ones; enough from :data:`server.drift.sequential.ENOUGH` on."""
        return self._evidence.now

    @property
    def place(self) -> float:
        """Where the latest lie among the baseline's, 0..1: their mean rank."""
        return float(np.mean(self._recent)) if self._recent else 0.5

    def see(self, score: float) -> bool:
        """An accepted part; says whether ``out`` changed."""
        self._alike.see(score)
        if self._alike.worth is None:
            self._first.append(score)  # how much one says is not known yet
            return False
        first, self._first = self._first, []
        changed = [self._judge(one, self._alike.worth) for one in (*first, score)]
        return any(changed)

    def _judge(self, score: float, worth: float) -> bool:
        grows = not self.stands and not self.out
        # Ranked with itself among them: so is its rank uniform where it is one of them.
        place = float(ranks(self._baseline, np.array([score]))[0])
        if grows:
            count = len(self._baseline)
            place = (place * count + 0.5) / (count + 1)
            limit = 0.5 + TOLERATED / 2  # what it grows by follows it
        else:
            limit = min(0.5 + TOLERATED + rank_limit(self.worth), 0.5 + _WIDEST)
        self._recent.append(place)
        changed = self._tell(np.array([place, 1 - place]), np.full(2, limit), worth)
        if grows and not self.out:
            self._baseline = np.insert(self._baseline, int(np.searchsorted(self._baseline, score)), score)
            self._followed += 1
        return changed

    def _tell(self, places: Values, limits: Values, worth: float) -> bool:
        if self.out:
            beyond = 0 if self.out > 0 else 1
            # Against "still beyond the limit": what speaks for parts as they were is the other end of the same scale.
            if self._back.see(1 - places[[beyond]], 1 - limits[[beyond]], worth)[0] < BACK:
                return False
            self.out = 0
            self._evidence.forget()
            return True
        found = self._evidence.see(places, limits, worth)
        if found.max() < ENOUGH:
            return False
        self.out = 1 if found[0] >= found[1] else -1
        self._back.forget()
        return True
