"""The handshake with a controller: Ready → Trigger → Busy → Result valid → Ack. A state machine without I/O or clock.

After Cognex's: Trigger Enable, Trigger, Trigger Ready, Trigger Ack, Results Valid until Results Ack, a buffer of 8
results with an overrun bit, missed triggers told, ids that tie a result to its trigger, and recovery by Enable low.
The most reported fault in the field is a result that comes one part late because an Ack was missed: here a result that
is not acknowledged in time is a fault, and after a fault nothing comes before Enable was low. Levels are what is read,
edges are found here: a signal that was high when it was first seen is no edge, so a restart triggers nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum

from server.words import PartVerdict

MOST_RESULTS = 8
ACK_WITHIN_S = 5.0


class Trouble(IntEnum):
    """Why nothing goes on before Enable was low."""

    NONE = 0
    NOT_ACKNOWLEDGED = 1


@dataclass(frozen=True)
class Signals:
    """What the controller says. ``trigger_id``: what it calls its next trigger, passed through; 0: nothing."""

    enable: bool = False
    trigger: bool = False
    ack: bool = False
    trigger_id: int = 0


@dataclass(frozen=True)
class Outcome:
    """A part's verdict, as a controller gets it.

    Attributes:
        number: of the part (inspection id); ``trigger``: of its trigger (acquisition id), 0 where nobody triggered.
        trigger_id: what the controller called that trigger, 0 where it called it nothing.
    """

    number: int
    trigger: int
    trigger_id: int
    verdict: PartVerdict
    raw_score: float | None
    threshold: float | None
    cycle_ms: float


@dataclass(frozen=True)
class Told:
    """What the controller is told. ``result``: while ``valid``; ``acquisition``: number of the last trigger taken."""

    ready: bool
    trigger_ack: bool
    busy: bool
    valid: bool
    overrun: bool
    missed: bool
    trouble: Trouble
    acquisition: int
    waiting: int
    result: Outcome | None


@dataclass
class Counts:
    """Since the start: what became of triggers and results; nothing is silent.

    ``taken``: triggers; ``missed``: refused. ``delivered``: results that were acknowledged; ``overrun``: lost because 8
    waited; ``discarded``: not delivered because Enable was low, or after a fault.
    """

    taken: int = 0
    missed: int = 0
    delivered: int = 0
    overrun: int = 0
    discarded: int = 0
    not_acknowledged: int = 0


class Handshake:
    """One controller's dealings with one stream. Every call says what time it is, in seconds.

    Use: :meth:`read` the controller's signals whenever they may have changed; where that returns a trigger, try it and
    say :meth:`taken` or :meth:`refused` before anything else; say :meth:`finished` for every part of the stream; call
    :meth:`tick` at :attr:`due`; and show :attr:`told` after each.

    Args:
        ack_within_s: seconds in which a result has to be acknowledged; 0: for ever.
    """

    def __init__(self, ack_within_s: float = ACK_WITHIN_S) -> None:
        self.counts = Counts()
        self._ack_within_s = ack_within_s
        self._was: Signals | None = None
        self._enabled = False
        self._trouble = Trouble.NONE
        self._asked = self._trigger_ack = self._missed = self._overrun = False
        self._pending: int | None = None
        self._pending_id = 0
        self._acquisition = 0
        self._results: deque[Outcome] = deque()
        self._valid_since: float | None = None
        self._ack_seen_low = True
        self._can_trigger = False

    def read(self, signals: Signals, now: float, *, can_trigger: bool) -> Signals | None:
        """The controller's signals, as they are now.

        Args:
            can_trigger: whether the stream would take a trigger.

        Returns:
            the signals with a trigger to try now; None where there is none.
        """
        was, self._was = self._was, signals
        self._can_trigger = can_trigger
        self.tick(now)  # a result that was late before this is a fault, whatever comes now
        rises = was is not None and signals.trigger and not was.trigger
        acks = was is not None and signals.ack and not was.ack
        if not signals.enable:
            self._disable()
            return None
        if not self._enabled:
            self._enabled = True
            # What rises together with Enable is no trigger of an enabled station.
            self._ack_seen_low = not signals.ack
            self._trigger_ack = False
            if rises:
                self._miss()
            return None
        if not signals.ack:
            self._ack_seen_low = True
        if acks and self._valid_since is not None:
            self._results.popleft()
            self._valid_since, self._ack_seen_low = None, False
            self.counts.delivered += 1
        if not signals.trigger:
            self._trigger_ack = False
        asks = None
        if rises:
            if self._is_ready:
                asks, self._asked = signals, True
            else:
                self._miss()
        self._show(now)
        return asks

    def taken(self, number: int, trigger_id: int) -> None:
        """The trigger that :meth:`read` returned was taken: its number on the stream, and what it was called."""
        assert self._asked
        self._asked, self._trigger_ack, self._missed = False, True, False
        self._pending, self._pending_id, self._acquisition = number, trigger_id, number
        self.counts.taken += 1

    def refused(self) -> None:
        """The trigger that :meth:`read` returned was not taken."""
        assert self._asked
        self._asked = False
        self._miss()

    def finished(self, outcome: Outcome, now: float) -> None:
        """A part of the stream has its verdict. Those that others triggered are not this controller's."""
        self.tick(now)
        is_own = self._pending is not None and outcome.trigger == self._pending
        if outcome.trigger and not is_own:
            return
        if is_own:
            self._pending = None
        if not self._enabled or self._trouble:
            self.counts.discarded += 1
        elif len(self._results) >= MOST_RESULTS:
            self._overrun = True
            self.counts.overrun += 1
        else:
            self._results.append(outcome)
        self._show(now)

    def tick(self, now: float) -> None:
        """Time has passed."""
        if self.due is not None and now >= self.due:
            self._trouble = Trouble.NOT_ACKNOWLEDGED
            self.counts.not_acknowledged += 1
            self._drop_results()

    @property
    def due(self) -> float | None:
        """When :meth:`tick` is to be called, if nothing comes before; None where nothing has to be in time."""
        if self._valid_since is None or not self._ack_within_s:
            return None
        return self._valid_since + self._ack_within_s

    @property
    def told(self) -> Told:
        """What the controller is told now."""
        valid = self._valid_since is not None
        return Told(
            ready=self._is_ready,
            trigger_ack=self._trigger_ack,
            busy=self._pending is not None,
            valid=valid,
            overrun=self._overrun,
            missed=self._missed,
            trouble=self._trouble,
            acquisition=self._acquisition,
            waiting=len(self._results),
            result=self._results[0] if valid else None,
        )

    @property
    def _is_ready(self) -> bool:
        idle = self._enabled and not self._trouble and self._pending is None and not self._trigger_ack
        return idle and self._can_trigger and len(self._results) < MOST_RESULTS

    def _show(self, now: float) -> None:
        if self._results and self._valid_since is None and self._ack_seen_low and not self._trouble:
            self._valid_since = now

    def _miss(self) -> None:
        self._missed = True
        self.counts.missed += 1

    def _disable(self) -> None:
        self._enabled, self._trouble = False, Trouble.NONE
        self._trigger_ack = self._missed = self._overrun = False
        if self._pending is not None:
            self._pending = None  # its result belongs to nobody: what comes after Enable is of what was triggered then
            self.counts.discarded += 1
        self._drop_results()

    def _drop_results(self) -> None:
        self.counts.discarded += len(self._results)
        self._results.clear()
        self._valid_since = None
