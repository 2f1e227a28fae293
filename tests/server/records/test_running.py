"""Changes and minutes of streams that run freely, by a clock of the test's."""

from __future__ import annotations

import msgspec

from server.records.entry import Entry, Minute
from server.records.running import FORGOTTEN_S, FREE_AFTER_S, MOST_STREAMS, OVERDUE_S, Running
from server.words import Error, Result
from tests.server.records.histories import frame, part


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def told(seq: int, verdict: str = "NORMAL", **fields: object) -> Result:
    message = frame(seq, verdict, **fields).message
    assert isinstance(message, Result)
    return message


def test_a_minute_is_over_when_the_next_begins_or_nothing_comes() -> None:
    clock = Clock()
    running = Running(clock)
    found = [event for seq in (0, 1, 600) for event in running.result(told(seq))]
    assert [type(event) for event in found] == [Entry, Minute]
    assert list(running.overdue()) == []
    clock.now += OVERDUE_S
    (minute,) = running.overdue()
    assert minute.frames == 1 and list(running.overdue(everything=True)) == []


def test_another_recipe_and_a_clock_set_back_begin_another_minute() -> None:
    running = Running(Clock())
    frames = [told(0), told(1, recipe_version=2), told(2, recipe_version=2), told(-7000, recipe_version=2)]
    closed = [event for one in frames for event in running.result(one) if isinstance(event, Minute)]
    assert [(one.recipe_version, one.frames) for one in closed] == [(1, 1), (2, 2)]
    (last,) = running.overdue(everything=True)
    assert last.start < closed[0].start


def test_counters_begin_anew_with_a_connection_and_repeated_results_count_not() -> None:
    running = Running(Clock())
    for one in (
        told(0, received=10, dropped=3, failed=1),
        told(1, received=20, dropped=5, failed=1),
        told(2, received=1, dropped=0, failed=0),
        told(2, received=1, repeated=True),
        told(3, received=3, dropped=1, failed=0),
    ):
        list(running.result(one))
    running.error(Error("free", 4, "broken", received=4, inspected=3, dropped=1, failed=1))
    (minute,) = running.overdue(everything=True)
    assert (minute.frames, minute.dropped, minute.failed) == (4, 6, 2)


def test_a_stream_with_parts_runs_freely_again_when_there_are_none_or_with_another_recipe() -> None:
    clock = Clock()
    running = Running(clock)
    running.part(part(1, stream="free", recipe="given-1"))
    assert list(running.result(told(0, "ANOMALY"))) == []
    assert [type(one) for one in running.result(told(1, "ANOMALY", recipe_version=2))] == [Entry]
    assert list(running.result(told(2))) == []
    clock.now += FREE_AFTER_S
    assert Entry in [type(one) for one in running.result(told(3))]


def test_streams_are_forgotten_and_bounded() -> None:
    clock = Clock()
    running = Running(clock)
    for number in range(MOST_STREAMS + 5):
        list(running.result(msgspec.structs.replace(told(0), stream=f"s{number}")))
    assert len(list(running.overdue(everything=True))) == MOST_STREAMS
    clock.now += FORGOTTEN_S
    assert list(running.overdue()) == [] and running._streams == {}
