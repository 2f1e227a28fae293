"""Changes and minutes of streams that run freely, by a clock of the test's."""

from __future__ import annotations

import msgspec

from server.records.entry import Entry, Minute
from server.records.running import FORGOTTEN_S, FREE_AFTER_S, MOST_STREAMS, OVERDUE_S, Running
from server.records.schema import BINS
from server.words import Error, Result
from tests.server.records.histories import BEGINNING, frame, part


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


def test_a_minutes_histogram_counts_each_frame_in_its_bin() -> None:
    running = Running(Clock())
    scores = [0.0, 0.009, 0.01, 0.02, 0.019, 0.5, 0.99, 1.0, 1.0]
    for seq, score in enumerate(scores):
        list(running.result(told(seq, score=score)))
    (minute,) = running.overdue(everything=True)
    told_bins = {at: count for at, count in enumerate(minute.scores) if count}
    assert told_bins == {0: 4, 1: 1, 25: 1, 49: 3} and len(minute.scores) == BINS
    for seq in range(500):
        list(running.result(told(seq, score=0.3)))
    (minute,) = running.overdue(everything=True)
    assert (minute.scores[15], sum(minute.scores)) == (500, 500), "each minute begins anew"


def broken(failed: int, *, received: int = 100, dropped: int = 0) -> Error:
    return Error("free", received, "broken", received=received, inspected=0, dropped=dropped, failed=failed)


def test_counters_begin_anew_with_a_connection_and_repeated_results_count_not() -> None:
    running = Running(Clock(), BEGINNING.timestamp)
    for one in (
        told(0, received=10, dropped=3, failed=1),
        told(1, received=20, dropped=5, failed=1),
        told(2, received=1, dropped=0, failed=0),
        told(2, received=1, repeated=True),
        told(3, received=3, dropped=1, failed=0),
    ):
        list(running.result(one))
    assert list(running.error(broken(1, received=4, dropped=1))) == []
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


def test_a_connection_that_was_silent_for_long_counts_on() -> None:
    clock = Clock()
    running = Running(clock)
    list(running.result(told(0, received=4000, dropped=3000, failed=500)))
    assert [minute.failed for minute in running.overdue(everything=True)] == [500]
    clock.now += 2 * FORGOTTEN_S
    assert list(running.overdue()) == []
    assert list(running.result(told(80_000, received=4002, dropped=3001, failed=500))) == []
    (minute,) = running.overdue(everything=True)
    assert (minute.frames, minute.dropped, minute.failed) == (1, 1, 0)


def test_minutes_in_which_all_frames_fail_are_counted_under_the_recipe_of_before() -> None:
    clock, wall = Clock(), Clock()
    wall.now = BEGINNING.timestamp()
    running = Running(clock, wall)
    list(running.result(told(0)))
    minutes: list[Minute] = []
    for second in range(1, 181):
        clock.now += 1
        wall.now += 1
        minutes += [*running.error(broken(second, received=1 + second)), *running.overdue()]
    minutes += running.overdue(everything=True)
    assert [(one.frames, one.failed, one.score_p05 is None) for one in minutes] == [
        (1, 59, False),
        (0, 60, True),
        (0, 60, True),
        (0, 1, True),
    ]
    assert {one.recipe for one in minutes} == {told(0).recipe} and minutes[1].start - minutes[0].start == 60_000
    assert minutes[1].threshold is None and sum(minutes[1].scores) == 0


def test_what_failed_before_the_first_good_frame_is_counted_with_it_and_of_parts_never() -> None:
    running = Running(Clock(), BEGINNING.timestamp)
    assert [*running.error(broken(7)), *running.error(broken(1, received=1))] == []
    list(running.result(told(0, received=2, failed=1)))
    (minute,) = running.overdue(everything=True)
    assert (minute.frames, minute.failed) == (1, 8)
    list(running.result(told(1, received=9, failed=4), of_part=True))
    assert [*running.error(broken(6, received=11)), *running.overdue(everything=True)] == []
    list(running.result(told(1, received=12, failed=6), of_part=True))
    list(running.result(told(2, received=13, failed=6)))
    assert [minute.failed for minute in running.overdue(everything=True)] == [0]


def test_streams_are_bounded_and_the_silent_make_room() -> None:
    clock = Clock()
    running = Running(clock)
    frames = [msgspec.structs.replace(told(0), stream=f"s{number}") for number in range(MOST_STREAMS + 5)]
    for one in frames:
        list(running.result(one))
    assert len(list(running.overdue(everything=True))) == MOST_STREAMS
    clock.now += FORGOTTEN_S
    for one in (frames[0], *frames[-2:]):
        list(running.result(one))
    closed = [minute.stream for minute in running.overdue(everything=True)]
    assert closed == [one.stream for one in (frames[0], *frames[-2:])]
    assert len(running._streams) == MOST_STREAMS and "s1" not in running._streams
