"""Whether pictures are taken as those of the baseline were: light, contrast, focus, position, size. No I/O, no clock.

A part counts against a figure where it lies beyond all of the baseline's *and* is apart from their median by what would
matter (:data:`MATTERS`). Beyond all of ``n`` parts lies no more than a known share of others like them
(:func:`server.drift.sequential.share_limit`), whatever the distribution; that the change has to matter is what lets
daylight come and go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Literal

import numpy as np

from server.drift.sequential import BACK, ENOUGH, Evidence, Values, share_limit
from server.inspection import NAMES, Baseline, Condition, Learning, Span

What = Literal["light", "contrast", "focus", "position", "size"]

MATTERS = np.array([0.23, 0.35, 0.7, 0.02, 0.02, 0.07])
"""By figure: 15 % of light; a quarter of the contrast; a fifth less of the finest edges (their energy is their square);
2 % of the picture's width and height; 5 % of the size."""
WANTED = 30
"""Independent parts that a baseline is to be worth; those that follow make up what a calibration lacks."""
RECENT = 9
"""Parts whose median says how far a figure is off."""
OF: tuple[What, ...] = ("light", "contrast", "focus", "position", "position", "size")
"""What each figure says something about."""


class Conditions:
    """The tests of six figures of how one stream's pictures are taken.

    Attributes:
        out: by figure: 1 where it is above the baseline's, -1 where below, else 0.

    Args:
        known: spans of a calibration's frames; ``worth``: of those, in independent parts.
    """

    def __init__(self, known: Mapping[str, Span] | None = None, worth: float = 0.0) -> None:
        count = len(NAMES)
        self._seen: list[Values] = []
        self._low, self._typical, self._high = np.full(count, np.inf), np.zeros(count), np.full(count, -np.inf)
        self._known = 0.0
        if known is not None and set(known) == set(NAMES):
            spans = [known[name] for name in NAMES]
            self._low, self._typical, self._high = (
                np.array([getattr(span, name) for span in spans]) for name in ("low", "typical", "high")
            )
            self._known = worth
        self._evidence, self._back = Evidence(2, count), Evidence(count, head=0)
        self._recent: deque[Values] = deque(maxlen=RECENT)
        self.out = np.zeros(count, np.int8)

    @property
    def worth(self) -> float:
        """Of the baseline, in independent parts."""
        return self._known + len(self._seen)

    @property
    def stands(self) -> bool:
        """Whether the baseline grows no more; only then is anything compared with it."""
        return self.worth >= WANTED

    @property
    def evidence(self) -> Values:
        """By figure, whichever side it is on; enough from :data:`server.drift.sequential.ENOUGH` on."""
        return np.asarray(self._evidence.now.max(0), np.float64)

    @property
    def off(self) -> Values:
        """How far the latest parts are from the baseline's median, by figure."""
        return np.median(self._recent, 0) - self._typical if self._recent else np.zeros(len(NAMES))

    @property
    def whats(self) -> frozenset[What]:
        """What is out."""
        return frozenset(OF[number] for number in np.flatnonzero(self.out).tolist())

    def see(self, figures: Values) -> bool:
        """A part; says whether ``out`` changed."""
        self._recent.append(figures)
        if not self.stands:
            self._learn(figures)
            return False
        beyond = np.stack(
            [
                figures > np.maximum(self._high, self._typical + MATTERS),
                figures < np.minimum(self._low, self._typical - MATTERS),
            ]
        )
        limit = min(share_limit(self.worth), 0.9)
        before = self.out.copy()
        self._come_back(beyond, limit)
        found = self._evidence.see(beyond.astype(np.float64), np.full(beyond.shape, limit))
        gone = (found.max(0) >= ENOUGH) & (self.out == 0)
        self.out = np.where(gone, np.where(found[0] >= found[1], 1, -1), self.out).astype(np.int8)
        self._back.forget(gone)
        return bool((self.out != before).any())

    def _learn(self, figures: Values) -> None:
        self._seen.append(figures)
        self._low, self._high = np.minimum(self._low, figures), np.maximum(self._high, figures)
        if not self._known:
            self._typical = np.median(self._seen, 0)

    def _come_back(self, beyond: Values, limit: float) -> None:
        still = np.where(self.out > 0, beyond[0], beyond[1]).astype(np.float64)
        enough = self._back.see(1 - still, np.full(len(still), 1 - limit)) >= BACK
        back = enough & (self.out != 0)
        self.out = np.where(back, 0, self.out).astype(np.int8)
        self._evidence.forget(np.stack([back, back]))


class Pictures:
    """The tests of one stream's pictures, against a calibration's baseline, or that of the first :data:`WANTED`.

    Attributes:
        tests: of their figures; None while there is no baseline yet.
    """

    def __init__(self, known: Baseline | None = None) -> None:
        self._first: list[Condition] = []
        self._learning: Learning | None = None
        self.tests: Conditions | None = None
        if known is not None:
            self._begin(known)

    @property
    def stands(self) -> bool:
        """Whether there is something to compare with."""
        return self.tests is not None and self.tests.stands

    @property
    def whats(self) -> frozenset[What]:
        """What is out."""
        return self.tests.whats if self.tests is not None else frozenset()

    def see(self, condition: Condition) -> bool:
        """A part; says whether anything left or came back."""
        if self.tests is not None:
            return self.tests.see(condition.figures(self._lying))
        if self._learning is None:
            self._first.append(condition)
            if len(self._first) == WANTED:
                self._learning = Learning(self._first)
        elif self._learning.step() or self._learning.step():  # two at a time: the event loop has other things to do
            self._begin(self._learning.baseline((), WANTED))
            self._first, self._learning = [], None
        return False

    def _begin(self, baseline: Baseline) -> None:
        self._lying = baseline.lying
        self.tests = Conditions(baseline.spans, baseline.worth)
