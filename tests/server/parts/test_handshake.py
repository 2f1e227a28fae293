"""The handshake with a controller, by cases and by random interleavings of its signals."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from server.parts import ACK_WITHIN_S, MOST_RESULTS, Handshake, Outcome, Signals, Trouble
from tests.server.parts.controller import Interleavings
from tests.server.parts.walks import walks

IDLE, ENABLED = Signals(), Signals(enable=True)
TRIGGERED = Signals(enable=True, trigger=True, trigger_id=7)
ACKNOWLEDGED = Signals(enable=True, ack=True)


def outcome(number: int, trigger: int = 0, trigger_id: int = 0) -> Outcome:
    return Outcome(number, trigger, trigger_id, "NORMAL", 1.0, 2.0, 12.5)


def enabled(ack_within_s: float = ACK_WITHIN_S) -> Handshake:
    handshake = Handshake(ack_within_s)
    handshake.read(IDLE, 0.0, can_trigger=True)
    handshake.read(ENABLED, 0.0, can_trigger=True)
    return handshake


def triggered(handshake: Handshake, number: int, now: float = 0.0) -> None:
    asked = handshake.read(TRIGGERED, now, can_trigger=True)
    assert asked is not None
    handshake.taken(number, asked.trigger_id)


def test_from_ready_to_acknowledged() -> None:
    handshake = enabled()
    assert handshake.told.ready and not handshake.told.busy
    triggered(handshake, 1)
    told = handshake.told
    assert told.trigger_ack and told.busy and not told.ready and not told.valid and told.acquisition == 1
    handshake.read(ENABLED, 0.1, can_trigger=False)
    assert not handshake.told.trigger_ack and handshake.told.busy
    handshake.finished(outcome(5, 1, 7), 0.2)
    told = handshake.told
    assert told.valid and not told.busy and told.result is not None
    assert (told.result.number, told.result.trigger, told.result.trigger_id) == (5, 1, 7)
    handshake.read(ACKNOWLEDGED, 0.3, can_trigger=True)
    assert not handshake.told.valid and handshake.told.result is None and handshake.told.ready
    assert handshake.counts.delivered == 1


def test_what_is_high_at_the_first_look_is_no_edge() -> None:
    handshake = Handshake()
    assert handshake.read(TRIGGERED, 0.0, can_trigger=True) is None
    assert handshake.read(TRIGGERED, 0.1, can_trigger=True) is None
    assert handshake.told.ready and handshake.counts.taken == 0


def test_a_trigger_that_rises_with_enable_is_missed() -> None:
    handshake = Handshake()
    handshake.read(IDLE, 0.0, can_trigger=True)
    assert handshake.read(TRIGGERED, 0.0, can_trigger=True) is None
    assert handshake.told.missed and handshake.counts.missed == 1


@pytest.mark.parametrize("can_trigger", [False, True])
def test_a_trigger_while_not_ready_is_missed_and_told(can_trigger: bool) -> None:
    handshake = enabled()
    if can_trigger:
        triggered(handshake, 1)
        handshake.read(ENABLED, 0.1, can_trigger=False)
    assert handshake.read(TRIGGERED, 0.2, can_trigger=False) is None
    assert handshake.told.missed and handshake.counts.missed == 1


def test_missed_ends_with_the_next_trigger_that_is_taken() -> None:
    handshake = enabled()
    assert handshake.read(TRIGGERED, 0.1, can_trigger=False) is None
    handshake.read(ENABLED, 0.2, can_trigger=True)
    triggered(handshake, 3)
    assert not handshake.told.missed


def test_a_trigger_that_the_stream_refuses_is_missed() -> None:
    handshake = enabled()
    assert handshake.read(TRIGGERED, 0.1, can_trigger=True) is not None
    handshake.refused()
    assert handshake.told.missed and not handshake.told.busy and not handshake.told.trigger_ack


def test_results_wait_for_each_other_and_the_ninth_overruns() -> None:
    handshake = enabled(ack_within_s=0)
    for number in range(1, MOST_RESULTS + 2):
        handshake.finished(outcome(number), 0.0)
    told = handshake.told
    assert told.overrun and told.waiting == MOST_RESULTS and handshake.counts.overrun == 1 and not told.ready
    for number in range(1, MOST_RESULTS + 1):
        assert handshake.told.result is not None and handshake.told.result.number == number
        handshake.read(ACKNOWLEDGED, 1.0, can_trigger=True)
        assert not handshake.told.valid  # the next one not before Ack fell
        handshake.read(ENABLED, 1.0, can_trigger=True)
    assert not handshake.told.valid and handshake.told.overrun
    handshake.read(IDLE, 2.0, can_trigger=True)
    assert not handshake.told.overrun


def test_a_result_that_is_not_acknowledged_is_a_fault_until_enable_was_low() -> None:
    handshake = enabled()
    handshake.finished(outcome(1), 1.0)
    handshake.finished(outcome(2), 1.0)
    assert handshake.due == 1.0 + ACK_WITHIN_S
    handshake.tick(handshake.due)
    told = handshake.told
    assert told.trouble is Trouble.NOT_ACKNOWLEDGED and not told.valid and not told.ready and told.waiting == 0
    handshake.read(ACKNOWLEDGED, 7.0, can_trigger=True)  # too late: it must not take the next result's place
    handshake.finished(outcome(3), 8.0)
    assert not handshake.told.valid and handshake.counts.discarded == 3
    assert handshake.read(TRIGGERED, 8.5, can_trigger=True) is None
    handshake.read(IDLE, 9.0, can_trigger=True)
    handshake.read(ENABLED, 9.0, can_trigger=True)
    assert handshake.told.ready and not handshake.told.trouble


def test_an_ack_after_the_deadline_comes_too_late_even_if_nobody_ticked() -> None:
    handshake = enabled()
    handshake.finished(outcome(1), 0.0)
    handshake.read(ACKNOWLEDGED, ACK_WITHIN_S + 1, can_trigger=True)
    assert handshake.told.trouble and handshake.counts.delivered == 0


def test_a_result_of_before_enable_was_low_is_nobodys() -> None:
    handshake = enabled()
    triggered(handshake, 1)
    handshake.read(IDLE, 0.1, can_trigger=False)
    handshake.read(ENABLED, 0.2, can_trigger=False)
    handshake.finished(outcome(1, 1, 7), 0.3)
    assert not handshake.told.valid and handshake.counts.discarded == 1
    triggered(handshake, 2, 0.4)
    handshake.finished(outcome(2, 2, 7), 0.5)
    assert handshake.told.result is not None and handshake.told.result.trigger == 2


def test_what_others_triggered_is_not_this_controllers() -> None:
    handshake = enabled()
    handshake.finished(outcome(1, trigger=4), 0.1)
    assert not handshake.told.valid and handshake.told.waiting == 0


Interleavings.TestCase.settings = settings(
    max_examples=int(os.environ.get("INTERLEAVINGS", "150")), stateful_step_count=60, deadline=None
)
test_random_interleavings = Interleavings.TestCase


def test_walks_by_chance() -> None:
    walks(Interleavings, 300)
