"""One sink that runs: again after every failure, given up by nobody, and in nobody's way."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from server.cameras import Backoff
from server.sinks.choice import Choice, Chooser
from server.sinks.kind import Around, Kind
from server.sinks.outbox import BoundedOutbox, Turn, TurnListener
from server.sinks.sink import Outgoing, Sink, SinkError, SinkOver
from server.sinks.sinks_file import StoredSink
from server.sinks.waiting import Waiting
from server.streams import Told
from server.words import now

log = logging.getLogger("defectvision.sinks")

State = Literal["off", "connecting", "up", "trouble", "retrying"]

PATIENCE_S = 60.0
"""A sink that is neither up nor confirms what it was handed for so long hangs, and is run anew."""
LOOK_EVERY_S = 1.0
CANCEL_S = 0.8
"""What a sink has to end in once it is cancelled; it is left behind then."""
SETTLED_S = 5.0
"""A connection that stood for so long counts as one: the next failure is a first one."""
MOST_STUCK = 3
"""Runs of one sink that did not end when they were cancelled; then only a restart of the server helps."""
LONGEST_WORDS = 300
JITTER = 0.25
REFUSALS_EVERY_S = 60.0
"""The log has one line in this time, however many events are refused."""
READ_AGAIN_S = 30.0
"""Until what waited at the last stop is tried to be read again."""
LONGEST_ASKED_S = 3600.0
"""A peer that asks to be left alone for longer is tried all the same."""


@dataclass(frozen=True)
class SinkState:
    """How a sink is doing.

    Attributes:
        since: when this state began, ISO 8601.
        words: of up, with whom; of trouble, what is wrong.
        retry_in_s: until the next try, only while retrying.
        delivered, refused, dropped: events since the server was started: confirmed by the peer, never taken by it,
            lost to the outbox's bounds; ``waiting``: for their turn now.
        failures: runs that failed in a row.
    """

    state: State
    since: str
    words: str = ""
    retry_in_s: float | None = None
    delivered: int = 0
    refused: int = 0
    dropped: int = 0
    waiting: int = 0
    failures: int = 0
    last_error: str | None = None
    last_error_at: str | None = None


class RunningSink(TurnListener):
    """On the event loop.

    Args:
        on_over: told, once, that the sink asked not to be run again, and why.
        before: the same sink before it was changed, which has ended: what waits there goes out by this one.
        kept: where there may be what waited when the server was stopped.
    """

    def __init__(
        self,
        stored: StoredSink,
        kind: Kind[Any],
        around: Around,
        on_over: Callable[[str], None],
        before: RunningSink | None = None,
        kept: Waiting | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.stored, self.kind, self._around, self._on_over, self._jitter = stored, kind, around, on_over, jitter
        chooser = Chooser(
            stored.told if kind.is_told else Choice(), before=before.box.chooser if before and kind.acts else None
        )
        self.box: BoundedOutbox = BoundedOutbox(chooser, pictures=kind.pictures) if before is None else before.box
        self.box.choose(chooser)
        self.sink: Sink | None = None
        self._state: State = "connecting"
        self._since, self._words = now(), ""
        self._retry_at: float | None = None
        self._last_error: str | None = None
        self._last_error_at: str | None = None
        self._failures, self._lost_before = 0, 0
        self._not_before_s = 0.0
        self._has_complained = False
        self._refusal_logged_at = float("-inf")
        self._settled: asyncio.TimerHandle | None = None
        self._backoff = Backoff(longest=kind.longest_wait_s)
        self._kept = kept
        self._is_to_be_read: bool = kept is not None if before is None else before._is_to_be_read
        self._has_kept: bool = kept is not None if before is None else before._has_kept
        self._read_not_before = -1.0
        self._stuck: list[asyncio.Task[str]] = []
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._live(), name=f"sink {stored.name}")
        self._task.add_done_callback(self._say_fault)

    @property
    def state(self) -> SinkState:
        retry_in = None if self._retry_at is None else round(max(0.0, self._retry_at - self._loop.time()), 1)
        box = self.box
        return SinkState(
            self._state,
            self._since,
            self._words,
            retry_in,
            box.delivered,
            box.refused,
            box.dropped,
            box.waiting,
            self._failures,
            self._last_error,
            self._last_error_at,
        )

    def hear(self, told: Told) -> None:
        """What the hub tells; never waits."""
        self.box.offer(told)

    async def stop(self) -> None:
        """End it, within a second; what does not end is left behind."""
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=CANCEL_S + 0.2)

    async def keep(self) -> None:
        """Keep what waits for the next start; after :meth:`stop`."""
        if self._kept is not None and (self.box.waiting or not self._is_to_be_read):
            await asyncio.to_thread(self._kept.write, self.box.rest, self._is_to_be_read)

    async def _live(self) -> None:
        why: str | None
        await self._read_kept()
        if (why := self.kind.missing) is not None:
            return self._fail_for_good(why)
        while True:
            self._enter("connecting")
            turn = self.box.turn(self)
            try:
                why = await self._run_once(turn)
            except SinkOver as error:
                self._on_over(in_short(error))
                return self._fail_for_good(in_short(error))
            finally:
                turn.end()
                self._unsettle()
            wait = self._failed(why)
            self._stuck = [task for task in self._stuck if not task.done()]
            if len(self._stuck) >= MOST_STUCK:
                return self._fail_for_good(f"{why} It does not even end: restart the server.")
            self._retry_at = self._loop.time() + wait
            self._enter("retrying")
            try:
                await asyncio.sleep(wait)
            finally:
                self._retry_at = None

    async def _read_kept(self) -> None:
        """What waited at the last stop. What cannot be read now stays where it is, and holds up nothing."""
        if self._kept is None or not self._is_to_be_read or self._loop.time() < self._read_not_before:
            return
        try:
            events, lost = await asyncio.to_thread(self._kept.read)
        except OSError as error:
            why = f"what waited at the last stop cannot be read ({error.strerror}), and is tried again"
            if self._read_not_before < 0:
                log.warning("sink=%s kind=%s %s", self.stored.name, self.kind.name, why)
            self._read_not_before = self._loop.time() + READ_AGAIN_S
            self._note(why)
            return
        self._is_to_be_read = False
        self.box.put_before(events, lost)
        self._forget_kept()

    def _say_fault(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("sink=%s is not supervised any more", self.stored.name, exc_info=error)
            self._fail_for_good("a fault of this software: the server's log says more; switch it off and on")

    async def _run_once(self, turn: Turn) -> str:
        """Why it ended, one sentence; nothing but SinkOver, and our own cancellation, comes out of it."""
        task = asyncio.create_task(self._guarded(turn), name=f"sink {self.stored.name} runs")
        try:
            while not task.done():
                await self._read_kept()
                await asyncio.wait({task}, timeout=LOOK_EVERY_S)
                if not task.done() and turn.waited_for_s > PATIENCE_S:
                    return f"it hung for {PATIENCE_S:.0f} s, and is begun anew."
        finally:
            turn.end()
            await self._end(task)
        return task.result() if not task.cancelled() else "it was cancelled from within: a fault of this software."

    async def _end(self, task: asyncio.Task[str]) -> None:
        if task.done():
            return
        task.cancel()
        try:
            await asyncio.wait({task}, timeout=CANCEL_S)
        finally:
            if not task.done():
                self._stuck.append(task)
                task.add_done_callback(_hear_nothing)

    async def _guarded(self, turn: Turn) -> str:
        made: Sink | None = None
        try:
            await asyncio.to_thread(self.kind.preload)
            settings = self.kind.read(self.stored.settings, self._around)
            self.sink = made = self.kind.make(settings, self._around)
            await made.run(turn)
        except SinkOver:
            raise
        except SinkError as error:
            self._not_before_s = min(error.retry_after_s or 0.0, LONGEST_ASKED_S)
            return in_short(error)
        except ValueError as error:
            return self._fault(error) if made is not None else in_short(error)
        except (Exception, SystemExit) as error:
            return self._fault(error)
        finally:
            if self.sink is made:  # one that was left behind ends later
                self.sink = None
        return "it ended by itself."

    def _fault(self, error: BaseException) -> str:
        if not self._has_complained:
            log.error("sink=%s kind=%s a fault of this software's", self.stored.name, self.kind.name, exc_info=error)
        return f"a fault of this software ({type(error).__name__}): the server's log says more."

    # what a run tells

    def went_up(self, words: str) -> None:
        if self._state != "up":
            self._enter("up")
            self._unsettle()
            self._settled = self._loop.call_later(SETTLED_S, self._is_back)
        self._words = in_short(words)

    def went_into_trouble(self, words: str) -> None:
        words = in_short(words)
        if self._state != "trouble":
            self._enter("trouble")
            self._complain(words)
        self._words = words
        self._note(words)

    def confirmed(self) -> None:
        self._is_back()
        self._forget_kept()

    def _forget_kept(self) -> None:
        """Once all of it has gone out."""
        if self._has_kept and self._kept is not None and not self._is_to_be_read and not self.box.waiting:
            self._has_kept = False
            self._loop.run_in_executor(None, self._kept.clear)

    def refused(self, why: str, event: Outgoing | None) -> None:
        self._note(in_short(why))
        self._forget_kept()
        if self._loop.time() - self._refusal_logged_at >= REFUSALS_EVERY_S:
            self._refusal_logged_at = self._loop.time()
            log.warning(
                "sink=%s kind=%s the peer refuses an event, which is given up what=%s id=%s why=%r refused=%d",
                self.stored.name,
                self.kind.name,
                event.what if event else None,
                event.id if event else None,
                in_short(why),
                self.box.refused,
            )

    # how it is doing

    def _enter(self, state: State) -> None:
        if state != self._state:
            self._state, self._since = state, now()
        self._words = ""

    def _failed(self, why: str) -> float:
        """Count a failure; the seconds to wait after it."""
        self._failures += 1
        self._note(why)
        self._complain(why)
        wait = self._backoff.next() * (1 - JITTER + 2 * JITTER * self._jitter())
        not_before, self._not_before_s = self._not_before_s, 0.0
        return max(wait, not_before)

    def _complain(self, why: str) -> None:
        """One line at first; the next one is written when it is back."""
        if not self._has_complained:
            self._has_complained, self._lost_before = True, self.box.dropped
            log.warning(
                "sink=%s kind=%s not told why=%r waiting=%d", self.stored.name, self.kind.name, why, self.box.waiting
            )

    def _is_back(self) -> None:
        self._unsettle()
        self._backoff.reset()
        if self._has_complained and self._state == "up":
            log.info(
                "sink=%s kind=%s state=up failures=%d dropped=%d waiting=%d",
                self.stored.name,
                self.kind.name,
                self._failures,
                self.box.dropped - self._lost_before,
                self.box.waiting,
            )
            self._has_complained = False
        self._failures = 0

    def _unsettle(self) -> None:
        if self._settled is not None:
            self._settled.cancel()
            self._settled = None

    def _fail_for_good(self, why: str) -> None:
        self._note(why)
        self._complain(why)
        self._enter("trouble")
        self._words = why

    def _note(self, why: str) -> None:
        self._last_error, self._last_error_at = why, now()


def in_short(words: object) -> str:
    text = " ".join(str(words).split())
    return text if len(text) <= LONGEST_WORDS else f"{text[:LONGEST_WORDS]}…"


def _hear_nothing(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()
