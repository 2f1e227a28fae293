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


def lived(clocks: Clocks, calendar: Calendar, *, days: int) -> None:
    """A server asks all the while."""
    calendar.now()
    for _ in range(days * 4):
        clocks.passes(6 * 3600)
        calendar.now()


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
    clocks.wall += 1000 * DAY
    assert calendar.now() <= NOW + DAY, "and no older the next time"


@pytest.mark.parametrize("said", [0.0, 1_500_000_000.0, NOW - 100 * DAY])
def test_one_that_starts_in_the_past_leaves_no_more_to_be_caught_up_than_until_it_was_set(
    tmp_path: Path, said: float
) -> None:
    clocks = Clocks()
    lived(clocks, clocks.calendar(tmp_path), days=3)
    right = clocks.wall
    clocks.wall = said
    calendar = clocks.calendar(tmp_path)
    for _ in range(30):
        assert calendar.now() == clocks.wall, "it is followed at once"
        clocks.passes(60)
    clocks.wall = right + 1800
    assert calendar.now() >= right
    for _ in range(30):
        clocks.passes(60)
        calendar.now()
    assert calendar.now() == clocks.wall


def test_one_that_says_1970_at_the_very_first_start_is_not_believed(tmp_path: Path) -> None:
    clocks = Clocks()
    clocks.wall = 60.0
    calendar = clocks.calendar(tmp_path)
    assert calendar.now() == 60.0 and calendar.reached() is None
    clocks.wall = NOW
    assert calendar.now() == NOW


def test_one_that_was_ahead_at_the_very_first_start_is_not_believed_for_longer_than_it_was(tmp_path: Path) -> None:
    clocks = Clocks()
    clocks.wall += 1000 * DAY
    calendar = clocks.calendar(tmp_path)
    calendar.now()
    clocks.passes(60)
    assert calendar.now() == clocks.wall
    clocks.wall -= 1000 * DAY
    for _ in range(3):
        clocks.passes(60)
        assert calendar.now() == clocks.wall
    right = clocks.wall
    clocks.wall += 1000 * DAY
    assert calendar.now() <= right + 1


def test_what_was_missed_while_the_server_was_off_is_caught_up_twice_as_fast(tmp_path: Path) -> None:
    clocks = Clocks()
    lived(clocks, clocks.calendar(tmp_path), days=2)
    before = clocks.wall
    clocks.wall += 30 * DAY
    calendar = clocks.calendar(tmp_path)
    assert calendar.now() == pytest.approx(before, abs=1)
    lived(clocks, calendar, days=29)
    assert calendar.now() < clocks.wall
    lived(clocks, calendar, days=2)
    assert calendar.now() == clocks.wall


def test_what_it_came_to_is_told_once_it_was_so_for_a_day_and_no_clock_that_goes_back_changes_it(
    tmp_path: Path,
) -> None:
    clocks = Clocks()
    calendar = clocks.calendar(tmp_path)
    assert calendar.reached() is None
    clocks.passes(3600)
    assert calendar.reached() is None
    lived(clocks, calendar, days=1)
    assert calendar.reached() == clocks.wall == clocks.calendar(tmp_path).reached()
    before, clocks.wall = clocks.wall, 0.0
    assert calendar.reached() == before and calendar.now() == 0.0


@pytest.mark.parametrize(
    "left",
    [
        *(b"", b"{", b'{"believed": NaN}', b'{"believed": 1e300}', b"[" * 900, b"x" * 5000),
        *(b'{"believed": 86400.0}', b'{"believed": 1600000000.0, "lived": 1e6}', b'{"believed": 1.8e9, "lived": -1}'),
    ],
)
def test_without_what_an_earlier_run_left_the_wall_s_clock_is_believed(tmp_path: Path, left: bytes) -> None:
    """Nor with what none can have left but before its clock was set."""
    (tmp_path / "calendar.json").write_bytes(left)
    assert Clocks().calendar(tmp_path).now() == NOW


def test_a_folder_that_cannot_be_written_is_no_trouble(tmp_path: Path) -> None:
    assert Clocks().calendar(tmp_path / "missing").now() == NOW


@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(0, 1e6)), max_size=30))
def test_whatever_the_clock_does(jumps: list[tuple[float, float]]) -> None:
    clocks = Clocks()
    calendar = clocks.calendar(None)
    latest = calendar.now()
    for jump, passes in jumps:
        clocks.wall += jump
        clocks.passes(passes)
        believed = calendar.now()
        assert believed <= clocks.wall and believed <= latest + 2 * passes + 1e-3
        latest = max(latest, believed)
