"""A clock that is wrong must not make things old."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.ground import Calendar

NOW, DAY = 1_795_000_000.0, 86_400.0


class Clocks:
    def __init__(self) -> None:
        self.wall, self.passed = NOW, 0.0

    def calendar(self, folder: Path | None) -> Calendar:
        return Calendar(folder, wall=lambda: self.wall, clock=lambda: self.passed)

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds


def test_a_clock_that_runs_ahead_for_a_night_makes_things_a_day_older(tmp_path: Path) -> None:
    clocks = Clocks()
    calendar = clocks.calendar(tmp_path)
    assert calendar.now() == NOW
    clocks.wall += 1000 * DAY
    for _ in range(12):
        clocks.passes(3600)
        assert calendar.now() <= NOW + 2 * clocks.passed
    calendar = clocks.calendar(tmp_path)  # a restart believes no more
    assert NOW < calendar.now() <= NOW + DAY
    clocks.wall -= 1000 * DAY
    assert calendar.now() == clocks.wall == NOW + DAY / 2


def test_one_that_is_set_back_is_followed_at_once_and_what_was_missed_is_caught_up(tmp_path: Path) -> None:
    clocks = Clocks()
    calendar = clocks.calendar(tmp_path)
    calendar.now()
    clocks.wall -= 30 * DAY
    assert calendar.now() == NOW - 30 * DAY
    clocks.wall += 30 * DAY
    for _ in range(31):
        clocks.passes(DAY)
        calendar.now()
    assert calendar.now() == clocks.wall


@pytest.mark.parametrize("left", [b"", b"{", b'{"believed": NaN}', b'{"believed": 1e300}', b"[" * 900, b"x" * 5000])
def test_without_what_an_earlier_run_left_the_wall_s_clock_is_believed(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "calendar.json").write_bytes(left)
    assert Clocks().calendar(tmp_path).now() == NOW


def test_a_folder_that_cannot_be_written_is_no_trouble(tmp_path: Path) -> None:
    assert Clocks().calendar(tmp_path / "missing").now() == NOW


@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(0, 1e6)), max_size=30))
def test_whatever_the_clock_does(jumps: list[tuple[float, float]]) -> None:
    clocks = Clocks()
    calendar = clocks.calendar(None)
    before = calendar.now()
    for jump, passes in jumps:
        clocks.wall += jump
        clocks.passes(passes)
        believed = calendar.now()
        assert believed <= clocks.wall and believed <= before + 2 * passes + 1e-3
        before = believed
