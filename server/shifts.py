"""The shifts of a line, by the clock on its wall: local time, whatever summer time does to it. No I/O."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

MOST_SHIFTS = 12
STEP_MIN = 15
"""Shifts begin at quarters of an hour: what numbers are kept by."""
_TIME = re.compile(r"(\d\d):(\d\d)")


@dataclass(frozen=True)
class Stretch:
    """A stretch of time, from ``since`` until just before ``until``; both aware, by the server's local time.

    Attributes:
        shift: when the shift begins by the clock on the wall, ``06:00``; None where it is no shift.
        day: that a shift began on.
    """

    since: datetime
    until: datetime
    shift: str | None = None
    day: date | None = None

    @property
    def since_ms(self) -> int:
        """Milliseconds since 1970, UTC."""
        return round(self.since.timestamp() * 1000)

    @property
    def until_ms(self) -> int:
        """Milliseconds since 1970, UTC."""
        return round(self.until.timestamp() * 1000)


class Shifts:
    """When shifts begin, each day; each ends where the next one begins.

    Args:
        begins: minutes after midnight, local time.
    """

    def __init__(self, begins: tuple[int, ...]) -> None:
        self._begins = begins

    @classmethod
    def parse(cls, text: str) -> Shifts:
        """From ``06:00,14:00,22:00``.

        Raises:
            ValueError: it says no times, one sentence.
        """
        begins = []
        for part in (part.strip() for part in text.split(",") if part.strip()):
            found = _TIME.fullmatch(part)
            minutes = int(found[1]) * 60 + int(found[2]) if found and int(found[2]) < 60 else 24 * 60
            if minutes >= 24 * 60 or minutes % STEP_MIN:
                raise ValueError(
                    f"{part[:20]!r} is no beginning of a shift: write times such as 06:00,14:00,22:00, at quarters of "
                    "an hour"
                )
            begins.append(minutes)
        if not begins or len(begins) > MOST_SHIFTS or len(set(begins)) < len(begins):
            raise ValueError(f"it must be 1 to {MOST_SHIFTS} different times, such as 06:00,14:00,22:00")
        return cls(tuple(sorted(begins)))

    def __str__(self) -> str:
        return ",".join(_clock(minutes) for minutes in self._begins)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shifts) and self._begins == other._begins

    def __hash__(self) -> int:
        return hash(self._begins)

    @property
    def names(self) -> tuple[str, ...]:
        """When they begin, ``06:00``."""
        return tuple(_clock(minutes) for minutes in self._begins)

    def of(self, day: date) -> list[Stretch]:
        """The shifts that begin on a day, by local time."""
        found = []
        for number, minutes in enumerate(self._begins):
            next_ = self._begins[number + 1] if number + 1 < len(self._begins) else None
            until = local(day, next_) if next_ is not None else local(day + timedelta(days=1), self._begins[0])
            found.append(Stretch(local(day, minutes), until, _clock(minutes), day))
        return found

    def at(self, moment: datetime) -> Stretch:
        """The shift that an aware moment falls into."""
        day = moment.astimezone().date()
        candidates = [*self.of(day - timedelta(days=1)), *self.of(day), *self.of(day + timedelta(days=1))]
        return next(shift for shift in reversed(candidates) if shift.since <= moment)

    def before(self, shift: Stretch) -> Stretch:
        """The shift before one."""
        return self.at(shift.since - timedelta(milliseconds=1))

    def between(self, since: datetime, until: datetime) -> list[Stretch]:
        """The shifts that touch a stretch, whole ones, in their order."""
        found = [self.at(since)]
        while found[-1].until < until:
            found.append(self.at(found[-1].until))
        return found


THREE_SHIFTS = Shifts.parse("06:00,14:00,22:00")


def hours(since: datetime, until: datetime) -> list[Stretch]:
    """The hours of a stretch, from the quarter of an hour that it begins in to that which it ends in: shifts begin at
    quarters. The hour that summer time repeats is there twice."""
    moment = since.astimezone()
    moment -= timedelta(minutes=moment.minute % STEP_MIN, seconds=moment.second, microseconds=moment.microsecond)
    found = []
    step = STEP_MIN * 60
    last = datetime.fromtimestamp(math.ceil(until.timestamp() / step) * step, UTC).astimezone()
    while moment < until:
        next_ = min(_later(moment, hours=1), last)
        found.append(Stretch(moment, next_))
        moment = next_
    return found


def days(since: datetime, until: datetime) -> list[Stretch]:
    """The days, from midnight to midnight by the local clock, that touch a stretch."""
    day = since.astimezone().date()
    found = []
    while (begins := local(day, 0)) < until:
        found.append(Stretch(begins, local(day + timedelta(days=1), 0), None, day))
        day += timedelta(days=1)
    return found


def local(day: date, minutes: int) -> datetime:
    """So many minutes after midnight on the wall's clock, as an aware moment."""
    return datetime(day.year, day.month, day.day, minutes // 60, minutes % 60).astimezone()


def _later(moment: datetime, *, hours: int) -> datetime:
    return (moment.astimezone(UTC) + timedelta(hours=hours)).astimezone()


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
