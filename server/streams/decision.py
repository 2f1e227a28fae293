"""How verdicts on frames become the verdict on a stream: a state machine without I/O and without a clock.

A decision never waits: each inspected frame is given a verdict at once, so the first ANOMALY of ``n_of_m`` comes with
the ``n``-th frame that is one. Frames that were not inspected (dropped, failed) say nothing: they neither hold a
verdict nor let go of it, and the last ``m`` frames are the last ``m`` that were inspected.
"""

from __future__ import annotations

from collections import deque

from server.recipes import Decision
from server.words import Verdict


class Decider:
    """The decision on one stream, by one rule; from the beginning wherever the frames are of something else.

    The event loop owns it.

    - ``frame``: the frame's own verdict.
    - ``n_of_m``: ANOMALY while at least ``n`` of the last ``m`` frames are; fewer frames than ``m`` are all there are.
    - ``hysteresis``: ANOMALY from the first frame that is one on, until ``m`` frames in a row have raw scores below
      ``release`` times the threshold that each was judged by.
    """

    def __init__(self, rule: Decision | None = None) -> None:
        self._of: tuple[str, Decision] | None = None
        self._use(rule or Decision())

    def is_of(self, recipe: str, rule: Decision) -> None:
        """The next frame is inspected with this recipe (its id) and decided by its rule: another recipe or rule begins
        anew, another version with the same rule goes on."""
        if self._of != (recipe, rule):
            self._of = recipe, rule
            self._use(rule)

    def begin(self) -> None:
        """What comes is another thing: nothing that was seen counts any more."""
        self._use(self._rule)

    def decide(self, is_anomaly: bool, raw_score: float, threshold: float) -> Verdict:
        """The verdict of the stream with this frame.

        Args:
            is_anomaly: the frame's own verdict.
            raw_score, threshold: of the frame, on the same scale.
        """
        match self._rule.kind:
            case "n_of_m":
                self._last.append(is_anomaly)
                anomaly = sum(self._last) >= self._rule.n
            case "hysteresis":
                anomaly = self._hold(is_anomaly, raw_score < self._rule.release * threshold)
            case _:
                anomaly = is_anomaly
        return "ANOMALY" if anomaly else "NORMAL"

    @property
    def window(self) -> int:
        """How many frames back one may lie that a verdict of now comes from."""
        return self._rule.m if self._rule.kind == "n_of_m" else 1

    def _use(self, rule: Decision) -> None:
        self._rule = rule
        self._last: deque[bool] = deque(maxlen=rule.m)
        self._held, self._calm = False, 0

    def _hold(self, is_anomaly: bool, is_calm: bool) -> bool:
        if is_anomaly:
            self._held, self._calm = True, 0
        elif self._held:
            self._calm = self._calm + 1 if is_calm else 0
            self._held = self._calm < self._rule.m
        return self._held
