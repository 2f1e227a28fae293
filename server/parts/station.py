"""What is a part on one stream, and when it has its verdict: a state machine without I/O and without a clock.

Every call says what time it is, on the clock that frames arrive by. A part is what a trigger says it is, what comes
into the gate, or what the line names; its verdict is given once, by the frames of its passage. Frames that arrived
before a trigger are never of its part.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Generic

from server.parts.gate import Gate, GateLook, unpacked
from server.parts.passage import Done, J, Passage
from server.recipes import PartRule
from server.words import PartSource

NO_FRAME = "no frame came in time after the trigger: check the camera, or allow it longer (within_ms)"
TOO_SLOW = "a frame came in time, but none was inspected: this computer is too busy, or the camera too quick for it"
CUT_SHORT = (
    "no frame came before another trigger, which was refused as busy: trigger once for each part, after the verdict on "
    "the one before"
)
NOT_SEEN = "none of its frames was inspected before the line named the next: they were dropped, failed, or none came"
NO_REST = "it never came to rest in the gate"
INSPECTION_S = 10.0
"""Seconds that a triggered frame that came in time may take to be inspected."""
MOST_NAMED = 64
"""Parts that a line may have named and of which no frame was inspected yet; the oldest is FAILED."""
PATIENCE_S = 30.0
"""Seconds after which a gate's or a line's part whose stream has fallen silent has its verdict: it may be gone."""


class TriggerRefused(Exception):
    """The stream takes no trigger now; one sentence that says why."""


@dataclass(frozen=True)
class FrameFound(Generic[J]):
    """An inspected frame.

    Attributes:
        found: in it.
        arrived: seconds.
        part: that it shows, if the line says it.
        look: at the gate, where there is one.
    """

    found: J
    arrived: float
    part: str | None = None
    look: GateLook | None = None


@dataclass
class Named:
    """What the line says comes now: a part, or None. ``until``: when it said the next."""

    part: str | None
    at: float
    until: float | None = None


class Station(Generic[J]):
    """The parts of one stream, by one rule at a time. The event loop owns it.

    Attributes:
        rule: in force.
        taken: triggers that were; ``refused``: that were not, since the start.
        open: the part that lies there now.
        shows: number of the part that the frame shows that was seen last, also once it has its verdict; 0: none.
    """

    def __init__(self, rule: PartRule | None = None) -> None:
        self.rule = rule or PartRule()
        self.taken = self.refused = self._refused_before = 0
        self.shows = 0
        self.open: Passage[J] | None = None
        self._named: str | None = None
        self._awaited: deque[Named] = deque()
        """What the line named since, of which no frame was inspected yet."""
        self._over = -math.inf
        """Frames that arrived before this are of parts that were given up."""
        self._is_judged = False
        """Whether what lies there has its verdict already: the rest of its frames make no other part."""
        self._came = self._known = -math.inf
        """When the newest frame in time arrived, and the newest of which is known what came of it."""
        self._cut = math.inf
        """When a trigger was refused while a part lay there: what arrives after it may show the next one."""
        self._grace_s = 0.0
        """Seconds after which a frame that arrived in time may be here yet, where frames wait on their way."""
        self._number = self._begun = 0
        """Of the last part, and of the last one that frames showed."""
        self._use(self.rule)

    def use(self, rule: PartRule, now: float) -> list[Done[J]]:
        """Another rule comes into force: the part that lies there is judged by the one that it began with, and no frame
        is waited for of those that were named; returns those that have their verdict with this."""
        if rule == self.rule:
            return []
        done = []
        if self.open is not None:
            done.append(self._end(now, "what a part is was changed while it lay there", is_cut=True))
            self._is_judged = True
        done += self._miss(len(self._awaited), now, "what a part is was changed before a frame of it was inspected")
        older, named, judged = self.rule, self._named, self._is_judged
        self._use(rule)
        if rule.by != "trigger" and (rule.by, rule.gate) == (older.by, older.gate):
            self._named, self._is_judged = named, judged  # what lies there has had its verdict
        return done

    def trigger(
        self, now: float, *, part: str | None = None, trigger_id: str | None = None, by: str | None = None
    ) -> int:
        """The part that lies there now is to be judged.

        Args:
            part: its id; ``trigger_id``: what the asker calls the trigger; ``by``: which way it came.

        Returns:
            the number of the trigger, from 1.

        Raises:
            TriggerRefused: it is not taken, and counted; :attr:`due` may be another with it.
        """
        if self.rule.by != "trigger":
            words = "its recipe takes no triggers: choose under Recipes that a trigger says what a part is"
            raise self.refusal(words, now)
        if self.open is not None:
            is_again = trigger_id is not None and trigger_id == self.open.trigger_id  # sent again: no other part
            words = f"busy: the verdict of trigger {self.open.trigger} is not given yet"
            raise self.refusal(words, math.inf if is_again else now)
        self.taken += 1
        self.open = self._begin(now, "trigger", part)
        self.open.trigger, self.open.trigger_id, self.open.triggered_by = self.taken, trigger_id, by
        return self.taken

    def refusal(self, words: str, since: float) -> TriggerRefused:
        """A trigger that is not taken, counted. Whoever triggers says that another part is there since then: the frames
        of the one that was triggered before end there."""
        self.refused += 1
        self._cut = min(self._cut, since)
        return TriggerRefused(words)

    def name(self, part: str | None, now: float) -> list[Done[J]]:
        """The line names what comes from now on; None: nothing. Each part that is named has its verdict, also where no
        frame of it is inspected; returns those that have it with this."""
        said = self._awaited[-1].part if self._awaited else self._named
        if self.rule.by != "line" or part == said:
            return []
        if self._awaited:
            self._awaited[-1].until = now
        self._awaited.append(Named(part, now))
        return self._miss(max(0, len(self._awaited) - MOST_NAMED), now, NOT_SEEN)

    def see(self, frame: FrameFound[J], now: float) -> list[Done[J]]:
        """A frame was inspected; returns the parts that have their verdict with it, in order."""
        self.shows = 0
        match self.rule.by:
            case "trigger":
                done = self._see_triggered(frame, now)
            case "gate":
                done = self._see_gate(frame, now)
            case _:
                return self._see_named(frame, now)
        return [done] if done else []

    def came(self, arrived: float, late_s: float = 0.0) -> None:
        """A frame arrived: if it is of a triggered part, its verdict waits for the inspection.

        Args:
            late_s: seconds for which it had waited by the time it was here. The next may have waited for twice as long,
                so for that time a triggered part waits for one that arrived in time.
        """
        self._grace_s = 2 * late_s
        if self.open is not None and self.rule.by == "trigger" and self._counts(self.open, arrived):
            self._came = arrived

    def spoil(self, arrived: float, words: str, *, since: float | None = None) -> None:
        """A frame that arrived then, or some that did ``since``, will not be inspected: it is what a part FAILED by, if
        none of its others is, and none is waited for."""
        if self.open is not None and self._counts(self.open, arrived, since) and self._came <= self._known:
            self.open.trouble = words

    def fail(self, arrived: float, words: str) -> None:
        """A frame that was waited for could not be inspected, or was dropped: as :meth:`spoil`."""
        self._known = max(self._known, arrived)
        if self.open is not None and self._counts(self.open, arrived):
            self.open.trouble = words

    def tick(self, now: float) -> Done[J] | None:
        """Time has passed: at :attr:`due`, or later."""
        if self.due is None or now < self.due:
            return None
        if self._missed_at is not None and self._missed_at <= now:
            if self.open is None:
                return next(iter(self._miss(1, now, NOT_SEEN)), None)
            self._is_judged = True
            return self._end(now)
        self._is_judged = self.rule.by != "trigger"  # if it lies there still, it is no other part
        return self._end(now, NO_REST if self.rule.by == "gate" else self._why_none)

    @property
    def due(self) -> float | None:
        """When it is to be asked again, if nothing comes before; None while nothing is open."""
        if self.open is None:
            return self._missed_at
        if self.rule.by == "trigger":
            return self._closes(self.open) + (INSPECTION_S if self._came > self._known else self._grace_s)
        silent_at = (self.open.last_arrived or self.open.began) + PATIENCE_S
        return silent_at if self._missed_at is None else min(silent_at, self._missed_at)

    def gone(self, now: float, why: str) -> list[Done[J]]:
        """The stream's sender is gone: what lay there is judged by what was seen of it, and no frame of the parts that
        were named will come any more; returns them."""
        done = [self._end(now, why, is_cut=True)] if self.open else []
        done += self._miss(len(self._awaited), now, why)
        self._is_judged, self._named, self._grace_s = False, None, 0.0
        return done

    def is_worst_yet(self, arrived: float, raw_score: float, is_anomaly: bool) -> bool:
        """Whether a frame would be the worst of its part so far, as far as that is known before it is seen."""
        passage = self.open
        if passage is None:
            return is_anomaly and self.rule.by == "gate"
        return self._counts(passage, arrived) and passage.is_worse(raw_score, is_anomaly)

    def begins(self, part: str | None, arrived: float) -> bool:
        """Whether a frame would be the first of what the line names: another id, or the same one named again."""
        return arrived >= self._over and (part != self._named or self._place(part, arrived) is not None)

    @property
    def _why_none(self) -> str:
        if self._came > -math.inf:
            return TOO_SLOW
        return NO_FRAME if self._cut == math.inf else CUT_SHORT

    def _see_triggered(self, frame: FrameFound[J], now: float) -> Done[J] | None:
        passage = self.open
        if passage is None or frame.arrived < self._opens(passage):
            return None
        if frame.arrived > self._closes(passage):  # results keep the order of frames: none of its own comes any more
            return self._end(now, self._why_none)
        passage.see(frame.found, frame.arrived)
        self.shows = passage.number
        self._known = max(self._known, frame.arrived)
        passage.part = passage.part or frame.part
        is_closed = now >= self._closes(passage) + self._grace_s and self._came <= self._known
        return self._end(now) if is_closed or passage.frames >= max(1, self.rule.frames) else None

    def _see_gate(self, frame: FrameFound[J], now: float) -> Done[J] | None:
        if self._gate is None or frame.look is None:
            return None
        state = self._gate.see(frame.look)
        if state == "empty":
            self._is_judged = False
            return self._end(now, NO_REST) if self.open else None
        if self._is_judged:
            self.shows = self._begun
            return None
        if self.open is None:
            self.open = self._begin(frame.arrived, "gate", frame.part)
        self.shows = self._begun
        self.open.part = self.open.part or frame.part
        if state == "resting" or not self.rule.rests:
            self.open.see(frame.found, frame.arrived)
        if self.rule.frames and self.open.frames >= self.rule.frames:
            self._is_judged = True  # it lies there still, and is no other part before it is gone
            return self._end(now)
        return None

    def _see_named(self, frame: FrameFound[J], now: float) -> list[Done[J]]:
        done = []
        if frame.arrived < self._over:
            return []
        if self.begins(frame.part, frame.arrived):
            if self.open is not None:
                done.append(self._end(now))
            if (before := self._place(frame.part, frame.arrived)) is not None:
                done += self._miss(before, now, NOT_SEEN)
                self._awaited.popleft()
            self._named, self._is_judged = frame.part, False
        if self.open is None and frame.part is not None and not self._is_judged:
            self.open = self._begin(frame.arrived, "id", frame.part)
        self.shows = self._begun if frame.part is not None else 0
        if self.open is not None:
            self.open.see(frame.found, frame.arrived)
            if self.rule.frames and self.open.frames >= self.rule.frames:
                self._is_judged = True
                done.append(self._end(now))
        return done

    def _place(self, part: str | None, arrived: float) -> int | None:
        """Of what was named, where that stands which a frame shows: the newest of that id that was named before it
        arrived. Ids may come again, and a frame may be inspected long after the next part was named."""
        places = (n for n, one in enumerate(self._awaited) if one.part == part and one.at <= arrived)
        return max(places, default=None)

    def _opens(self, passage: Passage[J]) -> float:
        return passage.began + self.rule.delay_ms / 1000

    def _closes(self, passage: Passage[J]) -> float:
        return min(self._opens(passage) + self.rule.within_ms / 1000, self._cut)

    def _counts(self, passage: Passage[J], arrived: float, since: float | None = None) -> bool:
        """Whether a frame that arrived then may be of a part, or one of some that arrived ``since``."""
        if passage.source != "trigger":
            return arrived >= passage.began
        return self._opens(passage) <= arrived and (arrived if since is None else since) <= self._closes(passage)

    def _begin(self, now: float, source: PartSource, part: str | None) -> Passage[J]:
        self._number += 1
        self._begun = self._number
        self._came = self._known = -math.inf
        self._cut = math.inf
        return Passage(self._number, now, source, part)

    @property
    def _missed_at(self) -> float | None:
        """When a part whose next was named already is given up, if no frame says so before."""
        until = self._awaited[0].until if self._awaited else None
        return None if until is None else until + INSPECTION_S

    def _miss(self, count: int, now: float, why: str) -> list[Done[J]]:
        done = [self._end(now)] if count and self.open is not None else []  # it was named before them
        for one in [self._awaited.popleft() for _ in range(count)]:
            self._named, self._is_judged, self._begun = one.part, True, 0  # what comes of it yet is of no part
            self._over = now if one.until is None else one.until
            if one.part is not None:
                self._number += 1
                done.append(Done(Passage[J](self._number, one.at, "id", one.part), "FAILED", why, now))
        return done

    def _end(self, now: float, why: str = NO_FRAME, *, is_cut: bool = False) -> Done[J]:
        passage, self.open = self.open, None
        assert passage is not None
        verdict = passage.verdict(self.rule.n)
        asked = max(self.rule.frames, 1 if self.rule.by == "trigger" else 0)
        if is_cut and verdict == "NORMAL" and passage.frames < asked:
            # Good so far is not good: it was to be seen more often.
            verdict, passage.worst = "FAILED", None
            passage.trouble = f"{why}, after {passage.frames} of {asked} frames"
        overruns, self._refused_before = self.refused - self._refused_before, self.refused
        return Done(passage, verdict, (passage.trouble or why) if verdict == "FAILED" else None, now, overruns)

    def _use(self, rule: PartRule) -> None:
        self.rule = rule
        self._gate = Gate(unpacked(rule.empty)) if rule.by == "gate" and rule.empty else None
        self._is_judged, self._named = False, None
