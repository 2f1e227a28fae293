"""Time stamps that jump, as recorders and TS files have them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.cameras.file_clock import MAX_STEP_S, FileClock

WRAP_S = 2**33 / 90_000
"""The clock of a transport stream has 33 bits."""


def due(*stamps: float | None) -> list[float]:
    clock = FileClock(0.1)
    return [round(clock.due(stamp), 3) for stamp in stamps]


def test_it_follows_the_time_stamps_from_the_first_on() -> None:
    assert due(7, 7.1, 7.3) == [0, 0.1, 0.3]


@pytest.mark.parametrize("jump", [500, 3600, WRAP_S])
def test_a_jump_forwards_is_a_pause_of_a_second(jump: float) -> None:
    assert due(0, 0.1, 0.1 + jump, 0.2 + jump) == [0, 0.1, 1.1, 1.2]


@pytest.mark.parametrize("jump", [0.05, 500, WRAP_S])
def test_a_jump_back_is_no_rush(jump: float) -> None:
    begin = WRAP_S - 0.1
    assert due(begin, begin + 0.1, begin + 0.1 - jump, begin + 0.2 - jump) == [0, 0.1, 0.2, 0.3]


def test_without_time_stamps_it_steps() -> None:
    assert due(None, None, 5, 5.1, None, 9) == [0, 0.1, 0.2, 0.3, 0.4, 0.5]


def test_the_file_beginning_again_goes_on() -> None:
    clock = FileClock(0.1)
    clock.due(0)
    assert clock.due(0.1) == pytest.approx(0.1)
    clock.restart()
    assert clock.due(0) == pytest.approx(0.2)


@settings(deadline=None)
@given(st.lists(st.none() | st.floats(-1e9, 1e9)), st.floats(0.001, 1e6))
def test_it_never_goes_back_and_never_leaps(stamps: list[float | None], step: float) -> None:
    clock, last = FileClock(step), 0.0
    for stamp in stamps:
        now = clock.due(stamp)
        assert 0 <= now - last <= MAX_STEP_S + 1e-6
        last = now
