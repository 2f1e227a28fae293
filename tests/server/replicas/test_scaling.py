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


EVERY_S = 0.05
"""Seconds between two looks."""


def test_frames_that_come_and_go_keep_no_replica_that_is_not_needed() -> None:
    """A stream of 10 frames a second, each of which takes 30 ms: of four looks one sees most of the time at work."""
    scaling = Scaling(1, 4)
    scaling.wanted = 2
    wanted = [
        scaling.see(step * EVERY_S, ready=2, busy=(0.0, 0.9, 0.0, 0.3)[step % 4], waiting=0)
        for step in range(round((IDLE_S + 1) / EVERY_S))
    ]
    assert wanted[round((IDLE_S - 1) / EVERY_S)] == 2 and wanted[-1] == 1


def test_what_is_needed_in_one_part_of_each_minute_stays() -> None:
    scaling = Scaling(1, 4)
    scaling.wanted = 3
    for step in range(round(5 * IDLE_S / EVERY_S)):
        now = step * EVERY_S
        assert scaling.see(now, ready=3, busy=2.5 if now % 30 < 10 else 0.0, waiting=0) == 3


def test_one_that_there_is_no_room_for_is_wanted_no_longer_than_it_is_needed() -> None:
    scaling = Scaling(1, 4)
    scaling.wanted = 3
    assert scaling.see(0.0, ready=2, busy=2.0, waiting=5) == 3
    assert scaling.see(10 * IDLE_S, ready=2, busy=2.0, waiting=5) == 3
    scaling.see(11 * IDLE_S, ready=2, busy=0.5, waiting=0)
    assert scaling.see(12 * IDLE_S - 1, ready=2, busy=0.5, waiting=0) == 3
    assert scaling.see(12 * IDLE_S, ready=2, busy=0.5, waiting=0) == 2


def test_what_few_can_do_after_most_are_gone_is_not_all_that_is_needed() -> None:
    scaling = Scaling(1, 8)
    scaling.wanted = 8
    for step in range(100):
        ready = min(step, 2)
        assert scaling.see(step * IDLE_S, ready=ready, busy=float(ready), waiting=9) == 8
