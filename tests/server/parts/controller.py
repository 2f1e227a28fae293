"""A controller that loses and doubles its edges, restarts and forgets, against the handshake: a Hypothesis machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from server.parts import ACK_WITHIN_S, MOST_RESULTS, Handshake, Outcome, Signals


class Interleavings(RuleBasedStateMachine):
    """Every trigger that was taken has one end: its result was acknowledged, or the controller was told that it is not
    going to come (Enable low, a fault, an overrun). No result comes twice, none out of order, none for another trigger.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.handshake = self.begin()
        self.signals = Signals()
        self.last_read: Signals | None = None
        self.stream_busy: int | None = None  # a stream in which one part is in work at a time, as they are
        self.triggers = self.parts = 0
        self.ids: dict[int, int] = {}
        self.open: set[int] = set()  # triggers that were taken and have no end yet
        self.given: list[Outcome] = []  # results that were handed over, in order
        self.seen: list[int] = []  # results that a controller saw valid, by number
        self.acknowledged: list[int] = []
        self.edges = 0

    def begin(self) -> Handshake:
        """A handshake that was just started."""
        return Handshake()

    def more_steps(self) -> list[tuple[Callable[[], object], int]]:
        """That a walk by chance may take besides, and how often."""
        return []

    # What a controller may do to its signals: seen by the handshake at once, later, or, where two happen between two
    # looks, not at all.

    @rule(enable=st.booleans(), trigger=st.booleans(), ack=st.booleans(), trigger_id=st.integers(0, 3))
    def signals_change(self, enable: bool, trigger: bool, ack: bool, trigger_id: int) -> None:
        self.signals = Signals(enable, trigger, ack, trigger_id)

    @rule()
    def enable_rises(self) -> None:
        self.signals = replace(self.signals, enable=True)

    @rule(trigger_id=st.integers(0, 9))
    def a_whole_pulse_of_trigger(self, trigger_id: int) -> None:
        self.signals = replace(self.signals, trigger=False)
        self.look()
        self.signals = replace(self.signals, trigger=True, trigger_id=trigger_id)
        self.look()

    @rule()
    def a_whole_pulse_of_ack(self) -> None:
        for level in (False, True, False):
            self.signals = replace(self.signals, ack=level)
            self.look()

    @rule()
    def look(self) -> None:
        before = self.handshake.told
        asked = self.handshake.read(self.signals, self.now, can_trigger=self.stream_busy is None)
        was, self.last_read = self.last_read, self.signals
        rose = was is not None and self.signals.trigger and not was.trigger
        if asked is not None:
            assert rose and self.signals.enable and self.stream_busy is None
            assert asked.trigger_id == self.signals.trigger_id
            self.triggers += 1
            self.stream_busy = self.triggers
            self.ids[self.triggers] = asked.trigger_id
            self.handshake.taken(self.triggers, asked.trigger_id)
            self.open.add(self.triggers)
            assert self.handshake.told.trigger_ack and self.handshake.told.acquisition == self.triggers
        elif rose and self.signals.enable:
            assert self.handshake.told.missed  # a trigger that is not taken is told
        if before.valid and not self.handshake.told.valid and self.signals.enable and not self.handshake.told.trouble:
            assert before.result is not None
            self.acknowledged.append(before.result.number)
            self.open.discard(before.result.trigger)
        self.after()

    @precondition(lambda self: self.stream_busy is not None)
    @rule()
    def the_stream_has_its_verdict(self) -> None:
        assert self.stream_busy is not None
        trigger, self.stream_busy = self.stream_busy, None
        self.hand_over(trigger, self.ids[trigger])
        assert not self.handshake.told.busy

    @rule()
    def a_part_that_nobody_triggered(self) -> None:
        self.hand_over(0, 0)

    @rule()
    def more_parts_than_can_wait(self) -> None:
        for _ in range(MOST_RESULTS):
            self.hand_over(0, 0)

    @rule()
    def a_part_that_another_triggered(self) -> None:
        if self.stream_busy is None:
            self.triggers += 1
            self.hand_over(self.triggers, 0)

    @rule(seconds=st.sampled_from([0.01, 1.0, ACK_WITHIN_S]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.handshake.tick(self.now)
        self.after()

    @rule()
    def the_server_restarts(self) -> None:
        """What was not acknowledged is in the history; a controller sees Ready low, and enables anew."""
        self.handshake = self.begin()
        self.last_read = None
        self.open.clear()
        self.seen.clear()
        self.acknowledged.clear()
        self.given.clear()
        self.parts = 0

    def hand_over(self, trigger: int, trigger_id: int) -> None:
        self.parts += 1
        result = Outcome(self.parts, trigger, trigger_id, "NORMAL", 1.0, 2.0, 3.0)
        self.given.append(result)
        self.handshake.finished(result, self.now)
        self.after()

    def after(self) -> None:
        """What a controller sees now."""
        told = self.handshake.told
        if told.result is not None and (not self.seen or self.seen[-1] != told.result.number):
            assert told.result.number not in self.seen, "a result came twice"
            assert not self.seen or told.result.number > self.seen[-1], "a result came out of order"
            self.seen.append(told.result.number)
        if told.result is not None and told.result.trigger:
            assert told.result.trigger_id == self.ids[told.result.trigger], "a result of another trigger"
            assert told.result.trigger in self.open, "a result of a trigger that was given up, or of another controller"
        if not self.signals_enable_read:
            self.open.clear()  # the controller said it: Enable low gives all up, what is in work included
        elif told.trouble or told.overrun:
            # The controller was told: a fault drops all that wait, and what overran is missing.
            waiting = {one.trigger for one in self.handshake._results} | {self.handshake._pending}
            self.open &= {trigger for trigger in self.open if trigger in waiting}

    @property
    def signals_enable_read(self) -> bool:
        return self.last_read is not None and self.last_read.enable

    @invariant()
    def no_trigger_is_lost(self) -> None:
        there = {one.trigger for one in self.handshake._results} | {self.handshake._pending}
        assert self.open <= there, "a trigger that was taken has no result and no end that was told"

    @invariant()
    def counts_add_up(self) -> None:
        told = self.handshake.told
        counts = self.handshake.counts
        assert told.waiting <= MOST_RESULTS
        assert not (told.ready and (told.busy or told.trouble or told.trigger_ack))
        assert told.valid == (told.result is not None)
        if not self.signals_enable_read:
            assert not (told.ready or told.busy or told.valid or told.trigger_ack or told.waiting)
        if told.trouble:
            assert not (told.ready or told.valid or told.waiting)
        assert counts.delivered == len(self.acknowledged)
