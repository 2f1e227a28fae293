"""How many replicas there should be."""

from __future__ import annotations

from server.replicas.scaling import AT_MOST, IDLE_S, WAIT_S, Scaling


def test_one_more_after_sources_waited_for_a_while_and_never_more_than_the_most() -> None:
    scaling, now = Scaling(1, 3), 0.0
    assert scaling.see(now, ready=1, busy=1.0, waiting=2) == 1
    assert scaling.see(now + WAIT_S, ready=1, busy=1.0, waiting=2) == 2
    assert scaling.see(now + 10 * WAIT_S, ready=1, busy=1.0, waiting=2) == 2, "one is on its way"
    for step in range(20):
        wanted = scaling.see(100 + WAIT_S * step, ready=scaling.wanted, busy=float(scaling.wanted), waiting=5)
    assert wanted == 3


def test_a_break_begins_the_wait_anew() -> None:
    scaling = Scaling(1, 2)
    scaling.see(0.0, ready=1, busy=1.0, waiting=1)
    scaling.see(WAIT_S / 2, ready=1, busy=0.3, waiting=0)
    assert scaling.see(WAIT_S, ready=1, busy=1.0, waiting=1) == 1


def test_one_fewer_once_the_others_have_had_enough_time_for_long() -> None:
    scaling = Scaling(1, 4)
    scaling.wanted = 3
    scaling.see(0.0, ready=3, busy=0.5, waiting=0)
    assert scaling.see(IDLE_S - 1, ready=3, busy=0.5, waiting=0) == 3
    assert scaling.see(IDLE_S, ready=3, busy=0.5, waiting=0) == 2
    assert scaling.see(IDLE_S + 1, ready=2, busy=AT_MOST + 0.1, waiting=0) == 2
    assert scaling.see(9 * IDLE_S, ready=2, busy=AT_MOST + 0.1, waiting=0) == 2, "one alone would be too busy"


def test_never_fewer_than_the_least() -> None:
    scaling = Scaling(2, 4)
    for step in range(10):
        assert scaling.see(step * IDLE_S, ready=2, busy=0.0, waiting=0) == 2
