"""What is heard is kept, and found again; on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.ground import Calendar
from server.records import DispositionRefused, Entry, Span, Wanted, frame_id, milliseconds, records
from server.records.entry import of_part
from server.records.retention import DELETED_AT_ONCE, LEAST_DELETED
from server.streams import Hub, Told
from server.words import PartResult, Result
from tests.server.records.histories import BEGINNING, Place, everything, frame, hear, numbers_of, part, until

START = milliseconds(BEGINNING.isoformat())
HOUR = 3_600_000


async def test_every_field_of_a_part_is_kept(place: Place) -> None:
    told = part(
        7, trigger_id="T=1", why="a sentence", picture="x", simulated=True, verdict="FAILED", score=None, model=None
    )
    async with place.opened() as history:
        hub = Hub()
        hub.listen(history.hear)
        hub.publish(told)
        await until(lambda: history.state.stored == 1)
        entry = await history.get("part-7")
    assert entry == msgspec.structs.replace(of_part(told), seq=1)
    same = set(PartResult.__struct_fields__) - {"at", "began_at", "picture", "heatmap"}
    assert {name: getattr(entry, name) for name in same} == {name: getattr(told, name) for name in same}
    assert (entry.at, entry.began_at) == (milliseconds(told.at), milliseconds(told.began_at))


async def test_lists_are_filtered_and_paged(place: Place) -> None:
    async with place.opened() as history:
        hear(history, *range(300))
        for number in range(300, 320):
            history.hear(Told(part(number, stream="other", recipe="cap")))
        await until(lambda: history.state.stored == 320)

        pages, before = [], None
        while True:
            page = await history.find(Wanted(), before=before, limit=47)
            pages += [entry.number for entry in page.entries]
            before = page.next
            if before is None:
                break
        assert pages == [*range(319, -1, -1)]

        async def found(wanted: Wanted) -> list[int]:
            numbers = [entry.number for entry in await everything(history, wanted)]
            assert (await history.count(wanted)).count == len(numbers)
            return numbers

        assert await found(Wanted(stream="other")) == [*range(300, 320)]
        assert await found(Wanted(recipe="cap", verdict="ANOMALY")) == [300, 310]
        assert await found(Wanted(verdict="ANOMALY", stream="press")) == [*range(0, 300, 10)]
        assert await found(Wanted(since=START + 100_000, until=START + 104_000)) == [100, 101, 102, 103]
        assert await found(Wanted(part="serial 3", until=START + 30_000)) == [3, 10, 17, 24]
        assert await found(Wanted(least_score=0.25, most_score=0.26, until=START + 20_000)) == [5, 6, 15, 16]
        assert await found(Wanted(since=START + 10**9)) == []
        assert await found(Wanted(kind="change")) == []
        assert await found(Wanted(verdict="NORMAL", disposition="none", until=START + 3_000)) == [1, 2]


async def test_what_is_said_of_an_entry_is_kept_with_its_history(place: Place) -> None:
    async with place.opened() as history:
        hear(history, *range(12))
        await until(lambda: history.state.stored == 12)
        await history.dispose("part-10", "confirmed", note="scratch", who="Anna")
        entry = await history.dispose("part-10", "false_reject", note="dust", who="Ben")
        await history.dispose("part-3", "escape", who="Anna")
        assert entry is not None
        assert (entry.disposition, entry.note, entry.disposed_by) == ("false_reject", "dust", "Ben")
        said = await history.said_of("part-10")
        assert [(one.disposition, one.note, one.who) for one in said] == [
            ("confirmed", "scratch", "Anna"),
            ("false_reject", "dust", "Ben"),
        ]
        assert [one.number for one in await everything(history, Wanted(disposition="any"))] == [3, 10]
        assert [one.number for one in await everything(history, Wanted(disposition="escape"))] == [3]
        (numbers,) = await history.numbers([Span(START, START + HOUR)])
        assert (numbers.confirmed, numbers.false_rejects, numbers.escapes) == (0, 1, 1)
        assert numbers.false_reject_rate == 1.0

        back = await history.dispose("part-10", None, who="Ben")
        assert back is not None and back.disposition is None and back.disposed_by is None
        assert [one.disposition for one in await history.said_of("part-10")] == ["confirmed", "false_reject", None]
        (numbers,) = await history.numbers([Span(START, START + HOUR)])
        assert (numbers.confirmed, numbers.false_rejects, numbers.escapes) == (0, 0, 1)
        with pytest.raises(DispositionRefused, match="nothing but an escape"):
            await history.dispose("part-3", "confirmed")
        with pytest.raises(DispositionRefused, match="it was rejected"):
            await history.dispose("part-10", "escape")
        assert await history.dispose("nobody", "escape") is None


async def test_nobody_takes_back_what_he_has_not_seen(place: Place) -> None:
    async with place.opened() as history:
        hear(history, 10)
        await until(lambda: history.state.stored == 1)
        await history.dispose("part-10", "confirmed", who="Anna", seen=None)
        await history.dispose("part-10", "false_reject", who="Ben", seen="confirmed")
        with pytest.raises(DispositionRefused, match=r"Ben called it a false reject meanwhile: nothing was changed"):
            await history.dispose("part-10", None, who="Anna", seen="confirmed")
        same = await history.dispose("part-10", "false_reject", who="Anna", seen="confirmed")
        assert same is not None and (same.disposition, same.disposed_by) == ("false_reject", "Ben")
        await history.dispose("part-10", None, who="Ben", seen="false_reject")
        with pytest.raises(DispositionRefused, match="somebody took back what was said of it"):
            await history.dispose("part-10", "confirmed", seen="false_reject")
        assert [one.who for one in await history.said_of("part-10")] == ["Anna", "Ben", "Ben"]


async def test_pictures_come_and_go(place: Place) -> None:
    async with place.opened() as history:
        hear(history, 1, 2)
        history.link_picture("part-1", "picture-1")
        history.link_picture("nobody", "picture-2")
        await until(lambda: history.state.stored == 4)
        assert [one.picture for one in await everything(history, Wanted(with_picture=True))] == ["picture-1"]
        history.pictures_gone(["picture-1", "another"])
        await until(lambda: history.state.stored == 5)
        entry = await history.get("part-1")
        assert entry is not None and (entry.picture, entry.picture_kept) == ("picture-1", False)
        assert await everything(history, Wanted(with_picture=True)) == []


async def test_numbers_by_hour_and_recipe(place: Place) -> None:
    async with place.opened() as history:
        for number in range(400):  # half an hour apart: 200 hours
            history.hear(Told(part(number, after_s=number * 1800, recipe_version=1 + number // 200)))
        await until(lambda: history.state.stored == 400)
        hours = [Span(START + hour * HOUR, START + (hour + 1) * HOUR) for hour in range(250)]
        found = await history.numbers(hours)
        assert [(one.span, one.total) for one in found] == [(hour, 2) for hour in range(200)]
        assert [one.span for one in found if one.rejected] == [*range(0, 200, 5)]

        first, second = await history.numbers([Span(START, START + 200 * HOUR)], by_recipe=True, by_stream=True)
        assert (first.recipe, first.recipe_version, first.stream) == ("flange", 1, "press")
        assert second.recipe_version == 2 and first.total == second.total == 200
        assert first.first_pass_yield == 0.9
        assert first.cycle_max == 129 and first.cycle_mean == pytest.approx(104.5)
        assert first.percentile(50) == pytest.approx(0.25, abs=0.02)
        assert first.percentile(100) == pytest.approx(0.82, abs=0.02)
        slowest = await history.slowest(Span(START, START + 200 * HOUR), limit=3)
        assert [entry.cycle_ms for entry in slowest] == [129, 129, 129]
        assert await history.slowest(Span(START, START + 200 * HOUR), stream="other") == []


async def test_streams_that_run_freely(place: Place) -> None:
    async with place.opened() as history:
        for seq in range(1200):  # two minutes
            history.hear(frame(seq, "ANOMALY" if 300 <= seq < 310 else "NORMAL", dropped=seq // 10, failed=seq // 100))
        await until(lambda: history.state.stored == 4)
        changes = await everything(history, Wanted(kind="change"))
        assert [(one.number, one.was, one.verdict) for one in changes] == [
            (0, None, "NORMAL"),
            (300, "NORMAL", "ANOMALY"),
            (310, "ANOMALY", "NORMAL"),
        ]
        told = frame(300, "ANOMALY").message
        assert isinstance(told, Result) and changes[1].id == frame_id(told)
    async with place.opened() as history:  # the second minute came with the shutdown
        later, first = await history.minutes("free")
        assert (first.start, first.frames, first.anomalies) == (START, 600, 10)
        assert (first.dropped, first.failed) == (59, 5) and (later.dropped, later.failed) == (60, 6)
        assert first.score_median == 0.5 and first.latency_p95 == 1.0
        assert await history.minutes("free", since=START + 60_000) == [later]
        assert await history.minutes("press") == []
        (numbers,) = await history.numbers([Span(START, START + HOUR)], kind="frame")
        assert (numbers.total, numbers.rejected) == (1200, 10) and numbers.percentile(50) == pytest.approx(
            0.51, abs=0.01
        )


async def test_frames_of_parts_are_not_kept_one_by_one(place: Place) -> None:
    async with place.opened() as history:
        history.hear(Told(part(1, stream="free", recipe="given-1")))
        for seq in range(700):
            history.hear(frame(seq, "ANOMALY" if seq % 2 else "NORMAL"))
        await until(lambda: history.state.stored == 1)
        await history.close()
        assert history.state.stored == 1


async def test_a_verdict_that_flickers_fills_nothing(tmp_path: Path) -> None:
    async with Place(tmp_path).opened() as history:
        for seq in range(500):
            history.hear(frame(seq, "ANOMALY" if seq % 2 else "NORMAL"))
        await until(lambda: history.state.stored == 60)
        assert history.state.flickered == 440


async def test_ids_of_the_line_may_come_twice_and_the_clock_may_jump_back(place: Place) -> None:
    async with place.opened() as history:
        for number, after in enumerate([0, 1, 2, -7200, -7199, -7198, 3]):
            history.hear(Told(part(number, after_s=after, part="the same", verdict="NORMAL")))
        history.hear(Told(part(3)))  # the same verdict again: it is kept once
        await until(lambda: history.state.stored == 8)
        assert await numbers_of(history) == [0, 1, 2, 3, 4, 5, 6]
        found = await everything(history, Wanted(part="the same"))
        assert [one.number for one in found] == [0, 1, 2, 3, 4, 5, 6]
        earlier = await everything(history, Wanted(until=START))
        assert [one.number for one in earlier] == [3, 4, 5]
        page = await history.find(Wanted(since=START), limit=2)
        assert [one.number for one in page.entries] == [6, 2]
        assert page.next is not None
        rest = await history.find(Wanted(since=START), before=page.next, limit=10)
        assert [one.number for one in rest.entries] == [1, 0] and rest.next is None
        assert (await history.count(Wanted())).count == 7


async def test_entries_go_by_number_and_by_age_and_their_numbers_stay(place: Place) -> None:
    async with place.opened() as history:
        hear(history, *range(700))
        await until(lambda: history.state.stored == 700)
        await history.dispose("part-10", "confirmed")
    async with place.opened(days=1, rows=500) as history:
        # They are of another year, but age alone takes few at once: it may be the clock that is wrong.
        await until(lambda: history.state.deleted >= 200 + LEAST_DELETED, history)
        assert await numbers_of(history) == [*range(300, 700)]
        assert history.state.entries == 400
        (numbers,) = await history.numbers([Span(START, START + HOUR)])
        assert numbers.total == 700
        assert await history.get("part-10") is None and await history.said_of("part-10") == []


async def test_a_clock_that_runs_ahead_makes_no_entry_old(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    wall = START / 1000 + 3600
    calendar = Calendar(None, wall=lambda: wall)
    assert calendar.now() == wall
    monkeypatch.setattr(records, "EVERY_S", 0.0)
    async with place.opened(days=1, calendar=calendar) as history:
        hear(history, *range(20))
        await until(lambda: history.state.stored == 20)
        wall += 1000 * 86_400
        before = history.state.deleted
        hear(history, *range(20, 40))
        await until(lambda: history.state.stored == 40 and history.state.entries == 40, history)
        assert (history.state.deleted, before) == (0, 0)
        assert len(await numbers_of(history)) == 40


async def test_entries_of_a_clock_that_ran_ahead_keep_no_others_from_becoming_old(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead, years_s = DELETED_AT_ONCE + 10, 9 * 365 * 86_400.0
    async with place.opened() as history:
        for number in range(ahead):
            history.hear(Told(part(number, after_s=years_s + number)))
        await until(lambda: history.state.stored == ahead)
        hear(history, *range(ahead, ahead + 20))
        await until(lambda: history.state.stored == ahead + 20)
        for number in range(3):  # and what nothing follows yet stays
            history.hear(Told(part(1000 + number, after_s=years_s + number)))
        await until(lambda: history.state.stored == ahead + 23)
    monkeypatch.setattr(records, "EVERY_S", 0.0)
    async with place.opened(days=1) as history:
        await until(lambda: history.state.deleted >= ahead + 20, history)
        assert await numbers_of(history) == [1000, 1001, 1002]


TEXT = st.text(max_size=200)
NUMBER = st.floats() | st.none()


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "part": TEXT,
        "trigger_id": TEXT,
        "triggered_by": TEXT,
        "why": TEXT,
        "score": NUMBER,
        "raw_score": NUMBER,
        "cycle_ms": st.floats(),
        "inspection_ms": NUMBER,
        "trigger": st.integers(0, 2**80) | st.none(),
        "frames": st.integers(0, 2**80),
        "at": st.text(max_size=30) | st.datetimes().map(str),
        "recipe": TEXT | st.none(),
    },
)


@settings(deadline=None, max_examples=4, suppress_health_check=list(HealthCheck))
@given(st.lists(FIELDS, min_size=5, max_size=40))
def test_whatever_parts_say_they_are_kept_or_refused_and_the_next_is_kept(place: Place, parts: list[Any]) -> None:
    async def run() -> None:
        async with place.opened() as history:
            numbers = [random.getrandbits(22) for _ in range(len(parts) + 1)]
            for number, fields in zip(numbers, parts, strict=False):
                history.hear(Told(part(number, **fields)))
            history.hear(Told(part(numbers[-1])))
            await until(lambda: history.state.stored + history.state.refused == len(numbers), history)
            assert isinstance(await history.get(f"part-{numbers[-1]}"), Entry)
            found = await everything(history)
            assert len({entry.seq for entry in found}) == len(found)

    asyncio.run(run())
