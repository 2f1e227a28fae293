"""Shifts by the clock on the wall, on the days when it is put forward and back too."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.shifts import Shifts, days, hours, local

THREE = Shifts.parse("06:00,14:00,22:00")


@pytest.fixture(autouse=True, params=["Europe/Berlin"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def lengths(day: date) -> list[float]:
    return [(shift.until - shift.since) / timedelta(hours=1) for shift in THREE.of(day)]


def test_on_an_ordinary_day() -> None:
    assert lengths(date(2026, 11, 25)) == [8, 8, 8]
    assert [shift.shift for shift in THREE.of(date(2026, 11, 25))] == ["06:00", "14:00", "22:00"]


def test_when_the_clock_is_put_forward_and_back() -> None:
    assert lengths(date(2026, 3, 28)) == [8, 8, 7]
    assert lengths(date(2026, 10, 24)) == [8, 8, 9]
    assert len(hours(local(date(2026, 10, 25), 0), local(date(2026, 10, 26), 0))) == 25
    assert len(hours(local(date(2026, 3, 29), 0), local(date(2026, 3, 30), 0))) == 23
    assert [
        (day.until - day.since) / timedelta(hours=1)
        for day in days(local(date(2026, 10, 24), 30), local(date(2026, 10, 26), 0))
    ] == [24, 25]


def test_a_moment_after_midnight_is_of_the_night_shift() -> None:
    found = THREE.at(local(date(2026, 11, 26), 3 * 60))
    assert (found.shift, found.day) == ("22:00", date(2026, 11, 25))
    assert THREE.before(found).shift == "14:00"


@given(st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)), st.sets(st.integers(0, 95), min_size=1, max_size=12))
def test_every_moment_is_in_one_shift_and_the_next_begins_where_it_ends(moment: datetime, quarters: set[int]) -> None:
    shifts = Shifts(tuple(sorted(quarter * 15 for quarter in quarters)))
    moment = moment.replace(tzinfo=UTC)
    found = shifts.at(moment)
    assert found.since <= moment < found.until
    assert shifts.at(found.until).since == found.until
    assert shifts.before(found).until == found.since
    assert found.since_ms % 900_000 == 0


@pytest.mark.parametrize("text", ["", "6:00", "06:10", "24:00", "06:60", "06:00,06:00", ",".join(["00:00"] * 13), "x"])
def test_what_is_no_shift(text: str) -> None:
    with pytest.raises(ValueError, match="times"):
        Shifts.parse(text)


def test_it_is_written_as_it_is_read() -> None:
    assert str(Shifts.parse(" 22:00, 06:00,14:00")) == "06:00,14:00,22:00"


def test_hours_begin_at_the_quarter_that_they_are_asked_from() -> None:
    day = date(2026, 11, 26)
    found = hours(local(day, 5 * 60 + 50), local(day, 8 * 60 + 45))
    assert [(one.since.hour, one.since.minute) for one in found] == [(5, 45), (6, 45), (7, 45)]
